"""One certificate, or one cause, is one paragraph with one reference and one acknowledgement."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from inventory.records import TicketRecord
from inventory.store import contacts, notices, servers, tickets
from inventory.store.case_changes import NewCase, open_case
from inventory.vocabulary import CaseKind, Party
from notifiers.inbox.classify import parse
from notifiers.inbox.record import record_mail
from notifiers.pipeline.message import Message
from notifiers.pipeline.thresholds import ThresholdRules
from tests.notifiers.sites import DAY, START, Leaf, Site, SiteSimulation, fault

SHARED = Leaf("ab" * 32, START - 360 * DAY, START + 31 * DAY)


def with_shared(simulation: SiteSimulation, number: str, *hosts: str) -> list[Site]:
    """Add sites of a client that serve one certificate."""
    sites = [simulation.site(host, number) for host in hosts]
    for site in sites:
        site.leaves = {"192.0.2.1": SHARED}
    return sites


def eight(simulation: SiteSimulation, number: str) -> list[Site]:
    return with_shared(simulation, number, *(f"n{i}.client{number}.example" for i in range(8)))


def messages(simulation: SiteSimulation, days: float = 1) -> dict[str, Message]:
    """Return the messages of the next run by the number of their client."""
    found: dict[str, Message] = {}
    for draft, message in simulation.day(days).drafts:
        found[draft.items[0].topic.client] = message
    simulation.mark_sent()
    return found


def references(message: Message) -> list[str]:
    """Return the references of the paragraphs of a message."""
    return re.findall(r"^\w+: (CM-\w{6})$", message.text, re.MULTILINE)


def open_tickets(simulation: SiteSimulation) -> dict[str, TicketRecord]:
    with simulation.database.read() as conn:
        return {t.key: t for t in tickets.listing(conn)}


def answer(simulation: SiteSimulation, text: str, *, client_id: int) -> str:
    """Record a reply to the last notice to a client."""
    with simulation.database.read() as conn:
        row = notices.listing(conn, client_id=client_id)[0]
    raw = (
        f"From: owner@client.example\r\nIn-Reply-To: <{row.id}.{row.secret}@x>\r\n"
        f"Subject: Re: {row.subject}\r\n\r\n{text}\r\n"
    )
    return record_mail(simulation.database, parse(raw.encode()), simulation.now)


@pytest.mark.parametrize(
    ("language", "what", "also"),
    [
        ("en", "The certificate of n0.client1.example (and 7 more, see below) expires on", "Names"),
        ("de", "n0.client1.example (und 7 mehr, siehe unten)", "Namen"),
    ],
)
def test_certificate_with_eight_names_is_one_paragraph_with_one_reference(
    simulation: SiteSimulation, language: str, what: str, also: str
) -> None:
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        contacts.edit(tx, "Owner of 1", {"language": language})
    sites = eight(simulation, "1")
    simulation.baseline()
    message = messages(simulation)["1"]
    assert references(message) == [message.reference]
    assert what in message.text
    names = ", ".join(s.host for s in sites)
    assert f"{also}: {names}" in message.text
    assert names in message.html
    assert message.text.count(SHARED.sha256[:16]) == 1
    assert {t.shown for t in open_tickets(simulation).values()} == {message.reference}


def test_shared_certificate_shows_each_client_only_their_names(simulation: SiteSimulation) -> None:
    first, second = simulation.client("1"), simulation.client("2")
    with_shared(simulation, "1", "a.one.example", "b.one.example")
    with_shared(simulation, "2", "c.two.example", "d.two.example")
    simulation.baseline()
    found = messages(simulation)
    assert "two.example" not in found["1"].text + found["1"].html + found["1"].subject
    assert "one.example" not in found["2"].text + found["2"].html + found["2"].subject
    assert found["1"].reference != found["2"].reference
    answer(simulation, "Thank you, we are on it.", client_id=first)
    acked = {t.client_id for t in open_tickets(simulation).values() if t.acked_at}
    assert acked == {first}
    assert second not in acked


def test_names_with_different_parties_each_get_their_instruction(
    simulation: SiteSimulation,
) -> None:
    """The client serves one name, and we the other: one certificate, two things to do."""
    simulation.client("1")
    hosted = simulation.site("hosted.example", "1")
    elsewhere = simulation.site("elsewhere.example", "1", hosts="client")
    hosted.leaves = elsewhere.leaves = {"192.0.2.1": SHARED}
    simulation.baseline()
    message = messages(simulation)["1"]
    assert references(message) == [message.reference]
    (do,) = re.findall(r"^What to do: (.*)$", message.text, re.MULTILINE)
    assert "hosted.example: " in do
    assert "elsewhere.example: " in do
    assert "We install it" in do.split("elsewhere.example: ")[0] + do.split("hosted.example: ")[1]


def test_names_with_different_urgency_are_one_paragraph_of_the_first_date(
    simulation: SiteSimulation,
) -> None:
    """One name is due at 30 days, and the other, which has a tag with later days, at 20."""
    rules = ThresholdRules(by_tag={"shop": (20, 5)})
    simulation.rules = replace(
        simulation.rules, policy=replace(simulation.rules.policy, thresholds=rules)
    )
    simulation.client("1")
    page = simulation.site("page.example", "1")
    shop = simulation.site("shop.example", "1", tag="shop")
    page.leaves = shop.leaves = {"192.0.2.1": SHARED}
    simulation.baseline()
    first = messages(simulation)["1"]
    assert references(first) == [first.reference]
    assert "shop.example" not in first.text
    later = messages(simulation, 10)["1"]
    assert references(later) == [first.reference]
    assert "shop.example" in later.text
    assert {t.shown for t in open_tickets(simulation).values()} == {first.reference}


def test_fixed_name_leaves_the_paragraph_and_the_reference_stays(
    simulation: SiteSimulation,
) -> None:
    client_id = simulation.client("1")
    sites = eight(simulation, "1")
    simulation.baseline()
    first = messages(simulation)["1"]
    # The name whose ticket gave the reference is the one that is fixed.
    sites[0].serve(simulation.now, 398 * DAY)
    done = messages(simulation)["1"]
    assert done.text.count("shows a new certificate") == 1
    assert references(done)[-1] == first.reference
    found: dict[str, Message] = {}
    while not found:
        found = messages(simulation)
    message = found["1"]
    assert references(message) == [first.reference]
    assert "n1.client1.example (and 6 more, see below)" in message.text
    assert "n0.client1" not in message.text
    answer(simulation, "Thank you.", client_id=client_id)
    rows = open_tickets(simulation)
    assert len(rows) == 7
    assert all(t.acked_at for t in rows.values())


def test_all_names_fixed_are_one_paragraph_that_it_is_done(simulation: SiteSimulation) -> None:
    simulation.client("1")
    sites = eight(simulation, "1")
    simulation.baseline()
    first = messages(simulation)["1"]
    for site in sites:
        site.serve(simulation.now, 398 * DAY)
    done = messages(simulation)["1"]
    assert references(done) == [first.reference]
    assert "n0.client1.example (and 7 more, see below) shows a new certificate" in done.text
    assert not open_tickets(simulation)


def test_answer_acknowledges_its_reference_and_nothing_else(simulation: SiteSimulation) -> None:
    """A message has two certificates. The reader answers one of them, and then the message."""
    client_id = simulation.client("1")
    with_shared(simulation, "1", "a.example", "b.example")
    other = simulation.site("other.example", "1")
    other.serve(START - 360 * DAY, 391 * DAY)
    simulation.baseline()
    message = messages(simulation)["1"]
    assert len(references(message)) == 2
    rows = open_tickets(simulation)
    mine = rows[other.key].shown
    text = f"{mine} is done.\r\n\r\n-----Original Message-----\r\n{message.text}"
    assert answer(simulation, text, client_id=client_id) == "reply"
    acked = {k for k, t in open_tickets(simulation).items() if t.acked_at}
    assert acked == {other.key}
    assert answer(simulation, "CM-ZZZZZZ is done.", client_id=client_id) == "uncertain"
    assert {k for k, t in open_tickets(simulation).items() if t.acked_at} == {other.key}
    assert answer(simulation, "All of it is done.", client_id=client_id) == "reply"
    assert all(t.acked_at for t in open_tickets(simulation).values())


def test_one_fault_of_several_sites_is_one_paragraph(simulation: SiteSimulation) -> None:
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1"})
    sites = [simulation.site(f"s{i}.example", "1", server="web1") for i in range(3)]
    simulation.baseline()
    for site in sites:
        site.faults["chain-incomplete"] = fault("chain-incomplete", missing="Test CA")
    # The same code with other evidence is another sentence, and so another paragraph.
    sites[2].faults["chain-incomplete"] = fault("chain-incomplete", missing="Other CA")
    message = messages(simulation)["1"]
    rows = open_tickets(simulation)
    shown = [rows[s.fault_key("chain-incomplete")].shown for s in sites]
    assert shown[0] == shown[1] != shown[2]
    assert sorted(references(message)) == sorted({*shown})
    folded = shown[0]
    with simulation.database.write(simulation.now) as tx:
        same = tickets.of_same_reference(tx.conn, tickets.find(tx.conn, folded))
        tickets.acknowledge(tx, [t.id for t in same], "Owner")
    acked = {t.key for t in open_tickets(simulation).values() if t.acked_at}
    assert acked == {s.fault_key("chain-incomplete") for s in sites[:2]}


def test_reference_of_the_old_certificate_is_not_that_of_the_next_one(
    simulation: SiteSimulation,
) -> None:
    """The first name got a short certificate, which ends while the others serve the old one."""
    simulation.client("1")
    sites = eight(simulation, "1")
    simulation.baseline()
    first = messages(simulation)["1"]
    sites[0].serve(START - 50 * DAY, 83 * DAY)
    messages(simulation)
    message = messages(simulation, 20)["1"]
    shown = {t.key: t.shown for t in open_tickets(simulation).values()}
    assert len(set(references(message))) == 2
    assert {shown[s.key] for s in sites[1:]} == {first.reference}
    assert shown[sites[0].key] != first.reference
    with simulation.database.read() as conn:
        same = tickets.of_same_reference(conn, tickets.find(conn, first.reference))
    assert {t.key for t in same} == {s.key for s in sites[1:]}


def test_case_of_the_certificate_continues_under_the_reference_that_the_client_knows(
    simulation: SiteSimulation,
) -> None:
    client_id = simulation.client("1")
    sites = eight(simulation, "1")
    simulation.baseline()
    known = messages(simulation)["1"].reference
    # A newer name comes first in the case, and its own reference was never shown.
    case = NewCase(client_id=client_id, kind=CaseKind.RENEWAL, bought_by=Party.CLIENT)
    with simulation.database.write(simulation.now) as tx:
        opened = open_case(tx, case, [s.host for s in reversed(sites)], "opened")
    assert opened.reference == known
