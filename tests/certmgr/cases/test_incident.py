"""Incidents: certificates are categorised by who replaces them, cases open at once, and an
incident closes when its certificates are verified.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from certmgr.cases import incident, intake
from certmgr.cases.opening import run
from certmgr.demo.authority import Authority
from inventory.certificates import parse
from inventory.db.database import to_epoch
from inventory.errors import UsageError
from inventory.models import Case, Endpoint, ServedChain
from inventory.store import cases, certificates, clients, domains, incidents, servers
from tests.campaign import Campaign
from tests.certmgr.cases.place import (
    HOST,
    OTHER_HOST,
    SECOND_HOST,
    CaseEnvironment,
    issue,
    serve,
    sha256,
    vendor_upload,
)

HOURS = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def env(sqlite_env: CaseEnvironment) -> CaseEnvironment:
    return sqlite_env


def test_serial_numbers_are_parsed_in_each_common_format_and_other_lines_are_reported() -> None:
    found, wrong = incident.read_serials(
        'serial\n# from the CA\n0A:1b:2C\n0x0a1b2d\n"0a1b2e",shop.example\n\n  0a1b2c  \nnot a'
        " number\n" + "f" * 41
    )
    assert found == ["a1b2c", "a1b2d", "a1b2e"]
    assert [w.partition(":")[0] for w in wrong] == ["line 8", "line 9"]


CLIENTS = {"client": "c", "ours": "o", "automatic": "a", "replaced": "c"}
"""Who replaces a certificate -> the number of the client who has such ones."""


def add_sites(env: CaseEnvironment, count: int) -> dict[str, list[str]]:
    """Add ``count`` sites with certificates, in rows as a scan writes them.

    Return their serial numbers by who has to replace them.
    """
    kinds = tuple(CLIENTS)
    serials: dict[str, list[str]] = {k: [] for k in kinds}
    end = to_epoch(env.now + 100 * DAY)
    leaves, spans = [], []
    with env.database.write(env.now) as tx:
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
            of_domain = select(Endpoint.id).where(Endpoint.domain_id == domain_id)
            serial, digest = f"c0ffee{i:06x}", f"{i:064x}"
            live = int(kind != "replaced")
            leaves.append(
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
        certificates.add(tx, leaves)
        tx.conn.execute(insert(ServedChain), spans)
    return serials


@pytest.mark.campaign
def test_serials_are_categorised_open_cases_at_once_and_close_when_they_are_resolved(
    env: CaseEnvironment, campaign: Campaign
) -> None:
    each = campaign.size("serials", 60, 1000) // 4  # of each kind
    serials = add_sites(env, 4 * each)
    unknown = ["deadbeef01", "deadbeef02"]
    requested = [s for group in serials.values() for s in group] + unknown
    service = env.service
    items = incident.select_affected(service, serials=requested)
    by_kind = {"client": each, "ours": each, "automatic": each}
    assert Counter(i.category for i in items) == {**by_kind, "replaced": each, "unknown": 2}
    by_serial = {i.serial: i.category for i in items}
    for kind, group in serials.items():
        assert {by_serial[s] for s in group} == {kind}
    until = env.now + 24 * HOURS
    row, counts = incident.open_incident(
        service, items, "serials", "serials", until, "the CA revokes"
    )
    assert (counts["opened"], counts["joined"]) == (2 * each, 0)
    with env.database.read() as conn:
        opened = cases.listing(conn, incident_id=row.id)
        left = [i for i in incidents.items(conn, row.id) if not incident.is_resolved(i)]
    assert len(opened) == 2 * each
    buyers = {(c.kind, c.bought_by) for c in opened}
    assert buyers == {("incident", "client"), ("incident", "us")}
    assert all(c.due_at is not None and c.due_at <= to_epoch(until) for c in opened)
    assert Counter(i.sort for i in left) == {**by_kind, "unknown": 2}
    # A scan saw that the automation has renewed; all cases but one close with their verification.
    last = Case.id == opened[0].id
    automatic = [i.sha256 for i in left if i.sort == "automatic"]
    with env.database.write(env.now) as tx:
        renewed = update(ServedChain).where(ServedChain.leaf.in_(automatic))
        tx.conn.execute(renewed.values(open=0, live=0))
        others = update(Case).where(Case.incident_id == row.id, ~last)
        tx.conn.execute(others.values(state="closed", closed_at=tx.at))
    assert incident.close_resolved(service) == []
    with env.database.read() as conn:
        left = [i for i in incidents.items(conn, row.id) if not incident.is_resolved(i)]
    known = [(i.reference, i.sort) for i in left if i.sort != "unknown"]
    assert known == [(opened[0].reference, "client")]
    with env.database.write(env.now) as tx:
        values = {"state": "cancelled", "closed_at": tx.at}
        tx.conn.execute(update(Case).where(last).values(values))
    assert incident.close_resolved(service) == [], "a case that was cancelled is no verification"
    with env.database.write(env.now) as tx:
        tx.conn.execute(update(Case).where(last).values(state="closed"))
    assert incident.close_resolved(service) == [row.reference]


def test_incident_of_an_issuer_closes_when_its_case_is_verified(
    env: CaseEnvironment, issuer: Authority
) -> None:
    begin, end = env.now - DAY, env.now + 80 * DAY
    bad = issuer.issue(HOST, SECOND_HOST, not_before=begin, not_after=end)
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, bad, env.now)
    items = incident.select_affected(env.service, issuer="test issuer")
    assert [(i.category, i.hosts) for i in items] == [("client", (HOST, SECOND_HOST))]
    until = env.now + 20 * HOURS
    reason = "key ceremony failed"
    row, _ = incident.open_incident(env.service, items, "issuer", "Test Issuer", until, reason)
    with env.database.read() as conn:
        (one,) = cases.listing(conn, incident_id=row.id)
    reference = one.reference
    assert one.names == (HOST, SECOND_HOST)
    (pem,) = intake.make_csr(env.service, reference)
    issued = issue(issuer, pem, start=env.now)
    intake.send_csr(env.service, reference)
    assert not intake.receive(env.service, reference, vendor_upload(issued)).refused
    env.service.mark_installed(reference, "at once: the CA revokes")
    done = run(env.service_seeing(sha256(issued)))
    assert done.closed == [reference]
    with env.database.read() as conn:
        assert incidents.listing(conn) == [], "everything was verified, so it is closed"


def test_open_case_joins_the_incident_and_is_not_opened_twice(
    env: CaseEnvironment, issuer: Authority
) -> None:
    bad = issuer.issue(HOST, days=80)
    serve(env.database, HOST, bad, env.now)
    reference = env.service.open("1001", [HOST]).reference
    items = incident.select_affected(env.service, serials=[parse(bad.der).serial])
    until = env.now + 5 * HOURS
    row, counts = incident.open_incident(env.service, items, "serials", "1", until, "stolen key")
    assert (counts["opened"], counts["joined"]) == (0, 1)
    joined = env.row(reference)
    assert (joined.incident_id, joined.ends_at) == (row.id, to_epoch(until))


def test_certificate_of_two_clients_opens_a_case_for_each(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.client("1002", OTHER_HOST)
    bad = issuer.issue(HOST, OTHER_HOST, days=80)
    for host in (HOST, OTHER_HOST):
        serve(env.database, host, bad, env.now)
    items = incident.select_affected(env.service, serials=[parse(bad.der).serial])
    until = env.now + 5 * HOURS
    row, counts = incident.open_incident(env.service, items, "serials", "1", until, "x")
    assert counts["opened"] == 2
    with env.database.read() as conn:
        opened = cases.listing(conn, incident_id=row.id)
    assert {(c.client, *c.names) for c in opened} == {("1001", HOST), ("1002", OTHER_HOST)}


def test_incident_of_a_server_is_about_its_certificates_alone(
    env: CaseEnvironment, issuer: Authority
) -> None:
    with env.database.write(env.now) as tx:
        servers.add(tx, {"name": "web1"})
        domains.edit(tx, HOST, {"server": "web1"})
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, issuer.issue(host, days=80), env.now)
    assert [i.hosts for i in incident.select_affected(env.service, server="web1")] == [(HOST,)]


@pytest.mark.parametrize("hours", [0, -1])
def test_incident_until_a_time_that_has_passed_is_refused(env: CaseEnvironment, hours: int) -> None:
    items = [incident.AffectedCertificate("1", None, None, None, (), "unknown")]
    until = env.now + hours * HOURS
    with pytest.raises(UsageError, match="has passed"):
        incident.open_incident(env.service, items, "serials", "1", until, "x")


def test_incident_without_a_certificate_is_refused(env: CaseEnvironment) -> None:
    with pytest.raises(UsageError, match="No certificate"):
        incident.open_incident(env.service, [], "issuer", "x", env.now + HOURS, "x")
