"""Whether many endpoints failed together, so that the cause is probably this machine's network.

Pure. The count must not depend on one party: a single client whose sites go down, a single server,
or all hosts below a single registered domain are no sign of the network, and would keep the
findings of all other clients from opening.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from inventory.names import as_ip, registered_domain
from inventory.records import GoodEndpoint, ZoneReach

# Findings that a completed handshake shows, whatever else failed. A captive portal or another
# machine at the address would present a certificate for other names too.
POSITIVE_CODES = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "root-expired",
    }
)

# In a small inventory, a few sites may block a zone by chance.
_BLIND_LEAST = 5


def suspicious(failed: int, good: int) -> str:
    """Return why a run is suspect in which this many good endpoints failed together."""
    return f"{failed} of {good} good endpoints failed together ({100.0 * failed / good:.0f}%)"


def failed_together(
    endpoints: Sequence[GoodEndpoint], percent: float, least: int
) -> tuple[int, int] | None:
    """Return (failed, good before) if a run is suspect; None if it is not.

    Args:
        endpoints: The endpoints of the run that were good before it.
        percent: The percentage of failed endpoints above which a run is suspect.
        least: The minimum number of failed endpoints.
    """
    good, failed = len(endpoints), sum(not e.still_good for e in endpoints)
    if not _many(failed, good, percent, least):
        return None
    parties: list[Callable[[GoodEndpoint], Hashable]] = [_client, _server, _domain]
    for party in parties:
        good_by_party = Counter(map(party, endpoints))
        failed_by_party = Counter(party(e) for e in endpoints if not e.still_good)
        for key, count in failed_by_party.items():
            rest = good - good_by_party[key]
            # Without any other party, the network remains the likely cause.
            if key is None or not rest:
                continue
            # Of a few others, all must have failed.
            if not _many(failed - count, rest, percent, min(least, rest)):
                return None
    return failed, good


def _many(failed: int, good: int, percent: float, least: int) -> bool:
    return good > 0 and failed >= least and 100.0 * failed / good > percent


def _client(endpoint: GoodEndpoint) -> Hashable:
    return endpoint.client_id


def _server(endpoint: GoodEndpoint) -> Hashable:
    # Endpoints without a server have nothing in common.
    return endpoint.server_id


def _domain(endpoint: GoodEndpoint) -> Hashable:
    host = endpoint.host
    return host if as_ip(host) is not None else registered_domain(host)


def blind(zone: ZoneReach) -> bool:
    """Return whether a further zone probably has no network: it reached nothing that others did.

    A single client may block the address of a zone; several clients do not do so at the same time.
    """
    return not zone.reached and zone.missed >= _BLIND_LEAST and zone.clients > 1
