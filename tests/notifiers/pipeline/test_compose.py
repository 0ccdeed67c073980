"""The content of messages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from certmgr.compliance.rules import RULES
from inventory.store import clients, contacts, deadlines, findings
from inventory.vocabulary import FindingDecision
from notifiers.pipeline.message import Message
from tests.notifiers.sites import DAY, START, SiteSimulation, fault


def test_message_begins_with_its_outcome(messages: Mapping[str, Message]) -> None:
    starts = {
        "you-act-de": "Sie müssen",
        "you-act-en": "You need to act as soon as possible.",
        "we-act-de": "Wir beheben es: Ada Lovelace erledigt es bis 5. März 2026.",
        "escalated-en": "We passed it to our specialists (level 2)",
        "resolved-en": "It is done, and we have closed the ticket. Thank you!",
    }
    for kind, start in starts.items():
        lines = [line for line in messages[kind].text.splitlines() if line.strip()]
        assert lines[1].startswith(start), lines[:3]


def test_message_has_what_a_client_needs(messages: Mapping[str, Message]) -> None:
    text = messages["you-act-de"].text
    assert "www.müller-und-söhne.example" in text, "the name as it is written, not its A-label"
    assert re.search(r"Zertifikat \(ausgestellt von Test CA\): [0-9a-f]{16}", text), "serial"
    both = r"endet: 10\. März 2026, 23:00 \w+ \(2026-03-10 22:00 UTC\)"
    assert re.search(both, text), "local time and UTC"
    assert "Grace Hopper" in text
    assert re.search(r"CM-[2-9A-HJ-NP-Z]{6}", text)
    assert "innerhalb dieser Zeit: one working day" in text
    assert "CSR" in text, "the exact step"
    assert "Audit log:" in messages["digest"].text


def test_fault_names_the_certificate_unless_it_belongs_to_another_site(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    leaf = site.serve(START - 10 * DAY, 398 * DAY)
    simulation.baseline()
    site.faults["not-tls"] = fault("not-tls", "critical")
    ((_, message),) = simulation.day().drafts
    assert f"Certificate (issued by Test CA): {leaf.sha256[:16]}" in message.text
    assert re.search(r"ends: 25 March 2027, 10:00 UTC", message.text)
    simulation.mark_sent()
    names = ["shop.example", "secret.other.example"]
    site.faults = {"name-mismatch": fault("name-mismatch", "critical", names=names)}
    ((_, message),) = simulation.day().drafts
    assert leaf.sha256[:16] not in message.text
    assert "secret" not in message.text


def test_deadline_is_in_the_message_with_its_title_and_text(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    with simulation.database.write(simulation.now) as tx:
        given = {
            "at": START + 31 * DAY,
            "rule": "opens-over-https",
            "title": "All sites on HTTPS",
            "text": "Then HTTP is off.",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    simulation.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    ((_, message),) = simulation.day().drafts
    rule = "shop.example does not yet comply with the rule that applies from 2 April 2026"
    assert f"{rule}: All sites on HTTPS. Then HTTP is off." in message.text


def test_markup_template_syntax_and_line_breaks_in_names_have_no_effect(
    simulation: SiteSimulation,
) -> None:
    with simulation.database.write(simulation.now) as tx:
        given = {
            "number": "1",
            "name": "<b>{{ 7*7 }}</b>",
            "renews": "client",
            "account_manager": "{% raise %}<script>",
        }
        clients.add(tx, given)
        name = "<img src=x onerror=alert(1)> {{ m }}"
        contacts.add(tx, "1", {"name": name}, ("email:a@b.example",))
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://x/\r\nBcc: all@example.com",
        example="<script>alert(1)</script>",
        urls=["{{ config }}"],
    )
    ((_, message),) = simulation.day().drafts
    assert "<script" not in message.html
    assert "<img" not in message.html
    assert "{{ m }}" in message.text
    assert "\n" not in message.subject
    assert "\r" not in message.text
    assert "49" not in message.text.replace(message.reference, "")


def test_nothing_is_asked_stands_only_in_messages_that_ask_nothing(
    simulation: SiteSimulation,
) -> None:
    """A fault of ours and one of the client, at once and on two days."""
    for number in ("1", "2"):
        simulation.client(number)
        simulation.site(f"ours{number}.example", number)
        simulation.site(f"yours{number}.example", number)
    simulation.baseline()
    for number, days in (("1", 0), ("2", 1)):
        ours = simulation.sites[f"ours{number}.example"]
        ours.faults["not-tls"] = fault("not-tls", "critical", "provider")
        with simulation.database.write(simulation.now) as tx:
            until = simulation.now + 3 * DAY
            codes, domain = frozenset({"not-tls"}), ours.domain_id
            findings.accept(
                tx,
                "not-tls",
                codes,
                until,
                "x",
                domain_id=domain,
                kind=FindingDecision.ASSIGN,
                by="Ada",
            )
        if not days:
            simulation.sites[f"yours{number}.example"].faults["mixed-content"] = fault()
    first = {m.reference: m for _, m in simulation.day().drafts}
    texts = sorted(m.text for m in first.values())
    asked = [x for x in texts if "yours1.example" in x]
    alone = [x for x in texts if "ours2.example" in x]
    assert "You need to act" in asked[0]
    assert "You do not need to do anything" not in asked[0]
    assert "Ada will have it done" in asked[0], "and what we do is there too"
    assert "You do not need to do anything" in alone[0]
