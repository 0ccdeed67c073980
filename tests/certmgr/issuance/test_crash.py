"""Killed at every recorded step, against a CA that refuses nine nonces of ten: no key is lost, there is one order an intent, and in the end a live certificate."""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from certmgr.config import Settings
from certmgr.config_acme import SolverSettings
from certmgr.deploy.lineage import Lineage
from inventory.database import open_database
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.issuance.shop import shop
from tests.certmgr.issuance.web import nginx
from tests.servers.pebble import pebble
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[3]


def test_killed_at_every_step(settings: Settings, tmp_path: Path, opened: ExitStack) -> None:
    ca = opened.enter_context(pebble(tmp_path / "pebble", nonce_reject=90, authz_reuse=0))
    url = str(tmp_path / "crash.db")
    database = open_database(url, actor="tester")
    place = shop(database, settings, tmp_path, ca.directory, ca.ca_file, dns=ca.dns, http_port=ca.http_port)
    place.client("1001", "shop.test")
    account = place.register()
    behind = free_port()
    web = opened.enter_context(
        nginx(tmp_path / "nginx", place.office.base / "live" / "shop.test", ["shop.test"], http_port=ca.http_port, behind=behind)
    )
    solver = SolverSettings(kind="standalone", address="127.0.0.1", port=behind, http_port=ca.http_port)
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, solvers={"web": solver}, places={"nginx": web.target})
    )
    with database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
        endpoints.add(tx, Target("shop.test", web.port), addresses=("127.0.0.1",))
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    state = tmp_path / "state"
    state.write_bytes(pickle.dumps((place.settings, url)))

    command = [sys.executable, "-m", "tests.certmgr.issuance.crash", str(state), "shop.test"]
    nursery = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    opened.callback(nursery.wait, 30)
    assert nursery.stdin is not None and nursery.stdout is not None
    opened.callback(nursery.stdin.close)
    asked, told = nursery.stdin, nursery.stdout

    def child(number: int) -> tuple[int, list[str]]:
        asked.write(f"{number}\n")
        asked.flush()
        answer = json.loads(told.readline())
        return answer["code"], answer["steps"]

    def live() -> str:
        with (
            socket.create_connection(("127.0.0.1", web.port), 10) as raw,
            unverified().wrap_socket(raw, server_hostname="shop.test") as secure,
        ):
            return hashlib.sha256(secure.getpeercert(True) or b"").hexdigest()

    code, steps = child(0)
    assert code == 0, steps
    wanted = [
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
    ]
    assert set(wanted) <= set(steps), steps
    keys, died = key_files(place.office.base), []
    for number in range(1, 100):
        before = live()
        code, steps = child(number)
        if code == 0:
            break
        assert code == -signal.SIGKILL, steps
        died.append(steps[-1])
        assert live() in (before, place.row(lineage)["sha256"])
        assert keys <= key_files(place.office.base), f"a key was lost at {died[-1]}"
        code, steps = child(0)
        assert code == 0, (died[-1], steps)
        keys = key_files(place.office.base)
        orders = place.orders(lineage)
        assert {o["state"] for o in orders} == {"done"}, died[-1]
        assert ca.order_count() == len(orders), f"an order was lost or doubled at {died[-1]}"
        row = place.row(lineage)
        assert row["sha256"] == row["deployed"]
        assert eventually(live, row["sha256"]), "an old worker of nginx may answer for a moment, and no longer"
        assert row["proven_at"] is not None
    assert set(wanted) <= set(died), died
    intents = len(place.orders(lineage))
    assert len(key_files(place.office.base)) == intents  # one key an intent, and every one is there
    session = place.office.session(account["id"])
    assert len(ca.orders(account["url"], session.key)) == intents
    assert Lineage(place.office.base, "shop.test").read_current() is not None


def eventually(seen: Callable[[], str], wanted: str) -> bool:
    for _ in range(100):
        if seen() == wanted:
            return True
        time.sleep(0.1)
    return False


def key_files(base: Path) -> set[bytes]:
    return {p.read_bytes() for p in (base / "keys").glob("order-*/*.key")}


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
