"""One message of each kind, from an inventory that has a reason for each of them."""

from __future__ import annotations

from datetime import date

from inventory.store import contacts, findings
from notifiers.pipeline.compose import Announcement, Message, announcement_message
from notifiers.pipeline.outcome import name_of
from tests.notifiers.street import DAY, START, Street, fault

KINDS = (
    "you-act-de",
    "you-act-en",
    "we-act-de",
    "escalated-en",
    "resolved-en",
    "digest",
    "alarm",
    "bulletin",
)


def sample_messages(street: Street) -> dict[str, Message]:
    """Return messages by kind. ``street`` must be empty."""
    _add_records(street)
    street.baseline()
    sites = street.sites
    sites["shop.example"].faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://shop.example/",
        example="http://x.example/a.js",
        urls=["http://x.example/a.js", "http://x.example/b.css"],
    )
    sites["late.example"].serve(START - 400 * DAY, 398 * DAY)
    for host, actor in (("ours.example", "provider"), ("nobody.example", "staff")):
        sites[host].faults["not-tls"] = fault(
            "not-tls",
            "critical",
            actor,
            reason="it answers in plain HTTP",
        )
    first = street.day()
    with street.database.write(street.now) as tx:
        findings.accept(
            tx,
            "not-tls",
            frozenset({"not-tls"}),
            street.now + 2 * DAY,
            "on it",
            domain_id=sites["ours.example"].domain_id,
            kind="take",
            by="Ada Lovelace",
        )
    street.sent()
    second = street.day()
    street.sent()
    sites["late.example"].serve(street.now, 398 * DAY)
    third = street.day()
    found: dict[str, Message] = {}
    for outcome in (first, second, third):
        for draft, message in outcome.drafts:
            found[f"{name_of(draft.outcome)}-{draft.person.language}"] = message
        for _, message in outcome.staff:
            found[message.reference] = message
    person = third.drafts[0][0].person
    lines = (
        "late.example: nothing to do, it complies.",
        "other.example: no HTTPS. Order a certificate.",
    )
    bulletin = Announcement(
        "All sites on HTTPS",
        date(2027, 7, 1),
        "From then on HTTP is switched off.",
        lines,
    )
    sender = street.rules.sender
    found["bulletin"] = announcement_message(
        "bulletin",
        person,
        bulletin,
        sender,
        street.templates,
        "Grace Hopper",
        "CM-AAAAAA",
    )
    return found


def _add_records(street: Street) -> None:
    street.staff()
    for number, language in (("1", "de"), ("2", "en"), ("3", "de"), ("4", "en")):
        street.client(number, account_manager="Grace Hopper")
        with street.database.write(street.now) as tx:
            edited = {"language": language, "time_zone": "Europe/Berlin"}
            contacts.edit(tx, f"Owner of {number}", edited)
    idn = "www.müller-und-söhne.example".encode("idna").decode()
    street.site(idn, "1").serve(START - 389.5 * DAY, 398 * DAY)
    street.site("shop.example", "1")
    street.site("late.example", "2")
    street.site("ours.example", "3")
    street.site("nobody.example", "4")
