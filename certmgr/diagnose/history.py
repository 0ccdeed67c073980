"""The history of a host as one time line, in words for staff. Pure, apart from :func:`load`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from inventory.certificates import organisation
from inventory.db.audit_chain import REDACTED
from inventory.db.database import from_epoch
from inventory.store import endpoints
from inventory.store.history import HistoryRow, HistoryScope, rows
from inventory.text import printable
from notifiers.wording.catalogue import Language

# One event is one line. The full text is in the record of the event.
_MAX_TEXT = 200
_ANSWERS = {
    "acknowledged": "the client acknowledged",
    "reply": "the client replied",
    "bounce": "came back",
    "automatic": "an automatic answer came",
    "delay": "the mail server reported a delay",
}
# Several states of the outbox mean the same to staff: not sent yet, sent, perhaps, or failed.
_DELIVERIES = {
    "queued": "notice waits",
    "leased": "notice waits",
    "sending": "notice is being sent",
    "sent": "notice sent",
    "unknown": "notice may have arrived",
    "failed": "notice not delivered",
    "dead": "notice not delivered",
}


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the history.

    Attributes:
        at: In UTC; ``local`` is the same time in the time zone of the provider.
        kind: observation, finding, notice, answer, case, purchase, renewal or record.
    """

    at: datetime
    local: str
    kind: str
    text: str


def load(
    conn: Connection, client_id: int, domain_id: int, name: str, language: Language
) -> list[HistoryEntry]:
    """Return the history of a domain of a client, oldest first.

    Args:
        language: English, in the time zone of the provider.
    """
    own = endpoints.of_domain(conn, domain_id)
    hosts = dict.fromkeys([name, *(e.host for e in own)])
    # A wildcard of the parent covers a host, in cases, purchases and lineages too.
    names = [n for host in hosts for n in (host, f"*.{host.partition('.')[2]}")]
    scope = HistoryScope(client_id, domain_id, tuple(e.id for e in own), tuple(names))
    return entries(rows(conn, scope), language)


def entries(found: Sequence[HistoryRow], language: Language) -> list[HistoryEntry]:
    """Return events in words, in the same order. Pure."""
    listed = []
    for row in found:
        at = from_epoch(row.at)
        if at is not None:
            text = printable(_text(row, language), _MAX_TEXT)
            listed.append(HistoryEntry(at, language.timestamp(at), row.kind, text))
    return listed


def _text(row: HistoryRow, language: Language) -> str:
    values = row.values
    match row.kind:
        case "observation":
            address, serial, issuer, end = values
            until = f", until {_day(end, language)}" if end else ""
            return f"{address} serves serial {serial} of {organisation(issuer) or '?'}{until}"
        case "finding":
            code, severity, addresses = values
            return f"{code} ({severity}) {row.event}" + (f" at {addresses}" if addresses else "")
        case "notice":
            subject, to, error = values
            return _with(f"{_DELIVERIES.get(row.event, row.event)}: {subject}", to, error)
        case "answer":
            return ": ".join([_ANSWERS.get(row.event, row.event), *[v for v in values if v]])
        case "case":
            reference, action, after, text = values
            return _with(f"case {reference}: {action}", after, text) + _by(row)
        case "purchase":
            number, vendor, order, last = values
            what = f"purchase {number} at {vendor} {order}".rstrip()
            if row.event == "recorded":
                return f"{what} recorded, until {_day(last, language)}"
            return f"{what} {row.event}" + (f": {last}" if last else "")
        case "renewal":
            return ": ".join([f"ACME {row.event}", *[v for v in values if v]])
        case _:
            kind, detail = values
            return ": ".join(filter(None, (f"{kind} {row.event}", _changes(detail)))) + _by(row)


def _with(text: str, detail: str, reason: str) -> str:
    return text + (f" ({detail})" if detail else "") + (f": {reason}" if reason else "")


def _by(row: HistoryRow) -> str:
    return f", by {row.by}" if row.by else ""


def _day(seconds: str, language: Language) -> str:
    at = from_epoch(int(seconds))
    return "?" if at is None else language.date(at)


def _changes(detail: str) -> str:
    """Return the changes of a record: each column with its old and new value."""
    try:
        changes = json.loads(detail)
    except ValueError:
        # One detail that cannot be parsed must not hide the other events.
        return ""
    parts = []
    for column, value in changes.items() if isinstance(changes, dict) else ():
        # The log keeps no personal data, so of such a value only the change itself is known.
        if value == REDACTED:
            continue
        if isinstance(value, list) and len(value) == 2 and REDACTED in value:
            parts.append(f"{column} changed")
        elif isinstance(value, list) and len(value) == 2:
            parts.append(f"{column} from {value[0] or 'nothing'} to {value[1] or 'nothing'}")
        else:
            parts.append(f"{column} {value}")
    return ", ".join(parts)
