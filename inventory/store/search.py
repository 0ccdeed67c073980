"""Search for clients and domains by what a person remembers of them."""

from __future__ import annotations

import difflib
import unicodedata

from sqlalchemy import Connection, or_, select

from inventory.errors import InvalidName, NotFound
from inventory.models import Client, Domain
from inventory.names import display, normalise_host
from inventory.targets import parse
from inventory.text import printable

MAX_SHOWN = 8
# Rows that are compared letter by letter, which is slow.
MAX_COMPARED = 2000
MAX_TEXT = 200


def _folded(text: str) -> str:
    """Return a text without case and accents, so that "Schafer" finds "Schäfer"."""
    decomposed = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def client_number(conn: Connection, text: str) -> str:
    """Return the number of the client with this number or name, or a part of its name.

    Raises:
        NotFound: No client has it, or several have; the error names them.
    """
    exact = conn.execute(
        select(Client.number)
        .where(or_(Client.number == text, Client.name == text))
        # The name of one client may be the number of another; the number decides.
        .order_by((Client.number == text).desc())
    ).scalar()
    if exact is not None:
        return str(exact)
    wanted = _folded(text[:MAX_TEXT])
    rows = [(str(n), str(name)) for n, name in conn.execute(select(Client.number, Client.name))]
    parts = sorted((n, name) for n, name in rows if wanted and wanted in _folded(f"{n} {name}"))
    if len(parts) == 1:
        return parts[0][0]
    # Comparison letter by letter is slow, so it is the last resort.
    close = parts or _similar_clients(wanted, rows)
    shown = ", ".join(f"{n} {printable(name, 60)}" for n, name in close[:MAX_SHOWN])
    raise NotFound(
        f"There is no client '{printable(text, 80)}'",
        f"{len(parts)} clients have this in their name" if parts else "",
        f"{'Did you mean one of these' if shown else 'See certmgr client list'}"
        f"{f': {shown}' if shown else ''}{', ...' if len(close) > MAX_SHOWN else ''}"
        f"{'? Give the number.' if shown else '.'}",
    )


def _similar_clients(wanted: str, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return clients with a word that resembles the wanted text."""
    by_word: dict[str, tuple[str, str]] = {}
    for row in rows:
        for word in (*_folded(row[1]).split(), row[0]):
            # Only words of a similar length and start or end can be typing errors of each other.
            if abs(len(word) - len(wanted)) <= 2 and (
                word[:1] == wanted[:1] or word[-2:] == wanted[-2:]
            ):
                by_word.setdefault(word, row)
                if len(by_word) >= MAX_COMPARED:
                    break
    close = difflib.get_close_matches(wanted, by_word, n=MAX_SHOWN, cutoff=0.7)
    return list(dict.fromkeys(by_word[word] for word in close))


def domain_name(conn: Connection, text: str) -> str:
    """Return the domain with this name, at this URL, or with this in its name if it is the only.

    Raises:
        NotFound: No domain has it, or several have; the error names them.
    """
    try:
        host = parse(text).host
    except InvalidName:
        # Not a target, but it may be a part of a name, such as a label without a dot.
        host = normalise_host(text)
    active = Domain.state != "retired"
    if conn.execute(select(Domain.id).where(active, Domain.name == host)).first() is not None:
        return host
    parts = _names(conn, host)
    if len(parts) == 1:
        return parts[0]
    close = parts or _similar_names(conn, host)
    shown = ", ".join(display(name) for name in close[:MAX_SHOWN])
    raise NotFound(
        f"There is no domain '{printable(display(host), 80)}'",
        f"{len(parts)} domains have this in their name" if parts else "",
        f"Did you mean {shown}{', ...' if len(close) > MAX_SHOWN else ''}?"
        if shown
        else "See certmgr domain list.",
    )


def _names(conn: Connection, part: str, limit: int = 50) -> list[str]:
    """Return the active domains that contain a text."""
    query = select(Domain.name).where(
        Domain.state != "retired", Domain.name.contains(part, autoescape=True)
    )
    return [str(n) for n in conn.scalars(query.order_by(Domain.name).limit(limit))]


def _similar_names(conn: Connection, host: str) -> list[str]:
    """Return active domains that may be meant: the same start, or the same end."""
    first = host.partition(".")[0]
    candidates = dict.fromkeys(_names(conn, first, MAX_COMPARED))
    # A typing error may be anywhere, so candidates share the start, the middle or the end.
    for part in (first[:3], first[-4:], host[-12:]):
        candidates |= dict.fromkeys(_names(conn, part, MAX_COMPARED))
    return difflib.get_close_matches(host, list(candidates), n=MAX_SHOWN, cutoff=0.75)
