"""Metrics for Prometheus, for the textfile collector of its node exporter."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import Connection

from certmgr.cases.states import is_overdue, waits_for
from certmgr.config.settings import WorkersSettings
from certmgr.operations.health import Health
from certmgr.operations.worker_health import RUN_QUEUES, WorkerHealth, read_workers
from inventory.db.database import Database
from inventory.store import cases, endpoint_status, jobs, outbox


def text(database: Database, health: Health, now: datetime, workers: WorkersSettings) -> str:
    """Return the metrics in the text exposition format of Prometheus.

    Certificate ends have one series per endpoint; other metrics are totals.
    """
    # A separate registry: the library's global one would add metrics of this short process.
    registry = CollectorRegistry()
    _verdicts(registry, health)
    with database.read() as conn:
        _ends(registry, conn, now)
        _jobs(registry, conn, health)
        _notices(registry, conn)
        _cases(registry, conn, now)
        _workers(registry, read_workers(conn, workers.silent_seconds))
    written = Gauge(
        "certmgr_metrics_timestamp_seconds", "When this file was written", registry=registry
    )
    # An alert on the age of this value detects that metrics are not written any more.
    written.set(now.timestamp())
    return generate_latest(registry).decode()


def _verdicts(registry: CollectorRegistry, health: Health) -> None:
    verdicts = Gauge("certmgr_endpoints", "Endpoints by verdict", ["verdict"], registry=registry)
    # A series that is missing and one that is 0 are different for an alert.
    for verdict in ("ok", "attention", "fault", "unknown"):
        verdicts.labels(verdict).set(health.verdicts[verdict])
    findings = Gauge(
        "certmgr_findings",
        "Open findings that are not accepted",
        ["code", "severity"],
        registry=registry,
    )
    for (code, severity), count in health.findings.items():
        findings.labels(code, severity).set(count)


def _ends(registry: CollectorRegistry, conn: Connection, now: datetime) -> None:
    labels = ["target", "client"]
    ends = Gauge(
        "certmgr_certificate_not_after_seconds",
        "End of the served certificate",
        labels,
        registry=registry,
    )
    days = Gauge(
        "certmgr_certificate_days_left",
        "Days until the served certificate ends",
        labels,
        registry=registry,
    )
    # A rule with a fixed number of days would always alert for a certificate of six days.
    lives = Gauge(
        "certmgr_certificate_lifetime_days",
        "Days from begin to end of the served certificate",
        labels,
        registry=registry,
    )
    # The end itself as well as the days: an alert rule that computes with time() needs no fresh
    # file.
    for target, client, end, begin in endpoint_status.ends(conn):
        ends.labels(target, client).set(end)
        days.labels(target, client).set(round((end - now.timestamp()) / 86_400, 3))
        if begin is not None:
            lives.labels(target, client).set(round((end - begin) / 86_400, 3))


def _jobs(registry: CollectorRegistry, conn: Connection, health: Health) -> None:
    success = Gauge(
        "certmgr_last_success_timestamp_seconds",
        "When a job last succeeded",
        ["job"],
        registry=registry,
    )
    if health.last_complete is not None:
        success.labels("scan").set(health.last_complete.timestamp())
    for name, row in jobs.every(conn).items():
        # A job that never succeeded has no series: its absence is what an alert looks for.
        if row.success_at is not None:
            success.labels(name).set(row.success_at)


def _notices(registry: CollectorRegistry, conn: Connection) -> None:
    depth, oldest = outbox.depth(conn), outbox.oldest_queued(conn)
    queue = Gauge("certmgr_notices", "Notices by state", ["state"], registry=registry)
    # All states, also with zero: an alert must not depend on whether a series exists.
    for state in ("queued", "leased", "sending", "sent", "unknown", "failed", "dead"):
        queue.labels(state).set(depth.get(state, 0))
    waiting = Gauge(
        "certmgr_oldest_queued_notice_timestamp_seconds",
        "When the oldest queued notice was queued; 0: no notice is queued",
        registry=registry,
    )
    # Zero and not a missing series: an alert on absence is for a file that is not written.
    waiting.set(oldest or 0)


def _cases(registry: CollectorRegistry, conn: Connection, now: datetime) -> None:
    open_cases = cases.listing(conn, states=cases.OPEN)
    states = Gauge("certmgr_cases", "Open cases by state", ["state"], registry=registry)
    for state in cases.OPEN:
        states.labels(state).set(sum(c.state == state for c in open_cases))
    overdue_cases = Gauge(
        "certmgr_cases_overdue",
        "Open cases after their due date, by the party that has to act",
        ["waits_for"],
        registry=registry,
    )
    # Those who have to act are alerted apart: waiting for a client is not a fault of the staff.
    for party in ("client", "provider"):
        overdue_cases.labels(party).set(
            sum(is_overdue(c, now) and waits_for(c) == party for c in open_cases)
        )


def _workers(registry: CollectorRegistry, health: WorkerHealth | None) -> None:
    if health is None:
        return
    workers = Gauge("certmgr_workers", "Workers with a recent heartbeat", registry=registry)
    workers.set(health.workers)
    jobs_by_state = Gauge(
        "certmgr_worker_jobs",
        "Jobs of workers by queue and state; running includes stalled",
        ["queue", "state"],
        registry=registry,
    )
    oldest = Gauge(
        "certmgr_worker_oldest_job_seconds",
        "How long the oldest job of a queue has waited",
        ["queue"],
        registry=registry,
    )
    for queue in health.queues:
        for state in ("waiting", "running", "stalled", "failed"):
            jobs_by_state.labels(queue.queue, state).set(getattr(queue, state))
        oldest.labels(queue.queue).set(queue.oldest)
    by_queue = Gauge(
        "certmgr_queue_workers",
        "Workers that take jobs of a queue",
        ["queue"],
        registry=registry,
    )
    for name in dict.fromkeys((*RUN_QUEUES, *health.by_queue)):
        by_queue.labels(name).set(health.by_queue.get(name, 0))
    by_zone = Gauge(
        "certmgr_zone_workers", "Workers that scan from a zone", ["zone"], registry=registry
    )
    for zone in health.zones:
        by_zone.labels(zone.zone).set(zone.workers)
