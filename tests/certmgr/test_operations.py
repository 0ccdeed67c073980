"""The monitoring plug-in and the metrics, judged as values and on a scanned inventory."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certmgr.config import Settings
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.operations.health import CRITICAL, OK, UNKNOWN, WARNING, Health, Thresholds, judge
from certmgr.survey import Options, Survey
from inventory.database import Database
from inventory.store import clients, domains, endpoints
from inventory.targets import Target
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# "'label'=value[UOM];[warn];[crit];[min];[max]" (Monitoring Plugins Development Guidelines)
PERFORMANCE = re.compile(r"[a-z_]+=(U|-?[0-9.]+)(s|%)?(;[0-9.:]*){0,4}")


def health(**changes: Any) -> Health:
    values: dict[str, Any] = {
        "verdicts": {"endpoints": 10, "ok": 10, "attention": 0, "fault": 0, "unknown": 0}, "findings": Counter(),
        "soonest": ("shop.example.test:443", NOW + 60 * DAY), "last_complete": NOW - HOUR,
    }  # fmt: skip
    return Health(**values | changes)


def verdicts(**counts: int) -> dict[str, int]:
    return {"endpoints": 10, "ok": 0, "attention": 0, "fault": 0, "unknown": 0} | counts


@pytest.mark.parametrize(("state", "changes", "said"), [
    (OK, {}, "10 endpoints, nothing at fault"),
    (WARNING, {"notices": {"unknown": 1, "sent": 5}}, "1 notice(s) unknown"),
    (WARNING, {"oldest_queued": NOW - 7 * HOUR}, "a notice waits since 7 hours"),
    (OK, {"oldest_queued": NOW - HOUR, "notices": {"queued": 3}}, "nothing at fault"),
    (WARNING, {"soonest": ("a.test:443", NOW + 10 * DAY)}, "a.test:443 ends in 10 days"),
    (CRITICAL, {"soonest": ("a.test:443", NOW + 4 * DAY)}, "a.test:443 ends in 4 days"),
    (CRITICAL, {"soonest": ("a.test:443", NOW - 3 * DAY)}, "a.test:443 ended"),
    (CRITICAL, {"verdicts": verdicts(fault=2, ok=8), "findings": Counter({("not-tls", "critical"): 2})}, "2 endpoint(s) at fault (2 not-tls)"),
    (WARNING, {"verdicts": verdicts(attention=1, ok=9), "findings": Counter({("http-served", "medium"): 1})}, "1 finding(s) of severity medium"),
    (OK, {"verdicts": verdicts(attention=1, ok=9), "findings": Counter({("hsts-missing", "low"): 1})}, "nothing at fault"),
    (UNKNOWN, {"last_complete": None}, "no complete scan yet"),
    (UNKNOWN, {"last_complete": NOW - 30 * HOUR}, "30 hours ago"),
    (UNKNOWN, {"verdicts": verdicts(unknown=3, ok=7)}, "3 of 10 endpoints could not be told"),
    (UNKNOWN, {"verdicts": {"endpoints": 0, "ok": 0, "attention": 0, "fault": 0, "unknown": 0}, "soonest": None}, "no endpoint"),
    (CRITICAL, {"verdicts": verdicts(fault=1, ok=9), "last_complete": None}, "no complete scan yet"),
    (UNKNOWN, {"soonest": ("a.test:443", NOW + 10 * DAY), "last_complete": NOW - 30 * HOUR}, "a.test:443 ends in 10 days"),
])  # fmt: skip
def test_what_the_plug_in_says(state: int, changes: dict[str, Any], said: str) -> None:
    code, line = judge(health(**changes), Thresholds(), NOW)
    assert code == state, line
    assert said in line
    text, _, performance = line.partition(" | ")
    assert text.startswith("CERTMGR ")
    assert all(PERFORMANCE.fullmatch(part) for part in performance.split())


@pytest.fixture
def scanned(settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack) -> Database:
    database = open_sqlite(tmp_path / "ops.db")
    for number, host, days in (("1", "good.example.test", 80), ("2", "short.example.test", 3)):
        server = Server(demo_servers.tls(server_context(issuer.issue(host, not_before=clock() - 80 * DAY, days=days))))
        opened.callback(server.close)
        with database.write() as tx:
            clients.add(tx, {"number": number, "name": f"Client {number}"})
            domains.add(tx, host, {"client": number})
            endpoints.edit(tx, Target(host), {"port": server.port, "addresses": ["127.0.0.1"]})
    Survey(database, settings, Options()).run()
    return database


Run = Callable[..., Ran]


def test_check_on_a_scanned_inventory(certmgr: Run, scanned: Database) -> None:
    base = ("--database", str(scanned.path), "check")
    done = certmgr(*base)
    assert done.code == CRITICAL
    assert done.out.startswith("CERTMGR CRITICAL - 1 endpoint(s) at fault (1 certificate-expiring)")
    assert len(done.out.splitlines()) == 1
    assert certmgr(*base, "--client", "1").code == OK
    assert certmgr(*base, "--client", "1", "--warning", "200").code == WARNING


def test_check_is_unknown_where_it_cannot_be_done(certmgr: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_text("no database at all, and long enough to be looked at")
    for arguments in (("--database", str(bad), "check"), ("check",), ("check", "--client", "4711")):
        done = certmgr(*arguments)
        assert done.code == UNKNOWN, done.out
        assert done.out.startswith("CERTMGR UNKNOWN - ")
        assert len(done.out.splitlines()) == 1


def test_metrics_are_what_prometheus_reads(certmgr: Run, scanned: Database, tmp_path: Path) -> None:
    path = tmp_path / "certmgr.prom"
    assert certmgr("--database", str(scanned.path), "metrics", "--output", str(path)).code == 0
    assert path.stat().st_mode & 0o777 == 0o644
    families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
    by_verdict = {s.labels["verdict"]: s.value for s in families["certmgr_endpoints"].samples}
    assert by_verdict == {"ok": 1, "attention": 0, "fault": 1, "unknown": 0}
    left = {s.labels["client"]: s.value for s in families["certmgr_certificate_days_left"].samples}
    assert 79 < left["1"] <= 80
    assert 2 < left["2"] <= 3
    assert {s.labels["code"] for s in families["certmgr_findings"].samples} == {"certificate-expiring"}
    (success,) = families["certmgr_last_success_timestamp_seconds"].samples
    assert success.labels == {"job": "scan"}
    assert clock().timestamp() - success.value < 60
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".certmgr-")] == []


def test_metrics_that_cannot_be_written(certmgr: Run, scanned: Database) -> None:
    done = certmgr("--database", str(scanned.path), "metrics", "--output", "/nowhere/certmgr.prom")
    assert done.code == 3
    assert "cannot be written" in done.err


def test_an_error_of_ours_in_one_part_of_a_run_keeps_no_other_back(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from certmgr.operations import round as work
    from inventory.store import jobs

    database = open_sqlite(tmp_path / "round.db")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(work, "_scan", broken)
    with pytest.raises(ZeroDivisionError):
        work.run(database, settings)
    with database.read() as conn:
        known = jobs.every(conn)
    assert known["notify"]["success_at"] is not None, "the notices went their way"
    assert known["run"]["success_at"] is None
    assert "ZeroDivisionError" in known["run"]["error"]
