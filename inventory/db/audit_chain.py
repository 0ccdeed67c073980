"""The audit log as a hash chain, in which changed and removed entries are detected. Pure.

The hash of each entry covers the hash of the entry before it. Entries contain ids, dates and values
that the program defines. They contain no names, addresses or free text, because the chain must stay
valid after the data of a client is erased.

If the last entries are removed, the rest is still a valid chain. To detect that, compare it with a
hash that left the machine: the daily digest contains the last one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from inventory.records import AuditRecord

# The hash before the first entry.
START = "0" * 64
# Columns whose texts are ids, or values that the program defines.
_SAFE_COLUMNS = frozenset(
    {
        "hosts",
        "dns",
        "buys",
        "renews",
        "state",
        "purpose",
        "policy",
        "role",
        "kind",
        "protocol",
        "code",
        "rule",
        "language",
        "time_zone",
        "country",
        "action",
        "scope",
        "step",
        "outcome",
        "threshold",
        "cause",
        "added",
        "removed",
        "channel",
        "fingerprint",
        "reference",
        "template",
    }
)
# Kinds whose texts contain no personal data.
_KINDS_WITHOUT_PERSONAL_DATA = frozenset({"run", "database", "release", "broadcast", "job"})
REDACTED = "-"


def redact(kind: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detail of an entry without personal data.

    A text that may be personal becomes ``-``. None stays None, so an entry still shows whether
    there was a value.
    """
    return {
        k: v if kind in _KINDS_WITHOUT_PERSONAL_DATA or k in _SAFE_COLUMNS else _redacted(v)
        for k, v in detail.items()
    }


def _redacted(value: Any) -> Any:
    # Numbers are ids, dates and counts.
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _redacted(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(v) for v in value]
    return REDACTED


def encode(detail: Mapping[str, Any]) -> str:
    """Return the detail as JSON text. Equal details have equal texts."""
    return json.dumps(detail, sort_keys=True, default=str)


def link(
    before: str, at: int, actor: str, action: str, kind: str, row_id: int | None, detail: str
) -> str:
    """Return the hash of an entry that follows the entry with the hash ``before``."""
    # JSON keeps the fields apart: no text can pass as part of the next field.
    content = json.dumps(
        [before, at, actor, action, kind, row_id, detail], ensure_ascii=True, separators=(",", ":")
    )
    return hashlib.sha256(content.encode()).hexdigest()


def verify_chain(rows: Iterable[AuditRecord]) -> tuple[int | None, str, int]:
    """Check the chain.

    Args:
        rows: All entries, in their order.

    Returns:
        The id of the first entry that does not follow its predecessor (None if all do), the last
        valid hash, and the number of entries that were read.
    """
    before, count = START, 0
    for row in rows:
        count += 1
        if row.hash != link(
            before,
            row.at,
            row.actor,
            row.action,
            row.kind,
            row.row_id,
            row.detail,
        ):
            # The first broken entry is enough: all entries after it depend on it.
            return int(row.id), before, count
        before = row.hash
    return None, before, count
