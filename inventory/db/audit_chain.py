"""The audit log as a chain: each row's hash covers the one before it, so that no row can be changed
or taken out unseen. Pure.

What is recorded are ids, words of ours and dates. Names, addresses and free text of people are not:
the chain must stay valid when a client's data is erased. A tail that was cut off shows only against
a head that left the machine: it goes out with the daily digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

START = "0" * 64
# Columns whose texts are words of the program, or ids.
_SAFE = frozenset(
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
# Of these kinds no text belongs to a person.
_OURS = frozenset({"run", "database", "release", "broadcast", "job"})
HIDDEN = "-"


def redact(kind: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    """The detail of an entry without personal data: other texts become ``-`` (there was one), None
    stays (there was none).
    """
    return {k: v if kind in _OURS or k in _SAFE else _hidden(v) for k, v in detail.items()}


def _hidden(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _hidden(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(v) for v in value]
    return HIDDEN


def encode(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, sort_keys=True, default=str)


def link(
    before: str, at: int, actor: str, action: str, kind: str, row_id: int | None, detail: str
) -> str:
    """The hash of a row that follows the one with the hash ``before``."""
    content = json.dumps(
        [before, at, actor, action, kind, row_id, detail], ensure_ascii=True, separators=(",", ":")
    )
    return hashlib.sha256(content.encode()).hexdigest()


def broken(rows: Iterable[Mapping[str, Any]]) -> tuple[int | None, str, int]:
    """``rows`` in their order.

    (id of the first row that does not follow, the last good hash, how many rows were read).
    """
    before, count = START, 0
    for row in rows:
        count += 1
        if row["hash"] != link(
            before,
            row["at"],
            row["actor"],
            row["action"],
            row["kind"],
            row["row_id"],
            row["detail"],
        ):
            return int(row["id"]), before, count
        before = row["hash"]
    return None, before, count
