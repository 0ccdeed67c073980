"""Erasing a client: its data goes from every table, and no row of another client changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from inventory.db import audit_chain
from inventory.db.database import Database, Tx
from inventory.errors import NotFound
from inventory.models import (
    AcmeBackoff,
    AcmeEvent,
    Contact,
    ContactMethod,
    DeadlineScope,
    Domain,
    Endpoint,
    IncidentItem,
    Notice,
    ServedChain,
    StoredAcceptance,
    StoredCertificate,
    StoredDeadline,
    StoredFinding,
    StoredPurchase,
    Ticket,
)
from inventory.models.schema import metadata
from inventory.store import (
    acme_orders,
    audit_log,
    cases,
    clients,
    contacts,
    deadlines,
    domains,
    editing,
    erase,
    findings,
    issuances,
    lineages,
    notices,
    snoozes,
    tickets,
)
from inventory.vocabulary import OrderState, RateEventKind, SnoozeScope
from tests.inventory.store.builders import (
    AT,
    DAY,
    DIRECTORY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_account,
    add_certificate,
    add_client,
    add_finding,
    add_lineage,
    add_notice,
    add_ticket,
    audited,
    count,
    domain_id,
    endpoint_id,
    entry_count,
    intend,
    many_domains,
    open_case,
    rows,
    serve,
)
from tests.inventory.store.full_inventory import (
    add_everything,
    add_shared,
    behind,
    dump,
    many_orders,
)


def test_nothing_personal_of_the_client_is_left_and_no_row_of_another_changed(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        shared = add_shared(tx)
        add_everything(tx, "lily", shared)
    with database.read() as conn:
        before = dump(conn)
    with database.write(NOW) as tx:
        add_everything(tx, "rose", shared)
        row_id = clients.find(tx.conn, "rose").id
    with database.read() as conn:
        filled = {name for name, new in behind(dump(conn), before).items()}
    entries = entry_count(database)
    with database.write(LATER) as tx:
        gone = erase.erase(tx, "rose")
    assert gone == {
        "domains": 3,
        "endpoints": 4,
        "contacts": 2,
        "orders": 2,
        "cases": 1,
        "lineages": 1,
        "certificates": 3,
    }
    with database.read() as conn:
        after = dump(conn)
        assert audit_chain.verify_chain(audit_log.entries(conn))[0] is None, (
            "the log is still a chain"
        )
    for name, found in after.items():
        assert before[name] <= found, f"{name}: a row of another client changed"
        for row in found:
            assert "rose" not in repr(row).lower(), (name, row)
    left = behind(after, before)
    assert {name: len(new) for name, new in left.items() if name != "audit"} == {
        "client": 1,
        "matter": 2,
        "notice": 2,
        "notice_item": 1,
        "inbound": 1,
        "incident_item": 1,
        "deadline": 1,
        "deadline_scope": 1,
    }
    assert filled >= set(left) | {"case", "domain", "lineage", "observation", "tag"}
    assert audited(database, entries) == [("erase", "client", row_id, gone)]


def test_every_table_that_speaks_of_a_client_is_filled_by_this_test(database: Database) -> None:
    """A new table that refers to erased rows must be thought of here."""
    with database.write(NOW) as tx:
        shared = add_shared(tx)
        empty = dump(tx.conn)
        add_everything(tx, "rose", shared)
        filled = set(behind(dump(tx.conn), empty))
    erased = {"client", "contact", "domain", "endpoint", "order", "case", "lineage"}
    keys = [key for table in metadata.sorted_tables for key in table.foreign_keys]
    referring = {key.parent.table.name for key in keys if key.column.table.name in erased}
    assert referring <= filled


def test_erased_client_is_a_retired_row_without_a_name(pair: Database) -> None:
    with pair.write(NOW) as tx:
        clients.edit(tx, ONE, {"note": "x", "account_manager": "Eve", "reseller": TWO})
        row_id = clients.find(tx.conn, ONE).id
    with pair.write(LATER) as tx:
        erase.erase(tx, "Client 1001")
        row = clients.find(tx.conn, f"erased-{row_id}")
        with pytest.raises(NotFound):
            erase.erase(tx, ONE)
        assert [r.number for r in clients.listing(tx.conn)] == [TWO]
        # Its number, its name and its domains can be given again.
        add_client(tx, ONE, "shop1001.example")
    assert row.name == f"erased-{row_id}"
    assert [getattr(row, c) for c in ("note", "account_manager", "reseller_id")] == [None] * 3
    assert (row.state, row.retired_at, row.created_at) == ("retired", AT + DAY, AT)


def test_client_that_was_retired_keeps_that_date_and_is_erased_once(pair: Database) -> None:
    with pair.write(NOW) as tx:
        row_id = clients.find(tx.conn, ONE).id
        clients.retire(tx, ONE)
    with pair.write(LATER) as tx:
        first = erase.erase(tx, ONE)
        row = clients.find(tx.conn, f"erased-{row_id}")
        again = erase.erase(tx, f"erased-{row_id}")
        assert clients.find(tx.conn, f"erased-{row_id}") == row
    assert row.retired_at == AT
    assert (first["domains"], first["endpoints"], first["contacts"]) == (1, 1, 1)
    assert set(again.values()) == {0}


def test_exception_in_the_transaction_leaves_the_client_whole(database: Database) -> None:
    with database.write(NOW) as tx:
        add_everything(tx, "rose", add_shared(tx))
    with database.read() as conn:
        before = dump(conn)
    with pytest.raises(RuntimeError), database.write(LATER) as tx:
        erase.erase(tx, "rose")
        raise RuntimeError
    with database.read() as conn:
        assert dump(conn) == before


def test_unknown_client_is_not_found(pair: Database) -> None:
    for key in ("", "1003", "erased-1"):
        with pytest.raises(NotFound), pair.write(NOW) as tx:
            erase.erase(tx, key)


def test_client_with_more_rows_than_one_statement_takes_is_erased_whole(pair: Database) -> None:
    """Ids are used 500 at a time, certificates 200 at a time."""
    with pair.write(NOW) as tx:
        owner = clients.find(tx.conn, ONE).id
        ada = contacts.find(tx.conn, "Owner 1001").id
        many_domains(tx, ((owner, f"d{i:04}.example") for i in range(1000)))
        query = select(Endpoint.id).join(Domain).where(Domain.client_id == owner)
        ids = sorted(tx.conn.scalars(query))
        for row_id in (ids[0], ids[500], ids[1000]):
            add_finding(tx, row_id)
        for i in range(401):
            serve(tx, ids[i], add_certificate(tx, f"leaf {i}"))
        common = {"kind": "fault", "client_id": owner, "opened_at": AT}
        topics = [{"reference": f"CM-{i}", "key": f"k{i}", **common} for i in range(501)]
        tx.conn.execute(insert(Ticket), topics)
        for _ in range(501):
            add_notice(tx, owner, ada)
        first, last = many_orders(tx, owner, 501)
        # The order that is deleted first is still referred to by one that is deleted later.
        tx.conn.execute(
            update(StoredPurchase).where(StoredPurchase.id == last).values(successor_id=first)
        )
    with pair.write(LATER) as tx:
        gone = erase.erase(tx, ONE)
        assert (gone["domains"], gone["endpoints"], gone["certificates"]) == (1001, 1001, 401)
        lefts = (
            (Domain, 1),
            (Endpoint, 1),
            (StoredFinding, 0),
            (StoredCertificate, 0),
            (StoredPurchase, 0),
        )
        for table, left in lefts:
            assert count(tx.conn, table) == left, table.__tablename__
        assert {r["text"] for r in rows(tx.conn, Notice)} == {""}
        assert {r["state"] for r in rows(tx.conn, Notice)} == {"dead"}
        assert {r["closed_at"] for r in rows(tx.conn, Ticket)} == {AT}
        assert [r["host"] for r in rows(tx.conn, Endpoint)] == ["shop1002.example"]


def test_contacts_and_clients_that_referred_to_the_erased_ones_stay(pair: Database) -> None:
    with pair.write(NOW) as tx:
        row_id = contacts.add(tx, None, {"name": "Eve"}, ("eve@provider.example",))
        ada = contacts.find(tx.conn, "Owner 1001").id
        change = update(Contact).where(Contact.id == row_id)
        tx.conn.execute(change.values(fallback_id=ada))
        clients.edit(tx, TWO, {"reseller": ONE})
        add_client(tx, "1003", reseller=TWO)
        erase.erase(tx, ONE)
        left = {r["name"]: r["fallback_id"] for r in rows(tx.conn, Contact)}
        assert left == {"Owner 1002": None, "Eve": None}
        two = clients.find(tx.conn, TWO)
        assert two.reseller_id is None
        assert clients.find(tx.conn, "1003").reseller_id == two.id
        assert len(rows(tx.conn, ContactMethod)) == 2


def kept(database: Database) -> set[str]:
    with database.read() as conn:
        return {bytes(r["der"]).decode() for r in rows(conn, StoredCertificate)}


def test_certificate_is_kept_while_another_client_serves_or_served_it(pair: Database) -> None:
    with pair.write(NOW) as tx:
        shops = [endpoint_id(tx.conn, f"shop{n}.example") for n in (ONE, TWO)]
        served, before = add_certificate(tx, "served"), add_certificate(tx, "before")
        mine = add_certificate(tx, "mine")
        ca = add_certificate(tx, "ca", is_ca=True)
        serve(tx, shops[1], before, "192.0.2.2")
        for sha256 in (ca, before, mine, served):
            serve(tx, shops[0], sha256)
        serve(tx, shops[1], served, "192.0.2.2")
        gone = erase.erase(tx, ONE)
        assert len(rows(tx.conn, ServedChain)) == 2
    assert gone["certificates"] == 1
    assert kept(pair) == {"served", "before", "ca"}


def test_certificate_is_kept_while_it_belongs_to_a_case_or_lineage_of_another_client(
    pair: Database,
) -> None:
    """The erased client's endpoint served certificates that were issued for the other client."""
    with pair.write(NOW) as tx:
        two = clients.find(tx.conn, TWO).id
        shop = endpoint_id(tx.conn, "shop1001.example")
        row = open_case(tx, two, "shop1002.example")
        account = add_account(tx)
        lineage_id = add_lineage(tx, "theirs", TWO, account, "shop1002.example")
        labels = ("of a case", "newest", "in use", "of an older order", "mine")
        made = {label: add_certificate(tx, label) for label in labels}
        issuances.add(tx, issuances.NewIssuance(case_id=row.id, sha256=made["of a case"]))
        lineages.note(tx, lineage_id, sha256=made["newest"], deployed=made["in use"])
        placed = intend(tx, lineage_id, account)
        acme_orders.end(tx, placed, OrderState.DONE, sha256=made["of an older order"])
        for sha256 in made.values():
            serve(tx, shop, sha256)
        gone = erase.erase(tx, ONE)
    assert gone["certificates"] == 1
    assert kept(pair) == set(labels) - {"mine"}


def test_client_is_erased_to_whom_a_domain_was_moved(pair: Database) -> None:
    """Tickets of the client that had the domain before still refer to it."""
    with pair.write(NOW) as tx:
        one = clients.find(tx.conn, ONE).id
        about = {
            "endpoint_id": endpoint_id(tx.conn, "shop1001.example"),
            "domain_id": domain_id(tx.conn, "shop1001.example"),
        }
        given = about | {"cause": "server web1", "acked_by": "Owner 1001"}
        topic = add_ticket(tx, one, "fault:1:1", **given)
        row = open_case(tx, one, "shop1001.example")
        domains.edit(tx, "shop1001.example", {"client": TWO})
        gone = erase.erase(tx, TWO)
        left: dict[int, Mapping[str, Any]] = {r["id"]: r for r in rows(tx.conn, Ticket)}
        assert cases.find(tx.conn, row.reference).domain_id is None
    assert (gone["domains"], gone["endpoints"]) == (2, 2)
    assert (left[topic]["endpoint_id"], left[topic]["domain_id"]) == (None, None)
    assert (left[topic]["cause"], left[topic]["acked_by"]) == ("server web1", "Owner 1001")
    assert left[topic]["closed_at"] is None, "the ticket is the other client's"


def test_names_of_lineages_leave_the_ledger_also_if_they_are_no_endpoints(pair: Database) -> None:
    with pair.write(NOW) as tx:
        account = add_account(tx)
        names = ("shop1001.example", "*.api.shop1001.example")
        lineage_id = add_lineage(tx, "mine", ONE, account, *names)
        dropped = "was.shop1001.example"
        placed = intend(tx, lineage_id, account, names=f"shop1001.example {dropped}")
        acme_orders.end(tx, placed, OrderState.FAILED)
        mine = ("shop1001.example", "api.shop1001.example", dropped)
        theirs = ("shop1002.example", "api.shop1002.example", "example")
        for name in (*mine, *theirs):
            acme_orders.count(tx, account, RateEventKind.FAILURE, [(name, None)])
            for scope in (name, f"domain:{name}", f"*.{name}"):
                acme_orders.back_off(tx, DIRECTORY, scope, 1, AT + DAY, "paused")
        for scope in ("", "account:letsencrypt"):
            acme_orders.back_off(tx, DIRECTORY, scope, 1, AT + DAY, "down")
        acme_orders.count(tx, account, RateEventKind.CERTIFICATE, [(None, "digest")])
        erase.erase(tx, ONE)
        left = [r["domain"] for r in rows(tx.conn, AcmeEvent)]
        scopes = {r["scope"] for r in rows(tx.conn, AcmeBackoff)}
    assert left == [*theirs, None]
    expected = {form.format(n) for n in theirs for form in ("{}", "domain:{}", "*.{}")}
    assert scopes == expected | {"", "account:letsencrypt"}


def test_deadline_for_the_client_alone_is_retired_and_never_for_all(pair: Database) -> None:
    given = {"at": LATER, "rule": "r", "title": "Move of the shop", "text": "Dear Ada"}
    given |= dict.fromkeys(deadlines.LEADS, 1)

    def add(tx: Tx, name: str, numbers: list[str], tags: list[str]) -> int:
        return deadlines.add(tx, name, given, ("r",), for_clients=numbers, tags=tags)

    with pair.write(NOW) as tx:
        one = clients.find(tx.conn, ONE).id
        alone = add(tx, "alone", [ONE], [])
        add(tx, "both", [ONE, TWO], [])
        add(tx, "tagged", [ONE], ["gold"])
        add(tx, "all", [], [])
        add(tx, "theirs", [TWO], [])
    with pair.write(LATER) as tx:
        erase.erase(tx, ONE)
        found = {r.name: (r.clients, r.tags) for r in deadlines.listing(tx.conn)}
        (row,) = [r for r in rows(tx.conn, StoredDeadline) if r["id"] == alone]
        scopes = [r["value"] for r in rows(tx.conn, DeadlineScope) if r["deadline_id"] == alone]
    assert found == {
        "both": ((TWO,), ()),
        "tagged": ((), ("gold",)),
        "all": ((), ()),
        "theirs": ((TWO,), ()),
    }
    assert (row["name"], row["title"], row["text"]) == (f"erased-{alone}", f"erased-{alone}", None)
    assert (row["state"], row["retired_at"]) == ("retired", AT + DAY)
    # The id of the client no longer leads to the deadline.
    assert scopes == [f"erased-{one}"]


def test_acceptances_snoozes_and_tags_of_others_stay(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        made: dict[str, int] = {}
        for number, row_id in ((ONE, one), (TWO, two)):
            name = f"shop{number}.example"
            scopes: tuple[dict[str, Any], ...] = (
                {"client_id": row_id},
                {"domain_id": domain_id(tx.conn, name)},
                {"endpoint_id": endpoint_id(tx.conn, name)},
            )
            for scope in scopes:
                findings.accept(tx, "x", frozenset({"x"}), LATER, "known", **scope)
            made[number] = add_ticket(tx, row_id, f"fault:{number}")
            snoozes.add(tx, SnoozeScope.TICKET, made[number], AT, AT + DAY, "", "")
            snoozes.add(tx, SnoozeScope.CLIENT, row_id, AT, AT + DAY, "", "")
            editing.change_tags(tx, "client", row_id, add=("gold",))
        snoozes.add(tx, SnoozeScope.SERVER, one, AT, AT + DAY, "", "")
        snoozes.add(tx, SnoozeScope.ALL, 0, AT, AT + DAY, "", "")
        erase.erase(tx, ONE)
        left = [(s.scope, s.scope_id) for s in snoozes.listing(tx.conn)]
        assert count(tx.conn, StoredAcceptance) == 3
        assert editing.tags_of(tx.conn, "client") == {two: ("gold",)}
        assert [r.client_id for r in tickets.listing(tx.conn)] == [two]
        assert notices.sent_about(tx.conn) == {}
    assert left == [("matter", made[TWO]), ("client", two), ("server", one), ("all", 0)]


def test_incident_keeps_the_serial_number_without_names(pair: Database) -> None:
    with pair.write(NOW) as tx:
        shared = add_shared(tx)
        for number in (ONE, TWO):
            row_id = clients.find(tx.conn, number).id
            row = open_case(tx, row_id, f"shop{number}.example")
            item = {"incident_id": shared["incident"], "serial": number, "sort": "client"}
            item |= {"client_id": row_id, "case_id": row.id, "names": (f"shop{number}.example",)}
            tx.conn.execute(insert(IncidentItem).values(item))
        erase.erase(tx, ONE)
        first, second = rows(tx.conn, IncidentItem)
        assert [r.client for r in cases.listing(tx.conn)] == [TWO]
    assert [first[c] for c in ("serial", "client_id", "case_id", "names")] == [ONE, None, None, ()]
    assert second["names"] == ("shop1002.example",)
    assert None not in (second["client_id"], second["case_id"])
