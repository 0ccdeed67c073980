"""Checks of the inventory: the database, the audit log, staff and contacts, notices, cases,
lineages, and whether the jobs run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from certmgr.acme import health as acme_health
from certmgr.cases import health as case_health
from certmgr.config.context import Context
from certmgr.notices.setup import channels_of, rules_of
from certmgr.operations import audit_heads
from certmgr.operations.check_result import CheckResult, CheckState
from certmgr.operations.worker_health import read_workers, worker_problems
from inventory.db import audit_chain, integrity
from inventory.db.database import Database, to_epoch
from inventory.store import allowances, audit_log, contacts, decisions, jobs, outbox, tickets
from inventory.store import recipients as recipient_store
from inventory.store import runs as store_runs
from inventory.text import printable
from inventory.vocabulary import DecisionAction

# A daily job may be two hours late.
MAX_AGE = 26 * 3600


def contact_methods(context: Context) -> Iterator[CheckResult]:
    """Check for contact methods without a channel, bounced addresses, and unknown clients."""

    known = set(channels_of(context.settings.notify))
    with context.read() as conn:
        people = contacts.listing(conn)
        numbers = {c.number for c in recipient_store.clients(conn).values()}
    # A contact method without its channel fails at the first notice, which may be an urgent one.
    unconfigured = [
        c.name
        for c in people
        for w in c.ways
        if w.startswith("channel:") and w.partition(":")[2] not in known
    ]
    # The address does not work any more. Only a person can find out the new one.
    bounced = [c.name for c in people if c.bad]
    if unconfigured:
        yield CheckResult(
            "contacts",
            CheckState.FAULT,
            f"{len(unconfigured)} contact method(s) use channels that are not configured:"
            f" {printable(', '.join(unconfigured[:5]), 100)}",
            "Correct [notify] channels, or the contacts.",
        )
    if bounced:
        yield CheckResult(
            "contacts",
            CheckState.WARNING,
            f"{len(bounced)} contact(s) have an address that bounced:"
            f" {printable(', '.join(bounced[:5]), 100)}",
            "certmgr contact edit NAME --method email:ADDRESS",
        )
    # A threshold for a client that does not exist is most often a typing error in its number.
    unknown = sorted(set(rules_of(context.settings).policy.thresholds.by_client) - numbers)
    if unknown:
        yield CheckResult(
            "contacts",
            CheckState.WARNING,
            "[notify] thresholds has clients that do not exist:"
            f" {printable(', '.join(unknown), 100)}",
            "Correct their numbers.",
        )
    if not (unconfigured or bounced or unknown):
        yield CheckResult(
            "contacts", CheckState.OK, f"{len(people)}, all contact methods are valid"
        )


def database_file(database: Database) -> Iterator[CheckResult]:
    problems = integrity.check(database)
    for problem in problems:
        yield CheckResult("database", CheckState.FAULT, problem, "See certmgr database check.")
    if not problems:
        yield CheckResult(
            "database",
            CheckState.OK,
            str(database.path or database.engine.url.render_as_string(hide_password=True)),
        )
    path = database.path
    if (
        path is not None
        # A full disk stops writes of the database: no scan, no notice, and no key can be stored.
        and (free := os.statvfs(path.parent)).f_bavail * free.f_frsize < 500_000_000
    ):
        yield CheckResult(
            "database",
            CheckState.WARNING,
            f"the disk has {free.f_bavail * free.f_frsize // 1_000_000} MB left",
            "Free disk space.",
        )


def audit_log_chain(database: Database) -> Iterator[CheckResult]:
    with database.read() as conn:
        broken_entry, head, count = audit_chain.verify_chain(audit_log.entries(conn))
        sent = jobs.state(conn, "digest").detail.get("head")
        cut = sent is not None and sent != audit_chain.START and audit_log.has(conn, sent) is None
    if broken_entry is not None:
        yield CheckResult(
            "audit log",
            CheckState.FAULT,
            f"entry {broken_entry} does not follow the entry before it",
            "See certmgr audit verify.",
        )
    # A chain that was cut at its end is consistent, so it is compared with the last digest.
    elif cut:
        yield CheckResult(
            "audit log",
            CheckState.FAULT,
            "the hash of the last digest is not in it: entries were removed",
            "See certmgr audit verify.",
        )
    else:
        yield CheckResult("audit log", CheckState.OK, f"{count} entries, head {head[:16]}")


def audit_heads_stored(context: Context) -> Iterator[CheckResult]:
    """Compare the log with its heads on write-once storage."""
    audit = context.settings.audit
    if not audit.head_file:
        return
    with context.read() as conn:
        heads, stamps = audit_heads.verify_stored(conn, audit)
    text = f"{heads} heads in {audit.head_file}, {stamps} timestamps"
    if heads:
        yield CheckResult("audit heads", CheckState.OK, text)
    else:
        yield CheckResult(
            "audit heads", CheckState.WARNING, text, "certmgr run writes one per day."
        )


def staff(database: Database) -> Iterator[CheckResult]:
    with database.read() as conn:
        people = [c for c in contacts.listing(conn) if c.client_id is None]
    # A telephone number is of no use to a program that runs at night.
    reachable = [c for c in people if any(w.startswith(("email:", "channel:")) for w in c.ways)]
    if not reachable:
        yield CheckResult(
            "staff",
            CheckState.FAULT,
            "there is no staff contact with an e-mail address or channel",
            "certmgr contact add NAME --role administrator --method email:ADDRESS",
        )
    elif not any(c.role == "administrator" for c in reachable):
        yield CheckResult(
            "staff",
            CheckState.WARNING,
            "no contact has the role administrator, so no administrator is on call",
            "certmgr contact edit NAME --role administrator",
        )
    else:
        yield CheckResult("staff", CheckState.OK, f"{len(reachable)} contact(s)")


def notices(database: Database, now: datetime) -> Iterator[CheckResult]:
    at = to_epoch(now)
    with database.read() as conn:
        depth, oldest = outbox.depth(conn), outbox.oldest_queued(conn)
        quiet = decisions.waiting_since(conn, DecisionAction.WAIT, "quiet hours", at - 86_400)
        held = len(tickets.listing(conn, held=True))
        allowed = allowances.active(conn, at)
    for state, todo in (
        ("unknown", "certmgr notice list --state unknown"),
        ("failed", "certmgr notice list --state failed"),
    ):
        if depth.get(state):
            yield CheckResult("notices", CheckState.WARNING, f"{depth[state]} {state}", todo)
    # A queued notice is sent by the next run. Six hours mean that none takes place, or that the
    # mail server refuses.
    if oldest is not None and at - oldest > 6 * 3600:
        yield CheckResult(
            "notices",
            CheckState.FAULT,
            f"the oldest queued notice has waited for {(at - oldest) // 3600} hours",
            "Run certmgr notify, and check the mail server.",
        )
    elif not depth.get("unknown") and not depth.get("failed"):
        yield CheckResult(
            "notices",
            CheckState.OK,
            f"{depth.get('sent', 0)} sent, {depth.get('queued', 0)} queued",
        )
    # While one is in force, a fault of the scanner may reach as many clients.
    for one in allowed:
        yield CheckResult(
            "notices",
            CheckState.WARNING,
            f"{one.clients} clients may be notified at once until"
            f" {datetime.fromtimestamp(one.until, now.tzinfo):%Y-%m-%d %H:%M %Z}, confirmed by"
            f" {one.by}: {one.reason}",
            f"certmgr notice disallow {one.id}",
        )
    if held:
        yield CheckResult(
            "notices", CheckState.WARNING, f"{held} ticket(s) are held", "certmgr notice release"
        )
    # Longer than a day and a half means that no run of notify falls into the hours in which the
    # client may be written to.
    stuck = [since for since in quiet.values() if at - since > 36 * 3600]
    if stuck:
        yield CheckResult(
            "notices",
            CheckState.FAULT,
            f"{len(stuck)} notice(s) wait for a time of day at which notify never runs",
            "Run certmgr notify every hour.",
        )


def cases(context: Context) -> Iterator[CheckResult]:
    for state, what, todo in case_health.examine(context):
        yield CheckResult("cases", CheckState(state), what, todo)


def lineages_and_accounts(context: Context) -> Iterator[CheckResult]:
    for state, what, todo in acme_health.examine(context):
        yield CheckResult("ACME", CheckState(state), what, todo)


def runs(database: Database, now: datetime) -> Iterator[CheckResult]:
    at = to_epoch(now)
    with database.read() as conn:
        complete = store_runs.last_complete(conn)
        last = store_runs.newest(conn)
        notify = jobs.state(conn, "notify")
    for name, success in (("scan", complete), ("notify", notify.success_at)):
        if success is None:
            yield CheckResult(
                "runs", CheckState.WARNING, f"{name} never succeeded", f"certmgr {name}"
            )
        elif at - success > MAX_AGE:
            yield CheckResult(
                "runs",
                CheckState.FAULT,
                f"{name} last succeeded {(at - success) // 3600} hours ago",
                "Check that cron is running. See certmgr help notices.",
            )
        else:
            yield CheckResult(
                "runs", CheckState.OK, f"{name} succeeded {(at - success) // 60} minutes ago"
            )
    if last is not None and last.state == "suspect":
        yield CheckResult(
            "runs",
            CheckState.WARNING,
            f"the last run ({last.id}) is suspect: {printable(last.reason or '', 120)}",
            "Check the cause, then scan again.",
        )


def workers(context: Context) -> Iterator[CheckResult]:
    """Check that workers are there, and that no job waits, stalls or fails."""
    settings = context.settings.workers
    with context.read() as conn:
        health = read_workers(conn, settings.silent_seconds)
    # Without queues and without the setting, workers are no subject.
    if health is None and not settings.enabled:
        return
    problems = worker_problems(health, context.settings)
    for problem in problems:
        yield CheckResult(
            "workers", CheckState.FAULT, problem, "Start certmgr worker: certmgr help scale."
        )
    if health is None:
        return
    for queue in health.queues:
        if queue.failed:
            yield CheckResult(
                "workers",
                CheckState.WARNING,
                f"{queue.failed} job(s) of the queue {queue.queue} failed in the last week",
                "The log of the workers has the reason.",
            )
    if not problems:
        waits = [f"{q.queue}: {q.waiting + q.running}" for q in health.queues]
        oldest = max((q.oldest for q in health.queues), default=0)
        jobs_text = ", ".join(waits) + (f", the oldest waits for {oldest} s" if oldest else "")
        zones_text = "".join(f"; zone {z.zone}: {z.workers}" for z in health.zones)
        yield CheckResult(
            "workers",
            CheckState.OK,
            f"{health.workers} worker(s), jobs by queue: {jobs_text or 'none'}{zones_text}",
        )
