"""Answers that could not be removed: remembered, retried, and reported until they are gone."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dns.opcode
import pytest

from certmgr.acme import health
from certmgr.acme.challenges import build
from certmgr.acme.challenges.dns01 import MAX_FAILURES, Dns01
from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.acme.challenges.solvers.rfc2136 import Rfc2136
from certmgr.acme.challenges.solvers.webroot import WebRoot
from certmgr.acme.orders.proof_journal import leftovers
from certmgr.acme.preflight.preflight_facts import FactCollector
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from inventory.db.database import Database
from inventory.errors import CertmgrError
from tests.campaign import PATIENCE, UNREACHED
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.servers.bind import Named
from tests.servers.pebble import Pebble
from tests.servers.ports import held_port

RECORD = "_acme-challenge.shop.test"


@dataclass
class Relay:
    """A name server that passes questions on, until it stops answering.

    Attributes:
        server: HOST:PORT.
        updates: The updates that are still answered.
    """

    server: str
    updates: int = 10_000

    @property
    def silent(self) -> bool:
        return self.updates < 0

    def answer(self, wire: bytes, bind: Named) -> bytes | None:
        if (wire[2] >> 3) & 15 == dns.opcode.UPDATE:
            self.updates -= 1
        if self.silent:
            return None
        # Bytes as they are, because an update is signed.
        with socket.create_connection((bind.address, bind.port), PATIENCE) as sock:
            sock.sendall(len(wire).to_bytes(2) + wire)
            stream = sock.makefile("rb")
            return stream.read(int.from_bytes(stream.read(2)))


@pytest.fixture
def relay(bind: Named, opened: ExitStack) -> Relay:
    """A relay to BIND that can be made to stop answering."""
    port = held_port(opened, udp=True)
    made = Relay(f"127.0.0.1:{port}")

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            if reply := made.answer(data, bind):
                sock.sendto(reply, self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while head := self.rfile.read(2):
                    reply = made.answer(self.rfile.read(int.from_bytes(head)), bind)
                    if reply is None:
                        self.rfile.read()  # until the client gives up
                        return
                    self.wfile.write(len(reply).to_bytes(2) + reply)

    class Tcp(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    class Udp(socketserver.ThreadingUDPServer):
        daemon_threads = True

    for each in (Udp(("127.0.0.1", port), Datagram), Tcp(("127.0.0.1", port), Stream)):
        threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()
        opened.callback(each.server_close)
        opened.callback(each.shutdown)
    return made


@pytest.fixture
def zone_env(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    dns_ca: Pebble,
    bind: Named,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> AcmeEnvironment:
    """An inventory whose solver updates ``bind`` through ``relay``; the CA asks ``bind`` itself."""
    made = make_environment(
        database, settings, tmp_path, dns_ca.directory, dns_ca.ca_file, dns=relay.server
    )
    monkeypatch.setenv("TSIG_SECRET", bind.secret)

    # Only what the relay does not answer ends with a time limit, and that one is short.
    def limit(silent: bool) -> float:
        return 0.2 if silent else UNREACHED

    def new_dns_client(_: Settings) -> DnsClient:
        return DnsClient((relay.server,), timeout=limit(relay.silent), tries=1)

    def update(zone: Rfc2136, *change: Any) -> None:
        left = replace(zone.settings, timeout=limit(relay.updates <= 0))
        real_update(replace(zone, settings=left), *change)

    real_update = Rfc2136._update
    monkeypatch.setattr(build, "new_dns_client", new_dns_client)
    monkeypatch.setattr(Rfc2136, "_update", update)
    made.solve(
        dns=SolverSettings(
            kind="rfc2136",
            server=relay.server,
            zone="shop.test",
            tsig_name=bind.key_name,
            tsig_secret="env:TSIG_SECRET",
            tsig_algorithm=bind.algorithm,
            propagation=0.0,
        )
    )
    made.client("1001", "shop.test")
    made.unwatch("shop.test")
    made.register()
    return made


def problems(env: AcmeEnvironment) -> list[tuple[str, str, str]]:
    return RenewalRunner(env.context).run_due().problems


def findings(env: AcmeEnvironment) -> list[tuple[str, str, str]]:
    return [f for f in health.examine(env.context) if "left" in f[1]]


def test_record_that_a_silent_name_server_keeps_is_reported_and_removed_later(
    zone_env: AcmeEnvironment, bind: Named, relay: Relay
) -> None:
    relay.updates = 1  # the record is set, and then the name server does not answer any more
    done = zone_env.order(zone_env.lineage("1001", ["shop.test"], solver="dns"))
    assert done.state == "issued", "the certificate does not depend on the removal"
    (value,) = bind.txt(RECORD)
    (left,) = leftovers(zone_env.settings)
    assert RECORD in left.what and value in left.what and "not answer in time" in left.reason
    ((state, what, todo),) = findings(zone_env)
    assert state == "warning" and RECORD in what and value in what
    assert f'update delete {RECORD} TXT "{value}"' in todo and "nsupdate" in todo
    # A later run tries again. It is not a failure of the run.
    runner = RenewalRunner(zone_env.context)
    summary = runner.run_due()
    assert [(n, s) for n, s, _ in summary.problems] == [("shop.test", "left")]
    assert value in summary.problems[0][2] and not summary.failed
    assert len(leftovers(zone_env.settings)) == 1, "recorded once, however often it is tried"
    relay.updates = 10_000
    assert problems(zone_env) == [] and findings(zone_env) == []
    assert bind.txt(RECORD) == []
    assert list((zone_env.context.base / "proofs").iterdir()) == []


def test_record_is_removed_where_it_was_set_although_the_delegation_changed(
    zone_env: AcmeEnvironment, bind: Named
) -> None:
    bind.add(RECORD, "CNAME", "first.shop.test.")

    def change(step: str) -> None:
        if step == "finalize":
            bind.delete(RECORD, "CNAME")

    zone_env.given = {"checkpoint": change}
    lineage = zone_env.lineage("1001", ["shop.test"], solver="dns")
    try:
        assert zone_env.order(lineage).state == "issued"
    finally:
        bind.delete(RECORD, "CNAME")
    assert bind.txt("first.shop.test") == [] and leftovers(zone_env.settings) == []


def test_record_that_was_never_set_is_not_left(
    zone_env: AcmeEnvironment, bind: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSIG_SECRET", "AAAA")
    done = zone_env.order(zone_env.lineage("1001", ["shop.test"], solver="dns"))
    assert done.state == "failed" and "TSIG key" in done.message
    assert bind.txt(RECORD) == [] and leftovers(zone_env.settings) == []


def test_record_of_a_probe_is_remembered_as_well(
    zone_env: AcmeEnvironment, bind: Named, relay: Relay
) -> None:
    """Preflight sets a random record to find out whether the name can be validated."""
    relay.updates = 1
    collector = FactCollector(zone_env.settings, zone_env.context.solvers)
    collector.dns_client = build.new_dns_client(zone_env.settings)
    assert collector.can_validate("shop.test", "dns")
    assert len(bind.txt(RECORD)) == 1 and len(leftovers(zone_env.settings)) == 1
    relay.updates = 10_000
    assert problems(zone_env) == [] and bind.txt(RECORD) == []


def test_record_of_a_solver_that_was_removed_is_reported(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path
) -> None:
    """So is the one of a hook that fails, with the call that removes it."""
    settings = hook(tmp_path, ca)
    program = Path(settings.command[0])
    works = program.read_text()
    begin = "action, name, value = sys.argv[1:]\n"
    program.write_text(works.replace(begin, f"{begin}if action == 'remove': sys.exit(7)\n"))
    env.unwatch("shop.test")
    env.solve(dns=replace(settings, propagation=0.0))
    assert env.order(env.lineage("1001", ["shop.test"], solver="dns")).state == "issued"
    ((_, what, todo),) = findings(env)
    assert "exit code 7" in what and f"{program} remove {RECORD}" in todo
    with_solver = env.settings
    env.configure(solvers={k: v for k, v in env.settings.acme.solvers.items() if k != "dns"})
    ((_, _, message),) = [p for p in problems(env) if p[1] == "left"]
    assert RECORD in message
    # It is removed when the solver is back and works.
    env.settings = with_solver
    program.write_text(works)
    assert problems(env) == [] and findings(env) == []


class Refusing:
    """A zone whose provider refuses every removal."""

    def __init__(self) -> None:
        self.tried = 0

    def add(self, record: str, value: str) -> None:
        raise AssertionError

    def remove(self, record: str, value: str) -> None:
        self.tried += 1
        raise CertmgrError("The provider does not answer", "it timed out")

    def removal(self, record: str, value: str) -> str:
        return "Delete it."


def test_provider_that_is_down_is_tried_a_few_times_only(relay: Relay) -> None:
    relay.updates = -1
    zone = Refusing()
    solver = Dns01(zone, lambda: DnsClient((relay.server,), timeout=0.05, tries=1), 0.0)
    proofs = [ChallengeProof(f"a{n}.test", "t", f"t.{n}", location=f"a{n}.test") for n in range(20)]
    left = solver.clean(proofs)
    assert [x.proof for x in left] == proofs and zone.tried == MAX_FAILURES


def test_file_that_cannot_be_removed_is_left(tmp_path: Path) -> None:
    proof = ChallengeProof("shop.test", "token", "token.thumb")
    solver = WebRoot(str(tmp_path), alias=True)
    assert solver.clean([proof]) == [], "a file that is missing is not left"
    (tmp_path / "token").mkdir()  # which unlink() refuses
    (left,) = solver.clean([proof])
    assert left.what == f"the file {tmp_path}/token" and left.remedy == f"rm {tmp_path}/token"
