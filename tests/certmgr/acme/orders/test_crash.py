"""A renewal killed before each checkpoint, at a CA that refuses most nonces.

No key is lost, there is one order per intent, and the next run completes the renewal.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.deploy.lineage import Lineage
from inventory.clock import system_clock
from tests.campaign import SOAK, Campaign, wait_until
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.certmgr.acme.web import with_nginx
from tests.databases import open_sqlite
from tests.servers.pebble import Pebble, pebble

ROOT = Path(__file__).parents[4]
# Percentage of valid nonces that the CA refuses.
REFUSED = (0, 60, 90) if SOAK else (60,)
SOLVERS = ("web", "alpn", "dns") if SOAK else ("web",)
# The checkpoints of a renewal are divided among this number of tests.
PARTS = 3
STEPS = {
    "key",
    "csr",
    "ask",
    "new-order",
    "url",
    "present",
    "answer",
    "finalize",
    "finalizing",
    "finalized",
    "fetch",
    "store",
    "version",
    "end",
    "deliver nginx",
}


@pytest.fixture(scope="module")
def refusing_ca(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pebble]:
    """A pebble that refuses the percentage of nonces that the parameter gives."""
    folder = tmp_path_factory.mktemp("refusing")
    with pebble(folder, nonce_reject=request.param, authz_reuse=0) as running:
        yield running


@dataclass
class Nursery:
    """A process that forks children, each of which renews a lineage
    (tests/certmgr/acme/crash.py).
    """

    process: subprocess.Popen[str]

    def child(self, state: Path, number: int, ahead: int | None = None) -> dict[str, Any]:
        """Renew in a child, which is killed before its checkpoint ``number`` (0: it completes)."""
        assert self.process.stdin is not None and self.process.stdout is not None
        order = {"state": str(state), "lineage": "shop.test", "number": number, "ahead": ahead}
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def running_nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-m", "tests.certmgr.acme.crash"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield Nursery(process)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with running_nursery() as running:
        yield running


def environment_at(
    settings: Settings, folder: Path, ca: Pebble, opened: ExitStack
) -> tuple[AcmeEnvironment, int]:
    """An inventory with an account at ``ca``, and the id of that account."""
    database = open_sqlite(folder / "crash.db", clock=system_clock)
    opened.callback(database.close)
    made = make_environment(
        database, settings, folder, ca.directory, ca.ca_file, dns=ca.dns, http_port=ca.http_port
    )
    made.client("1001", "shop.test")
    return made, made.register().id


def served(port: int) -> str:
    """The SHA-256 of the certificate that nginx serves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), 60)
    with context.wrap_socket(plain, server_hostname="shop.test") as secure:
        return hashlib.sha256(secure.getpeercert(True) or b"").hexdigest()


def key_files(base: Path) -> set[bytes]:
    return {p.read_bytes() for p in (base / "keys").glob("order-*/*.key")}


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("refusing_ca", REFUSED, indirect=True)
def test_renewal_killed_before_any_step_is_completed_by_the_next_run(
    settings: Settings,
    tmp_path: Path,
    opened: ExitStack,
    campaign: Campaign,
    nursery: Nursery,
    refusing_ca: Pebble,
    solver: str,
    part: int,
) -> None:
    ca = refusing_ca
    env, account = environment_at(settings, tmp_path, ca, opened)
    web = with_nginx(env, ca, tmp_path, opened)
    alpn = SolverSettings(kind="tls-alpn", address="127.0.0.1", port=ca.tls_port)
    env.solve(alpn=alpn, dns=hook(tmp_path, ca))
    lineage = env.lineage("1001", ["shop.test"], targets="nginx", solver=solver)
    state = tmp_path / "state"
    state.write_bytes(pickle.dumps((env.settings, str(tmp_path / "crash.db"))))
    ordered_before = ca.order_count()

    def complete() -> list[str]:
        done = nursery.child(state, 0)
        assert done["code"] == 0, done
        steps: list[str] = done["steps"]
        return steps

    def settle() -> None:
        """Wait for the end of the old worker, which may answer for a moment after a reload."""
        newest = env.row(lineage).sha256
        wait_until(
            lambda: served(web.port) == newest and len(web.workers()) == 1,
            "the newest certificate at nginx",
        )

    complete()
    # Even at PEBBLE_AUTHZREUSE=0 pebble reuses one authorization in a hundred, and a renewal then
    # answers no challenge.
    for _ in range(5):
        steps = complete()
        if set(steps) >= STEPS:
            break
    settle()
    assert set(steps) >= STEPS, steps
    reused = steps[: steps.index("authorizations")] + steps[steps.index("finalize") :]
    # In "make test" one step of each kind, else each step.
    of_each_kind = [steps.index(step) + 1 for step in dict.fromkeys(steps)]
    numbers = (range(1, len(steps) + 1) if SOAK else of_each_kind)[part::PARTS]
    keys = key_files(env.context.base)
    for number in numbers:
        before = served(web.port)
        done = nursery.child(state, number)
        died = done["steps"][-1]
        assert done["steps"] in (steps[:number], reused[:number]), done
        assert done["code"] == (-signal.SIGKILL if len(done["steps"]) == number else 0), done
        assert served(web.port) in (before, env.row(lineage).sha256)
        assert keys <= key_files(env.context.base), f"a key was lost at {died}"
        complete()
        keys = key_files(env.context.base)
        orders = env.orders(lineage)
        assert {o.state for o in orders} == {"done"}, died
        assert ca.order_count() - ordered_before == len(orders), (
            f"an order was lost or doubled at {died}"
        )
        row = env.row(lineage)
        assert row.sha256 == row.deployed and row.proven_at is not None
        settle()
    campaign.report("kills", len(numbers))
    intents = len(env.orders(lineage))
    assert len(key_files(env.context.base)) == intents, "not one key per intent"
    session = env.context.session(account)
    assert len(ca.orders(session.url, session.key)) == intents
    assert Lineage(env.context.base, "shop.test").read_current() is not None
