"""The table of known CAs."""

from __future__ import annotations

from certmgr.acme.cas import RateLimit, RateLimits, known


def test_known_cas_have_directory_source_and_limits() -> None:
    assert {
        "letsencrypt",
        "letsencrypt-staging",
        "zerossl",
        "google",
        "sslcom",
        "sectigo",
        "digicert",
    } <= set(known())
    for ca in known().values():
        assert ca.directory.startswith("https://") and ca.source and ca.caa
        assert not ca.eab or ca.eab_where
    assert known()["letsencrypt"].limits == RateLimits(
        RateLimit(300, 10_800), RateLimit(50, 604_800), RateLimit(5, 604_800), RateLimit(5, 3600)
    )
