"""A fault is "passed to level 2" only with a ticket, which staff are notified of."""

from __future__ import annotations

import re

import pytest

from certmgr.diagnose.context import HostContext
from certmgr.diagnose.escalation import escalate
from inventory.db.database import Database
from inventory.store import tickets
from inventory.vocabulary import Parties
from tests.certmgr.diagnose.test_foreign_record import NAME, moved
from tests.certmgr.installation import ADA, EVE, Installation
from tests.clock import clock
from tests.inventory.store.builders import NOW, add_client

__all__ = ["moved"]

PASSED = ("passed to level 2", "level 2, reference", "(level 2), reference")


def _diagnose(installation: Installation, *options: str) -> str:
    ran = installation.run(
        "diagnose", installation.site_url, "--http-port", "9", *options, expect=None
    )
    return str(ran.out + ran.err)


def test_escalation_opens_one_ticket_that_staff_read_of_until_it_is_closed(
    moved: Installation,
) -> None:
    moved.run("scan", expect=None)
    before = _diagnose(moved)
    assert not any(words in before for words in PASSED)
    shown = _diagnose(moved, "--escalate")
    (reference,) = set(re.findall(r"reference (CM-\w{6})", shown))
    assert f"Passed to level 2, reference {reference}" in shown
    assert reference in _diagnose(moved, "--escalate"), "the same ticket"
    clock.advance(minutes=1)
    moved.run("notify", expect=None)
    moved.run("notify", expect=None)
    texts = [m.text for m in moved.mail.to(EVE)]
    mails = [t for t in texts if f"certmgr notice close {reference}" in t]
    assert len(mails) == 1, "one message per day"
    assert NAME in mails[0]
    assert not any(reference in m.text for m in moved.mail.to(ADA)), "the desk answers the client"
    # Runs of notices leave it open, though no scan knows of it.
    assert reference in _diagnose(moved, "--escalate")
    assert "is closed" in moved.run("notice", "close", reference).out
    after = _diagnose(moved)
    assert not any(words in after for words in PASSED)


def test_second_call_adds_its_page_to_the_open_ticket(sqlite_database: Database) -> None:
    """Level 2 reads of each page, the first and the last ones of many."""
    with sqlite_database.write(NOW) as tx:
        row_id = add_client(tx, "1001", NAME)
    context = HostContext(
        domain=NAME,
        client="1001",
        client_id=row_id,
        client_name="Client",
        purpose="site",
        parties=Parties(),
        account_manager=None,
        server=None,
        contact=None,
        language=None,
        time_zone=None,
        last_good=None,
    )

    def causes_after(*pages: str) -> tuple[str, str]:
        for page in pages:
            url = f"https://{NAME}/{page}"
            reference = escalate(sqlite_database, context, url, "http-served", "Not secure.", NOW)
        with sqlite_database.read() as conn:
            return reference, tickets.find(conn, reference).cause or ""

    first, text = causes_after("a")
    assert causes_after("a") == (first, text), "the same call adds nothing"
    second, text = causes_after("b")
    assert second == first
    assert re.findall(rf"{NAME}/(\w)", text) == ["a", "b"]
    _, text = causes_after(*"cdef")
    assert re.findall(rf"{NAME}/(\w)", text) == ["a", "d", "e", "f"]


def test_message_names_the_reference_of_a_fault_that_nobody_sees_from_here(
    moved: Installation,
) -> None:
    """The client sees a fault, and we do not: the message asks, and states the ticket."""
    message = _diagnose(moved, "--message", "--language", "de", "--resolve", _resolved(moved))
    assert "Vorgang CM-" not in message
    options = ("--message", "--language", "de", "--resolve", _resolved(moved), "--escalate")
    message = _diagnose(moved, *options)
    assert re.search(r"Wir haben es an unsere Spezialisten .* gegeben, Vorgang CM-\w{6}", message)


def _resolved(installation: Installation) -> str:
    host_and_port = installation.site_url.removeprefix("https://").rstrip("/")
    return f"{host_and_port}:127.0.0.1"


@pytest.mark.parametrize("reference", ["CM-222222"])
def test_only_tickets_of_the_desk_are_closed_by_hand(moved: Installation, reference: str) -> None:
    assert moved.run("notice", "close", reference, expect=2).err
    moved.run("scan", expect=None)
    moved.run("notify", "--queue-only")
    moved.release_all()
    moved.run("notify", expect=None)
    listed = moved.run("notice", "list", "--format", "json").json["notices"]
    known = next(n["reference"] for n in listed if n["kind"] == "client")
    error = moved.run("notice", "close", known, expect=2).err
    assert "is not a ticket of the support desk" in error


def test_host_outside_of_the_inventory_is_not_escalated(moved: Installation) -> None:
    ran = moved.run("diagnose", "https://unknown.example.net/", "--escalate", expect=2)
    assert "the host is not in the inventory" in ran.err
    assert ran.out == ""
