"""One message of each kind, from an inventory with a reason for each."""

from __future__ import annotations

from datetime import date

from inventory.store import contacts, findings
from inventory.vocabulary import FindingDecision
from notifiers.pipeline.announcement import Announcement, announcement_message
from notifiers.pipeline.message import Message
from notifiers.pipeline.outcome import name_of
from tests.notifiers.sites import DAY, START, SiteSimulation, fault

KINDS = (
    "you-act-de",
    "you-act-en",
    "we-act-de",
    "escalated-en",
    "resolved-en",
    "digest",
    "alarm",
    "announcement",
)


def sample_messages(simulation: SiteSimulation) -> dict[str, Message]:
    """Return messages by kind. The simulation must be empty."""
    _add_records(simulation)
    simulation.baseline()
    sites = simulation.sites
    sites["shop.example"].faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://shop.example/",
        example="http://x.example/a.js",
        urls=["http://x.example/a.js", "http://x.example/b.css"],
    )
    sites["late.example"].serve(START - 400 * DAY, 398 * DAY)
    for host, actor in (("ours.example", "provider"), ("unassigned.example", "staff")):
        sites[host].faults["not-tls"] = fault(
            "not-tls",
            "critical",
            actor,
            reason="it answers in plain HTTP",
        )
    first = simulation.day()
    with simulation.database.write(simulation.now) as tx:
        findings.accept(
            tx,
            "not-tls",
            frozenset({"not-tls"}),
            simulation.now + 2 * DAY,
            "on it",
            domain_id=sites["ours.example"].domain_id,
            kind=FindingDecision.ASSIGN,
            by="Ada Lovelace",
        )
    simulation.mark_sent()
    second = simulation.day()
    simulation.mark_sent()
    sites["late.example"].serve(simulation.now, 398 * DAY)
    third = simulation.day()
    found: dict[str, Message] = {}
    for outcome in (first, second, third):
        for draft, message in outcome.drafts:
            found[f"{name_of(draft.outcome)}-{draft.person.language}"] = message
        for _, message in outcome.staff:
            found[message.reference] = message
    person = third.drafts[0][0].person
    lines = (
        "late.example: it complies. You do not need to do anything.",
        "other.example: no HTTPS. Order a certificate.",
    )
    announcement = Announcement(
        "All sites on HTTPS",
        date(2027, 7, 1),
        "From then on HTTP is switched off.",
        lines,
    )
    sender = simulation.rules.sender
    found["announcement"] = announcement_message(
        "announcement",
        person,
        announcement,
        sender,
        simulation.templates,
        "Grace Hopper",
        "CM-AAAAAA",
    )
    return found


def _add_records(simulation: SiteSimulation) -> None:
    simulation.staff()
    for number, language in (("1", "de"), ("2", "en"), ("3", "de"), ("4", "en")):
        simulation.client(number, account_manager="Grace Hopper")
        with simulation.database.write(simulation.now) as tx:
            edited = {"language": language, "time_zone": "Europe/Berlin"}
            contacts.edit(tx, f"Owner of {number}", edited)
    idn = "www.müller-und-söhne.example".encode("idna").decode()
    simulation.site(idn, "1").serve(START - 389.5 * DAY, 398 * DAY)
    simulation.site("shop.example", "1")
    simulation.site("late.example", "2")
    simulation.site("ours.example", "3")
    simulation.site("unassigned.example", "4")
