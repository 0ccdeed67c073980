"""What an address serves, in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certmgr.cli.inventory.domain_facts import ShownAddress
from certmgr.cli.inventory.domain_text import address_text

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (30 * 24, "ends 2026-12-29 "),
        (30 * 24, "(in 30 days)"),
        (5, "(in 5 hours)"),
        (-5, "expired 2026-11-29 "),
        (-5, "(5 hours ago)"),
        (-30 * 24, "(30 days ago)"),
    ],
)
def test_end_of_a_certificate_is_in_the_future_or_the_past(hours: int, text: str) -> None:
    seen = ShownAddress(
        address="192.0.2.1",
        serial="01",
        issuer="CA",
        key="ec 256",
        not_after=(NOW + timedelta(hours=hours)).isoformat(),
        days_left=None,
        tls_version=None,
        trusted=True,
        trusted_until=None,
        first_seen=None,
        last_seen=None,
        seen_last_time=True,
    )
    assert text in address_text(seen, NOW)
