"""Incidents: certificates are sorted by who replaces them, cases open at once, and what is seen
closes the incident.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from certmgr.cases import incident, intake
from certmgr.cases.opening import run
from certmgr.demo.authority import Authority
from inventory.certificates import parse
from inventory.db.database import to_epoch
from inventory.errors import UsageError
from inventory.models.tables import case, endpoint, observation
from inventory.store import cases, clients, domains, incidents, scan_results, servers
from tests.campaign import Campaign
from tests.certmgr.cases.place import (
    HOST,
    OTHER_HOST,
    SECOND_HOST,
    Place,
    issue,
    material,
    serve,
    sha256,
)

HOURS = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def place(sqlite_place: Place) -> Place:
    return sqlite_place


def test_serial_numbers_are_read_in_each_common_form_and_other_lines_are_named() -> None:
    found, wrong = incident.read_serials(
        'serial\n# from the CA\n0A:1b:2C\n0x0a1b2d\n"0a1b2e",shop.example\n\n  0a1b2c  \nnot a'
        " number\n" + "f" * 41
    )
    assert found == ["a1b2c", "a1b2d", "a1b2e"]
    assert [w.partition(":")[0] for w in wrong] == ["line 8", "line 9"]


CLIENTS = {"client": "c", "ours": "o", "automatic": "a", "replaced": "c"}
"""Who replaces a certificate -> the number of the client who has such ones."""


def fleet(place: Place, count: int) -> dict[str, list[str]]:
    """Add ``count`` sites with certificates, in rows as a scan writes them.

    Return their serial numbers by who has to replace them.
    """
    kinds = tuple(CLIENTS)
    serials: dict[str, list[str]] = {k: [] for k in kinds}
    end = to_epoch(place.now + 100 * DAY)
    certificates, spans = [], []
    with place.database.write(place.now) as tx:
        for number, given in (
            ("c", {"buys": "client"}),
            ("o", {"buys": "us"}),
            ("a", {"buys": "client", "renews": "panel"}),
        ):
            clients.add(tx, {"number": number, "name": f"Kind {number}", **given})
        for i in range(count):
            kind = kinds[i % 4]
            host = f"site{i}.{kind}.example"
            domain_id = domains.add(tx, host, {"client": CLIENTS[kind]})
            of_domain = select(endpoint.c.id).where(endpoint.c.domain_id == domain_id)
            serial, digest = f"c0ffee{i:06x}", f"{i:064x}"
            live = int(kind != "replaced")
            certificates.append(
                {
                    "sha256": digest,
                    "der": b"",
                    "serial": serial,
                    "subject": f"CN={host}",
                    "issuer": "O=Bad CA",
                    "not_before": tx.at,
                    "not_after": end,
                    "names": f'["{host}"]',
                    "key": "EC P-256",
                    "is_ca": 0,
                }
            )
            spans.append(
                {
                    "endpoint_id": tx.conn.execute(of_domain).scalar(),
                    "address": "192.0.2.1",
                    "first_seen": tx.at,
                    "last_seen": tx.at,
                    "open": live,
                    "live": live,
                    "chain": digest,
                    "leaf": digest,
                }
            )
            serials[kind].append(serial)
        scan_results.add_certificates(tx, certificates)
        tx.conn.execute(insert(observation), spans)
    return serials


@pytest.mark.campaign
def test_serials_are_sorted_open_cases_at_once_and_close_by_what_is_seen(
    place: Place, campaign: Campaign
) -> None:
    each = campaign.size("serials", 60, 1000) // 4  # of each kind
    serials = fleet(place, 4 * each)
    unknown = ["deadbeef01", "deadbeef02"]
    asked = [s for group in serials.values() for s in group] + unknown
    desk = place.desk
    items = incident.select(desk, serials=asked)
    by_kind = {"client": each, "ours": each, "automatic": each}
    assert Counter(i.sort for i in items) == {**by_kind, "replaced": each, "unknown": 2}
    by_serial = {i.serial: i.sort for i in items}
    for kind, group in serials.items():
        assert {by_serial[s] for s in group} == {kind}
    until = place.now + 24 * HOURS
    row, counts = incident.open_(desk, items, "serials", "serials", until, "the CA revokes")
    assert (counts["opened"], counts["joined"]) == (2 * each, 0)
    with place.database.read() as conn:
        opened = cases.listing(conn, incident_id=row["id"])
        left = [i for i in incidents.items(conn, row["id"]) if not incident.done(i)]
    assert len(opened) == 2 * each
    buyers = {(c["kind"], c["bought_by"]) for c in opened}
    assert buyers == {("incident", "client"), ("incident", "us")}
    assert all(c["due_at"] <= to_epoch(until) for c in opened)
    assert Counter(i["sort"] for i in left) == {**by_kind, "unknown": 2}
    # A scan saw that the automation has renewed; all cases but one close with their verification.
    last = case.c.id == opened[0]["id"]
    automatic = [i["sha256"] for i in left if i["sort"] == "automatic"]
    with place.database.write(place.now) as tx:
        renewed = observation.update().where(observation.c.leaf.in_(automatic))
        tx.conn.execute(renewed.values(open=0, live=0))
        others = case.update().where(case.c.incident_id == row["id"], ~last)
        tx.conn.execute(others.values(state="closed", closed_at=tx.at))
    assert incident.settle(desk) == []
    with place.database.read() as conn:
        left = [i for i in incidents.items(conn, row["id"]) if not incident.done(i)]
    known = [(i["reference"], i["sort"]) for i in left if i["sort"] != "unknown"]
    assert known == [(opened[0]["reference"], "client")]
    with place.database.write(place.now) as tx:
        values = {"state": "cancelled", "closed_at": tx.at}
        tx.conn.execute(case.update().where(last).values(values))
    assert incident.settle(desk) == [], "a case that was cancelled is no verification"
    with place.database.write(place.now) as tx:
        tx.conn.execute(case.update().where(last).values(state="closed"))
    assert incident.settle(desk) == [row["reference"]]


def test_incident_of_an_issuer_closes_when_its_case_is_verified(
    place: Place, issuer: Authority
) -> None:
    begin, end = place.now - DAY, place.now + 80 * DAY
    bad = issuer.issue(HOST, SECOND_HOST, not_before=begin, not_after=end)
    for host in (HOST, SECOND_HOST):
        serve(place.database, host, bad, place.now)
    items = incident.select(place.desk, issuer="test issuer")
    assert [(i.sort, i.hosts) for i in items] == [("client", (HOST, SECOND_HOST))]
    until = place.now + 20 * HOURS
    reason = "key ceremony failed"
    row, _ = incident.open_(place.desk, items, "issuer", "Test Issuer", until, reason)
    with place.database.read() as conn:
        (one,) = cases.listing(conn, incident_id=row["id"])
    reference = one["reference"]
    assert one["names"] == [HOST, SECOND_HOST]
    (pem,) = intake.make_csr(place.desk, reference)
    issued = issue(issuer, pem, start=place.now)
    intake.send(place.desk, reference)
    assert not intake.receive(place.desk, reference, material(issued)).refused
    place.desk.installed(reference, "at once: the CA revokes")
    done = run(place.desk_seeing(sha256(issued)))
    assert done.closed == [reference]
    with place.database.read() as conn:
        assert incidents.listing(conn) == [], "everything was seen, so it is closed"


def test_open_case_joins_the_incident_and_is_not_opened_twice(
    place: Place, issuer: Authority
) -> None:
    bad = issuer.issue(HOST, days=80)
    serve(place.database, HOST, bad, place.now)
    reference = place.desk.open("1001", [HOST])["reference"]
    items = incident.select(place.desk, serials=[parse(bad.der).serial])
    until = place.now + 5 * HOURS
    row, counts = incident.open_(place.desk, items, "serials", "1", until, "stolen key")
    assert (counts["opened"], counts["joined"]) == (0, 1)
    joined = place.row(reference)
    assert (joined["incident_id"], joined["ends_at"]) == (row["id"], to_epoch(until))


def test_certificate_of_two_clients_opens_a_case_for_each(place: Place, issuer: Authority) -> None:
    place.client("1002", OTHER_HOST)
    bad = issuer.issue(HOST, OTHER_HOST, days=80)
    for host in (HOST, OTHER_HOST):
        serve(place.database, host, bad, place.now)
    items = incident.select(place.desk, serials=[parse(bad.der).serial])
    until = place.now + 5 * HOURS
    row, counts = incident.open_(place.desk, items, "serials", "1", until, "x")
    assert counts["opened"] == 2
    with place.database.read() as conn:
        opened = cases.listing(conn, incident_id=row["id"])
    assert {(c["client"], *c["names"]) for c in opened} == {("1001", HOST), ("1002", OTHER_HOST)}


def test_incident_of_a_server_is_about_its_certificates_alone(
    place: Place, issuer: Authority
) -> None:
    with place.database.write(place.now) as tx:
        servers.add(tx, {"name": "web1"})
        domains.edit(tx, HOST, {"server": "web1"})
    for host in (HOST, SECOND_HOST):
        serve(place.database, host, issuer.issue(host, days=80), place.now)
    assert [i.hosts for i in incident.select(place.desk, server="web1")] == [(HOST,)]


@pytest.mark.parametrize("hours", [0, -1])
def test_incident_until_a_time_that_has_passed_is_refused(place: Place, hours: int) -> None:
    items = [incident.AffectedCertificate("1", None, None, None, (), "unknown")]
    until = place.now + hours * HOURS
    with pytest.raises(UsageError, match="has passed"):
        incident.open_(place.desk, items, "serials", "1", until, "x")


def test_incident_without_a_certificate_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="No certificate"):
        incident.open_(place.desk, [], "issuer", "x", place.now + HOURS, "x")
