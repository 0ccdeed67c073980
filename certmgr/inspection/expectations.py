"""Which certificates are expected where: those that a case proved, and those that an open one is
about to install. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from certmgr.x509.names import name_covers

Places = Callable[[Iterable[int]], Mapping[int, Sequence[Mapping[str, Any]]]]


def expectations(
    rows: Sequence[Mapping[str, Any]], places: Places, now: int
) -> dict[int, frozenset[str]]:
    """Endpoint id -> SHA-256 of the leaves that may be served there.

    ``rows``: one a certificate of a case, in the order of the cases. The last case that was proved
    for a name counts, and with it what later cases will install. Names that no case was ever proved
    for expect nothing, nor do those whose proved certificate has ended (``now``: epoch seconds).
    """
    known: dict[tuple[int, str], tuple[int, set[str]]] = {}
    for row in rows:
        for name in row["names"]:
            key = (row["client_id"], name)
            before = known.get(key)
            if (
                row["live_at"] is not None
                and row["not_after"] is not None
                and row["not_after"] < now
            ):
                known.pop(key, None)
            elif row["live_at"] is not None:
                same = before is not None and before[0] == row["id"]
                known[key] = (
                    row["id"],
                    (before[1] if same and before is not None else set()) | {row["sha256"]},
                )
            elif before is not None:
                known[key] = (before[0], before[1] | {row["sha256"]})
    found: dict[int, frozenset[str]] = {}
    by_client: dict[int, list[tuple[str, set[str]]]] = {}
    for (client_id, name), (_, hashes) in known.items():
        by_client.setdefault(client_id, []).append((name, hashes))
    for client_id, endpoints in places(by_client).items():
        for row in endpoints:
            mine = [h for name, h in by_client[client_id] if name_covers(name, row["host"])]
            if mine:
                found[row["id"]] = frozenset().union(*mine)
    return found
