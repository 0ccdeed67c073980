"""Who must act on a finding."""

from __future__ import annotations

import pytest

from certmgr.checks.actors import actor_of
from inventory.vocabulary import Parties


@pytest.mark.parametrize(
    "parties",
    [
        {"renews": "panel", "hosts": "panel"},
        {"buys": "us"},
        {"renews": "us", "buys": "us", "hosts": "us"},
    ],
)
@pytest.mark.parametrize(
    "code",
    ["certificate-expired", "https-missing", "not-tls", "name-mismatch"],
)
def test_fault_at_a_foreign_address_is_the_clients(parties: dict[str, str], code: str) -> None:
    actor = actor_of(
        code,
        "critical",
        Parties(**parties, on_our_server=True),
        elsewhere=True,
        ever_had_certificate=False,
    )
    assert actor == "client"
