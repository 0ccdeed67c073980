"""dns-lexicon."""

from __future__ import annotations

import pytest

from certmgr.config.acme import SolverSettings
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.servers.bind import Named


def test_failure_of_a_lexicon_provider_is_reported_without_its_secret(
    zone_env: AcmeEnvironment, bind: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider of dns-lexicon that speaks RFC 2136 takes no port, and port 53 is closed."""
    monkeypatch.setenv("LEXICON_TOKEN", f"{bind.algorithm}:{bind.key_name}:{bind.secret}")
    solver = SolverSettings(
        kind="lexicon",
        provider="ddns",
        zone="shop.test",
        credentials=("auth_token=env:LEXICON_TOKEN", f"ddns_server={bind.address}"),
        propagation=1.0,
    )
    zone_env.solve(dns=solver)
    lineage = zone_env.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = zone_env.order(lineage)
    reason = "The DNS provider ddns did not accept the record _acme-challenge.shop.test"
    assert done.state == "failed" and reason in done.message, done
    assert bind.secret not in done.message
