"""pebble-challtestsrv: the DNS server that pebble validates with."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.campaign import PATIENCE
from tests.servers.ports import TRIES, held_port, may_start
from tests.servers.processes import stop
from tests.servers.real import program
from tests.servers.sessions import session


@contextmanager
def challtestsrv(folder: Path) -> Iterator[tuple[str, str]]:
    """Run challtestsrv, and yield its HOST:PORT and the URL of its management interface."""
    with ExitStack() as stack:
        for attempt in range(TRIES):
            port, management = held_port(stack, udp=True), held_port(stack)
            log = stack.enter_context((folder / f"challtestsrv{attempt}.log").open("wb"))
            process = subprocess.Popen(
                [
                    program("pebble-challtestsrv", "pebble"),
                    "-dns01",
                    f"127.0.0.1:{port}",
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                    "-management",
                    f"127.0.0.1:{management}",
                    "-defaultIPv6",
                    "",
                ],
                stdout=log,
                stderr=log,
            )
            stack.callback(stop, process)
            # If a port is in use, challtestsrv only logs that: both must be tested.
            if _is_ready(process, port, f"http://127.0.0.1:{management}", Path(log.name)):
                yield f"127.0.0.1:{port}", f"http://127.0.0.1:{management}"
                return
        raise AssertionError(
            "pebble-challtestsrv does not answer:"
            f" {(folder / f'challtestsrv{TRIES - 1}.log').read_text()}"
        )


def _is_ready(process: subprocess.Popen[bytes], port: int, management: str, log: Path) -> bool:
    value = secrets.token_hex(8)
    question = dns.message.make_query("probe.certmgr.invalid.", "TXT")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and may_start(process, log):
        try:
            session().post(
                f"{management}/set-txt",
                data=json.dumps({"host": "probe.certmgr.invalid.", "value": value}),
                timeout=2,
            )
            asked = (
                dns.query.udp(question, "127.0.0.1", 1, port),
                dns.query.tcp(question, "127.0.0.1", 1, port),
            )
            if all(value in str(answer) for answer in asked):
                session().post(
                    f"{management}/clear-txt",
                    data=json.dumps({"host": "probe.certmgr.invalid."}),
                    timeout=2,
                )
                return True
        except (OSError, dns.exception.DNSException):
            pass
        time.sleep(0.05)
    return False
