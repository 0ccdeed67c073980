"""What a person may have meant by a name, number or reference that does not exist.

All errors about a missing record come from here, so that each command suggests the same way: first
the records that contain the text, then those that resemble it.
"""

from __future__ import annotations

import difflib
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, cast, func, literal, select

from inventory.errors import NotFound
from inventory.models import (
    AcmeAccount,
    Case,
    CaseName,
    Client,
    Contact,
    Domain,
    Endpoint,
    Incident,
    PurchaseName,
    Server,
    StoredDeadline,
    StoredLineage,
    StoredPurchase,
    StoredZone,
    Tag,
    Ticket,
)
from inventory.names import display
from inventory.text import printable

MAX_SHOWN = 8
# Rows that are compared letter by letter, which is slow.
MAX_COMPARED = 2000
MAX_TEXT = 200
# Rows that are read of a table; the inventory of a large provider has more, which are not compared.
MAX_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A record that may be meant.

    Attributes:
        key: What the command takes.
        label: What a person knows it by; may be empty.
    """

    key: str
    label: str = ""

    def __str__(self) -> str:
        shown = printable(self.key, 80)
        quoted = shlex.quote(shown)
        # What is printed can be pasted.
        return f"{quoted} {printable(self.label, 60)}" if self.label else quoted


def folded(text: str) -> str:
    """Return a text without case and accents, so that "Schafer" finds "Schäfer"."""
    decomposed = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def suggest(conn: Connection, what: str, text: str) -> list[Suggestion]:
    """Return the records of a kind that may be meant by a text, at most :data:`MAX_SHOWN`.

    Args:
        what: The kind, as messages name it: client, domain, endpoint, purchase and so on.
        text: What was typed.
    """
    if what in ("domain", "endpoint"):
        return [Suggestion(display(n)) for n in similar_hosts(conn, text.strip().lower())]
    query = _query(what)
    if query is None:
        return []
    rows = [
        Suggestion(str(key), str(label or ""))
        for key, label in conn.execute(query.limit(MAX_ROWS)).unique()
    ]
    return matching(text, rows)


def matching(text: str, rows: Sequence[Suggestion]) -> list[Suggestion]:
    """Return the rows that contain a text; if there are none, those that resemble it. Pure."""
    wanted = folded(text[:MAX_TEXT])
    if not wanted:
        return []
    parts = [r for r in rows if wanted in folded(f"{r.key} {r.label}")]
    found = parts or _resembling(wanted, rows)
    return list(dict.fromkeys(found))[:MAX_SHOWN]


def _resembling(wanted: str, rows: Iterable[Suggestion]) -> list[Suggestion]:
    """Return the rows with a word that may be a typing error of the wanted text."""
    by_word: dict[str, Suggestion] = {}
    for row in rows:
        for word in (*folded(row.label).split(), folded(row.key)):
            # Only words of a similar length and start or end can be typing errors of each other.
            if abs(len(word) - len(wanted)) <= 2 and (
                word[:1] == wanted[:1] or word[-2:] == wanted[-2:]
            ):
                by_word.setdefault(word, row)
        if len(by_word) >= MAX_COMPARED:
            break
    close = difflib.get_close_matches(wanted, by_word, n=MAX_SHOWN, cutoff=0.7)
    return [by_word[word] for word in close]


def not_found(conn: Connection, what: str, text: str, listed_by: str) -> NotFound:
    """Return the error about a record that does not exist.

    Args:
        what: The kind of the record, as the message names it.
        text: What was typed.
        listed_by: The command that lists such records.
    """
    return missing(what, text, suggest(conn, what, text), listed_by)


def missing(what: str, text: str, found: Sequence[Suggestion], listed_by: str) -> NotFound:
    """Return the error about a missing record, with what may be meant. Pure."""
    shown = ", ".join(str(s) for s in found)
    # Quotes set a single word apart from the sentence.
    if len(found) == 1 and shown == found[0].key:
        shown = f"'{shown}'"
    return NotFound(
        f"There is no {what} '{printable(text, 80)}'",
        "",
        f"Did you mean {shown}? Otherwise see {listed_by}." if shown else f"See {listed_by}.",
    )


def missing_word(what: str, text: str, known: Iterable[str], listed_by: str) -> NotFound:
    """Return the error about a word that is none of a fixed list, such as a finding code. Pure."""
    return missing(what, text, matching(text, [Suggestion(k) for k in known]), listed_by)


def _query(what: str) -> Select[*tuple[Any, ...]] | None:
    """Return the key and the label of the records of a kind; None for kinds without names."""
    none: ColumnElement[str] = literal("")
    match what:
        case "client":
            return select(Client.number, Client.name).order_by(Client.number)
        case "contact":
            return select(Contact.name, Contact.role).where(Contact.state != "retired")
        case "zone":
            query = select(StoredZone.name, StoredZone.note).where(StoredZone.state != "retired")
            return query.order_by(StoredZone.name)
        case "server":
            return select(Server.name, none).where(Server.state != "retired")
        case "lineage":
            return select(StoredLineage.name, none).order_by(StoredLineage.name)
        case "ACME account":
            return select(AcmeAccount.name, AcmeAccount.ca)
        case "deadline" | "deadline of your own":
            return select(StoredDeadline.name, StoredDeadline.title)
        case "incident":
            return select(Incident.reference, Incident.what).order_by(Incident.id.desc())
        case "case":
            # A case is also looked for by one of its names; the newest is meant first.
            return (
                select(Case.reference, CaseName.name)
                .join(CaseName, CaseName.case_id == Case.id)
                .order_by(Case.id.desc())
            )
        case "ticket with the reference":
            return (
                select(Ticket.reference, Endpoint.host)
                .outerjoin(Endpoint, Endpoint.id == Ticket.endpoint_id)
                .order_by(Ticket.id.desc())
            )
        case "purchase":
            return (
                select(literal("id:") + cast(StoredPurchase.id, String), _purchase_label())
                .join(PurchaseName, PurchaseName.order_id == StoredPurchase.id)
                .order_by(StoredPurchase.id.desc())
            )
        case "tag":
            return select(Tag.name, none).distinct()
        case _:
            return None


def _purchase_label() -> ColumnElement[str]:
    number = func.coalesce(StoredPurchase.number, "")
    return StoredPurchase.vendor + " " + number + " " + PurchaseName.name


def similar_hosts(conn: Connection, host: str) -> list[str]:
    """Return active domains that may be meant: with the text in their name, else similar ones."""
    parts = names_with(conn, host)
    if parts:
        return parts[:MAX_SHOWN]
    first = host.partition(".")[0]
    candidates = dict.fromkeys(names_with(conn, first, MAX_COMPARED))
    for part in (first[:3], first[-4:], host[-12:]):
        candidates |= dict.fromkeys(names_with(conn, part, MAX_COMPARED))
    return difflib.get_close_matches(host, list(candidates), n=MAX_SHOWN, cutoff=0.75)


def names_with(conn: Connection, part: str, limit: int = 50) -> list[str]:
    """Return the active domains that contain a text, at most ``limit``."""
    query = select(Domain.name).where(
        Domain.state != "retired", Domain.name.contains(part, autoescape=True)
    )
    return [str(n) for n in conn.scalars(query.order_by(Domain.name).limit(limit))]
