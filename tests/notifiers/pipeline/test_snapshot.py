"""What a run decides again, and what releases let through."""

from __future__ import annotations

from sqlalchemy import update

from inventory.models import Notice
from inventory.store import contacts, domains, servers
from tests.notifiers.pipeline.many_sites import add_clients, break_sites, client_rows, held, release
from tests.notifiers.sites import DAY, START, SiteSimulation, add_expiring_site, fault, sent_items


def test_queued_notice_of_a_renewed_certificate_is_dropped(simulation: SiteSimulation) -> None:
    """The mail server is down for a day, and meanwhile the client renews."""
    add_expiring_site(simulation, left=8)
    assert len(sent_items(simulation.day())) == 1
    simulation.advance(1)
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert sent_items(simulation.notify()) == []
    assert client_rows(simulation) == []


def test_queued_notice_of_a_fixed_fault_is_dropped(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults["mixed-content"] = fault("mixed-content", "high")
    assert len(simulation.day().drafts) == 1
    site.faults.clear()
    simulation.advance(0, 1)
    simulation.scan()
    simulation.notify()
    assert [r for r in client_rows(simulation) if r.state == "queued"] == []


def test_refused_notice_goes_to_the_fallback_and_a_day_later_to_the_owner(
    simulation: SiteSimulation,
) -> None:
    """The server refused the message and not the address."""
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        deputy = {"name": "Deputy", "role": "billing"}
        contacts.add(tx, "1", deputy, ("email:deputy@client1.example",))
    add_expiring_site(simulation, left=8)
    simulation.day()
    with simulation.database.write(simulation.now) as tx:
        query = update(Notice).where(Notice.kind == "client")
        tx.conn.execute(query.values(state="failed", attempts=1, smtp_code=554))
    simulation.advance(0, 1)
    assert [d.person.name for d, _ in simulation.notify().drafts] == ["Deputy"]
    simulation.mark_sent()
    assert [d.person.name for d, _ in simulation.day().drafts] == ["Owner of 1"]


def test_renewal_that_was_not_notified_for_a_day_is_queued_again(
    simulation: SiteSimulation,
) -> None:
    add_expiring_site(simulation, left=8)
    simulation.day()
    simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert [step for _, _, step in sent_items(simulation.day())] == ["resolved"]
    assert [step for _, _, step in sent_items(simulation.day())] == ["resolved"], (
        "the mail server was down"
    )
    simulation.mark_sent()
    assert sent_items(simulation.day()) == []


def test_release_lets_its_number_of_clients_through_per_day(simulation: SiteSimulation) -> None:
    sites = add_clients(simulation, 10)
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    for site in sites:
        site.faults["redirect-missing"] = fault("redirect-missing", "medium")
    simulation.baseline()
    release(simulation, "server web1 redirect-missing", 4)
    counts = []
    for _ in range(5):
        counts.append(len(simulation.notify().drafts))
        counts.append(len(simulation.notify().drafts))
        simulation.mark_sent()
        simulation.day(1)
    assert counts[:2] == [4, 0]
    assert held(simulation) == []


def test_release_of_a_finding_covers_every_cause_with_it(simulation: SiteSimulation) -> None:
    for site in add_clients(simulation, 6):
        site.serve(START - 392 * DAY, 398 * DAY)
    simulation.baseline()
    assert len({m.cause for m in held(simulation)}) == 6
    release(simulation, "* certificate-expiring", 4)
    assert [len(simulation.notify().drafts), len(simulation.notify().drafts)] == [4, 0]
    simulation.mark_sent()
    assert len(simulation.day().drafts) == 2


def test_release_without_held_faults_ends_and_lets_no_new_fault_through(
    simulation: SiteSimulation,
) -> None:
    add_clients(simulation, 40)
    simulation.baseline()
    release(simulation, "* not-tls", 20)
    simulation.day()
    break_sites(simulation, *range(15))
    assert sent_items(simulation.day()) == []
    simulation.advance(0, 1)
    assert sent_items(simulation.notify()) == []
