"""Actions on a case in each kind of database: conflicts, refusals, windows, verification."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from certmgr.cases import agreement, installation, new_case, signing_requests
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.store.case_changes import CaseColumns
from inventory.vocabulary import WindowState
from tests.certmgr.cases.place import HOST, CaseEnvironment


def test_action_on_an_old_version_is_refused_and_names_the_other_administrator(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    version = env.row(reference).version
    carol = CaseService(replace(env.context, database=Database(env.database.engine, "Carol")))
    agreement.approve(carol, reference, "Ada", "telephone")
    with pytest.raises(Conflict) as error:
        replace(env.service, expected_version=version).note(reference, "she did not pick up")
    assert "Carol" in str(error.value)
    assert "approve" in str(error.value)
    assert env.events(reference)[-1] == "approve", "the second action changed nothing"


def test_one_of_several_simultaneous_actions_succeeds(
    env: CaseEnvironment, issuer: Authority
) -> None:
    """All read the same version; their writes race."""
    reference, _ = env.ready(issuer)
    agreement.approve(env.service, reference, "Ada", "telephone")
    row = env.row(reference)
    start, results = threading.Barrier(6), []
    window: CaseColumns = {
        "window_start": 1,
        "window_end": 2,
        "window_zone": "UTC",
        "window_state": WindowState.AGREED,
    }

    def agree(number: int) -> None:
        start.wait()
        try:
            with env.database.write(env.now) as tx:
                env.service.transition(tx, row, CaseAction.AGREE, f"window {number}", **window)
            results.append(True)
        except Conflict:
            results.append(False)

    threads = [threading.Thread(target=agree, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 6
    assert results.count(True) == 1
    assert env.events(reference).count("agree") == 1
    assert env.row(reference).version == row.version + 1


STEPS: dict[str, Callable[[CaseService, str], Any]] = {
    "install": lambda service, reference: installation.mark_installed(service, reference, "x"),
    "verify": lambda service, reference: installation.verify_case(service, reference),
    "close": lambda service, reference: service.close(reference),
    "send": signing_requests.send_csr,
    "cancel window": lambda service, reference: agreement.cancel_window(service, reference, "x"),
    "reopen": lambda service, reference: service.end(reference, CaseAction.REOPEN, "x"),
}


def test_action_that_the_state_does_not_allow_is_refused_and_names_allowed_ones(
    env: CaseEnvironment,
) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    for name, step in STEPS.items():
        with pytest.raises(Conflict) as error:
            step(env.service, reference)
        assert error.value.todo, name
    assert env.events(reference) == ["open"]


def test_end_without_a_reason_and_an_unknown_case_are_refused(env: CaseEnvironment) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    with pytest.raises(UsageError, match="reason is empty"):
        env.service.end(reference, CaseAction.CANCEL, "  ")
    with pytest.raises(NotFound):
        env.service.note("CM-NONE22", "x")
    assert env.events(reference) == ["open"]
