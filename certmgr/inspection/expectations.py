"""The certificates that are expected at each endpoint. Pure.

These are the certificates that a case verified, and those that an open case is about to install.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from certmgr.x509.names import name_covers
from inventory.records import ClientEndpoint, ExpectedLeaf

EndpointsByClient = Callable[[Iterable[int]], Mapping[int, Sequence[ClientEndpoint]]]


def expectations(
    rows: Sequence[ExpectedLeaf], endpoints_by_client: EndpointsByClient, now: int
) -> dict[int, frozenset[str]]:
    """Return the leaves that may be served at each endpoint.

    The last case that was verified for a name counts, and with it what later cases will install.

    Args:
        rows: One row per certificate of a case, in the order of the cases.
        endpoints_by_client: Returns the endpoints of the given clients.
        now: The current time in epoch seconds.

    Returns:
        Endpoint id -> SHA-256 of the leaves. An endpoint is missing if no case was ever verified
        for its name, or if the verified certificate has expired.
    """
    known: dict[tuple[int, str], tuple[int, set[str]]] = {}
    for row in rows:
        for name in row.names:
            key = (row.client_id, name)
            before = known.get(key)
            if row.live_at is not None and row.not_after is not None and row.not_after < now:
                # An expired certificate must be replaced, so any other one is accepted there.
                known.pop(key, None)
            elif row.live_at is not None:
                # One case may install several certificates (EC and RSA); a later case replaces
                # those of an earlier one.
                same = before is not None and before[0] == row.id
                known[key] = (
                    row.id,
                    (before[1] if same and before is not None else set()) | {row.sha256},
                )
            elif before is not None:
                # The certificate of an open case may appear at any time before its verification.
                known[key] = (before[0], before[1] | {row.sha256})
    expected: dict[int, frozenset[str]] = {}
    by_client: dict[int, list[tuple[str, set[str]]]] = {}
    for (client_id, name), (_, hashes) in known.items():
        by_client.setdefault(client_id, []).append((name, hashes))
    for client_id, endpoints in endpoints_by_client(by_client).items():
        for endpoint in endpoints:
            mine = [h for name, h in by_client[client_id] if name_covers(name, endpoint.host)]
            if mine:
                expected[endpoint.id] = frozenset().union(*mine)
    return expected
