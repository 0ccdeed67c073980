"""``certmgr metrics``: the format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from inventory.db.database import Database
from tests.clock import START, clock
from tests.program import Ran

Runner = Callable[..., Ran]


def test_metrics_of_a_scanned_inventory_are_read_by_prometheus(
    certmgr: Runner,
    scanned: Database,
    tmp_path: Path,
) -> None:
    path = tmp_path / "certmgr.prom"
    output = ("metrics", "--output", str(path))
    assert certmgr("--database", str(scanned.path), *output).code == 0
    assert path.stat().st_mode & 0o777 == 0o644
    families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
    endpoints = families["certmgr_endpoints"].samples
    by_verdict = {s.labels["verdict"]: s.value for s in endpoints}
    assert by_verdict == {"ok": 1, "attention": 0, "fault": 1, "unknown": 0}
    days = families["certmgr_certificate_days_left"].samples
    left = {s.labels["client"]: s.value for s in days}
    assert 79 < left["1"] <= 80
    assert 2 < left["2"] <= 3
    lives = families["certmgr_certificate_lifetime_days"].samples
    assert {s.labels["client"]: s.value for s in lives} == {"1": 160, "2": 83}
    findings = families["certmgr_findings"].samples
    assert {s.labels["code"] for s in findings} == {"certificate-expiring"}
    (success,) = families["certmgr_last_success_timestamp_seconds"].samples
    assert success.labels == {"job": "scan"}
    # To the second, by the clock of the test.
    assert int(START.timestamp()) <= success.value <= clock().timestamp()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".certmgr-")] == []


def test_file_of_metrics_that_cannot_be_written_is_an_error(
    certmgr: Runner,
    scanned: Database,
) -> None:
    output = ("metrics", "--output", "/nowhere/certmgr.prom")
    done = certmgr("--database", str(scanned.path), *output)
    assert done.code == 3
    assert "cannot be written" in done.err
