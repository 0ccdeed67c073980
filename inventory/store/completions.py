"""What a shell completes from the inventory: the keys of records.

It reads an SQLite file directly and without changing it, because SQLAlchemy alone takes longer to
import than a person waits at TAB.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

LOCK_SECONDS = 1.0
# Kind -> table, key and description, condition. All parts are constants.
KINDS = {
    "client": ("client", "number", "name", "state != 'retired'"),
    "domain": ("domain", "name", "''", "state != 'retired'"),
    "case": ('"case"', "reference", "state", "1"),
    "server": ("server", "name", "''", "state != 'retired'"),
    "lineage": ("lineage", "name", "''", "state != 'retired'"),
    "tag": ("tag", "name", "''", "1"),
}


def beginning_with(file: Path, kind: str, begun: str, limit: int) -> list[tuple[str, str]]:
    """Return the keys of a kind that begin with a text, each with a description.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    table, key, text, condition = KINDS[kind]
    query = (
        f"SELECT DISTINCT {key}, {text} FROM {table} WHERE {condition}"  # noqa: S608
        f" AND {key} LIKE ? || '%' ESCAPE '\\' ORDER BY {key} LIMIT ?"
    )
    # The text is typed at a shell, and % would match every record.
    escaped = begun.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    uri = f"{file.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS)) as conn:
        return [(str(k), str(t or "")) for k, t in conn.execute(query, (escaped, limit))]
