"""Recipients of notices: roles, resellers, fallbacks, deputies, the border between clients."""

from __future__ import annotations

from inventory.store import clients, contacts, erase, notices, recipients
from notifiers.pipeline.run_outcome import RunOutcome
from tests.notifiers.sites import (
    DAY,
    START,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


def _add_deputy(simulation: SiteSimulation) -> int:
    with simulation.database.write(simulation.now) as tx:
        given = {"name": "Deputy", "role": "billing"}
        return contacts.add(tx, "1", given, ("email:deputy@client1.example",))


def _steps(outcome: RunOutcome) -> list[tuple[str, str]]:
    return [(d.person.name, i.step) for d, _ in outcome.drafts for i in d.items]


def test_notice_for_a_bad_address_goes_to_the_fallback(simulation: SiteSimulation) -> None:
    simulation.client("1")
    _add_deputy(simulation)
    key = add_expiring_site(simulation, left=8)
    with simulation.database.write(simulation.now) as tx:
        owner = next(c.id for c in contacts.listing(tx.conn) if c.name == "Owner of 1")
        assert recipients.mark_method(tx, owner, "owner1@client1.example", "bad")
    outcome = simulation.day()
    assert _steps(outcome) == [("Deputy", "fallback")]
    assert sent_items(outcome)[0][0] == key


def test_client_without_contacts_is_reported_to_staff(simulation: SiteSimulation) -> None:
    simulation.staff()
    with simulation.database.write(simulation.now) as tx:
        given = {"number": "9", "name": "Silent Ltd", "renews": "client", "hosts": "us"}
        clients.add(tx, given)
    site = simulation.site("silent.example", "9")
    site.serve(START - 390 * DAY, 398 * DAY)
    simulation.baseline()
    outcome = simulation.day()
    assert sent_items(outcome) == []
    expected = "staff: no contact can be reached: the client has no contact"
    assert reasons(simulation, site.key)[0] == expected
    assert any("no contact can be reached" in m.text for _, m in outcome.staff)


def test_reseller_gets_the_notices_of_its_clients_and_of_no_others(
    simulation: SiteSimulation,
) -> None:
    simulation.client("50")
    simulation.client("51", reseller="50")
    simulation.client("60")
    for host, number in (("a.example", "51"), ("b.example", "60")):
        simulation.site(host, number).serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    outcome = simulation.day(2)
    got = {d.person.name: m for d, m in outcome.drafts}
    assert set(got) == {"Owner of 50", "Owner of 60"}
    assert "a.example" in got["Owner of 50"].text
    assert "b.example" not in got["Owner of 50"].text + got["Owner of 50"].html
    assert "a.example" not in got["Owner of 60"].text + got["Owner of 60"].html


def test_clients_with_the_same_certificate_see_nothing_of_each_other(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    simulation.client("2")
    hosts = {"1": "rosen.example", "2": "tulpen.example"}
    subject = "CN=tulpen.example"
    shared = fault("name-mismatch", "critical", names=[*hosts.values()], subject=subject)
    for number, host in hosts.items():
        simulation.site(host, number)
    simulation.baseline()
    for host in hosts.values():
        simulation.sites[host].faults = {"name-mismatch": shared}
    outcome = simulation.day()
    assert len(outcome.drafts) == 2
    for draft, message in outcome.drafts:
        own = hosts["1" if draft.person.name == "Owner of 1" else "2"]
        other = next(h for h in hosts.values() if h != own)
        assert own in message.text
        assert other not in message.subject + message.text + message.html
        assert "Owner of" in message.text
    assert len({m.reference for _, m in outcome.drafts}) == 2


def test_messages_for_staff_who_are_away_go_to_their_deputy(simulation: SiteSimulation) -> None:
    bea = simulation.staff("Bea", "email:bea@provider.example")
    away = START + 10 * DAY
    ada = simulation.staff("Ada", "email:ada@provider.example", fallback="Bea", away_until=away)
    assert {p for p, _ in simulation.day().staff} == {bea}
    simulation.advance(12)
    assert {p for p, _ in simulation.notify().staff} == {ada, bea}


def test_notice_for_an_owner_who_is_away_goes_to_the_fallback(simulation: SiteSimulation) -> None:
    simulation.client("1")
    _add_deputy(simulation)
    with simulation.database.write(simulation.now) as tx:
        contacts.edit(tx, "Owner of 1", {"away_until": START + 20 * DAY})
    add_expiring_site(simulation, left=8)
    assert _steps(simulation.day()) == [("Deputy", "fallback")]


def test_erased_client_of_a_reseller_leaves_no_name_and_others_are_notified(
    simulation: SiteSimulation,
) -> None:
    simulation.client("50")
    for number in ("51", "52"):
        simulation.client(number, reseller="50")
        simulation.site(f"shop{number}.example", number).serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    assert len(simulation.day(2).drafts) == 1
    with simulation.database.write(simulation.now) as tx:
        erase.erase(tx, "51")
        del simulation.sites["shop51.example"]
    with simulation.database.read() as conn:
        rows = notices.with_texts(conn, range(1, 50))
        assert not any("shop51.example" in r.text for r in rows)
    simulation.advance(0, 1)
    outcome = simulation.notify()
    hosts = [i.topic.target.host for d, _ in outcome.drafts for i in d.items]
    assert hosts == ["shop52.example"]
