"""Contacts: ways to be reached, and fallbacks and listings that stay within the client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from inventory.db.database import Database, to_epoch
from inventory.errors import InvalidName, NotFound, UsageError
from inventory.models import Contact, ContactMethod
from inventory.store import clients, contacts
from tests.inventory.store.builders import (
    AT,
    LATER,
    NOW,
    ONE,
    TWO,
    audited,
    count,
    entry_count,
    rows,
)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("email:ada@example.com", ("email", "ada@example.com")),
        (" ada@Example.COM ", ("email", "ada@example.com")),
        ("ada@bücher.example", ("email", "ada@xn--bcher-kva.example")),
        ("+49 30 1234567", ("phone", "+49 30 1234567")),
        ("phone:030/1234567", ("phone", "030/1234567")),
        ("channel:oncall", ("channel", "oncall")),
        ("channel: oncall ", ("channel", "oncall")),
    ],
)
def test_way_is_read_as_it_is_stored(text: str, way: tuple[str, str]) -> None:
    assert contacts.parse_method(text) == way


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "telephone number is empty"),
        ("email:", "e-mail address is empty"),
        ("phone: ", "telephone number is empty"),
        ("channel:", "channel name is empty"),
        ("phone:abc", "is not a telephone number"),
        ("12", "is not a telephone number"),
        ("fax:123456", "is not a telephone number"),
        ("channel:" + "x" * 255, "the limit is 254"),
        ("channel:a\x1bb", "control characters"),
    ],
)
def test_way_that_reaches_no_one_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        contacts.parse_method(text)


def test_mail_address_that_is_none_is_refused() -> None:
    for text in ("email:ada", "ada@", "@example.com", "ada@localhost"):
        with pytest.raises(InvalidName):
            contacts.parse_method(text)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (contacts.language, ("en", "de-AT", "zh-Hant-TW"), ("e", "english", "en_GB", "en-")),
        (contacts.country, ("DE", "DE-BY"), ("XX", "DE-XX", "de", "Germany")),
        (
            contacts.time_zone,
            ("Europe/Berlin", "UTC"),
            ("Mars/Base", "../etc/passwd", "/etc/passwd"),
        ),
    ],
)
def test_language_country_and_time_zone_are_checked(
    check: Callable[[str | None], str | None], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    for text in good:
        assert check(f" {text} ") == text
    for empty in (None, "", "  "):
        assert check(empty) is None
    for text in (*bad, "x" * 61):
        with pytest.raises(UsageError):
            check(text)


def test_contact_keeps_what_is_given(pair: Database) -> None:
    before = entry_count(pair)
    away = datetime(2026, 4, 1, tzinfo=UTC)
    given = {
        "name": " Ada ",
        "role": "technical",
        "language": "de",
        "time_zone": "Europe/Berlin",
        "country": "DE-BY",
        "away_until": away,
        "fallback": "Owner 1001",
    }
    ways = ("ada@shop1001.example", "phone:+49 30 1", "email:ada@shop1001.example")
    with pair.write(NOW) as tx:
        row_id = contacts.add(tx, ONE, given, ways)
    with pair.read() as conn:
        row = contacts.find(conn, "Ada")
        for key in (str(row_id), "ada@shop1001.example", "+49 30 1"):
            assert contacts.find(conn, key) == row
        (listed,) = [r for r in contacts.listing(conn) if r.id == row_id]
    assert (row.name, row.role, row.language) == ("Ada", "technical", "de")
    assert (row.time_zone, row.country) == ("Europe/Berlin", "DE-BY")
    assert (row.away_until, row.created_at, row.state) == (to_epoch(away), AT, "active")
    assert listed.ways == ("email:ada@shop1001.example", "phone:+49 30 1"), "each once, in order"
    assert (listed.client, listed.fallback, listed.away) == (
        ONE,
        "Owner 1001",
        "2026-04-01",
    )
    added, written = audited(pair, before)
    assert added[:3] == ("add", "contact", row_id)
    assert added[3]["name"] == [None, "-"], "a name of a person is hidden"
    assert written == ("ways", "contact", row_id, {"count": 2})


def test_contact_without_client_is_staff_with_the_role_of_an_owner(pair: Database) -> None:
    with pair.write(NOW) as tx:
        contacts.add(tx, None, {"name": "Eve"})
        with pytest.raises(NotFound, match="no client '1003'"):
            contacts.add(tx, "1003", {"name": "Bob"})
    with pair.read() as conn:
        row = contacts.find(conn, "Eve")
        assert (row.client_id, row.role, row.away_until) == (None, "owner", None)
        listed = {r.name: (r.client, r.ways, r.away) for r in contacts.listing(conn)}
    assert listed["Eve"] == (None, (), None)


REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"name": " "}, ()),
    ({"name": "x" * 201}, ()),
    ({"role": "boss"}, ()),
    ({"language": "english"}, ()),
    ({"country": "XX"}, ()),
    ({"time_zone": "Mars/Base"}, ()),
    ({"fallback": "Ghost"}, ()),
    ({}, ("phone:abc",)),
]


def test_values_that_are_refused_change_nothing(pair: Database) -> None:
    before = entry_count(pair)
    for given, ways in REFUSED:
        with pytest.raises(UsageError), pair.write(NOW) as tx:
            contacts.add(tx, ONE, {"name": "Ada"} | given, ways)
        with pytest.raises(UsageError), pair.write(NOW) as tx:
            contacts.edit(tx, "Owner 1001", {"language": "fr"} | given, ways)
    with pair.read() as conn:
        assert count(conn, Contact) == count(conn, ContactMethod) == 2
        assert contacts.find(conn, "Owner 1001").language is None
    assert audited(pair, before) == []


def test_find_is_restricted_to_a_client_and_refuses_a_key_that_fits_several(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        first = contacts.add(tx, ONE, {"name": "Ada"}, ("ada@mail.example", "phone:+49 30 1"))
        second = contacts.add(tx, TWO, {"name": "Ada"}, ("ada@mail.example",))
        digits = contacts.add(tx, ONE, {"name": str(second)})
    with pair.read() as conn:
        for key in ("Ada", "ada@mail.example", str(second)):
            with pytest.raises(UsageError, match="2 contacts fit"):
                contacts.find(conn, key)
        assert contacts.find(conn, "Ada", one).id == first
        assert contacts.find(conn, "ada@mail.example", two).id == second
        assert contacts.find(conn, str(second), one).id == digits
        assert contacts.find(conn, "+49 30 1").id == first
        with pytest.raises(NotFound, match="no contact"):
            contacts.find(conn, "+49 30 1", two)
        for key in ("", "Ghost", str(digits + 1), "9" * 19, "9" * 18, "²"):
            with pytest.raises(NotFound):
                contacts.find(conn, key)


def test_fallback_belongs_to_the_same_client_or_to_the_provider(pair: Database) -> None:
    with pair.write(NOW) as tx:
        staff = contacts.add(tx, None, {"name": "Eve"})
        second = contacts.add(tx, ONE, {"name": "Ada"})
        with pytest.raises(UsageError, match="same client, or to the provider"):
            contacts.edit(tx, "Owner 1001", {"fallback": "Owner 1002"})
        with pytest.raises(UsageError, match="same client, or to the provider"):
            contacts.add(tx, ONE, {"name": "Bob", "fallback": "Owner 1002"})
        with pytest.raises(UsageError, match="own fallback"):
            contacts.edit(tx, "Owner 1001", {"fallback": "Owner 1001"})
        changes = [contacts.edit(tx, "Owner 1001", {"fallback": f}) for f in ("Ada", "Eve", "")]
    assert changes == [
        {"fallback_id": [None, second]},
        {"fallback_id": [second, staff]},
        {"fallback_id": [staff, None]},
    ]
    with pair.read() as conn:
        assert contacts.find(conn, "Owner 1001").fallback_id is None


def test_edit_reports_what_differs_and_replaces_all_ways(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        row_id = contacts.find(tx.conn, "Owner 1001").id
        assert contacts.edit(tx, "Owner 1001", {}) == {}
        away = datetime(2026, 4, 1, tzinfo=UTC)
        changes = contacts.edit(tx, "Owner 1001", {"away_until": away, "role": "owner"})
        assert changes == {"away_until": [None, to_epoch(away)]}
        changes = contacts.edit(tx, "Owner 1001", {"away_until": None})
        assert changes == {"away_until": [to_epoch(away), None]}
        ways = ("phone:+49 30 2", "new@shop1001.example")
        assert contacts.edit(tx, "Owner 1001", {"language": "en"}, ways) == {
            "language": [None, "en"],
            "ways": [["email:owner@shop1001.example"], list(ways)],
        }
        with pytest.raises(NotFound):
            contacts.edit(tx, "owner@shop1001.example", {"language": "fr"})
    with pair.read() as conn:
        stored = [(r["contact_id"], r["position"], r["value"]) for r in rows(conn, ContactMethod)]
        listed = {r.name: r.ways for r in contacts.listing(conn)}
    assert stored[1:] == [(row_id, 0, "+49 30 2"), (row_id, 1, "new@shop1001.example")]
    assert listed == {
        "Owner 1001": ("phone:+49 30 2", "email:new@shop1001.example"),
        "Owner 1002": ("email:owner@shop1002.example",),
    }
    assert [(e[0], e[3]) for e in audited(pair, before)] == [
        ("edit", {"away_until": [None, to_epoch(away)]}),
        ("edit", {"away_until": [to_epoch(away), None]}),
        ("edit", {"language": [None, "en"]}),
        ("ways", {"count": 2}),
    ]


def test_first_ways_of_a_contact_have_none_before(pair: Database) -> None:
    with pair.write(NOW) as tx:
        contacts.add(tx, ONE, {"name": "Ada"})
        changes = contacts.edit(tx, "Ada", {}, ("phone:+49 30 1",))
    assert changes == {"ways": [None, ["phone:+49 30 1"]]}


def test_address_that_bounced_is_listed_as_bad_until_the_ways_are_replaced(pair: Database) -> None:
    with pair.write(NOW) as tx:
        mine = ContactMethod.value == "owner@shop1001.example"
        tx.conn.execute(update(ContactMethod).where(mine).values(state="bad"))
        listed = {r.name: r.bad for r in contacts.listing(tx.conn)}
        assert listed == {"Owner 1001": ("owner@shop1001.example",), "Owner 1002": ()}
        contacts.edit(tx, "Owner 1001", {}, ("owner@shop1001.example",))
        assert all(r.bad == () for r in contacts.listing(tx.conn))


def test_retired_contact_is_listed_only_on_request(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        row_id = contacts.find(tx.conn, "Owner 1001").id
        contacts.retire(tx, "owner@shop1001.example")
        with pytest.raises(UsageError, match="retired already"):
            contacts.retire(tx, "Owner 1001")
        with pytest.raises(NotFound):
            contacts.retire(tx, "Ghost")
    with pair.read() as conn:
        assert [r.name for r in contacts.listing(conn)] == ["Owner 1002"]
        states = [(r.name, r.state) for r in contacts.listing(conn, retired=True)]
    assert states == [("Owner 1001", "retired"), ("Owner 1002", "active")]
    assert audited(pair, before) == [("retire", "contact", row_id, {})]


def test_listing_of_a_client_has_no_contact_of_another_and_no_staff(pair: Database) -> None:
    with pair.write(NOW) as tx:
        contacts.add(tx, None, {"name": "Eve"}, ("eve@provider.example",))
        contacts.add(tx, ONE, {"name": "Ada"}, ("ada@shop1001.example",))
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
    with pair.read() as conn:
        mine = [(r.name, r.ways) for r in contacts.listing(conn, client_id=one)]
        theirs = [(r.name, r.ways) for r in contacts.listing(conn, client_id=two)]
        everything = {r.name for r in contacts.listing(conn)}
        assert contacts.listing(conn, client_id=two + 1) == []
    assert mine == [
        ("Ada", ("email:ada@shop1001.example",)),
        ("Owner 1001", ("email:owner@shop1001.example",)),
    ]
    assert theirs == [("Owner 1002", ("email:owner@shop1002.example",))]
    assert everything == {"Ada", "Owner 1001", "Owner 1002", "Eve"}


def test_exception_in_the_transaction_leaves_neither_contact_nor_ways(pair: Database) -> None:
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        contacts.add(tx, ONE, {"name": "Ada"}, ("ada@shop1001.example",))
        contacts.edit(tx, "Owner 1001", {}, ("phone:+49 30 1",))
        raise RuntimeError
    with pair.read() as conn:
        assert [r.ways for r in contacts.listing(conn)] == [
            ("email:owner@shop1001.example",),
            ("email:owner@shop1002.example",),
        ]
    assert audited(pair, before) == []
