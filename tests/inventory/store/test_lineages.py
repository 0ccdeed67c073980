"""Lineages: whose they are, what is audited, and which certificate must be replaced."""

from __future__ import annotations

import pytest
from sqlalchemy import exc, insert, select

from inventory.db.database import Database
from inventory.errors import NotFound, UsageError
from inventory.models import (
    AcmeAccount,
    LineageName,
    RevocationCheck,
    StoredCertificate,
    StoredLineage,
)
from inventory.store import (
    certificates,
    clients,
    incidents,
    lineage_names,
    lineages,
    revocation,
    runs,
)
from inventory.store.incidents import NewIncidentItem
from inventory.vocabulary import IncidentCategory, IncidentKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_finding,
    add_site,
    audited,
    count,
    entry_count,
    rows,
    site,
)
from tests.inventory.store.chunked import across_chunks, unknown_hash, unknown_id
from tests.inventory.store.lineage_rows import add, found_names, names_of
from tests.inventory.store.scan_rows import add_leaf, add_status, certificate_row


def test_added_lineage_is_found_by_its_client_alone(acme: Database) -> None:
    known = entry_count(acme)
    with acme.write(NOW) as tx:
        leaf = add_leaf(tx, "leaf")
        wanted = ("shop1001.example", "*.shop1001.example", "a.shop1001.example")
        mine = add(tx, "shop", *wanted, sha256=leaf)
        theirs = add(tx, "other", client="1002")
        one, two = (clients.find(tx.conn, n).id for n in ("1001", "1002"))
        row = lineages.find(tx.conn, " shop\n", one)
        assert row == lineages.by_id(tx.conn, mine) == lineages.find(tx.conn, "shop")
        assert (row.client, row.account, row.state, row.created_at) == (
            "1001",
            "letsencrypt",
            "active",
            AT,
        )
        assert (row.not_before, row.not_after) == (AT - 30 * DAY, AT + 60 * DAY)
        assert lineages.by_id(tx.conn, theirs).not_after is None
        for name, client_id in (("shop", two), ("other", one), ("none", None)):
            with pytest.raises(NotFound, match=f"no lineage '{name}'"):
                lineages.find(tx.conn, name, client_id)
        with pytest.raises(exc.NoResultFound):
            lineages.by_id(tx.conn, unknown_id(0))
        ids = across_chunks([mine, unknown_id(1), theirs], unknown_id)
        named = lineage_names.by_lineage(tx.conn, ids)
        assert {i: found_names(n) for i, n in named.items()} == {
            mine: list(wanted),
            theirs: ["shop1002.example"],
        }
        assert lineage_names.by_lineage(tx.conn, []) == {}
    assert audited(acme, known) == [
        ("add", "lineage", mine, {"names": 3}),
        ("add", "lineage", theirs, {"names": 1}),
    ]


def test_lineage_without_names_or_with_one_twice_is_not_written(acme: Database) -> None:
    with acme.read() as conn:
        account_id = conn.execute(select(AcmeAccount.id)).scalar_one()
    values = {"key_type": "ec-p256", "solver": "http", "account_id": account_id}
    with pytest.raises(UsageError, match="at least one name"), acme.write(NOW) as tx:
        lineages.add(tx, "shop", "1001", (), values)
    with pytest.raises(exc.IntegrityError), acme.write(NOW) as tx:
        lineages.add(tx, "shop", "1001", ["shop1001.example"] * 2, values)
    with acme.read() as conn:
        assert (count(conn, StoredLineage), count(conn, LineageName)) == (0, 0)
        assert not lineages.any_active(conn)


def test_retired_lineage_is_not_listed(acme: Database) -> None:
    with acme.write(NOW) as tx:
        assert lineages.listing(tx.conn) == []
        assert not lineages.any_active(tx.conn)
        ids = {n: add(tx, n) for n in ("c", "a", "b")}
        theirs = add(tx, "d", client="1002")
        lineages.edit(tx, ids["b"], state="paused")
        lineages.edit(tx, ids["c"], state="retired", retired_at=tx.at)
        one, two = (clients.find(tx.conn, n).id for n in ("1001", "1002"))
        found = lineages.listing(tx.conn)
        assert found_names(found) == ["a", "b", "d"]
        assert [found_names(r.names) for r in found] == [["shop1001.example"]] * 2 + [
            ["shop1002.example"],
        ]
        assert found_names(lineages.listing(tx.conn, client_id=one)) == ["a", "b"]
        assert found_names(lineages.listing(tx.conn, client_id=two, states=("retired",))) == []
        assert found_names(lineages.listing(tx.conn, states=("retired", "active"))) == [
            "a",
            "c",
            "d",
        ]
        assert lineages.any_active(tx.conn)
        for row_id in (ids["a"], theirs):
            lineages.edit(tx, row_id, state="paused")
        assert not lineages.any_active(tx.conn)


def test_edit_is_audited_and_a_note_of_the_machine_is_not(acme: Database) -> None:
    with acme.write(NOW) as tx:
        row_id = add(tx, "shop")
        other = add(tx, "other", client="1002")
    known = entry_count(acme)
    with acme.write(LATER) as tx:
        lineages.edit(tx, row_id, state="paused", key_type="rsa-2048", solver="http")
        lineages.edit(tx, row_id, state="paused")
        lineages.note(tx, row_id, failures=3, next_at=AT, error="{}")
        lineages.set_names(tx, row_id, ["b.shop1001.example", "a.shop1001.example"])
        with pytest.raises(exc.NoResultFound):
            lineages.edit(tx, unknown_id(0), state="paused")
        row, kept = lineages.by_id(tx.conn, row_id), lineages.by_id(tx.conn, other)
    assert (row.state, row.key_type, row.failures, row.next_at) == (
        "paused",
        "rsa-2048",
        3,
        AT,
    )
    assert (kept.state, kept.failures) == ("active", 0)
    assert list(names_of(acme, row_id)) == ["b.shop1001.example", "a.shop1001.example"]
    assert list(names_of(acme, other)) == ["shop1002.example"]
    assert audited(acme, known) == [
        ("edit", "lineage", row_id, {"state": ["active", "paused"], "key_type": ["-", "-"]}),
        ("edit", "lineage", row_id, {"names": 2}),
    ]
    with pytest.raises(UsageError, match="at least one name"), acme.write(LATER) as tx:
        lineages.set_names(tx, row_id, [])
    assert len(names_of(acme, row_id)) == 2


def test_certificate_is_replaced_at_once_for_a_revocation_a_distrust_or_an_incident(
    acme: Database,
) -> None:
    with acme.write(NOW) as tx:
        labels = ("revoked", "distrusted", "named", "good", "closed", "paused")
        hashes = {n: add_leaf(tx, n) for n in labels}
        ids = {n: add(tx, n, sha256=h) for n, h in hashes.items()}
        add(tx, "none")
        stray = add_leaf(tx, "stray")  # no lineage has it
        assert lineages.must_replace(tx.conn) == {}
        lineages.edit(tx, ids["paused"], state="paused")
        for h in (hashes["revoked"], hashes["paused"], stray):
            revocation.revoked_by_us(tx, h, "keyCompromise")
        place, quiet = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        run_id = runs.start(tx, "", 1)
        add_status(tx, place.endpoint_id, leaf=hashes["distrusted"], last_run_id=run_id)
        add_finding(tx, place.endpoint_id, "ca-distrusted")
        add_status(tx, quiet.endpoint_id, leaf=hashes["good"], last_run_id=run_id)
        add_finding(tx, quiet.endpoint_id, "ca-distrusted", closed_at=AT)
        add_finding(tx, quiet.endpoint_id, "expired")
        unmanaged = add_site(tx, "1001", "unmanaged.example").endpoint_id
        add_status(tx, unmanaged, leaf=stray, last_run_id=run_id)
        add_finding(tx, unmanaged, "ca-distrusted")
        asks, over = (incidents.add(tx, IncidentKind.SERIALS, "x", AT, "why") for _ in range(2))
        for incident, name in ((asks, "named"), (over, "closed")):
            item = NewIncidentItem(serial="1", sort=IncidentCategory.CLIENT, sha256=hashes[name])
            incidents.add_items(tx, incident.id, [item])
        incidents.close(tx, over.id)
        assert lineages.must_replace(tx.conn) == {
            hashes["named"]: f"the incident {asks.reference} asks for it",
            hashes["distrusted"]: "its CA is distrusted",
            hashes["revoked"]: "it is revoked",
        }
        revocation.revoked_by_us(tx, hashes["named"], "superseded")
        assert lineages.must_replace(tx.conn)[hashes["named"]] == "it is revoked"


def test_our_revocation_is_known_before_a_list_has_it(database: Database) -> None:
    with database.write(NOW) as tx:
        a, b, c = (add_leaf(tx, n) for n in "abc")
        assert revocation.is_revoked(tx.conn, a) is None
        common = {"checked_at": AT, "next_at": AT}
        for sha256, status in ((b, "unknown"), (c, "good")):
            tx.conn.execute(
                insert(RevocationCheck).values(sha256=sha256, status=status, detail="x", **common),
            )
        found = [revocation.is_revoked(tx.conn, h) for h in (a, b, c, unknown_hash(0))]
        assert found == [None, None, False, None]
    with database.write(LATER) as tx:
        for sha256 in (a, c):
            revocation.revoked_by_us(tx, sha256, "keyCompromise")
        assert [revocation.is_revoked(tx.conn, h) for h in (a, c)] == [True, True]
        found_rows = {r["sha256"]: r for r in rows(tx.conn, RevocationCheck)}
    expected = {
        "status": "revoked",
        "reason": "keyCompromise",
        "revoked_at": AT + DAY,
        "source": "us",
    }
    expected |= {"detail": None, "checked_at": AT + DAY, "next_at": AT + DAY}
    assert found_rows[c] == expected | {"sha256": c}


def test_newest_and_deployed_certificates_are_expected(acme: Database) -> None:
    with acme.write(NOW) as tx:
        new, old = add_leaf(tx, "new", "shop1001.example"), add_leaf(tx, "old")
        first = add(tx, "a", sha256=new, deployed=old, proven_at=AT)
        add(tx, "b", sha256=old, deployed=old, proven_at=AT + 5)
        add(tx, "c", sha256=new)
        add(tx, "none")
        theirs = add(tx, "d", client="1002", sha256=new, state="retired")
        found = lineages.expected(tx.conn)
        one = lineages.by_id(tx.conn, first).client_id
        assert [(r.client_id, r.sha256, r.live_at) for r in found] == [
            (one, new, AT),
            (one, old, None),
            (one, old, AT + 5),
            (one, new, None),
        ]
        assert found[0].as_dict() == {
            "id": -1,
            "client_id": one,
            "names": ("shop1001.example",),
            "not_after": AT + 60 * DAY,
            "sha256": new,
            "live_at": AT,
        }
        assert lineages.by_id(tx.conn, theirs).state == "retired"
        names = certificates.names_of(
            tx.conn,
            across_chunks([new, unknown_hash(1), old], unknown_hash),
        )
        assert names == {new: frozenset({"shop1001.example"}), old: frozenset()}
        assert certificates.names_of(tx.conn, []) == {}
        made = [certificate_row(f"leaf {i}", f"{i}.example", first_seen=AT) for i in range(1001)]
        tx.conn.execute(insert(StoredCertificate), made)
        many = certificates.names_of(tx.conn, [r["sha256"] for r in made])
        assert many[made[1000]["sha256"]] == {"1000.example"}
        assert len(many) == 1001


def test_several_hundred_lineages_are_listed_with_their_names(acme: Database) -> None:
    with acme.write(NOW) as tx:
        first = lineages.by_id(tx.conn, add(tx, "0000"))
        columns = ("client_id", "account_id", "key_type", "solver", "created_at")
        common = {k: getattr(first, k) for k in columns}
        tx.conn.execute(
            insert(StoredLineage), [common | {"name": f"{i:04}"} for i in range(1, 1001)]
        )
        ids = list(tx.conn.scalars(select(StoredLineage.id).order_by(StoredLineage.name)))[1:]
        named = [{"lineage_id": i, "name": f"{i}.example", "position": 0} for i in ids]
        tx.conn.execute(insert(LineageName), named)
        found = lineages.listing(tx.conn)
    assert len(found) == 1001
    assert [found_names(r.names) for r in found[1:]] == [[f"{i}.example"] for i in ids]
