"""Steps of a case, in each kind of database: conflicts, what is refused, windows, verification."""

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
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, Place

# -- two administrators --------------------------------------------------------------------------


def test_step_on_an_old_version_is_refused_and_names_who_was_faster(
    place: Place, issuer: Authority
) -> None:
    reference, _ = place.ready(issuer)
    seen = place.row(reference)["version"]
    carol = CaseService(Database(place.database.engine, "Carol"), place.settings, place.now)
    carol.approve(reference, "Ada", "telephone")
    with pytest.raises(Conflict) as error:
        replace(place.desk, seen=seen).note(reference, "she did not pick up")
    assert "Carol" in str(error.value)
    assert "approve" in str(error.value)
    assert place.events(reference)[-1] == "approve", "nothing of the second step was done"


def test_one_of_several_steps_at_the_same_moment_wins(place: Place, issuer: Authority) -> None:
    """All read the same version; their writes race."""
    reference, _ = place.ready(issuer)
    place.desk.approve(reference, "Ada", "telephone")
    row = place.row(reference)
    start, results = threading.Barrier(6), []
    window = {"window_start": 1, "window_end": 2, "window_zone": "UTC", "window_state": "agreed"}

    def agree(number: int) -> None:
        start.wait()
        try:
            with place.database.write(place.now) as tx:
                place.desk.move(tx, row, CaseAction.AGREE, f"window {number}", **window)
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
    assert place.events(reference).count("agree") == 1
    assert place.row(reference)["version"] == row["version"] + 1


# -- what is refused -----------------------------------------------------------------------------

STEPS: dict[str, Callable[[CaseService, str], Any]] = {
    "install": lambda desk, reference: desk.installed(reference, "x"),
    "verify": lambda desk, reference: desk.verify(reference),
    "close": lambda desk, reference: desk.close(reference),
    "send": intake.send,
    "lift": lambda desk, reference: desk.lift(reference, "x"),
    "reopen": lambda desk, reference: desk.end(reference, CaseAction.REOPEN, "x"),
}


def test_step_that_does_not_follow_is_refused_and_says_what_does(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    for name, step in STEPS.items():
        with pytest.raises(Conflict) as error:
            step(place.desk, reference)
        assert error.value.todo, name
    assert place.events(reference) == ["open"]


def test_end_without_a_reason_and_an_unknown_case_are_refused(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(UsageError, match="reason is empty"):
        place.desk.end(reference, CaseAction.CANCEL, "  ")
    with pytest.raises(NotFound):
        place.desk.note("CM-NONE22", "x")
    assert place.events(reference) == ["open"]


def test_second_case_of_a_name_is_refused_while_one_is_open(place: Place) -> None:
    first = place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(Conflict, match=first):
        place.desk.open("1001", [SECOND_HOST, HOST])
    place.desk.end(first, CaseAction.DECLINE, "not wanted")
    second = place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(Conflict, match=second):
        place.desk.end(first, CaseAction.REOPEN, "wanted after all")


def test_name_or_contact_of_another_client_is_refused(place: Place) -> None:
    with pytest.raises(CertmgrError, match="belongs to the client 1002"):
        place.desk.open("1001", [f"www.{OTHER_HOST}"])
    with pytest.raises(UsageError, match="contact of a client"):
        place.desk.open("1001", [HOST], {"staff": "Owner 1002"})
    with pytest.raises(NotFound):
        place.desk.open("1001", [HOST], {"contact": "Owner 1002"})


# -- windows -------------------------------------------------------------------------------------


def test_window_needs_the_approval_of_the_client_or_a_reason(
    place: Place, issuer: Authority
) -> None:
    reference, _ = place.ready(issuer)
    with pytest.raises(UsageError, match="Nobody of the client agreed"):
        place.desk.agree(reference, "2026-11-26T10:00")
    row, _ = place.desk.agree(reference, "2026-11-26T10:00", text="the CA revokes tonight")
    assert row["state"] == "window-agreed"


def test_window_after_a_reopening_is_newer_than_the_one_before(
    place: Place, issuer: Authority
) -> None:
    reference, _ = place.ready(issuer)
    place.desk.agree(reference, "2026-11-26T10:00", text="x")
    place.desk.installed(reference)
    row = place.desk.end(reference, CaseAction.REOPEN, "wrong server")
    assert row["installed_at"] is None
    assert (row["window_state"], row["window_sequence"]) == ("cancelled", 1), "it lies ahead"
    row, _ = place.desk.agree(reference, "2026-11-27T10:00", text="x")
    assert row["window_sequence"] == 2, "a calendar ignores an entry that is not newer"
    place.pass_(days=3)
    place.desk.installed(reference)
    row = place.desk.end(reference, CaseAction.REOPEN, "wrong server")
    assert (row["window_state"], row["window_sequence"]) == ("none", 2), "it is over"


# -- verification --------------------------------------------------------------------------------


def test_case_closes_only_if_its_certificate_is_seen_everywhere(
    place: Place, issuer: Authority
) -> None:
    reference, leaf = place.ready(issuer)
    place.desk.installed(reference, "at once")
    another, both = "f" * 64, ("192.0.2.1", "192.0.2.2")
    for shown, addresses in ((None, ("192.0.2.1",)), (another, both)):
        row, proof = place.desk_seeing(shown, *addresses).verify(reference)
        assert row["state"] == "installed", proof
    before = len(place.events(reference))
    place.desk_seeing(another, *both).verify(reference)
    assert len(place.events(reference)) == before, "the same result again is no event"
    row, _ = place.desk_seeing(leaf, *both).verify(reference)
    assert row["state"] == "closed"
    with place.database.read() as conn:
        (issued,) = cases.issuances(conn, [row["id"]])[row["id"]]
    assert issued["live_at"] is not None


def test_verification_at_chosen_addresses_proves_nothing(place: Place, issuer: Authority) -> None:
    reference, leaf = place.ready(issuer)
    place.desk.installed(reference, "x")
    chosen = {(HOST, 443): ("192.0.2.9",)}
    row, proof = place.desk_seeing(leaf).verify(reference, chosen)
    assert proof.state == "live"
    assert row["state"] == "installed"
    assert place.events(reference)[-1] == "install"
