"""Tests of ``[checks] ignore``: what scans do not report."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certmgr.config.settings import ChecksSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions, ignored_codes, setup_for
from certmgr.inspection.status import load
from certmgr.inspection.worker import without_ignored
from inventory.db.database import Database
from inventory.errors import ConfigError
from inventory.vocabulary import Finding
from tests.certmgr.scanning import add, scan
from tests.certmgr.tls_servers import HOST, Stack, serve_certificate
from tests.clock import clock

DAY = timedelta(days=1)


def _ignoring(settings: Settings, *codes: str) -> Settings:
    return replace(settings, checks=ChecksSettings(ignore=codes))


def test_next_scan_closes_the_finding_and_opens_it_again_without_the_setting(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    # A certificate with a quarter of its life left gives a medium finding.
    port = serve_certificate(opened, issuer.issue(HOST, not_before=clock() - 70 * DAY, days=20))
    add(database, port, HOST)

    def codes(current: Settings) -> set[str]:
        scan(database, current)
        return {f.code for s in load(database, database.clock()) for f in s.findings}

    assert "certificate-expiring" in codes(settings)
    assert "certificate-expiring" not in codes(_ignoring(settings, "certificate-expiring"))
    assert "certificate-expiring" in codes(settings)


def test_fault_is_reported_although_its_code_is_ignored() -> None:
    found = [Finding("certificate-expiring", s) for s in ("medium", "critical", "low", "high")]
    kept = without_ignored(found, frozenset({"certificate-expiring"}))
    assert [f.severity for f in kept] == ["critical", "high"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("hsts-mising", "not a finding code"),
        ("certificate-expired", "can be ignored"),
        ("connection-timeout", "can be ignored"),
        ("caa-mismatch", "can be ignored"),
    ],
)
def test_code_that_must_not_be_ignored_is_refused(code: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        setup_for(_ignoring(Settings(), code), ScanOptions(), guarded=False)
    assert ignored_codes(_ignoring(Settings(), "hsts-missing")) == {"hsts-missing"}
