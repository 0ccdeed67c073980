"""Contacts: a person or mailbox with a role, and contact methods in order of preference.

A contact without client is the provider's staff.
"""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, or_, select

from inventory.countries import is_known_country
from inventory.db.database import Tx, from_epoch, to_epoch
from inventory.errors import UsageError
from inventory.models import Client, Contact, ContactMethod
from inventory.names import mail_address
from inventory.records import ContactRecord, ListedContact
from inventory.store import clients, editing
from inventory.text import printable
from inventory.vocabulary import Role

KINDS = ("email", "phone", "channel")


def parse_method(text: str) -> tuple[str, str]:
    """Return kind and value of a contact method.

    Args:
        text: ``email:a@b``, ``phone:+49...``, ``channel:NAME`` (of the configuration), or a bare
            address or number.

    Raises:
        UsageError: It is none of them.
    """
    kind, colon, value = text.strip().partition(":")
    # A bare address or number is the usual input, and "@" distinguishes the two.
    if not colon or kind not in KINDS:
        kind, value = ("email" if "@" in text else "phone"), text.strip()
    value = editing.required(
        value,
        {"email": "e-mail address", "phone": "telephone number"}.get(kind, "channel name"),
        254,
    )
    if kind == "email":
        return kind, mail_address(value)
    if kind == "phone" and not re.fullmatch(r"\+?[0-9 ()/.-]{3,40}", value):
        raise UsageError(
            f"'{printable(value, 80)}' is not a telephone number", "", "Write +49 30 1234567."
        )
    return kind, value


def find(conn: Connection, key: str, client_id: int | None = None) -> ContactRecord:
    """Return the contact with this id, name or contact method.

    Raises:
        NotFound: No contact fits.
        UsageError: Several contacts fit.
    """
    query = (
        select(Contact)
        .outerjoin(ContactMethod, ContactMethod.contact_id == Contact.id)
        .where(
            or_(
                Contact.name == key,
                ContactMethod.value == key,
                Contact.id
                # PostgreSQL refuses a number that is longer than its column. No row has the id -1.
                == (int(key) if key.isascii() and key.isdigit() and len(key) < 19 else -1),
            )
        )
        .distinct()
    )
    if client_id is not None:
        query = query.where(Contact.client_id == client_id)
    rows = conn.execute(query).mappings().all()
    if len(rows) > 1:
        # A wrong contact would get the notices of a client, so none is guessed.
        raise UsageError(
            f"{len(rows)} contacts fit '{printable(key, 80)}'",
            "",
            "Use the id that certmgr contact list shows.",
        )
    return (
        ContactRecord(**rows[0])
        if rows
        else editing.one(conn, ContactRecord, query, "contact", key, "certmgr contact list")
    )


def _values(conn: Connection, given: dict[str, Any], client_id: int | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "name" in given:
        values["name"] = editing.required(given["name"], "contact name")
    if given.get("role"):
        values["role"] = editing.choice(given["role"], "role", tuple(Role))
    if "language" in given:
        values["language"] = language(given["language"])
    if "time_zone" in given:
        values["time_zone"] = time_zone(given["time_zone"])
    if "country" in given:
        values["country"] = country(given["country"])
    # An absence ends automatically, so that it cannot be forgotten.
    if "away_until" in given:
        values["away_until"] = (
            None if given["away_until"] is None else to_epoch(given["away_until"])
        )
    if given.get("fallback"):
        fallback = find(conn, given["fallback"])
        # A fallback reads the notices of this client, so it must be allowed to.
        if client_id is not None and fallback.client_id not in (client_id, None):
            raise UsageError(
                "A fallback contact belongs to the same client, or to the provider",
                "",
                "Name another contact.",
            )
        values["fallback_id"] = fallback.id
    elif "fallback" in given:
        values["fallback_id"] = None
    return values


def language(text: str | None) -> str | None:
    """Return a language code (RFC 5646), or raise :class:`UsageError`."""
    value = editing.clean(text, "language", 20)
    if value and not re.fullmatch(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*", value):
        raise UsageError(f"'{value}' is not a language", "", "Write a code such as en or de.")
    return value


def country(text: str | None) -> str | None:
    """Return a country (ISO 3166-2, DE or DE-BY), or raise :class:`UsageError`.

    A subdivision matters if its public holidays differ.
    """
    value = editing.clean(text, "country", 10)
    if value is not None and not is_known_country(value):
        raise UsageError(
            f"'{value}' is not a country whose holidays are known", "", "Write DE, or DE-BY."
        )
    return value


def time_zone(text: str | None) -> str | None:
    """Return a name of the time zone database, or raise :class:`UsageError`."""
    value = editing.clean(text, "time zone", 60)
    if value is not None:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise UsageError(
                f"'{value}' is not a time zone", "", "Write a name such as Europe/Berlin."
            ) from None
    return value


def add(
    tx: Tx, client_key: str | None, given: dict[str, Any], methods: tuple[str, ...] = ()
) -> int:
    """Add a contact, and return its id. Without ``client_key`` it is one of the staff."""
    client_id = clients.find(tx.conn, client_key).id if client_key else None
    values = {"role": "owner"} | _values(tx.conn, given, client_id) | {"client_id": client_id}
    parsed = [parse_method(m) for m in methods]
    row_id = editing.add(tx, Contact, values)
    _write_methods(tx, row_id, parsed)
    return row_id


def _write_methods(tx: Tx, row_id: int, parsed: list[tuple[str, str]]) -> None:
    tx.conn.execute(delete(ContactMethod).where(ContactMethod.contact_id == row_id))
    # The order is the order of preference; the unique key allows each method once.
    unique = list(dict.fromkeys(parsed))
    if unique:
        rows = [
            {"contact_id": row_id, "position": i, "kind": k, "value": v}
            for i, (k, v) in enumerate(unique)
        ]
        tx.conn.execute(insert(ContactMethod), rows)
    tx.audit("ways", "contact", row_id, {"count": len(unique)})


def edit(
    tx: Tx, key: str, given: dict[str, Any], methods: tuple[str, ...] = ()
) -> dict[str, list[Any]]:
    """Change a contact, and return what changed. If any contact method is given, all are replaced.

    Returns:
        Column -> [old, new]; ``ways`` are the contact methods.
    """
    before = find(tx.conn, key)
    values = _values(tx.conn, given, before.client_id)
    # An escalation to the same person would look like two attempts and be one.
    if values.get("fallback_id") == before.id:
        raise UsageError("A contact cannot be its own fallback", "", "Name another contact.")
    changes = editing.edit(tx, Contact, before, values)
    if methods:
        replaced = [
            f"{m.kind}:{m.value}"
            for m in tx.conn.execute(
                select(ContactMethod)
                .where(ContactMethod.contact_id == before.id)
                .order_by(ContactMethod.position)
            )
        ] or None
        _write_methods(tx, before.id, [parse_method(m) for m in methods])
        changes["ways"] = [replaced, list(methods)]
    return changes


def retire(tx: Tx, key: str) -> None:
    """Retire a contact, which is not notified any more."""
    editing.retire(tx, Contact, [find(tx.conn, key).id])


def listing(
    conn: Connection, *, client_id: int | None = None, retired: bool = False
) -> list[ListedContact]:
    """Return contacts with the numbers of their clients and their contact methods in order.

    Args:
        conn: The connection.
        client_id: Only contacts of this client; None for all clients and the staff.
        retired: Whether to include retired contacts.
    """
    fallback = Contact.__table__.alias("fallback")
    query = (
        select(Contact, Client.number.label("client"), fallback.c.name.label("fallback"))
        .outerjoin(Client, Client.id == Contact.client_id)
        .outerjoin(fallback, fallback.c.id == Contact.fallback_id)
        .order_by(Client.number, Contact.name)
    )
    of_contacts = select(ContactMethod).order_by(ContactMethod.contact_id, ContactMethod.position)
    if client_id is not None:
        query = query.where(Contact.client_id == client_id)
        of_contacts = of_contacts.join(Contact).where(Contact.client_id == client_id)
    # Retired contacts are kept for the record, and are not shown unless asked for.
    if not retired:
        query = query.where(Contact.state != "retired")
    methods: dict[int, list[str]] = {}
    bad: dict[int, list[str]] = {}
    for method in conn.execute(of_contacts):
        methods.setdefault(method.contact_id, []).append(f"{method.kind}:{method.value}")
        if method.state == "bad":
            bad.setdefault(method.contact_id, []).append(method.value)
    return [
        ListedContact(
            **r,
            ways=tuple(methods.get(r["id"], ())),
            bad=tuple(bad.get(r["id"], ())),
            away=_day(r["away_until"]),
        )
        for r in conn.execute(query).mappings()
    ]


def _day(seconds: int | None) -> str | None:
    at = from_epoch(seconds)
    return None if at is None else at.strftime("%Y-%m-%d")
