"""Words that filter: finding codes, tags and servers. A misspelt one would show nothing."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from inventory.finding_codes import CODES
from inventory.store import editing, servers
from inventory.store.suggestions import missing_word, not_found


def require_codes(codes: Iterable[str]) -> None:
    """Raise NotFound if one of the finding codes does not exist."""
    # A code is also unknown if it is only misspelt. An empty result would mean "no findings", which
    # is false.
    for code in codes:
        if code not in CODES:
            raise missing_word("finding code", code, sorted(CODES), "certmgr explain")


def require_known(conn: Connection, *, tag: str | None = None, server: str | None = None) -> None:
    """Raise NotFound if no record has the tag, or if there is no such server."""
    if tag and not editing.has_tag(conn, tag):
        raise not_found(conn, "tag", tag, "certmgr domain list")
    # find() raises for an unknown server, with suggestions; its result is not needed.
    if server:
        servers.find(conn, server)
