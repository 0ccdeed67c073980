"""Names of lineages: whose they are, quarantine, and which one covers a host."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import StoredLineage
from inventory.store import clients, domains, lineage_names, lineages
from tests.inventory.store.builders import AT, LATER, NOW, add_site, audited, count, entry_count
from tests.inventory.store.chunked import unknown_id
from tests.inventory.store.lineage_rows import add, found_names, names_of


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
    assert (row.state, row.since, row.reason, row.failures) == ("active", None, "timeout", 1)
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
    assert (found[name].state, found[name].since, found[name].failures) == ("quarantined", AT, 3)
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
