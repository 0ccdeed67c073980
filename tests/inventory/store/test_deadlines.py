"""Deadlines of the provider: their clients and tags, what was in force at a date, retirement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inventory.db.database import Database, to_epoch
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import DeadlineScope, StoredDeadline
from inventory.records import ListedDeadline
from inventory.store import clients, deadlines
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_client,
    audited,
    count,
    entry_count,
    rows,
)

RULES = ("https-only", "no-sha1")
JULY = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
GIVEN: dict[str, Any] = {
    "at": JULY,
    "rule": "https-only",
    "title": "HTTPS everywhere",
    "purchase_days": 3,
    "validation_days": 5,
    "installation_days": 7,
}


def add(
    database: Database,
    name: str = "move",
    *numbers: str,
    tags: tuple[str, ...] = (),
    **given: Any,
) -> int:
    with database.write(NOW) as tx:
        return deadlines.add(tx, name, GIVEN | given, RULES, for_clients=numbers, tags=tags)


def edit(database: Database, name: str = "move", **given: Any) -> dict[str, list[Any]]:
    scope = {"for_clients": given.pop("for_clients", None), "tags": given.pop("tags", None)}
    with database.write(LATER) as tx:
        return deadlines.edit(tx, name, given, RULES, **scope)


def listed(database: Database, **given: Any) -> list[ListedDeadline]:
    with database.read() as conn:
        return deadlines.listing(conn, **given)


def scopes(database: Database, name: str = "move") -> tuple[list[str], list[str]]:
    """(clients, tags) that the listing shows."""
    (row,) = [r for r in listed(database, retired=True) if r.name == name]
    return list(row.clients), list(row.tags)


def test_added_deadline_keeps_what_is_given(database: Database) -> None:
    row_id = add(database, " move ", text="  Your site moves.  ")
    with database.read() as conn:
        row = deadlines.find(conn, "move")
        with pytest.raises(NotFound, match="no deadline of your own 'other'"):
            deadlines.find(conn, "other")
    assert (row.id, row.at, row.rule) == (row_id, to_epoch(JULY), "https-only")
    assert (row.title, row.text) == ("HTTPS everywhere", "Your site moves.")
    assert [getattr(row, lead) for lead in deadlines.LEADS] == [3, 5, 7]
    assert (row.state, row.created_at) == ("active", AT)
    (entry,) = audited(database)
    assert entry[:3] == ("add", "deadline", row_id)
    assert entry[3]["rule"] == [None, "https-only"]
    assert entry[3]["text"] == [None, "-"]


def test_name_of_a_deadline_is_never_used_twice(database: Database) -> None:
    add(database)
    with pytest.raises(Conflict, match="'move' exists already"):
        add(database)
    with database.write(NOW) as tx:
        deadlines.retire(tx, "move")
    with pytest.raises(Conflict, match="A retired deadline was called 'move'"):
        add(database)
    add(database, "second")
    assert [r.name for r in listed(database, retired=True)] == ["move", "second"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rule": "no-tls"}, "'no-tls' is not a rule"),
    ({"title": " "}, "title is empty"),
    ({"title": "x" * 201}, "the limit is 200"),
    ({"text": "x" * 4001}, "the limit is 4000"),
    ({"purchase_days": -1}, "-1 days for purchase"),
    ({"validation_days": 731}, "731 days for validation"),
    ({"installation_days": 731}, "0 to 730 days"),
    ({"for_clients": ["1099"]}, "no client '1099'"),
    ({"tags": ["two words"]}, "has a space"),
    ({"tags": [" "]}, "tag is empty"),
]


def test_values_that_are_refused_change_nothing(pair: Database) -> None:
    add(pair, "move", ONE, tags=("gold",))
    before = entry_count(pair)
    for given, message in REFUSED:
        scope = {"for_clients": given.get("for_clients", []), "tags": given.get("tags", [])}
        with pytest.raises(UsageError, match=message), pair.write(LATER) as tx:
            deadlines.add(tx, "second", GIVEN | given, RULES, **scope)
        with pytest.raises(UsageError, match=message):
            edit(pair, **given)
    for name in ("", "x" * 61):
        with pytest.raises(UsageError):
            add(pair, name)
    with pytest.raises(NotFound):
        edit(pair, "second", title="Other")
    assert [r.name for r in listed(pair, retired=True)] == ["move"]
    assert scopes(pair) == ([ONE], ["gold"])
    assert audited(pair, before) == []


def test_limits_of_days_are_accepted(database: Database) -> None:
    add(database, purchase_days=0, validation_days=730, installation_days=0)
    with database.read() as conn:
        row = deadlines.find(conn, "move")
    assert [getattr(row, lead) for lead in deadlines.LEADS] == [0, 730, 0]


def test_edit_reports_and_audits_only_what_differs(database: Database) -> None:
    row_id = add(database, text="Before")
    before = entry_count(database)
    assert edit(database, title="HTTPS everywhere", at=JULY, text=None, rule=None) == {}
    day_later = JULY + timedelta(days=1)
    changes = edit(database, title="Move", at=day_later, text="", validation_days=0)
    assert changes == {
        "at": [to_epoch(JULY), to_epoch(day_later)],
        "title": ["HTTPS everywhere", "Move"],
        "text": ["Before", None],
        "validation_days": [5, 0],
    }
    hidden = {"title": ["-", "-"], "text": ["-", None]}
    assert audited(database, before) == [("edit", "deadline", row_id, changes | hidden)]


def test_deadline_is_for_the_named_clients_and_tags(pair: Database) -> None:
    add(pair, "all")
    add(pair, "move", TWO, ONE, TWO, tags=("gold", "blue", "gold"))
    add(pair, "single", TWO, "Client 1002", tags=("vip", " vip "))
    assert scopes(pair, "all") == ([], [])
    found_clients, found_tags = scopes(pair)
    assert sorted(found_clients) == [ONE, TWO]
    assert found_tags == ["blue", "gold"]
    assert scopes(pair, "single") == ([TWO], ["vip"])


def test_client_of_a_deadline_stays_the_same_when_its_number_changes(pair: Database) -> None:
    add(pair, "move", ONE)
    with pair.write(NOW) as tx:
        clients.edit(tx, ONE, {"number": "2001"})
        add_client(tx, "1001a")
        clients.edit(tx, "1001a", {"number": ONE})
    assert scopes(pair) == (["2001"], [])


def test_edit_replaces_clients_or_tags_and_leaves_the_others(pair: Database) -> None:
    row_id = add(pair, "move", ONE, tags=("gold",))
    add(pair, "other", TWO, tags=("silver",))
    before = entry_count(pair)
    assert edit(pair, for_clients=[TWO]) == {"for": [[ONE, "gold"], [TWO, "gold"]]}
    assert scopes(pair) == ([TWO], ["gold"])
    assert edit(pair, tags=["blue", ""]) == {"for": [[TWO, "gold"], [TWO, "blue"]]}
    assert scopes(pair) == ([TWO], ["blue"])
    assert edit(pair, title="Move", for_clients=[""], tags=[""]) == {
        "title": ["HTTPS everywhere", "Move"],
        "for": [[TWO, "blue"], []],
    }
    assert scopes(pair) == ([], [])
    assert scopes(pair, "other") == ([TWO], ["silver"])
    entries = audited(pair, before)
    assert [e[:3] for e in entries] == 4 * [("edit", "deadline", row_id)]
    assert [list(e[3]) for e in entries] == [["for"], ["for"], ["title"], ["for"]]


def test_edit_with_the_same_clients_and_tags_changes_nothing(database: Database) -> None:
    # The numbers are in another order than the ids under which the clients are kept.
    with database.write(NOW) as tx:
        for number in ("3", "2", "1"):
            add_client(tx, number)
    add(database, "move", "1", "2", "3", tags=("gold", "blue"))
    before = entry_count(database)
    for same in (["1", "2", "3"], ["3", "1", "2"], ["1", "2", "3", "1"], ["Client 1", "2", "3"]):
        assert edit(database, for_clients=same) == {}, same
    assert edit(database, tags=["gold", " blue ", "gold"]) == {}
    assert edit(database, for_clients=["1", "2", "3"], tags=["blue", "gold"]) == {}
    assert audited(database, before) == []
    changes = edit(database, for_clients=["1", "3"])
    assert changes == {"for": [["3", "2", "1", "blue", "gold"], ["3", "1", "blue", "gold"]]}


def test_retired_deadline_is_silent_and_stays_as_it_was(pair: Database) -> None:
    row_id = add(pair, "move", ONE)
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        deadlines.retire(tx, "move")
        with pytest.raises(UsageError, match="retired already"):
            deadlines.retire(tx, "move")
        with pytest.raises(NotFound):
            deadlines.retire(tx, "other")
    with pytest.raises(UsageError, match="'move' is retired"):
        edit(pair, title="Move")
    assert listed(pair) == []
    (row,) = listed(pair, retired=True)
    assert (row.state, row.retired_at, row.clients) == ("retired", AT + DAY, (ONE,))
    assert audited(pair, before) == [("retire", "deadline", row_id, {})]


def test_listing_at_a_date_shows_what_was_in_force_then(database: Database) -> None:
    assert listed(database) == []
    add(database, "b-late", at=JULY + timedelta(days=1))
    add(database, "c-early")
    add(database, "a-early")
    with database.write(LATER) as tx:
        deadlines.retire(tx, "c-early")

    def names(**given: Any) -> list[str]:
        return [r.name for r in listed(database, **given)]

    second = timedelta(seconds=1)
    assert names() == ["a-early", "b-late"], "soonest first, then by name"
    assert names(retired=True) == ["a-early", "c-early", "b-late"]
    assert names(at=NOW - second) == []
    assert names(at=NOW) == names(at=LATER - second) == ["a-early", "c-early", "b-late"]
    assert names(at=LATER) == ["a-early", "b-late"]


def test_exception_in_the_transaction_leaves_the_deadline_and_its_scope(pair: Database) -> None:
    add(pair, "move", ONE)
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(LATER) as tx:
        deadlines.edit(tx, "move", {"title": "Move"}, RULES, for_clients=[TWO], tags=["gold"])
        deadlines.add(tx, "second", GIVEN, RULES, for_clients=[TWO], tags=[])
        raise RuntimeError
    with pair.read() as conn:
        assert count(conn, StoredDeadline) == 1
        assert [r["kind"] for r in rows(conn, DeadlineScope)] == ["client"]
    assert scopes(pair) == ([ONE], [])
    assert audited(pair, before) == []
