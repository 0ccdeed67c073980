"""Actions on a case in each kind of database: conflicts, refusals, windows, verification."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from certmgr.cases import intake
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
from inventory.store import cases
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, CaseEnvironment

# -- two administrators --------------------------------------------------------------------------


def test_action_on_an_old_version_is_refused_and_names_the_other_administrator(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    version = env.row(reference).version
    carol = CaseService(Database(env.database.engine, "Carol"), env.settings, env.now)
    carol.approve(reference, "Ada", "telephone")
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
    env.service.approve(reference, "Ada", "telephone")
    row = env.row(reference)
    start, results = threading.Barrier(6), []
    window = {"window_start": 1, "window_end": 2, "window_zone": "UTC", "window_state": "agreed"}

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


# -- refused actions -----------------------------------------------------------------------------

STEPS: dict[str, Callable[[CaseService, str], Any]] = {
    "install": lambda service, reference: service.mark_installed(reference, "x"),
    "verify": lambda service, reference: service.verify(reference),
    "close": lambda service, reference: service.close(reference),
    "send": intake.send_csr,
    "cancel window": lambda service, reference: service.cancel_window(reference, "x"),
    "reopen": lambda service, reference: service.end(reference, CaseAction.REOPEN, "x"),
}


def test_action_that_the_state_does_not_allow_is_refused_and_names_allowed_ones(
    env: CaseEnvironment,
) -> None:
    reference = env.service.open("1001", [HOST]).reference
    for name, step in STEPS.items():
        with pytest.raises(Conflict) as error:
            step(env.service, reference)
        assert error.value.todo, name
    assert env.events(reference) == ["open"]


def test_end_without_a_reason_and_an_unknown_case_are_refused(env: CaseEnvironment) -> None:
    reference = env.service.open("1001", [HOST]).reference
    with pytest.raises(UsageError, match="reason is empty"):
        env.service.end(reference, CaseAction.CANCEL, "  ")
    with pytest.raises(NotFound):
        env.service.note("CM-NONE22", "x")
    assert env.events(reference) == ["open"]


def test_second_case_of_a_name_is_refused_while_one_is_open(env: CaseEnvironment) -> None:
    first = env.service.open("1001", [HOST]).reference
    with pytest.raises(Conflict, match=first):
        env.service.open("1001", [SECOND_HOST, HOST])
    env.service.end(first, CaseAction.DECLINE, "not wanted")
    second = env.service.open("1001", [HOST]).reference
    with pytest.raises(Conflict, match=second):
        env.service.end(first, CaseAction.REOPEN, "wanted after all")


def test_name_or_contact_of_another_client_is_refused(env: CaseEnvironment) -> None:
    with pytest.raises(CertmgrError, match="belongs to the client 1002"):
        env.service.open("1001", [f"www.{OTHER_HOST}"])
    with pytest.raises(UsageError, match="contact of a client"):
        env.service.open("1001", [HOST], {"staff": "Owner 1002"})
    with pytest.raises(NotFound):
        env.service.open("1001", [HOST], {"contact": "Owner 1002"})


# -- windows -------------------------------------------------------------------------------------


def test_window_needs_the_approval_of_the_client_or_a_reason(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    with pytest.raises(UsageError, match="client has not approved"):
        env.service.agree_window(reference, "2026-11-26T10:00")
    row, _ = env.service.agree_window(reference, "2026-11-26T10:00", text="the CA revokes tonight")
    assert row.state == "window-agreed"


def test_window_after_a_reopening_is_newer_than_the_previous_one(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    env.service.agree_window(reference, "2026-11-26T10:00", text="x")
    env.service.mark_installed(reference)
    row = env.service.end(reference, CaseAction.REOPEN, "wrong server")
    assert row.installed_at is None
    assert (row.window_state, row.window_sequence) == ("cancelled", 1), "it is in the future"
    row, _ = env.service.agree_window(reference, "2026-11-27T10:00", text="x")
    assert row.window_sequence == 2, "a calendar ignores an entry that is not newer"
    env.pass_(days=3)
    env.service.mark_installed(reference)
    row = env.service.end(reference, CaseAction.REOPEN, "wrong server")
    assert (row.window_state, row.window_sequence) == ("none", 2), "it is over"


# -- verification --------------------------------------------------------------------------------


def test_case_closes_only_if_its_certificate_is_live_everywhere(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    env.service.mark_installed(reference, "at once")
    another, both = "f" * 64, ("192.0.2.1", "192.0.2.2")
    for shown, addresses in ((None, ("192.0.2.1",)), (another, both)):
        row, verification = env.service_seeing(shown, *addresses).verify(reference)
        assert row.state == "installed", verification
    before = len(env.events(reference))
    env.service_seeing(another, *both).verify(reference)
    assert len(env.events(reference)) == before, "the same result again is no event"
    row, _ = env.service_seeing(leaf, *both).verify(reference)
    assert row.state == "closed"
    with env.database.read() as conn:
        (issued,) = cases.issuances(conn, [row.id])[row.id]
    assert issued.live_at is not None


def test_verification_at_chosen_addresses_is_not_recorded(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    env.service.mark_installed(reference, "x")
    chosen = {(HOST, 443): ("192.0.2.9",)}
    row, verification = env.service_seeing(leaf).verify(reference, chosen)
    assert verification.state == "live"
    assert row.state == "installed"
    assert env.events(reference)[-1] == "install"
