"""What adding, changing and retiring any record has in common.

These are the validation of shared fields, tags, and the audit entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from sqlalchemy import Connection, Executable, delete, exc, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch_one
from inventory.db.violations import Violation, violation
from inventory.errors import Conflict, UsageError
from inventory.models import Base, Tag
from inventory.records import Record
from inventory.store import suggestions
from inventory.text import printable
from inventory.vocabulary import PARTY_FIELDS, Party

R = TypeVar("R", bound=Record)


class Numbered(Protocol):
    """A record with an id."""

    @property
    def id(self) -> int:
        """The id of the row."""


MAX_TEXT = 4000
# Tables whose records have another name in commands and messages.
_NOUNS = {"order": "purchase", "acme_account": "account"}


def clean(text: str | None, what: str, limit: int = 200) -> str | None:
    """Return a typed value without surrounding space; None for an empty one.

    Raises :class:`UsageError` when it is too long or has control characters.
    """
    if text is None or not text.strip():
        return None
    value = text.strip()
    if len(value) > limit:
        raise UsageError(
            f"The {what} has {len(value)} characters", f"the limit is {limit}", "Shorten it."
        )
    # Such a text would be shown in terminals, mails and pages, where it could pose as something
    # else.
    if printable(value, limit) != value:
        raise UsageError(
            f"The {what} '{printable(value, 60)}' has control characters", "", "Remove them."
        )
    return value


def required(text: str | None, what: str, limit: int = 200) -> str:
    """Return a cleaned text, or raise :class:`UsageError` if it is empty or too long."""
    value = clean(text, what, limit)
    if value is None:
        raise UsageError(f"The {what} is empty", "", f"Give a {what}.")
    return value


def choice(text: str | None, what: str, allowed: Sequence[str]) -> str | None:
    """Return one of the allowed words; None for an empty text.

    Raises:
        UsageError: The word is not allowed.
    """
    value = clean(text, what)
    if value is not None and value not in allowed:
        raise UsageError(
            f"'{printable(value, 40)}' is not a {what}", f"known are {', '.join(allowed)}"
        )
    return value


def parties(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the checked parties that ``values`` states: who hosts, runs the DNS, buys, renews."""
    return {
        f: choice(values[f], f"party for '{f}'", tuple(Party)) for f in PARTY_FIELDS if f in values
    }


def add(
    tx: Tx,
    model: type[Base],
    values: Mapping[str, Any],
    tags: Iterable[str] = (),
    conflict: str = "",
) -> int:
    """Add a record with its tags and its audit entry, and return its id.

    Args:
        tx: The transaction.
        model: The table.
        values: The columns, which the caller has validated.
        tags: The tags.
        conflict: The message for a record that exists already.

    Raises:
        Conflict: There is such a record.
        UsageError: A tag is invalid.
    """
    kind = model.__tablename__
    row = dict(values) | {"created_at": tx.at}
    try:
        with tx.conn.begin_nested():  # a refused row leaves the transaction usable
            result = tx.conn.execute(insert(model).values(row))
    except exc.IntegrityError as error:
        _refuse(error, kind, conflict or f"This {_NOUNS.get(kind, kind)} exists already")
    key = result.inserted_primary_key
    assert key is not None
    row_id = int(key[0])
    tx.audit("add", kind, row_id, {k: [None, v] for k, v in values.items() if v is not None})
    change_tags(tx, kind, row_id, add=tags)
    return row_id


def _refuse(error: exc.IntegrityError, kind: str, duplicate: str) -> NoReturn:
    """Raise the error for a row that the database refused; ``duplicate`` is for a second one."""
    noun = _NOUNS.get(kind, kind)
    match violation(error):
        case Violation.DUPLICATE:
            raise Conflict(duplicate, "", f"See certmgr {noun} list.") from error
        case Violation.REFERENCE:
            # The referenced row was found in this command, so another command deleted it since.
            raise Conflict(
                f"This {noun} refers to a record that does not exist any more",
                "another command has deleted it meanwhile",
                "Run the command again; nothing was changed.",
            ) from error
        case Violation.VALUE:
            # The values were checked before, so that only a fault of the program leads here. As
            # an internal error it is logged with its cause; as a conflict it would mislead.
            raise error


def edit(
    tx: Tx, model: type[Base], before: Numbered, values: Mapping[str, Any], conflict: str = ""
) -> dict[str, list[Any]]:
    """Write what differs from ``before``, and return column -> [before, after]."""
    kind = model.__tablename__
    columns = model.__table__.c
    # Only what differs is written and audited, so that an import of the same file leaves no trace.
    changes = {k: [getattr(before, k), v] for k, v in values.items() if getattr(before, k) != v}
    if changes:
        try:
            with tx.conn.begin_nested():
                tx.conn.execute(
                    update(model)
                    .where(columns.id == before.id)
                    .values({k: v[1] for k, v in changes.items()})
                )
        except exc.IntegrityError as error:
            duplicate = conflict or "That would be a second one of the same name"
            _refuse(error, kind, duplicate)
        tx.audit("edit", kind, before.id, changes)
    return changes


def retire(tx: Tx, model: type[Base], ids: Sequence[int]) -> None:
    """Retire rows: they stay for the record, and are neither scanned nor notified of.

    Raises:
        UsageError: The only row is retired already.
    """
    kind = model.__tablename__
    columns = model.__table__.c
    if (
        len(ids) == 1
        and tx.conn.execute(select(columns.state).where(columns.id == ids[0])).scalar() == "retired"
    ):
        raise UsageError(f"This {kind} is retired already")
    for part in chunks(ids):
        tx.conn.execute(
            update(model)
            .where(columns.id.in_(part), columns.state != "retired")
            # Never deleted: notices, cases and the audit log refer to the row.
            .values(state="retired", retired_at=tx.at)
        )
    tx.audit_many("retire", kind, [(i, {}) for i in ids])


def clean_tag(name: str) -> str:
    """Return the name of a tag, or raise :class:`UsageError`."""
    value = required(name, "tag", 60)
    # Tags are listed with these separators in CSV files and options.
    if any(c in value for c in ", ;"):
        raise UsageError(
            f"The tag '{value}' has a space, a comma or a semicolon", "", "Use a hyphen."
        )
    return value


def change_tags(
    tx: Tx, kind: str, row_id: int, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> None:
    """Add and remove tags of a row, audited.

    Args:
        tx: The transaction.
        kind: client, server, domain or endpoint.
        row_id: The row.
        add: Tags to add; those that it has are left as they are.
        remove: Tags to remove.

    Raises:
        UsageError: A tag is invalid. Nothing was changed.
    """
    # Both lists are computed before anything is written, so an invalid tag changes nothing.
    wanted, unwanted = dict.fromkeys(clean_tag(t) for t in add), {clean_tag(t) for t in remove}
    if not wanted and not unwanted:
        return
    have = set(tags_of(tx.conn, kind, [row_id]).get(row_id, ()))
    new = [t for t in wanted if t not in have]
    gone = [t for t in unwanted if t in have]
    if new:
        tx.conn.execute(insert(Tag), [{"kind": kind, "row_id": row_id, "name": t} for t in new])
    if gone:
        tx.conn.execute(
            delete(Tag).where(Tag.kind == kind, Tag.row_id == row_id, Tag.name.in_(gone))
        )
    if new or gone:
        tx.audit("tag", kind, row_id, {"added": new, "removed": gone})


def tags_of(
    conn: Connection, kind: str, ids: Sequence[int] | None = None
) -> dict[int, tuple[str, ...]]:
    """Return row id -> its tags in alphabetical order; without ``ids``, of all rows of the kind."""
    query = select(Tag.row_id, Tag.name).where(Tag.kind == kind)
    if ids is not None:
        query = query.where(Tag.row_id.in_(ids))
    found: dict[int, tuple[str, ...]] = {}
    for row_id, name in conn.execute(query.order_by(Tag.name)):
        found[row_id] = (*found.get(row_id, ()), name)
    return found


def has_tag(conn: Connection, name: str) -> bool:
    """Return whether any record has this tag."""
    return conn.execute(select(Tag.name).where(Tag.name == name).limit(1)).first() is not None


def one(
    conn: Connection, record: type[R], query: Executable, what: str, key: str, listed_by: str
) -> R:
    """Return the first row of a query.

    Raises:
        NotFound: There is none. The error names what was wanted, and the command that lists all.
    """
    found = fetch_one(conn, record, query)
    if found is None:
        raise suggestions.not_found(conn, what, key, listed_by)
    return found
