"""What all records share: checked texts, the audit entry of each change, retirement and tags."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import exc, select

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import Client, Domain, Tag
from inventory.records import ClientRecord
from inventory.store import clients, editing
from inventory.vocabulary import Party
from tests.inventory.store.builders import AT, LATER, NOW, audited, count, entry_count, many_clients
from tests.inventory.store.chunked import across_chunks, unknown_id


@pytest.mark.parametrize("text", [None, "", "  \t "])
def test_empty_text_is_no_value(text: str | None) -> None:
    assert editing.clean(text, "note") is None
    assert editing.choice(text, "kind", ("web",)) is None
    with pytest.raises(UsageError, match="The note is empty"):
        editing.required(text, "note")


def test_text_loses_surrounding_space_and_keeps_its_limit() -> None:
    assert editing.clean("  a b ", "note") == "a b"
    assert editing.required(" é ", "note", 1) == "é"
    assert editing.clean("x" * 200, "note") == "x" * 200
    with pytest.raises(UsageError, match=r"The note has 201 characters: the limit is 200"):
        editing.clean("x" * 201, "note")
    with pytest.raises(UsageError, match=r"'a\?b' has control characters"):
        editing.clean("a\x1bb", "note")


def test_only_known_words_are_a_choice() -> None:
    assert editing.choice(" web ", "kind of server", ("web", "mail")) == "web"
    with pytest.raises(UsageError, match="'disk' is not a kind of server: known are web, mail"):
        editing.choice("disk", "kind of server", ("web", "mail"))


def test_only_given_parties_are_checked_and_returned() -> None:
    assert editing.parties({"hosts": "us", "dns": "", "name": "ignored"}) == {
        "hosts": "us",
        "dns": None,
    }
    assert editing.parties({}) == {}
    for party in Party:
        assert editing.parties({"renews": str(party)}) == {"renews": party}
    with pytest.raises(UsageError, match="party for 'buys'"):
        editing.parties({"buys": "a friend"})


@pytest.mark.parametrize("name", ["a b", "a,b", "a;b", "a\tb", "", "x" * 61])
def test_tag_with_a_separator_or_a_wrong_length_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        editing.clean_tag(name)
    assert editing.clean_tag(" gold ") == "gold"


def test_added_row_is_audited_without_personal_data(database: Database) -> None:
    with database.write(NOW) as tx:
        values = {"number": "1", "name": "Ada", "hosts": "us", "note": None}
        row_id = editing.add(tx, Client, values, ("vip", " gold", "vip"))
        row = tx.conn.execute(select(Client).where(Client.id == row_id)).mappings().one()
    assert (row["number"], row["state"], row["created_at"]) == ("1", "active", AT)
    added, tagged = audited(database)
    assert added == (
        "add",
        "client",
        row_id,
        {"number": [None, "-"], "name": [None, "-"], "hosts": [None, "us"]},
    )
    assert tagged == ("tag", "client", row_id, {"added": ["vip", "gold"], "removed": []})


def test_second_row_with_the_same_key_is_refused_and_the_transaction_goes_on(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        editing.add(tx, Client, {"number": "1", "name": "One"})
        with pytest.raises(Conflict, match="This client exists already"):
            editing.add(tx, Client, {"number": "1", "name": "Other"})
        with pytest.raises(Conflict, match="taken"):
            editing.add(tx, Client, {"number": "2", "name": "One"}, conflict="taken")
        editing.add(tx, Client, {"number": "2", "name": "Two"})
    assert [(action, detail["number"]) for action, _, _, detail in audited(database)] == [
        ("add", [None, "-"]),
        ("add", [None, "-"]),
    ]
    with database.read() as conn:
        assert set(conn.scalars(select(Client.number))) == {"1", "2"}


def test_refused_row_is_a_duplicate_only_if_the_database_found_one(database: Database) -> None:
    with database.write(NOW) as tx:
        row_id = editing.add(tx, Client, {"number": "1", "name": "One"})
        before = clients.find(tx.conn, "1")
        # Each savepoint is rolled back alone, so the transaction goes on after each refusal.
        with pytest.raises(Conflict, match="refers to a record that does not exist any more"):
            editing.add(tx, Domain, {"name": "a.example", "client_id": row_id + 1})
        with pytest.raises(Conflict, match="refers to a record that does not exist any more"):
            editing.edit(tx, Client, before, {"reseller_id": row_id + 1})
        # A missing value is a fault of the program, and no second record.
        with pytest.raises(exc.IntegrityError):
            editing.add(tx, Client, {"number": "2"}, conflict="exists already")
        with pytest.raises(exc.IntegrityError):
            editing.edit(tx, Client, before, {"name": None}, "exists already")
        assert editing.add(tx, Domain, {"name": "a.example", "client_id": row_id})


def test_edit_writes_and_audits_only_what_differs(database: Database) -> None:
    with database.write(NOW) as tx:
        editing.add(tx, Client, {"number": "1", "name": "One"})
        editing.add(tx, Client, {"number": "2", "name": "Two"})
    known = entry_count(database)
    with database.write(LATER) as tx:
        before = clients.find(tx.conn, "1")
        assert editing.edit(tx, Client, before, {"name": "One", "note": None}) == {}
        changes = editing.edit(tx, Client, before, {"name": "Uno", "hosts": "us", "number": "1"})
        assert changes == {"name": ["One", "Uno"], "hosts": [None, "us"]}
        with pytest.raises(Conflict, match="a second one of the same name"):
            editing.edit(tx, Client, before, {"name": "Two"})
        with pytest.raises(Conflict, match="taken"):
            editing.edit(tx, Client, before, {"number": "2"}, "taken")
        assert clients.find(tx.conn, "2").name == "Two"
        assert clients.find(tx.conn, "1").name == "Uno"
    assert audited(database, known) == [
        ("edit", "client", before.id, {"name": ["-", "-"], "hosts": [None, "us"]}),
    ]


def test_retired_row_keeps_its_date_and_is_not_retired_twice(database: Database) -> None:
    with database.write(NOW) as tx:
        ids = many_clients(tx, 1001, with_domains=False)
        editing.retire(tx, Client, [ids[0]])
    known = entry_count(database)
    with database.write(LATER) as tx:
        with pytest.raises(UsageError, match="This client is retired already"):
            editing.retire(tx, Client, [ids[0]])
        editing.retire(tx, Client, [])
        editing.retire(tx, Client, [ids[1]])
        editing.retire(tx, Client, ids)
    with database.read() as conn:
        rows = {r.id: r for r in conn.execute(select(Client))}
    assert {r.state for r in rows.values()} == {"retired"}
    assert rows[ids[0]].retired_at == AT, "the date of the first retirement stays"
    assert {rows[i].retired_at for i in ids[1:]} == {AT + 86_400}
    entries = audited(database, known)
    assert {(action, kind) for action, kind, _, _ in entries} == {("retire", "client")}
    assert {row_id for _, _, row_id, _ in entries} == set(ids)


def test_tags_are_added_once_removed_and_kept_apart_by_kind(database: Database) -> None:
    with database.write(NOW) as tx:
        one, two = many_clients(tx, 2, with_domains=False)
        editing.change_tags(tx, "client", one, add=["gold", "vip", "gold"])
        editing.change_tags(tx, "client", two, add=["gold", "blue"])
        editing.change_tags(tx, "server", one, add=["gold"])
    known = entry_count(database)
    with database.write(LATER) as tx:
        editing.change_tags(tx, "client", one, add=["vip"], remove=["blue"])  # not its own
        editing.change_tags(tx, "client", one)
        editing.change_tags(tx, "client", one, add=[" new "], remove=["gold", "never"])
        with pytest.raises(UsageError, match="Use a hyphen"):
            editing.change_tags(tx, "client", two, add=["red"], remove=["a b"])
    assert audited(database, known) == [
        ("tag", "client", one, {"added": ["new"], "removed": ["gold"]}),
    ]
    expected = {one: ("new", "vip"), two: ("blue", "gold")}
    with database.read() as conn:
        assert editing.tags_of(conn, "client") == expected
        assert editing.tags_of(conn, "client", [two]) == {two: ("blue", "gold")}
        assert editing.tags_of(conn, "server") == {one: ("gold",)}
        assert editing.tags_of(conn, "client", []) == {}
        asked = across_chunks([one, unknown_id(0), two], unknown_id)
        assert editing.tags_of(conn, "client", asked) == expected


def test_exception_in_a_transaction_leaves_no_row_no_tag_and_no_audit_entry(
    database: Database,
) -> None:
    with pytest.raises(ZeroDivisionError), database.write(NOW) as tx:
        editing.add(tx, Client, {"number": "1", "name": "One"}, ("gold",))
        raise ZeroDivisionError
    with database.read() as conn:
        assert (count(conn, Client), count(conn, Tag)) == (0, 0)
    assert audited(database) == []


def test_query_without_a_row_names_what_was_asked_and_the_command_that_lists(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        many_clients(tx, 2, with_domains=False)
    with database.read() as conn:
        ordered = select(Client).order_by(Client.number)
        found = editing.one(conn, ClientRecord, ordered, "client", "any", "certmgr client list")
        assert found.number == "50000"
        none = select(Client).where(Client.number == "9")
        missing = re.escape("There is no client '9?9'. See certmgr client list.")
        with pytest.raises(NotFound, match=missing):
            editing.one(conn, ClientRecord, none, "client", "9\n9", "certmgr client list")
