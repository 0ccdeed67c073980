"""Incidents: certificates are categorised by who replaces them, cases open at once, and an
incident closes when its certificates are verified.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select, update

from certmgr.cases import (
    incident,
    incident_categories,
    incident_progress,
    incident_selection,
    installation,
    intake,
    new_case,
    signing_requests,
)
from certmgr.cases.blocked_keys import depending_on
from certmgr.cases.opening import run
from certmgr.demo.authority import Authority
from certmgr.inspection.report import certificate_row
from certmgr.x509.trust_rules import spki_sha256
from inventory.certificates import parse
from inventory.db.database import to_epoch
from inventory.errors import UsageError
from inventory.models import AcmeAccount, Case, Endpoint, ServedChain
from inventory.records import IncidentItemRecord
from inventory.store import (
    cases,
    certificates,
    clients,
    domains,
    incidents,
    lineages,
    servers,
)
from inventory.vocabulary import IncidentCategory, IncidentKind
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
    with_lineage,
)
from tests.inventory.store.builders import add_lineage
from tests.inventory.store.scan_rows import add_leaf

HOURS = timedelta(hours=1)


def left_of(conn: Connection, reference: str, env: CaseEnvironment) -> list[IncidentItemRecord]:
    """The items of an incident that are not done, those outside the inventory included."""
    row = incidents.find(conn, reference)
    found = incident_progress.progress(conn, row, to_epoch(env.now))
    return [i for i in found.items if i.id not in found.done]


DAY = timedelta(days=1)


@pytest.fixture
def env(sqlite_env: CaseEnvironment) -> CaseEnvironment:
    return sqlite_env


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
    items = incident_selection.select_affected(service, serials=requested)
    by_kind = {"client": each, "ours": each, "automatic": each}
    assert Counter(i.category for i in items) == {**by_kind, "replaced": each, "unknown": 2}
    by_serial = {i.serial: i.category for i in items}
    for kind, group in serials.items():
        assert {by_serial[s] for s in group} == {kind}
    until = env.now + 24 * HOURS
    row, counts = incident.open_incident(
        service, items, IncidentKind.SERIALS, IncidentKind.SERIALS, until, "the CA revokes"
    )
    assert (counts["opened"], counts["joined"]) == (2 * each, 0)
    with env.database.read() as conn:
        opened = cases.listing(conn, incident_id=row.id)
        left = left_of(conn, row.reference, env)
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
    assert incident_progress.close_resolved(env.context) == []
    with env.database.read() as conn:
        left = left_of(conn, row.reference, env)
    known = [(i.reference, i.sort) for i in left if i.sort != "unknown"]
    assert known == [(opened[0].reference, "client")]
    with env.database.write(env.now) as tx:
        values = {"state": "cancelled", "closed_at": tx.at}
        tx.conn.execute(update(Case).where(last).values(values))
    assert incident_progress.close_resolved(env.context) == [], (
        "a case that was cancelled is no verification"
    )
    with env.database.write(env.now) as tx:
        tx.conn.execute(update(Case).where(last).values(state="closed"))
    assert incident_progress.close_resolved(env.context) == [row.reference]


def test_incident_of_an_issuer_closes_when_its_case_is_verified(
    env: CaseEnvironment, issuer: Authority
) -> None:
    begin, end = env.now - DAY, env.now + 80 * DAY
    bad = issuer.issue(HOST, SECOND_HOST, not_before=begin, not_after=end)
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, bad, env.now)
    items = incident_selection.select_affected(env.service, issuer="test issuer")
    assert [(i.category, i.hosts) for i in items] == [("client", (HOST, SECOND_HOST))]
    until = env.now + 20 * HOURS
    reason = "key ceremony failed"
    row, _ = incident.open_incident(
        env.service, items, IncidentKind.ISSUER, "Test Issuer", until, reason
    )
    with env.database.read() as conn:
        (one,) = cases.listing(conn, incident_id=row.id)
    reference = one.reference
    assert one.names == (HOST, SECOND_HOST)
    (pem,) = signing_requests.make_csr(env.service, reference)
    issued = issue(issuer, pem, start=env.now)
    signing_requests.send_csr(env.service, reference)
    assert not intake.receive(env.service, reference, vendor_upload(issued)).refused
    installation.mark_installed(env.service, reference, "at once: the CA revokes")
    done = run(env.service_seeing(sha256(issued)))
    assert done.closed == [reference]
    with env.database.read() as conn:
        assert incidents.listing(conn) == [], "everything was verified, so it is closed"


def test_open_case_joins_the_incident_and_is_not_opened_twice(
    env: CaseEnvironment, issuer: Authority
) -> None:
    bad = issuer.issue(HOST, days=80)
    serve(env.database, HOST, bad, env.now)
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    until = env.now + 5 * HOURS
    row, counts = incident.open_incident(
        env.service, items, IncidentKind.SERIALS, "1", until, "stolen key"
    )
    assert (counts["opened"], counts["joined"]) == (0, 1)
    joined = env.row(reference)
    assert (joined.incident_id, joined.ends_at) == (row.id, to_epoch(until))


@pytest.mark.parametrize("was_open", [True, False], ids=["joined", "opened"])
def test_case_of_an_incident_keeps_an_earlier_end_of_its_certificate(
    env: CaseEnvironment, issuer: Authority, was_open: bool
) -> None:
    bad = issuer.issue(HOST, days=3)
    serve(env.database, HOST, bad, env.now)
    if was_open:
        new_case.open_case(env.service, "1001", [HOST])
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    until = env.now + 30 * DAY
    row, _ = incident.open_incident(
        env.service, items, IncidentKind.SERIALS, "1", until, "stolen key"
    )
    with env.database.read() as conn:
        (case,) = cases.listing(conn, incident_id=row.id)
    end = parse(bad.der).not_after
    assert end is not None
    assert case.ends_at == to_epoch(end)
    assert case.due_at is not None
    assert case.due_at <= to_epoch(end)


def test_certificate_of_two_clients_opens_a_case_for_each(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.client("1002", OTHER_HOST)
    bad = issuer.issue(HOST, OTHER_HOST, days=80)
    for host in (HOST, OTHER_HOST):
        serve(env.database, host, bad, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    until = env.now + 5 * HOURS
    row, counts = incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "x")
    assert counts["opened"] == 2
    with env.database.read() as conn:
        opened = cases.listing(conn, incident_id=row.id)
    assert {(c.client, *c.names) for c in opened} == {("1001", HOST), ("1002", OTHER_HOST)}


@pytest.mark.parametrize("hours", [0, -1])
def test_incident_until_a_time_that_has_passed_is_refused(env: CaseEnvironment, hours: int) -> None:
    items = [
        incident_categories.AffectedCertificate(
            serial="1", category=IncidentCategory.UNKNOWN, reason="not in the inventory"
        )
    ]
    until = env.now + hours * HOURS
    with pytest.raises(UsageError, match="has passed"):
        incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "x")


def test_incident_without_a_certificate_is_refused(env: CaseEnvironment) -> None:
    with pytest.raises(UsageError, match="No certificate"):
        incident.open_incident(env.service, [], IncidentKind.ISSUER, "x", env.now + HOURS, "x")


def test_certificate_of_the_other_key_type_waits_for_its_lineage(
    env: CaseEnvironment, issuer: Authority
) -> None:
    """A scan sees the EC certificate of a pair. The RSA one was revoked, or its key was stolen."""
    with_lineage(env, HOST)
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    other = issuer.issue(HOST, days=80)
    leaf = parse(other.der)
    with env.database.write(env.now) as tx:
        account = tx.conn.execute(select(AcmeAccount.id)).scalar_one()
        pair = add_lineage(tx, "shop-rsa", "1001", account, HOST, key_type="rsa-2048")
        certificates.add(tx, [asdict(certificate_row(leaf))])
        lineages.note(tx, pair, sha256=leaf.sha256, chain=(leaf.sha256,))
    assert depending_on(env.context, [spki_sha256(leaf)]).leaves == {leaf.sha256}
    items = incident_selection.select_affected(env.service, serials=[leaf.serial])
    assert [(i.client, i.hosts, i.category) for i in items] == [
        ("1001", (HOST,), IncidentCategory.AUTOMATIC)
    ]
    until = env.now + 24 * HOURS
    row, counts = incident.open_incident(
        env.service, items, IncidentKind.SERIALS, "1", until, "revoked"
    )
    assert counts["opened"] == 0
    with env.database.read() as conn:
        assert len(left_of(conn, row.reference, env)) == 1
        assert leaf.sha256 in lineages.must_replace(conn)
    with env.database.write(env.now) as tx:
        lineages.note(tx, pair, sha256=add_leaf(tx, "renewed", HOST))
        assert left_of(tx.conn, row.reference, env) == []


def test_a_certificate_that_is_renewed_in_part_opens_a_case_for_the_other_names(
    env: CaseEnvironment, issuer: Authority
) -> None:
    with_lineage(env, HOST)
    leaf = issuer.issue(HOST, SECOND_HOST, days=80)
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, leaf, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    assert [(i.hosts, i.by_hand) for i in items] == [((HOST, SECOND_HOST), (SECOND_HOST,))]
    until = env.now + 24 * HOURS
    row, _ = incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "revoked")
    with env.database.read() as conn:
        (one,) = cases.listing(conn, incident_id=row.id)
    assert one.names == (SECOND_HOST,)


def test_an_item_is_done_when_its_lineage_is_verified_live_before_any_scan(
    env: CaseEnvironment, issuer: Authority
) -> None:
    lineage = with_lineage(env, HOST)
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    until = env.now + 24 * HOURS
    row, _ = incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "revoked")
    assert incident_progress.close_resolved(env.context) == []
    env.pass_(hours=1)
    with env.database.write(env.now) as tx:
        new = add_leaf(tx, "renewed", HOST, not_after=tx.at + 90 * 86400)
        lineages.note(tx, lineage, sha256=new)
    with env.database.read() as conn:
        assert left_of(conn, row.reference, env), "issued, and not yet installed"
    with env.database.write(env.now) as tx:
        lineages.note(tx, lineage, deployed=new, proven_at=tx.at)
    with env.database.read() as conn:
        assert left_of(conn, row.reference, env) == []
    env.pass_(hours=1)
    serve(env.database, HOST, leaf, env.now)
    with env.database.read() as conn:
        assert left_of(conn, row.reference, env), "a later scan saw the old one at an address"
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]


def test_an_item_with_a_cancelled_case_is_done_when_another_certificate_is_live(
    env: CaseEnvironment, issuer: Authority
) -> None:
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    until = env.now + 24 * HOURS
    row, _ = incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "revoked")
    with env.database.write(env.now) as tx:
        tx.conn.execute(update(Case).values(state="cancelled", closed_at=tx.at))
    assert incident_progress.close_resolved(env.context) == []
    serve(env.database, HOST, issuer.issue(OTHER_HOST, days=80), env.now)
    closed = incident_progress.close_resolved(env.context)
    assert closed == [], "the certificate of another name is no replacement"
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]


def test_a_lost_server_opens_no_case_and_is_done_when_each_host_is_live_again(
    env: CaseEnvironment, issuer: Authority
) -> None:
    with env.database.write(env.now) as tx:
        servers.add(tx, {"name": "web1"})
        for host in (HOST, SECOND_HOST):
            domains.edit(tx, host, {"server": "web1"})
    good = {host: issuer.issue(host, days=80) for host in (HOST, SECOND_HOST)}
    default = issuer.issue("web1.example", days=80)
    for host, leaf in good.items():
        serve(env.database, host, leaf, env.now)
    env.pass_(hours=1)
    for host in good:
        serve(env.database, host, default, env.now)
    items = incident_selection.select_lost(env.service, "web1")
    assert {(i.hosts, i.sha256) for i in items} == {
        ((host,), parse(leaf.der).sha256) for host, leaf in good.items()
    }, "the valid certificate of the host, and not the default of the emptied server"
    until = env.now + 5 * HOURS
    row, counts = incident.open_incident(
        env.service, items, IncidentKind.SERVER_LOST, "web1", until, "disk"
    )
    assert (counts["opened"], counts["joined"], counts[IncidentCategory.REINSTALL]) == (0, 0, 2)
    with env.database.read() as conn:
        assert lineages.must_replace(conn) == {}
    env.pass_(hours=1)
    serve(env.database, HOST, good[HOST], env.now)
    with env.database.read() as conn:
        assert [i.names for i in left_of(conn, row.reference, env)] == [(SECOND_HOST,)]
    serve(env.database, SECOND_HOST, issuer.issue(SECOND_HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]
