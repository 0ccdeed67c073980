"""``certmgr check``: the monitoring plug-in, with given values and with a scanned inventory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.settings import Settings
from certmgr.operations.health import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Health,
    Thresholds,
    judge,
    read,
)
from inventory.db.database import Database
from tests.databases import open_sqlite
from tests.notifiers.sites import SiteSimulation
from tests.program import Ran

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# "'label'=value[UOM];[warn];[crit];[min];[max]" (Monitoring Plugins Development Guidelines)
PERFORMANCE = re.compile(r"[a-z_]+=(U|-?[0-9.]+)(s|%)?(;[0-9.:]*){0,4}")
Runner = Callable[..., Ran]


def verdicts(**counts: int) -> dict[str, int]:
    return {"endpoints": 10, "ok": 0, "attention": 0, "fault": 0, "unknown": 0} | counts


def ending_in(left: timedelta, state: int) -> dict[str, Any]:
    return {"soonest": ("a.test:443", NOW + left), "ending": {state: ("a.test:443", NOW + left)}}


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (OK, {}, "10 endpoints, nothing at fault"),
        (WARNING, {"notices": {"unknown": 1, "sent": 5}}, "1 notice(s) unknown"),
        (WARNING, {"oldest_queued": NOW - 7 * HOUR}, "a notice has been queued for 7 hours"),
        (OK, {"oldest_queued": NOW - HOUR, "notices": {"queued": 3}}, "nothing at fault"),
        (WARNING, ending_in(10 * DAY, WARNING), "a.test:443 ends in 10 days"),
        (CRITICAL, ending_in(4 * DAY, CRITICAL), "a.test:443 ends in 4 days"),
        (CRITICAL, ending_in(-3 * DAY, CRITICAL), "a.test:443 ended"),
        (CRITICAL, ending_in(20 * HOUR, CRITICAL), "a.test:443 ends in 20 hours"),
        (
            CRITICAL,
            {
                "verdicts": verdicts(fault=2, ok=8),
                "findings": Counter({("not-tls", "critical"): 2}),
            },
            "2 endpoint(s) at fault (2 not-tls)",
        ),
        (
            WARNING,
            {
                "verdicts": verdicts(attention=1, ok=9),
                "findings": Counter({("http-served", "medium"): 1}),
            },
            "1 finding(s) of severity medium",
        ),
        (
            OK,
            {
                "verdicts": verdicts(attention=1, ok=9),
                "findings": Counter({("hsts-missing", "low"): 1}),
            },
            "nothing at fault",
        ),
        (UNKNOWN, {"last_complete": None}, "no complete scan yet"),
        (UNKNOWN, {"last_complete": NOW - 30 * HOUR}, "30 hours ago"),
        (
            UNKNOWN,
            {"verdicts": verdicts(unknown=3, ok=7)},
            "3 of 10 endpoints are undetermined",
        ),
        (UNKNOWN, {"verdicts": verdicts(endpoints=0), "soonest": None}, "no endpoint"),
        (
            CRITICAL,
            {"verdicts": verdicts(fault=1, ok=9), "last_complete": None},
            "no complete scan yet",
        ),
        (
            UNKNOWN,
            ending_in(10 * DAY, WARNING) | {"last_complete": NOW - 30 * HOUR},
            "a.test:443 ends in 10 days",
        ),
    ],
)
def test_state_and_line_follow_the_worst_problem(
    state: int,
    changes: dict[str, Any],
    words: str,
) -> None:
    values: dict[str, Any] = {
        "verdicts": verdicts(ok=10),
        "findings": Counter(),
        "soonest": ("shop.example.test:443", NOW + 60 * DAY),
        "last_complete": NOW - HOUR,
    }
    code, line = judge(Health(**values | changes), Thresholds(), NOW)
    assert code == state, line
    assert words in line
    text, _, performance = line.partition(" | ")
    assert text.startswith("CERTMGR ")
    assert all(PERFORMANCE.fullmatch(part) for part in performance.split())


@pytest.mark.parametrize(
    ("hours", "left", "state"),
    [
        # The profile "shortlived" of Let's Encrypt; renewed when 80 hours are left.
        (160, 159, OK),
        (160, 41, OK),
        (160, 39, WARNING),
        (160, 26, CRITICAL),
        # A private CA; renewed when 10 days are left.
        (30 * 24, 8 * 24, OK),
        (30 * 24, 7 * 24, WARNING),
        (30 * 24, 5 * 24 - 1, CRITICAL),
        # The profile "tlsserver"; renewed when 15 days are left.
        (45 * 24, 15 * 24, OK),
        (45 * 24, 13 * 24, WARNING),
        (45 * 24, 6 * 24, WARNING),
        (45 * 24, 4 * 24, CRITICAL),
    ],
)
def test_short_lifetime_is_no_alarm_before_its_renewal_is_late(
    settings: Settings, tmp_path: Path, hours: int, left: int, state: int
) -> None:
    simulation = SiteSimulation(open_sqlite(tmp_path / "short.db"))
    simulation.client("1")
    simulation.site("192.0.2.10", "1").serve(simulation.now, hours * HOUR)
    simulation.scan()
    found = read(simulation.database, simulation.now + (hours - left) * HOUR, settings=settings)
    assert max(found.ending, default=OK) == state


def test_check_of_a_scanned_inventory_is_one_line_for_all_or_one_client(
    certmgr: Runner,
    scanned: Database,
) -> None:
    check = ("--database", str(scanned.path), "check")
    done = certmgr(*check)
    assert done.code == CRITICAL
    expected = "CERTMGR CRITICAL - 1 endpoint(s) at fault (1 certificate-expiring)"
    assert done.out.startswith(expected)
    assert len(done.out.splitlines()) == 1
    assert certmgr(*check, "--client", "1").code == OK
    assert certmgr(*check, "--client", "1", "--warning", "200").code == WARNING


def test_check_that_cannot_be_done_is_unknown(certmgr: Runner, tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_text("not a database, and long enough to be read as one")
    for arguments in (
        ("--database", str(bad), "check"),
        ("check",),
        ("check", "--client", "4711"),
    ):
        done = certmgr(*arguments)
        assert done.code == UNKNOWN, done.out
        assert done.out.startswith("CERTMGR UNKNOWN - ")
        assert len(done.out.splitlines()) == 1
