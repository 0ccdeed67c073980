"""Crashes between a key and its record, in a process with one thread (deploy/forks.py)."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import event

from certmgr.cases import new_case, signing_requests
from certmgr.cases.service import CaseService
from certmgr.config.settings import Settings
from certmgr.x509.csr import spki
from certmgr.x509.key_store import pem
from inventory.db.opening import open_database
from inventory.errors import CertmgrError
from inventory.store import cases, issuances
from tests.certmgr.cases.place import CaseEnvironment, make_env
from tests.certmgr.deploy.forks import Child, die_at, without_sync
from tests.databases import open_sqlite

NAME = "cases.db"


def _make_env(folder: Path) -> CaseEnvironment:
    made = make_env(open_sqlite(folder / NAME, "Bob"), Settings(), folder)
    made.staff()
    made.client("1001", "shop.example.com")
    return made


def _make_csr(env: CaseEnvironment, reference: str, step: int) -> Callable[[], None]:
    """Return an action that creates key and CSR, and dies at a step. 0: it does not die."""

    def act() -> None:
        database = open_database(str(env.folder / NAME), actor="Bob")
        service = CaseService(replace(env.context, database=database))
        if not step:
            signing_requests.make_csr(service, reference)
            return
        count = die_at(step)
        event.listen(database.engine, "before_cursor_execute", lambda *_: count())
        event.listen(database.engine, "commit", lambda *_: count())
        signing_requests.make_csr(service, reference)
        count()  # a crash after everything was recorded

    return act


def _examine(env: CaseEnvironment, reference: str) -> bool:
    """Check the state after a crash, and complete it. Return whether it was unfinished."""
    folder = env.service.keys.directory / reference
    left = list(folder.glob("*.key")) if folder.exists() else []
    assert len(left) <= 1
    known = env.service.keys.load(left[0]) if left else None
    unfinished: bool = env.row(reference).state == "requested"
    if unfinished:
        signing_requests.make_csr(env.service, reference)
    assert [p.name for p in folder.iterdir()] == ["ec-p256.key"], "one key, and nothing else"
    key = env.service.keys.load(folder / "ec-p256.key")
    if known is not None:
        assert pem(key) == pem(known), "the key that was there is the one"
    with env.database.read() as conn:
        case_id = cases.find(conn, reference).id
        (issued,) = issuances.of_cases(conn, [case_id])[case_id]
    assert issued.spki == spki(key.public_key())
    return unfinished


def deaths_at_each_step(folder: str) -> Any:
    """Kill a child at its first step, another one at its second, until one completes.

    Steps are calls on the file system, SQL statements, and commits.
    """
    env = _make_env(Path(folder))
    unfinished = 0
    with without_sync():
        for step in range(1, 1000):
            reference = new_case.open_case(
                env.service, "1001", [f"n{step}.shop.example.com"]
            ).reference
            killed_by = Child(_make_csr(env, reference, step)).ended_by()
            assert killed_by in (0, signal.SIGKILL), (step, killed_by)
            unfinished += _examine(env, reference)
            if not killed_by:
                return {"deaths": step - 1, "unfinished": unfinished}
    raise AssertionError("it has no last step")


def kills_at_any_moment(folder: str, kills: int) -> Any:
    """Kill children at times that are spread over the duration of one of them."""
    env = _make_env(Path(folder))
    # The children then need not compile the statements.
    _make_csr(
        env, new_case.open_case(env.service, "1001", ["first.shop.example.com"]).reference, 0
    )()
    begun = time.monotonic()
    reference = new_case.open_case(env.service, "1001", ["whole.shop.example.com"]).reference
    assert Child(_make_csr(env, reference, 0)).ended_by() == 0
    needed = time.monotonic() - begun
    unfinished = 0
    for number in range(kills):
        reference = new_case.open_case(
            env.service, "1001", [f"n{number}.shop.example.com"]
        ).reference
        child = Child(_make_csr(env, reference, 0))
        if not child.ended_within(needed * number / kills):
            child.kill()
        assert child.ended_by() in (0, signal.SIGKILL)
        unfinished += _examine(env, reference)
    return {"unfinished": unfinished}


def full_disk(folder: str, limit: int) -> Any:
    """Create a key while no file may exceed ``limit`` bytes, then again without a limit.

    It runs in a child, since the limit applies to a process. Return the error, the files that were
    left, and the final state of the case.
    """
    env = _make_env(Path(folder))
    reference = new_case.open_case(env.service, "1001", ["shop.example.com"]).reference
    store = env.service.keys

    def make() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            store.make(reference, "ec-p256")
        except CertmgrError as error:
            return str(error)
        return "no error"

    error = Child(make).result()
    left = [p.name for p in store.directory.rglob("*") if p.is_file()]
    signing_requests.make_csr(env.service, reference)
    return {"error": error, "left": left, "state": env.row(reference).state}


JOBS = {
    "deaths at each step": deaths_at_each_step,
    "kills at any moment": kills_at_any_moment,
    "full disk": full_disk,
}
