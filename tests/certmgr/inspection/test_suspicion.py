"""When endpoints that fail together make a run suspect."""

from __future__ import annotations

import pytest

from certmgr.inspection.suspicion import blind, failed_together
from inventory.records import GoodEndpoint, ZoneReach


def sites(
    count: int, *, client: int, failed: int = 0, server: int | None = None, domain: str = ""
) -> list[GoodEndpoint]:
    """Return endpoints of one client, of which the first ``failed`` fell."""
    return [
        GoodEndpoint(
            client, server, f"h{n}.{domain or f'c{client}s{server}n{n}.test'}", n >= failed
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "endpoints",
    [
        # One client, one server, one registered domain, and each of them with one stray failure.
        sites(50, client=1, failed=50) + sites(50, client=2),
        sites(50, client=1, failed=50) + sites(50, client=2, failed=1),
        [e for c in range(9) for e in sites(5, client=c, server=7, failed=5)]
        + [e for c in range(9) for e in sites(5, client=c, server=8)],
        [e for c in range(9) for e in sites(5, client=c, failed=5, domain="platform.test")]
        + [e for c in range(9) for e in sites(5, client=c)],
        # Too few, as before.
        sites(50, client=1, failed=4) + sites(50, client=2),
    ],
)
def test_failures_of_one_party_are_not_suspect(endpoints: list[GoodEndpoint]) -> None:
    assert failed_together(endpoints, 5.0, 5) is None


@pytest.mark.parametrize(
    "endpoints",
    [
        sites(50, client=1, failed=50),
        sites(50, client=1, failed=50) + sites(50, client=2, failed=50),
        # A big client, and few others who fail as well.
        sites(900, client=1, failed=900) + sites(2, client=2, failed=2),
        [e for c in range(9) for e in sites(5, client=c, server=c, failed=3)],
        sites(50, client=1, failed=50, domain="platform.test"),
    ],
)
def test_failures_of_several_parties_are_suspect(endpoints: list[GoodEndpoint]) -> None:
    assert failed_together(endpoints, 5.0, 5) is not None


@pytest.mark.parametrize(
    ("reached", "missed", "clients", "expected"),
    [
        (0, 5, 2, True),
        (0, 4, 2, False),  # in a small inventory, a few sites may block the zone
        (0, 500, 1, False),  # one client may block it
        (1, 500, 90, False),  # its network works
    ],
)
def test_zone_that_reaches_nothing_of_several_clients_is_blind(
    reached: int, missed: int, clients: int, expected: bool
) -> None:
    zone = ZoneReach(zone="syd1", reached=reached, missed=missed, clients=clients)
    assert blind(zone) is expected
