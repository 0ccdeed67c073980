"""Incidents: sorted right, opened in one go, closed by what is seen."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from certmgr.cases import incident, intake
from certmgr.cases.material import Material
from certmgr.cases.opening import run
from certmgr.cases.work import Desk
from certmgr.demo.authority import Authority
from inventory.certificates import parse
from inventory.database import to_epoch
from inventory.errors import UsageError
from inventory.store import cases, clients, domains, incidents, results, servers
from inventory.tables import case, endpoint, observation
from tests.certmgr.cases.place import Place, issue, serve
from tests.certmgr.cases.test_desk import _der, eyes

HOURS = timedelta(hours=1)


def test_serial_numbers_as_they_are_written() -> None:
    found, wrong = incident.read_serials(
        'serial\n# from the CA\n0A:1b:2C\n0x0a1b2d\n"0a1b2e",shop.example\n\n  0a1b2c  \nnot a number\n' + "f" * 41
    )
    assert found == ["a1b2c", "a1b2d", "a1b2e"]
    assert [w.partition(":")[0] for w in wrong] == ["line 8", "line 9"]


def fleet(place: Place, count: int) -> dict[str, list[str]]:
    """Certificates of ``count`` sites by what should become of them; rows as a scan writes them."""
    kinds = ("client", "ours", "automatic", "replaced")
    serials: dict[str, list[str]] = {k: [] for k in kinds}
    end = to_epoch(place.now + timedelta(days=100))
    certificates, spans = [], []
    with place.database.write(place.now) as tx:
        for number, given in (("c", {"buys": "client"}), ("o", {"buys": "us"}), ("a", {"buys": "client", "renews": "panel"})):
            clients.add(tx, {"number": number, "name": f"Kind {number}", **given})
        for i in range(count):
            kind = kinds[i % 4]
            host = f"site{i}.{kind}.example"
            domain_id = domains.add(tx, host, {"client": {"client": "c", "ours": "o", "automatic": "a", "replaced": "c"}[kind]})
            row_id = tx.conn.execute(select(endpoint.c.id).where(endpoint.c.domain_id == domain_id)).scalar()
            serial, sha = f"c0ffee{i:06x}", f"{i:064x}"
            certificates.append({
                "sha256": sha, "der": b"", "serial": serial, "subject": f"CN={host}", "issuer": "O=Bad CA", "not_before": tx.at, "not_after": end, "names": f'["{host}"]',
                "key": "EC P-256", "is_ca": 0,
            })  # fmt: skip
            live = kind != "replaced"
            spans.append({
                "endpoint_id": row_id, "address": "192.0.2.1", "first_seen": tx.at, "last_seen": tx.at, "open": int(live), "live": int(live), "chain": sha, "leaf": sha,
            })  # fmt: skip
            serials[kind].append(serial)
        results.add_certificates(tx, certificates)
        tx.conn.execute(insert(observation), spans)
    return serials


def test_a_thousand_serials_are_sorted_right_and_close_by_what_is_seen(place: Place) -> None:
    serials = fleet(place, 1000)
    unknown = ["deadbeef01", "deadbeef02"]
    asked = [s for group in serials.values() for s in group] + unknown
    desk = place.desk
    items = incident.select(desk, serials=asked)
    assert Counter(i.sort for i in items) == {"client": 250, "ours": 250, "automatic": 250, "replaced": 250, "unknown": 2}
    by_serial = {i.serial: i.sort for i in items}
    for kind, group in serials.items():
        assert {by_serial[s] for s in group} == {kind}
    row, counts = incident.open_(desk, items, "serials", "1002 serials", place.now + 24 * HOURS, "the CA revokes")
    assert (counts["opened"], counts["joined"]) == (500, 0)
    with place.database.read() as conn:
        opened = cases.listing(conn, incident_id=row["id"])
        left = [i for i in incidents.items(conn, row["id"]) if not incident.done(i)]
    assert len(opened) == 500
    assert {(c["kind"], c["bought_by"]) for c in opened} == {("incident", "client"), ("incident", "us")}
    assert all(c["due_at"] <= to_epoch(place.now + 24 * HOURS) for c in opened)
    assert Counter(i["sort"] for i in left) == {"client": 250, "ours": 250, "automatic": 250, "unknown": 2}
    # The robots have renewed, as a scan saw; the 500 cases close with proof.
    with place.database.write(place.now) as tx:
        robots = [i["sha256"] for i in left if i["sort"] == "automatic"]
        tx.conn.execute(observation.update().where(observation.c.leaf.in_(robots)).values(open=0, live=0))
        tx.conn.execute(
            case.update()
            .where(case.c.incident_id == row["id"], case.c.id != opened[0]["id"])
            .values(state="closed", closed_at=tx.at)
        )
    assert incident.settle(desk) == []
    with place.database.read() as conn:
        left = [i for i in incidents.items(conn, row["id"]) if not incident.done(i)]
    assert [(i["reference"], i["sort"]) for i in left if i["sort"] != "unknown"] == [(opened[0]["reference"], "client")]
    with place.database.write(place.now) as tx:
        tx.conn.execute(case.update().where(case.c.id == opened[0]["id"]).values(state="cancelled", closed_at=tx.at))
    assert incident.settle(desk) == [], "a case that was stopped is no proof"
    with place.database.write(place.now) as tx:
        tx.conn.execute(case.update().where(case.c.id == opened[0]["id"]).values(state="closed"))
    assert incident.settle(desk) == [row["reference"]]


def test_one_case_of_an_incident_goes_the_whole_way(place: Place, issuer: Authority) -> None:
    bad = issuer.issue(
        "shop.example.com", "www.shop.example.com", not_before=place.now - 24 * HOURS, not_after=place.now + timedelta(days=80)
    )
    for host in ("shop.example.com", "www.shop.example.com"):
        serve(place.database, host, bad, place.now)
    items = incident.select(place.desk, issuer="test issuer")
    assert [(i.sort, i.hosts) for i in items] == [("client", ("shop.example.com", "www.shop.example.com"))]
    row, _ = incident.open_(place.desk, items, "issuer", "Test Issuer", place.now + 20 * HOURS, "key ceremony failed")
    with place.database.read() as conn:
        (one,) = cases.listing(conn, incident_id=row["id"])
    reference = one["reference"]
    assert one["names"] == ["shop.example.com", "www.shop.example.com"]
    (pem,) = intake.make_csr(place.desk, reference)
    issued = issue(issuer, pem, start=place.now)
    intake.send(place.desk, reference)
    material = Material(tuple(parse(c.public_bytes(_der())) for c in issued.chain))
    assert not intake.receive(place.desk, reference, material).refused
    place.desk.installed(reference, "at once: the CA revokes")
    done = run(Desk(place.database, place.settings, place.now, eyes(parse(issued.der).sha256)))
    assert done.closed == [reference]
    with place.database.read() as conn:
        assert incidents.listing(conn) == [], "everything was seen, so it is closed"


def test_an_open_case_joins_and_is_not_opened_twice(place: Place, issuer: Authority) -> None:
    bad = issuer.issue("shop.example.com", days=80)
    serve(place.database, "shop.example.com", bad, place.now)
    reference = place.desk.open("1001", ["shop.example.com"])["reference"]
    items = incident.select(place.desk, serials=[parse(bad.der).serial])
    row, counts = incident.open_(place.desk, items, "serials", "1", place.now + 5 * HOURS, "stolen key")
    assert (counts["opened"], counts["joined"]) == (0, 1)
    joined = place.row(reference)
    assert (joined["incident_id"], joined["ends_at"]) == (row["id"], to_epoch(place.now + 5 * HOURS))


def test_a_certificate_of_two_clients_is_a_case_for_each(place: Place, issuer: Authority) -> None:
    place.client("1002", "other.example.org")
    bad = issuer.issue("shop.example.com", "other.example.org", days=80)
    for host in ("shop.example.com", "other.example.org"):
        serve(place.database, host, bad, place.now)
    row, counts = incident.open_(
        place.desk, incident.select(place.desk, serials=[parse(bad.der).serial]), "serials", "1", place.now + 5 * HOURS, "x"
    )
    assert counts["opened"] == 2
    with place.database.read() as conn:
        assert {(c["client"], tuple(c["names"])) for c in cases.listing(conn, incident_id=row["id"])} == {
            ("1001", ("shop.example.com",)),
            ("1002", ("other.example.org",)),
        }


def test_a_broken_machine(place: Place, issuer: Authority) -> None:
    with place.database.write(place.now) as tx:
        servers.add(tx, {"name": "web1"})
        domains.edit(tx, "shop.example.com", {"server": "web1"})
    for host in ("shop.example.com", "www.shop.example.com"):
        serve(place.database, host, issuer.issue(host, days=80), place.now)
    assert [i.hosts for i in incident.select(place.desk, server="web1")] == [("shop.example.com",)]


@pytest.mark.parametrize("hours", [0, -1])
def test_a_time_that_has_passed(place: Place, hours: int) -> None:
    with pytest.raises(UsageError, match="has passed"):
        incident.open_(
            place.desk, [incident.Item("1", None, None, None, (), "unknown")], "serials", "1", place.now + hours * HOURS, "x"
        )
    with pytest.raises(UsageError, match="No certificate"):
        incident.open_(place.desk, [], "issuer", "x", place.now + HOURS, "x")
