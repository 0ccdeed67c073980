"""Values of notices for the tests of the outbox."""

from __future__ import annotations

from typing import Any

from inventory.db.database import Database
from inventory.store import clients, contacts
from tests.inventory.store.builders import AT, DAY


def values(**columns: Any) -> dict[str, Any]:
    """The columns that a decision gives to a notice."""
    return {
        "contact_id": None,
        "client_id": None,
        "kind": "client",
        "reference": "CM-7KQ4X2",
        "secret": "s",
        "outcome": "you-act",
        "channel": "mail",
        "subject": "Your certificate",
        "text": "It ends.",
        "html": "<p>It ends.",
        "next_at": AT,
        "expires_at": AT + DAY,
    } | columns


def item(subject: str, contact_id: int = 1, **columns: Any) -> dict[str, Any]:
    return {
        "contact_id": contact_id,
        "subject": subject,
        "step": "owner",
        "threshold": "30",
        "round": "",
        "matter_id": None,
    } | columns


def ids_of(database: Database, name: str = "1001") -> tuple[int, int]:
    """(client id, id of its contact)."""
    with database.read() as conn:
        client_id = clients.find(conn, name).id
        return client_id, contacts.find(conn, f"Owner {name}").id
