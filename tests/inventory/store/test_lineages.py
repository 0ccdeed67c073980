"""Lineages: names of a renewed certificate, what must be replaced, where it was deployed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import exc, insert, select

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import (
    AcmeAccount,
    Deployment,
    LineageName,
    RevocationCheck,
    StoredCertificate,
    StoredLineage,
)
from inventory.records import LineageNameRecord, LineageRecord
from inventory.store import (
    certificates,
    clients,
    deployments,
    domains,
    incidents,
    lineage_names,
    lineages,
    revocation,
    runs,
)
from inventory.store.incidents import NewIncidentItem
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    across_chunks,
    add_account,
    add_finding,
    add_leaf,
    add_site,
    add_standing,
    audited,
    certificate_row,
    count,
    entry_count,
    insert_row,
    rows,
    site,
    unknown_hash,
    unknown_id,
)


@pytest.fixture
def acme(pair: Database) -> Database:
    """The two clients and an ACME account."""
    with pair.write(NOW) as tx:
        add_account(tx, "letsencrypt")
    return pair


def add(tx: Any, name: str, *names: str, client: str = "1001", **given: Any) -> int:
    account_id = tx.conn.execute(select(AcmeAccount.id)).scalar_one()
    values = {"account_id": account_id, "key_type": "ec-p256", "solver": "http"} | given
    return lineages.add(tx, name, client, names or (f"shop{client}.example",), values)


def names_of(database: Database, lineage_id: int) -> dict[str, LineageNameRecord]:
    with database.read() as conn:
        return {r.name: r for r in lineage_names.by_lineage(conn, [lineage_id]).get(lineage_id, [])}


def found_names(
    found: Sequence[LineageRecord | LineageNameRecord],
) -> list[str]:
    return [r.name for r in found]


# -- rows --------------------------------------------------------------------------------


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


def test_names_of_a_lineage_are_under_domains_of_its_client(acme: Database) -> None:
    with acme.write(NOW) as tx:
        add(tx, "shop")
        add_site(tx, "1001", "192.0.2.7")
    refused: list[tuple[tuple[str, ...], type[Exception], str]] = [
        (("shop1001.example", "shop1002.example"), UsageError, "it belongs to client 1002"),
        (("*.www.shop1002.example",), UsageError, "does not belong to client 1001"),
        (("www.strange.example",), UsageError, "certmgr domain add strange.example --client 1001"),
        (
            ("*.xn--bcher-kva.example",),
            UsageError,
            "certmgr domain add bücher.example --client 1001",
        ),
        (("192.0.2.9",), UsageError, "certmgr domain add 192.0.2.9 --client 1001"),
        (("shop1001.example",), Conflict, "There is a lineage 'shop' already"),
    ]
    known = entry_count(acme)
    for names, error, message in refused:
        with pytest.raises(error, match=message.replace("*", r"\*")), acme.write(NOW) as tx:
            add(tx, "shop", *names)
    with acme.write(NOW) as tx:
        with pytest.raises(NotFound, match="no client '9'"):
            add(tx, "x", client="9")
        add(tx, "address", "192.0.2.7", "*.a.shop1001.example")
        assert count(tx.conn, StoredLineage) == 2
        domains.retire(tx, "shop1002.example")
        with pytest.raises(UsageError, match="the inventory does not have it"):
            add(tx, "y", "shop1002.example", client="1002")
    assert [e[:2] for e in audited(acme, known)] == [
        ("add", "lineage"),
        *[("retire", k) for k in ("endpoint", "domain")],
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


# -- names -------------------------------------------------------------------------------


def test_name_in_quarantine_keeps_its_date_until_it_returns(acme: Database) -> None:
    with acme.write(NOW) as tx:
        names = ("shop1001.example", "a.shop1001.example", "b.shop1001.example")
        row_id = add(tx, "shop", *names)
        other = add(tx, "other", *names)
    untouched = names_of(acme, other)
    known = entry_count(acme)
    name = "a.shop1001.example"
    with acme.write(NOW) as tx:
        lineage_names.failed(tx, row_id, "b.shop1001.example", "no answer", quarantine=False)
        lineage_names.failed(tx, row_id, name, "timeout", quarantine=False)
        lineage_names.failed(tx, row_id, "shop1001.example", "timeout", quarantine=False)
        lineage_names.failed(tx, row_id, "strange.example", "timeout", quarantine=True)
        lineage_names.returned(tx, row_id, name)
    row = names_of(acme, row_id)[name]
    assert (row.state, row.since, row.reason, row.failures) == (
        "active",
        None,
        "timeout",
        1,
    )
    with acme.write(NOW) as tx:
        lineage_names.failed(tx, row_id, name, "x" * 601, quarantine=True)
        lineage_names.checked(tx, row_id, name)
    with acme.write(LATER) as tx:
        lineage_names.failed(tx, row_id, name, "refused", quarantine=True)
        lineage_names.issued(tx, row_id, [name, "shop1001.example"])
        (bad,) = lineage_names.quarantined(tx.conn)
    assert (bad.lineage, bad.client, bad.name) == ("shop", "1001", name)
    found = names_of(acme, row_id)
    assert found[name].reason == "refused"
    assert (found[name].state, found[name].since, found[name].failures) == (
        "quarantined",
        AT,
        3,
    )
    assert found[name].checked_at == AT
    failed = found["b.shop1001.example"]
    assert (failed.failures, failed.reason) == (1, "no answer"), "it was not in the certificate"
    good = found["shop1001.example"]
    assert (good.failures, good.reason, good.checked_at) == (0, None, None)
    with acme.write(LATER) as tx:
        lineage_names.returned(tx, row_id, name)
        lineage_names.returned(tx, row_id, name)
        assert lineage_names.quarantined(tx.conn) == []
    row = names_of(acme, row_id)[name]
    assert (row.state, row.since, row.reason, row.failures) == ("active", None, None, 0)
    assert names_of(acme, other) == untouched
    assert audited(acme, known) == [
        ("quarantine", "lineage", row_id, {"state": "quarantined"}),
        ("return", "lineage", row_id, {"state": "active"}),
    ]


def test_names_in_quarantine_are_listed_oldest_first_without_retired_lineages(
    acme: Database,
) -> None:
    with acme.write(NOW) as tx:
        names = [f"{n}.shop1001.example" for n in "abc"]
        row_id, gone = add(tx, "shop", *names), add(tx, "gone", names[0])
        lineage_names.failed(tx, row_id, names[2], "x" * 601, quarantine=True)
        lineage_names.failed(tx, gone, names[0], "timeout", quarantine=True)
        lineages.edit(tx, gone, state="retired")
        assert names_of(acme, unknown_id(0)) == {}
    with acme.write(LATER) as tx:
        for name in names[1::-1]:
            lineage_names.failed(tx, row_id, name, "timeout", quarantine=True)
        found = lineage_names.quarantined(tx.conn)
    assert found_names(found) == [names[2], names[0], names[1]]
    assert found[0].reason == "x" * 600


def test_host_is_covered_by_its_name_or_by_a_wildcard_right_above_it(acme: Database) -> None:
    with acme.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in ("1001", "1002"))
        add(tx, "exact", "a.shop1001.example")
        wild = add(tx, "wild", "*.shop1001.example")
        paused = add(tx, "paused", "a.shop1001.example")
        lineages.edit(tx, paused, state="paused")
        conn = tx.conn
        assert sorted(found_names(lineages.covering(conn, "a.shop1001.example", one))) == [
            "exact",
            "wild",
        ]
        assert [r.id for r in lineages.covering(conn, "b.shop1001.example", one)] == [wild]
        assert lineages.covering(conn, "shop1001.example", one) == []
        assert lineages.covering(conn, "x.a.shop1001.example", one) == []
        assert lineages.covering(conn, "a.shop1001.example", two) == []


# -- certificates ------------------------------------------------------------------------


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
        add_standing(tx, place.endpoint_id, leaf=hashes["distrusted"], last_run_id=run_id)
        add_finding(tx, place.endpoint_id, "ca-distrusted")
        add_standing(tx, quiet.endpoint_id, leaf=hashes["good"], last_run_id=run_id)
        add_finding(tx, quiet.endpoint_id, "ca-distrusted", closed_at=AT)
        add_finding(tx, quiet.endpoint_id, "expired")
        unmanaged = add_site(tx, "1001", "unmanaged.example").endpoint_id
        add_standing(tx, unmanaged, leaf=stray, last_run_id=run_id)
        add_finding(tx, unmanaged, "ca-distrusted")
        asks, over = (incidents.add(tx, "serials", "x", AT, "why") for _ in range(2))
        for incident, name in ((asks, "named"), (over, "closed")):
            item = NewIncidentItem(serial="1", sort="client", sha256=hashes[name])
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


# -- deployments -------------------------------------------------------------------------


def test_lineage_waits_until_its_certificate_is_in_use_and_verified(acme: Database) -> None:
    with acme.write(NOW) as tx:
        new, old = add_leaf(tx, "new"), add_leaf(tx, "old")
        done: dict[str, Any] = {"sha256": new, "deployed": new, "proven_at": AT}
        add(tx, "done", **done)
        add(tx, "none")
        add(tx, "retired", sha256=new, state="retired")
        add(tx, "rolled back", sha256=new, deployed=old, rolled_back=new)
        add(tx, "no verification", sha256=new, deployed=new)
        expected = ["fresh", "other", "unproved", "due"]
        add(tx, "fresh", sha256=new)
        add(tx, "other", sha256=new, deployed=old, rolled_back=old)
        add(tx, "unproved", sha256=new, deployed=new, proof="still the old one")
        for name, next_at, sha256, state in (
            ("due", AT, new, "pending"),
            ("later", AT + 1, new, "pending"),
            ("superseded", AT, old, "pending"),
            ("brought", AT, new, "done"),
        ):
            row_id = add(tx, name, **done)
            common = {"lineage_id": row_id, "target": "web1", "created_at": AT}
            insert_row(tx, Deployment, sha256=sha256, state=state, next_at=next_at, **common)
        assert found_names(lineages.undeployed(tx.conn, AT)) == expected
        assert found_names(lineages.undeployed(tx.conn, AT + 1)) == [*expected, "later"]


def states(database: Database) -> dict[tuple[int, str, str], str]:
    with database.read() as conn:
        found = rows(conn, Deployment)
    return {(r["lineage_id"], r["sha256"], r["target"]): r["state"] for r in found}


def test_new_certificate_supersedes_the_deliveries_of_the_one_before(acme: Database) -> None:
    with acme.write(NOW) as tx:
        one, two = add(tx, "a"), add(tx, "b", client="1002")
        deployments.schedule(tx, one, "old", [])
        deployments.schedule(tx, one, "old", iter(["web1", "web2", "web1"]))
        deployments.schedule(tx, one, "old", ["web1", "web2"])
        deployments.schedule(tx, two, "old", ["web2"])
        deployments.schedule(tx, two, "new", ["web1"])
        first, second = deployments.listing(tx.conn, lineage_id=one)
        deployments.succeeded(tx, first.id)
        deployments.failed(tx, second.id, "refused", AT + 3600)
        deployments.schedule(tx, one, "old", ["web1", "web2"])
        (waits,) = deployments.listing(tx.conn, lineage_id=one)
        assert waits.next_at == AT + 3600, "the same certificate again is not tried earlier"
    with acme.write(LATER) as tx:
        deployments.schedule(tx, one, "new", ["web1"])
    assert states(acme) == {
        (one, "old", "web1"): "done",
        (one, "old", "web2"): "superseded",
        (one, "new", "web1"): "pending",
        (two, "old", "web2"): "superseded",
        (two, "new", "web1"): "pending",
    }
    with acme.write(LATER) as tx:
        deployments.schedule(tx, one, "old", iter(["web1", "web2", "web3"]))
        again = {r.target: r.next_at for r in deployments.listing(tx.conn, lineage_id=one)}
    assert again == {"web2": AT + DAY, "web3": AT + DAY}, "what is done stays done"
    assert states(acme)[one, "new", "web1"] == "superseded"
    assert states(acme)[two, "old", "web2"] == "superseded", "that is another lineage's"
    with acme.write(LATER) as tx:
        deployments.succeeded(tx, second.id)
        deployments.schedule_again(tx, one, "old", [])
        done = {r.target: r.state for r in deployments.listing(tx.conn, states=("done",))}
        assert done == {"web1": "done", "web2": "done"}
        deployments.schedule_again(tx, one, "old", iter(["web1", "web9"]))
    assert states(acme)[one, "old", "web1"] == "pending"
    assert states(acme)[one, "old", "web2"] == "done"
    assert len(states(acme)) == 6
    with pytest.raises(ZeroDivisionError), acme.write(LATER) as tx:
        deployments.schedule(tx, one, "newest", ["web1"])
        raise ZeroDivisionError
    assert len(states(acme)) == 6
    assert states(acme)[one, "old", "web1"] == "pending"


def test_deliveries_are_due_by_their_time_and_failures_are_kept(acme: Database) -> None:
    with acme.write(NOW) as tx:
        one, two = add(tx, "a"), add(tx, "b", client="1002")
        deployments.schedule(tx, one, "x", ["web1", "web2"])
        deployments.schedule(tx, two, "x", ["web1"])
        first, second, third = (r.id for r in deployments.listing(tx.conn))
        assert deployments.failing(tx.conn) == []
        for _ in range(2):
            deployments.failed(tx, first, "e" * 1001, AT + DAY)
        deployments.failed(tx, third, "refused", AT + 60)
        conn = tx.conn
        assert [r.id for r in deployments.listing(conn, due=AT)] == [second]
        assert [r.id for r in deployments.listing(conn, due=AT + 60)] == [second, third]
        assert [r.id for r in deployments.listing(conn, lineage_id=two, due=AT + DAY)] == [third]
        assert deployments.listing(conn, states=("done", "superseded")) == []
        failing = deployments.failing(conn)
        assert [(r.name, r.client, r.target, r.attempts) for r in failing] == [
            ("a", "1001", "web1", 2),
            ("b", "1002", "web1", 1),
        ]
        assert failing[0].error == "e" * 1000
    with acme.write(LATER) as tx:
        deployments.succeeded(tx, first)
        lineages.edit(tx, two, state="retired")
        assert deployments.failing(tx.conn) == []
        (row,) = deployments.listing(tx.conn, states=("done",))
    ended = (row.state, row.done_at, row.error, row.attempts)
    assert ended == ("done", AT + DAY, None, 3)


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
