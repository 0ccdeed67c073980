"""One run of notices: its transaction, holds and releases, fixes, alarms, and the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from certmgr.compliance.rules import RULES
from inventory.db.database import Database
from inventory.errors import Busy
from inventory.models.tables import client, domain, endpoint, notice
from inventory.store import clients, contacts, deadlines, domains, jobs, outbox, servers, tickets
from tests.campaign import Campaign
from tests.notifiers.street import DAY, START, Site, Street, fault, reasons, said, year


def _add_clients(street: Street, count: int) -> list[Site]:
    """Add clients with one site each."""
    for n in range(count):
        street.client(str(n))
    return [street.site(f"a{n}.example", str(n)) for n in range(count)]


def _break(street: Street, *numbers: int) -> None:
    for n in numbers:
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")


def _fix_all(street: Street) -> None:
    for site in street.sites.values():
        site.faults.clear()


def _release(street: Street, cause: str, clients_per_day: int) -> None:
    with street.database.write(street.now) as tx:
        tickets.release(tx, cause, clients_per_day, "Ada")


def _held(street: Street) -> list[Mapping[str, Any]]:
    with street.database.read() as conn:
        return list(tickets.listing(conn, held=True))


def _client_rows(street: Street) -> list[Mapping[str, Any]]:
    with street.database.read() as conn:
        return [r for r in outbox.listing(conn) if r["client_id"]]


# -- the transaction -------------------------------------------------------------------------------


def test_dry_run_decides_the_same_and_stores_nothing(street: Street) -> None:
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    with street.database.read() as conn:
        before = (outbox.depth(conn), len(tickets.by_key(conn)))
    outcome = street.notify(dry_run=True)
    assert said(outcome) == [(key, "7", "owner")]
    assert outcome.drafts[0][1].reference.startswith("CM-")
    with street.database.read() as conn:
        assert (outbox.depth(conn), len(tickets.by_key(conn))) == before
    assert said(street.notify()) == [(key, "7", "owner")]


def test_second_run_at_the_same_time_is_refused(street: Street) -> None:
    year(street, left=8)
    street.pass_(1)
    street.scan()
    with jobs.alone(street.database, "notify"), pytest.raises(Busy, match="notify is running"):
        street.notify()
    assert len(street.notify().drafts) == 1


def test_decisions_are_the_same_on_sqlite_and_postgresql(database: Database) -> None:
    street = Street(database)
    street.staff()
    key = year(street, left=31)
    labels = [label for k, label, _ in street.days(35) if k == key]
    assert labels == ["30", "14", "7", "3", "1", "0", "+1"]
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]


def test_domain_that_changed_hands_is_notified_to_its_new_client_only(street: Street) -> None:
    year(street, left=31)
    street.day()
    street.sent()
    street.client("2")
    with street.database.write(street.now) as tx:
        domains.edit(tx, "shop.example", {"client": "2"})
    outcome = street.day(16)
    got = [(d.person.name, i.label) for d, _ in outcome.drafts for i in d.items]
    assert got == [("Owner of 2", "14")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Owner of 2"]


# -- the queue -------------------------------------------------------------------------------------


def test_queued_notice_of_a_renewed_certificate_is_dropped(street: Street) -> None:
    """The mail server is down for a day, and meanwhile the client renews."""
    year(street, left=8)
    assert len(said(street.day())) == 1
    street.pass_(1)
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert said(street.notify()) == []
    assert _client_rows(street) == []


def test_queued_notice_of_a_fixed_fault_is_dropped(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault("mixed-content", "high")
    assert len(street.day().drafts) == 1
    site.faults.clear()
    street.pass_(0, 1)
    street.scan()
    street.notify()
    assert [r for r in _client_rows(street) if r["state"] == "queued"] == []


def test_refused_notice_goes_to_the_fallback_and_a_day_later_to_the_owner(street: Street) -> None:
    """The server refused the message and not the address."""
    street.client("1")
    with street.database.write(street.now) as tx:
        deputy = {"name": "Deputy", "role": "billing"}
        contacts.add(tx, "1", deputy, ("email:deputy@client1.example",))
    year(street, left=8)
    street.day()
    with street.database.write(street.now) as tx:
        query = update(notice).where(notice.c.kind == "client")
        tx.conn.execute(query.values(state="failed", attempts=1, smtp_code=554))
    street.pass_(0, 1)
    assert [d.person.name for d, _ in street.notify().drafts] == ["Deputy"]
    street.sent()
    assert [d.person.name for d, _ in street.day().drafts] == ["Owner of 1"]


# -- fixes -----------------------------------------------------------------------------------------


def test_renewal_that_was_not_notified_for_a_day_is_queued_again(street: Street) -> None:
    year(street, left=8)
    street.day()
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]
    assert [step for _, _, step in said(street.day())] == ["resolved"], "the mail server was down"
    street.sent()
    assert said(street.day()) == []


def test_deadline_that_is_met_is_notified_as_done(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
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
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    street.day()
    street.sent()
    site.faults.clear()
    site.serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [step for _, _, step in said(outcome)] == ["resolved"]
    assert "shop.example now meets: All sites on HTTPS." in outcome.drafts[0][1].text


def test_held_fault_that_is_fixed_is_no_longer_held(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    site.faults["mixed-content"] = fault("mixed-content", "medium")
    street.baseline()
    site.faults.clear()
    assert said(street.day()) == []
    assert _held(street) == []


# -- the other sites of a client -------------------------------------------------------------------


def test_message_lists_earlier_open_sites_of_the_client(street: Street) -> None:
    street.client("1")
    near, far = street.site("near.example", "1"), street.site("far.example", "1")
    far.serve(START - (398 - 20) * DAY, 398 * DAY)
    near.serve(START - (398 - 8) * DAY, 398 * DAY)
    street.baseline()
    cause = next(r["cause"] for r in _held(street) if r["endpoint_id"] == far.id)
    _release(street, cause, 10)
    street.notify()
    street.sent()
    outcome = street.day()
    ((_, message),) = outcome.drafts
    assert said(outcome) == [(near.key, "7", "owner")]
    assert "Still open from before" in message.text
    assert "far.example" in message.text


def test_message_omits_earlier_sites_that_were_fixed_since_the_scan(street: Street) -> None:
    street.client("1")
    a, b = street.site("a.example", "1"), street.site("b.example", "1")
    street.baseline()
    a.serve(START - (398 - 9) * DAY, 398 * DAY)
    street.day(2)
    street.sent()
    b.faults["not-tls"] = fault("not-tls", "critical")
    street.pass_(1)
    street.scan()
    a.serve(street.now, 398 * DAY)
    ((_, message),) = street.notify().drafts
    assert "b.example" in message.text
    assert "a.example" not in message.text


# -- alarms ----------------------------------------------------------------------------------------


def test_on_call_alarm_is_sent_once_per_cause_and_again_when_it_grows(street: Street) -> None:
    street.staff()
    street.client("1", hosts="us")
    sites = [street.site(f"a{n}.example", "1") for n in range(3)]
    with street.database.write(street.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    street.baseline()
    got = []
    for n in range(4):
        if n < 2:
            sites[n].faults["not-tls"] = fault("not-tls", "critical", "provider")
        alarms = [m for _, m in street.day().staff if m.reference == "alarm"]
        got.append([m.text.strip().splitlines()[0] for m in alarms])
        street.notify()
        street.sent()
    assert got[0] == ["New and ours: server web1 not-tls, 1 endpoint(s), a0.example:443"]
    assert got[1] == ["New and ours: server web1 not-tls, 2 endpoint(s), a0.example:443"]
    assert got[2:] == [[], []]


def test_suspect_scan_holds_client_notices_and_alarms_staff(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan("suspect", reason="the control target failed")
    outcome = street.notify()
    assert said(outcome) == []
    assert "hold: the last run (number 2) is suspect" in reasons(street, key)[0]
    assert any("Client messages are held" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [(key, "7", "owner")]


# -- holds and releases ----------------------------------------------------------------------------


@pytest.mark.campaign
def test_faults_of_the_first_scan_are_held_until_released_by_cause(
    street: Street,
    campaign: Campaign,
) -> None:
    """Each client has 30 faults: more rows than fit into one query, also at the small size."""
    count = campaign.size("clients with 30 faults each", 60, 300)
    released = count // 6
    street.staff()
    _add_faulty_sites(street, count, 30)
    street.scan()
    outcome = street.notify()
    assert outcome.baseline
    assert (len(outcome.drafts), outcome.held) == (0, 30 * count)
    assert any("first sight of the inventory" in m.text for _, m in outcome.staff)
    assert street.days(3) == [], "released only by staff"
    causes = {f"client {n} mixed-content" for n in range(count)}
    assert {m["cause"] for m in _held(street)} == causes
    for n in range(released):
        _release(street, f"client {n} mixed-content", 20)
    outcome = street.notify()
    assert {d.person.name for d, _ in outcome.drafts} == {f"Owner of {n}" for n in range(released)}
    assert all(len(d.items) == 30 for d, _ in outcome.drafts), "one message with all sites"
    street.sent()
    site = street.sites[f"s0.client{count - 1}.example"]
    site.faults["not-tls"] = fault("not-tls", "critical")
    assert said(street.day()) == [(site.fault_key("not-tls"), "+0", "owner")], "new, and not held"


def _add_faulty_sites(street: Street, count: int, each: int) -> None:
    with street.database.write(street.now) as tx:
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
        ids = {n: i for i, n in tx.conn.execute(select(client.c.id, client.c.number))}
        common = {"purpose": "site", "created_at": tx.at}
        numbers = [(n, k) for n in range(count) for k in range(each)]
        rows = [
            {"name": f"s{k}.client{n}.example", "client_id": ids[str(n)], **common}
            for n, k in numbers
        ]
        tx.conn.execute(insert(domain), rows)
        known = list(tx.conn.execute(select(domain.c.id, domain.c.name, domain.c.client_id)))
        common = {"port": 443, "protocol": "https", "created_at": tx.at}
        rows = [{"domain_id": i, "host": host} | common for i, host, _ in known]
        tx.conn.execute(insert(endpoint), rows)
        query = select(endpoint.c.domain_id, endpoint.c.id)
        endpoints = {row[0]: row[1] for row in tx.conn.execute(query)}
    for domain_id, host, client_id in known:
        site = street.sites[host] = Site(endpoints[domain_id], host, client_id, domain_id)
        site.faults["mixed-content"] = fault(
            "mixed-content",
            "medium",
            url=f"https://{host}/",
            example="http://x/",
            urls=["http://x/"],
        )


def test_release_lets_its_number_of_clients_through_per_day(street: Street) -> None:
    sites = _add_clients(street, 10)
    with street.database.write(street.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    for site in sites:
        site.faults["redirect-missing"] = fault("redirect-missing", "medium")
    street.baseline()
    _release(street, "server web1 redirect-missing", 4)
    counts = []
    for _ in range(5):
        counts.append(len(street.notify().drafts))
        counts.append(len(street.notify().drafts))
        street.sent()
        street.day(1)
    assert counts[:2] == [4, 0]
    assert _held(street) == []


def test_release_of_a_finding_covers_every_cause_with_it(street: Street) -> None:
    for site in _add_clients(street, 6):
        site.serve(START - 392 * DAY, 398 * DAY)
    street.baseline()
    assert len({m["cause"] for m in _held(street)}) == 6
    _release(street, "* certificate-expiring", 4)
    assert [len(street.notify().drafts), len(street.notify().drafts)] == [4, 0]
    street.sent()
    assert len(street.day().drafts) == 2


def test_faults_of_too_many_clients_in_one_scan_are_held_until_released(street: Street) -> None:
    street.staff()
    _add_clients(street, 40)
    street.baseline()
    _break(street, *range(6))
    outcome = street.day()
    assert said(outcome) == []
    assert outcome.held == 6
    assert any("changed 6 of 40 clients at once" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [], "still held"
    for cause in {m["cause"] for m in _held(street)}:
        _release(street, cause, 100)
    assert len(said(street.notify())) == 6


def test_mass_change_that_happens_again_is_held_again(street: Street) -> None:
    _add_clients(street, 40)
    street.baseline()
    for _ in range(3):
        _break(street, *range(15))
        assert said(street.day()) == []
        _fix_all(street)
        assert said(street.day()) == []


def test_faults_of_the_first_scan_that_return_together_are_held(street: Street) -> None:
    _add_clients(street, 20)
    _break(street, *range(20))
    street.baseline()
    _fix_all(street)
    assert said(street.day()) == []
    _break(street, *range(20))
    assert said(street.day()) == []


def test_release_without_held_faults_ends_and_lets_no_new_fault_through(street: Street) -> None:
    _add_clients(street, 40)
    street.baseline()
    _release(street, "* not-tls", 20)
    street.day()
    _break(street, *range(15))
    assert said(street.day()) == []
    street.pass_(0, 1)
    assert said(street.notify()) == []


def test_too_many_fixes_in_one_scan_are_held_until_released(street: Street) -> None:
    """A scan that closes everything is as suspect as one that opens everything."""
    _add_clients(street, 20)
    street.baseline()
    for numbers in (range(4), range(4, 8)):
        _break(street, *numbers)
        assert len(street.day().drafts) == 4
        street.sent()
    _fix_all(street)
    outcome = street.day()
    assert (said(outcome), outcome.held) == ([], 8)
    _release(street, "* not-tls", 100)
    assert {step for _, _, step in said(street.notify())} == {"resolved"}


def test_more_clients_than_usual_are_notified_only_with_their_number(
    street_database: Database,
) -> None:
    street = Street(street_database, confirm_above=3)
    for site in _add_clients(street, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    street.expected = 4
    assert street.notify().unconfirmed == 5
    street.expected = 5
    assert len(street.notify().drafts) == 5


def test_renewals_of_more_clients_than_usual_are_notified_with_their_number(
    street_database: Database,
) -> None:
    street = Street(street_database, confirm_above=3)
    for site in _add_clients(street, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    street.expected = 5
    assert len(street.day(2).drafts) == 5
    street.sent()
    street.expected = None
    for site in street.sites.values():
        site.serve(street.now, 398 * DAY)
    assert street.day().unconfirmed == 5
    street.expected = 5
    assert {step for _, _, step in said(street.notify())} == {"resolved"}
