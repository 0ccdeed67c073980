"""One run of notices: its transaction, holds and releases, fixes, alarms, and the queue."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from certmgr.compliance.rules import RULES
from inventory.db.database import Database
from inventory.errors import Busy
from inventory.models import Client, Domain, Endpoint, Notice
from inventory.records import ListedNotice, ListedTicket
from inventory.store import clients, contacts, deadlines, domains, jobs, outbox, servers, tickets
from tests.campaign import Campaign
from tests.notifiers.sites import (
    DAY,
    START,
    Site,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


def _add_clients(simulation: SiteSimulation, count: int) -> list[Site]:
    """Add clients with one site each."""
    for n in range(count):
        simulation.client(str(n))
    return [simulation.site(f"a{n}.example", str(n)) for n in range(count)]


def _break(simulation: SiteSimulation, *numbers: int) -> None:
    for n in numbers:
        simulation.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")


def _fix_all(simulation: SiteSimulation) -> None:
    for site in simulation.sites.values():
        site.faults.clear()


def _release(simulation: SiteSimulation, cause: str, clients_per_day: int) -> None:
    with simulation.database.write(simulation.now) as tx:
        tickets.release(tx, cause, clients_per_day, "Ada")


def _held(simulation: SiteSimulation) -> list[ListedTicket]:
    with simulation.database.read() as conn:
        return list(tickets.listing(conn, held=True))


def _client_rows(simulation: SiteSimulation) -> list[ListedNotice]:
    with simulation.database.read() as conn:
        return [r for r in outbox.listing(conn) if r.client_id]


# -- the transaction -------------------------------------------------------------------------------


def test_dry_run_decides_the_same_and_stores_nothing(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    with simulation.database.read() as conn:
        before = (outbox.depth(conn), len(tickets.by_key(conn)))
    outcome = simulation.notify(dry_run=True)
    assert sent_items(outcome) == [(key, "7", "owner")]
    assert outcome.drafts[0][1].reference.startswith("CM-")
    with simulation.database.read() as conn:
        assert (outbox.depth(conn), len(tickets.by_key(conn))) == before
    assert sent_items(simulation.notify()) == [(key, "7", "owner")]


def test_second_run_at_the_same_time_is_refused(simulation: SiteSimulation) -> None:
    add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    with jobs.alone(simulation.database, "notify"), pytest.raises(Busy, match="notify is running"):
        simulation.notify()
    assert len(simulation.notify().drafts) == 1


def test_decisions_are_the_same_on_sqlite_and_postgresql(database: Database) -> None:
    simulation = SiteSimulation(database)
    simulation.staff()
    key = add_expiring_site(simulation, left=31)
    labels = [label for k, label, _ in simulation.days(35) if k == key]
    assert labels == ["30", "14", "7", "3", "1", "0", "+1"]
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert [step for _, _, step in sent_items(simulation.day())] == ["resolved"]


def test_domain_that_changed_hands_is_notified_to_its_new_client_only(
    simulation: SiteSimulation,
) -> None:
    add_expiring_site(simulation, left=31)
    simulation.day()
    simulation.mark_sent()
    simulation.client("2")
    with simulation.database.write(simulation.now) as tx:
        domains.edit(tx, "shop.example", {"client": "2"})
    outcome = simulation.day(16)
    got = [(d.person.name, i.label) for d, _ in outcome.drafts for i in d.items]
    assert got == [("Owner of 2", "14")]
    simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    outcome = simulation.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Owner of 2"]


# -- the queue -------------------------------------------------------------------------------------


def test_queued_notice_of_a_renewed_certificate_is_dropped(simulation: SiteSimulation) -> None:
    """The mail server is down for a day, and meanwhile the client renews."""
    add_expiring_site(simulation, left=8)
    assert len(sent_items(simulation.day())) == 1
    simulation.advance(1)
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert sent_items(simulation.notify()) == []
    assert _client_rows(simulation) == []


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
    assert [r for r in _client_rows(simulation) if r.state == "queued"] == []


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


# -- fixes -----------------------------------------------------------------------------------------


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


def test_deadline_that_is_met_is_notified_as_done(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    with simulation.database.write(simulation.now) as tx:
        given = {
            "at": START + 31 * DAY,
            "rule": "valid-certificate",
            "title": "All sites on HTTPS",
            "text": None,
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    simulation.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    simulation.day()
    simulation.mark_sent()
    site.faults.clear()
    site.serve(simulation.now, 398 * DAY)
    outcome = simulation.day()
    assert [step for _, _, step in sent_items(outcome)] == ["resolved"]
    assert "shop.example now complies with: All sites on HTTPS." in outcome.drafts[0][1].text


def test_held_fault_that_is_fixed_is_no_longer_held(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    site.faults["mixed-content"] = fault("mixed-content", "medium")
    simulation.baseline()
    site.faults.clear()
    assert sent_items(simulation.day()) == []
    assert _held(simulation) == []


# -- the other sites of a client -------------------------------------------------------------------


def test_message_lists_earlier_open_sites_of_the_client(simulation: SiteSimulation) -> None:
    simulation.client("1")
    near, far = simulation.site("near.example", "1"), simulation.site("far.example", "1")
    far.serve(START - (398 - 20) * DAY, 398 * DAY)
    near.serve(START - (398 - 8) * DAY, 398 * DAY)
    simulation.baseline()
    cause = next(r.cause for r in _held(simulation) if r.endpoint_id == far.id)
    _release(simulation, cause, 10)
    simulation.notify()
    simulation.mark_sent()
    outcome = simulation.day()
    ((_, message),) = outcome.drafts
    assert sent_items(outcome) == [(near.key, "7", "owner")]
    assert "Still open from before" in message.text
    assert "far.example" in message.text


def test_message_omits_earlier_sites_that_were_fixed_since_the_scan(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    a, b = simulation.site("a.example", "1"), simulation.site("b.example", "1")
    simulation.baseline()
    a.serve(START - (398 - 9) * DAY, 398 * DAY)
    simulation.day(2)
    simulation.mark_sent()
    b.faults["not-tls"] = fault("not-tls", "critical")
    simulation.advance(1)
    simulation.scan()
    a.serve(simulation.now, 398 * DAY)
    ((_, message),) = simulation.notify().drafts
    assert "b.example" in message.text
    assert "a.example" not in message.text


# -- alarms ----------------------------------------------------------------------------------------


def test_on_call_alarm_is_sent_once_per_cause_and_again_when_it_grows(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", hosts="us")
    sites = [simulation.site(f"a{n}.example", "1") for n in range(3)]
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    simulation.baseline()
    got = []
    for n in range(4):
        if n < 2:
            sites[n].faults["not-tls"] = fault("not-tls", "critical", "provider")
        alarms = [m for _, m in simulation.day().staff if m.reference == "alarm"]
        got.append([m.text.strip().splitlines()[0] for m in alarms])
        simulation.notify()
        simulation.mark_sent()
    assert got[0] == ["New fault on our side: server web1 not-tls, 1 endpoint(s), a0.example:443"]
    assert got[1] == ["New fault on our side: server web1 not-tls, 2 endpoint(s), a0.example:443"]
    assert got[2:] == [[], []]


def test_suspect_scan_holds_client_notices_and_alarms_staff(simulation: SiteSimulation) -> None:
    simulation.staff()
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan("suspect", reason="the control target failed")
    outcome = simulation.notify()
    assert sent_items(outcome) == []
    assert "hold: the last run (number 2) is suspect" in reasons(simulation, key)[0]
    assert any("Client messages are held" in m.text for _, m in outcome.staff)
    assert sent_items(simulation.day()) == [(key, "7", "owner")]


# -- holds and releases ----------------------------------------------------------------------------


@pytest.mark.campaign
def test_faults_of_the_first_scan_are_held_until_released_by_cause(
    simulation: SiteSimulation,
    campaign: Campaign,
) -> None:
    """Each client has 30 faults: more rows than fit into one query, also at the small size."""
    count = campaign.size("clients with 30 faults each", 60, 300)
    released = count // 6
    simulation.staff()
    _add_faulty_sites(simulation, count, 30)
    simulation.scan()
    outcome = simulation.notify()
    assert outcome.baseline
    assert (len(outcome.drafts), outcome.held) == (0, 30 * count)
    assert any("baseline of the inventory" in m.text for _, m in outcome.staff)
    assert simulation.days(3) == [], "released only by staff"
    causes = {f"client {n} mixed-content" for n in range(count)}
    assert {m.cause for m in _held(simulation)} == causes
    for n in range(released):
        _release(simulation, f"client {n} mixed-content", 20)
    outcome = simulation.notify()
    assert {d.person.name for d, _ in outcome.drafts} == {f"Owner of {n}" for n in range(released)}
    assert all(len(d.items) == 30 for d, _ in outcome.drafts), "one message with all sites"
    simulation.mark_sent()
    site = simulation.sites[f"s0.client{count - 1}.example"]
    site.faults["not-tls"] = fault("not-tls", "critical")
    assert sent_items(simulation.day()) == [(site.fault_key("not-tls"), "+0", "owner")], (
        "new, and not held"
    )


def _add_faulty_sites(simulation: SiteSimulation, count: int, each: int) -> None:
    with simulation.database.write(simulation.now) as tx:
        for n in range(count):
            values = {
                "number": str(n),
                "name": f"Client {n}",
                "renews": "client",
                "buys": "client",
                "hosts": "us",
            }
            clients.add(tx, values)
            address = f"email:owner@client{n}.example"
            contacts.add(tx, str(n), {"name": f"Owner of {n}"}, (address,))
        ids = {n: i for i, n in tx.conn.execute(select(Client.id, Client.number))}
        common = {"purpose": "site", "created_at": tx.at}
        numbers = [(n, k) for n in range(count) for k in range(each)]
        rows = [
            {"name": f"s{k}.client{n}.example", "client_id": ids[str(n)], **common}
            for n, k in numbers
        ]
        tx.conn.execute(insert(Domain), rows)
        known = list(tx.conn.execute(select(Domain.id, Domain.name, Domain.client_id)))
        common = {"port": 443, "protocol": "https", "created_at": tx.at}
        rows = [{"domain_id": i, "host": host} | common for i, host, _ in known]
        tx.conn.execute(insert(Endpoint), rows)
        query = select(Endpoint.domain_id, Endpoint.id)
        endpoints = {row[0]: row[1] for row in tx.conn.execute(query)}
    for domain_id, host, client_id in known:
        site = simulation.sites[host] = Site(endpoints[domain_id], host, client_id, domain_id)
        site.faults["mixed-content"] = fault(
            "mixed-content",
            "medium",
            url=f"https://{host}/",
            example="http://x/",
            urls=["http://x/"],
        )


def test_release_lets_its_number_of_clients_through_per_day(simulation: SiteSimulation) -> None:
    sites = _add_clients(simulation, 10)
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    for site in sites:
        site.faults["redirect-missing"] = fault("redirect-missing", "medium")
    simulation.baseline()
    _release(simulation, "server web1 redirect-missing", 4)
    counts = []
    for _ in range(5):
        counts.append(len(simulation.notify().drafts))
        counts.append(len(simulation.notify().drafts))
        simulation.mark_sent()
        simulation.day(1)
    assert counts[:2] == [4, 0]
    assert _held(simulation) == []


def test_release_of_a_finding_covers_every_cause_with_it(simulation: SiteSimulation) -> None:
    for site in _add_clients(simulation, 6):
        site.serve(START - 392 * DAY, 398 * DAY)
    simulation.baseline()
    assert len({m.cause for m in _held(simulation)}) == 6
    _release(simulation, "* certificate-expiring", 4)
    assert [len(simulation.notify().drafts), len(simulation.notify().drafts)] == [4, 0]
    simulation.mark_sent()
    assert len(simulation.day().drafts) == 2


def test_faults_of_too_many_clients_in_one_scan_are_held_until_released(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    _add_clients(simulation, 40)
    simulation.baseline()
    _break(simulation, *range(6))
    outcome = simulation.day()
    assert sent_items(outcome) == []
    assert outcome.held == 6
    assert any("changed 6 of 40 clients at once" in m.text for _, m in outcome.staff)
    assert sent_items(simulation.day()) == [], "still held"
    for cause in {m.cause for m in _held(simulation)}:
        _release(simulation, cause, 100)
    assert len(sent_items(simulation.notify())) == 6


def test_mass_change_that_happens_again_is_held_again(simulation: SiteSimulation) -> None:
    _add_clients(simulation, 40)
    simulation.baseline()
    for _ in range(3):
        _break(simulation, *range(15))
        assert sent_items(simulation.day()) == []
        _fix_all(simulation)
        assert sent_items(simulation.day()) == []


def test_faults_of_the_first_scan_that_return_together_are_held(simulation: SiteSimulation) -> None:
    _add_clients(simulation, 20)
    _break(simulation, *range(20))
    simulation.baseline()
    _fix_all(simulation)
    assert sent_items(simulation.day()) == []
    _break(simulation, *range(20))
    assert sent_items(simulation.day()) == []


def test_release_without_held_faults_ends_and_lets_no_new_fault_through(
    simulation: SiteSimulation,
) -> None:
    _add_clients(simulation, 40)
    simulation.baseline()
    _release(simulation, "* not-tls", 20)
    simulation.day()
    _break(simulation, *range(15))
    assert sent_items(simulation.day()) == []
    simulation.advance(0, 1)
    assert sent_items(simulation.notify()) == []


def test_too_many_fixes_in_one_scan_are_held_until_released(simulation: SiteSimulation) -> None:
    """A scan that closes everything is as suspect as one that opens everything."""
    _add_clients(simulation, 20)
    simulation.baseline()
    for numbers in (range(4), range(4, 8)):
        _break(simulation, *numbers)
        assert len(simulation.day().drafts) == 4
        simulation.mark_sent()
    _fix_all(simulation)
    outcome = simulation.day()
    assert (sent_items(outcome), outcome.held) == ([], 8)
    _release(simulation, "* not-tls", 100)
    assert {step for _, _, step in sent_items(simulation.notify())} == {"resolved"}


def test_more_clients_than_usual_are_notified_only_with_their_number(
    simulation_database: Database,
) -> None:
    simulation = SiteSimulation(simulation_database, confirm_above=3)
    for site in _add_clients(simulation, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    outcome = simulation.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    simulation.expected = 4
    assert simulation.notify().unconfirmed == 5
    simulation.expected = 5
    assert len(simulation.notify().drafts) == 5


def test_renewals_of_more_clients_than_usual_are_notified_with_their_number(
    simulation_database: Database,
) -> None:
    simulation = SiteSimulation(simulation_database, confirm_above=3)
    for site in _add_clients(simulation, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    simulation.expected = 5
    assert len(simulation.day(2).drafts) == 5
    simulation.mark_sent()
    simulation.expected = None
    for site in simulation.sites.values():
        site.serve(simulation.now, 398 * DAY)
    assert simulation.day().unconfirmed == 5
    simulation.expected = 5
    assert {step for _, _, step in sent_items(simulation.notify())} == {"resolved"}
