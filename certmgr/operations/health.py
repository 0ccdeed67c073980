"""Health of inventory and scans in numbers, and the state that a monitoring system shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certmgr.config.settings import Settings
from certmgr.inspection.status import EndpointStatus, count_findings, load, totals
from certmgr.operations.worker_health import read_workers, worker_problems
from inventory.dates import LAST, days_left
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.store import clients, endpoint_status, outbox, runs
from inventory.store.endpoint_status import TimeLeft

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = {OK: "OK", WARNING: "WARNING", CRITICAL: "CRITICAL", UNKNOWN: "UNKNOWN"}
# The same share at which a scan ends with exit code 3.
MAX_UNKNOWN_PERCENT = 20.0
# A shorter certificate cannot be bought, so that an automation renews it. From 2029-03-15 on, the
# Baseline Requirements allow 47 days (6.3.2).
AUTOMATED_DAYS = 45


@dataclass(frozen=True, slots=True)
class Health:
    """The health of an inventory, or of a part of it.

    Attributes:
        verdicts: Endpoints by verdict, and their total as ``endpoints``.
        findings: Open findings that are not accepted, by (code, severity).
        soonest: Target and end of the certificate that ends first.
        ending: State of the plug-in -> target and end of the first certificate with so little time
            left.
        last_complete: When the last complete scan of the whole inventory finished.
        troubled: Endpoints with findings, or not judged yet.
        notices: Notices by state.
        oldest_queued: When the oldest queued notice was queued.
        worker_problems: What is wrong with workers and their queues, one line each.
    """

    verdicts: dict[str, int]
    findings: Counter[tuple[str, str]]
    soonest: tuple[str, datetime] | None
    last_complete: datetime | None
    ending: Mapping[int, tuple[str, datetime]] = field(default_factory=dict)
    troubled: Sequence[EndpointStatus] = field(default=(), repr=False)
    notices: dict[str, int] = field(default_factory=dict)
    oldest_queued: datetime | None = None
    worker_problems: tuple[str, ...] = ()


def read(
    database: Database,
    now: datetime,
    *,
    settings: Settings,
    client: str | None = None,
    tag: str | None = None,
    limits: Thresholds | None = None,
) -> Health:
    """Read the health from the database.

    Args:
        database: The inventory.
        now: The current time.
        settings: The configuration.
        client: Only endpoints of this client.
        tag: Only endpoints with this tag. Runs and notices are always those of all clients.
        limits: The thresholds of the plug-in.
    """
    limits = limits or Thresholds()
    # Healthy endpoints are only counted, so that a million of them cost no memory.
    troubled = load(database, now, client=client, tag=tag, skip_healthy=True)
    verdicts = totals(database, troubled, client=client, tag=tag)
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        first = endpoint_status.soonest(conn, client_id=client_id, tag_name=tag)
        ending = {
            state: found
            for state, within in limits.time_left(to_epoch(now))
            if (
                found := endpoint_status.soonest(
                    conn, client_id=client_id, tag_name=tag, within=within
                )
            )
        }
        complete = runs.last_complete(conn)
        depth, oldest = outbox.depth(conn), outbox.oldest_queued(conn)
        of_workers = read_workers(conn, settings.workers.silent_seconds)
    return Health(
        verdicts=verdicts,
        findings=count_findings(troubled),
        soonest=_with_date(first) if first else None,
        ending={state: _with_date(found) for state, found in ending.items()},
        last_complete=from_epoch(complete),
        troubled=troubled,
        notices=depth,
        oldest_queued=from_epoch(oldest),
        worker_problems=tuple(worker_problems(of_workers, settings)),
    )


def _with_date(found: tuple[str, int]) -> tuple[str, datetime]:
    return found[0], from_epoch(found[1]) or LAST


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the monitoring plug-in.

    Attributes:
        warning_days: WARNING if a certificate ends in fewer days; for a short life also only if
            less than a quarter of it is left.
        critical_days: CRITICAL if a certificate ends in fewer days; for a short life also only if
            less than a sixth of it is left.
        max_age_hours: UNKNOWN if the last complete scan is older.
        max_queue_hours: WARNING if a notice is queued for longer.
    """

    warning_days: int = 14
    # Less than the working days that a purchase and an installation need.
    critical_days: int = 5
    # A daily scan may be two hours late.
    max_age_hours: float = 26.0
    max_queue_hours: float = 6.0

    def time_left(self, at: int) -> tuple[tuple[int, TimeLeft], ...]:
        """Return with how much time left a certificate has which state."""
        # A certificate of six days is renewed at half of its life: five days are no alarm. With a
        # sixth of the life left, each automation is late.
        return (
            (CRITICAL, TimeLeft(at, self.critical_days, 6, AUTOMATED_DAYS)),
            (WARNING, TimeLeft(at, self.warning_days, 4, AUTOMATED_DAYS)),
        )


def judge(health: Health, limits: Thresholds, now: datetime) -> tuple[int, str]:
    """Return the exit code of the plug-in, and its line with performance data.

    A known fault is CRITICAL even if the last scan is old. Without a known fault, an old or missing
    scan is UNKNOWN and never OK or WARNING.
    """
    verdicts, endpoints = health.verdicts, health.verdicts["endpoints"]
    faults, unknown = verdicts["fault"], verdicts["unknown"]
    medium = sum(n for (_, severity), n in health.findings.items() if severity == "medium")
    left = days_left(health.soonest[1], now) if health.soonest else None
    age = now - health.last_complete if health.last_complete is not None else None
    critical, undetermined, warning = [], [], []
    # The line names at most three codes, because monitoring systems show only one line.
    if faults:
        codes = Counter(
            {c: n for (c, s), n in health.findings.items() if s in ("critical", "high")}
        ).most_common(3)
        critical.append(
            f"{faults} endpoint(s) at fault ({', '.join(f'{n} {c}' for c, n in codes)})"
        )
    if CRITICAL in health.ending:
        critical.append(_ending_text(*health.ending[CRITICAL], now))
    # An empty inventory is most often a wrong database URL, and must not be reported as OK.
    if not endpoints:
        undetermined.append("the inventory has no endpoint")
    elif age is None:
        undetermined.append("no complete scan yet")
    elif age > timedelta(hours=limits.max_age_hours):
        undetermined.append(
            f"the last complete scan was {age.total_seconds() / 3600:.0f} hours ago"
        )
    # With too many undetermined endpoints, OK or WARNING would claim more than is known.
    if endpoints and 100 * unknown / endpoints > MAX_UNKNOWN_PERCENT:
        undetermined.append(f"{unknown} of {endpoints} endpoints are undetermined")
    if WARNING in health.ending and CRITICAL not in health.ending:
        warning.append(_ending_text(*health.ending[WARNING], now))
    if medium:
        warning.append(f"{medium} finding(s) of severity medium")
    waiting = now - health.oldest_queued if health.oldest_queued is not None else timedelta(0)
    if waiting > timedelta(hours=limits.max_queue_hours):
        warning.append(f"a notice has been queued for {waiting.total_seconds() / 3600:.0f} hours")
    # A notice whose delivery is unknown may have arrived: a person decides, since a second one
    # could be a duplicate.
    for name in ("unknown", "failed"):
        if health.notices.get(name):
            warning.append(f"{health.notices[name]} notice(s) {name}")
    warning += health.worker_problems
    # Known faults come first: an administrator must act on them, whatever else is unknown.
    state = CRITICAL if critical else UNKNOWN if undetermined else WARNING if warning else OK
    messages = [*critical, *undetermined, *warning] or [f"{endpoints} endpoints, nothing at fault"]
    return (
        state,
        f"CERTMGR {WORDS[state]} - {'; '.join(messages)}"
        f" | {_performance(health, limits, left, age)}",
    )


def _ending_text(target: str, end: datetime, now: datetime) -> str:
    left = end - now
    if left < timedelta(0):
        return f"{target} ended"
    # The last day decides whether an automation may still be in time.
    if left < timedelta(days=2):
        return f"{target} ends in {left / timedelta(hours=1):.0f} hours"
    return f"{target} ends in {days_left(end, now)} days"


def _performance(
    health: Health, limits: Thresholds, left: int | None, age: timedelta | None
) -> str:
    """Return performance data: label=value[unit];warning;critical;minimum.

    The format is that of the Monitoring Plugins Development Guidelines. U is an unknown value.
    """
    v = health.verdicts
    parts = [
        f"fault={v['fault']};;0;0",
        f"attention={v['attention']};;;0",
        f"unknown={v['unknown']};;;0",
        f"ok={v['ok']};;;0",
    ]
    parts.append(
        f"days_left={'U' if left is None else left};{limits.warning_days}:;{limits.critical_days}:"
    )
    # The minimum is zero: a graph of the monitoring system then starts at zero.
    parts.append(f"queued={health.notices.get('queued', 0)};;;0")
    seconds = "U" if age is None else f"{age.total_seconds():.0f}s"
    parts.append(f"scan_age={seconds};;{limits.max_age_hours * 3600:.0f};0")
    return " ".join(parts)
