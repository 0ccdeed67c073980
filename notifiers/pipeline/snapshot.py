"""Read what a run of notices decides on: topics, tickets, earlier notices, snoozes and releases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from inventory.db.database import Database, to_epoch
from inventory.records import (
    JobRecord,
    ListedTicket,
    ReleasedTicket,
    ReleaseRecord,
    TicketRecord,
)
from inventory.store import (
    allowances,
    audit_log,
    decisions,
    jobs,
    notices,
    outbox,
    releases,
    snoozes,
    tickets,
)
from inventory.vocabulary import DecisionAction, TicketKind
from notifiers.pipeline import limits
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import Snapshot
from notifiers.pipeline.record import JOB

_log = logging.getLogger(__name__)

STALE = 60  # seconds: a notice that waited longer is decided again, after a new recheck
REFUSED = 86_400  # seconds: after that a refused notice is decided again
DAY_SECONDS = 86_400
Gather = Callable[[datetime, Mapping[str, TicketRecord]], NoticeSource]


@dataclass(frozen=True, slots=True)
class RunBasis:
    """What one run decides on.

    Attributes:
        state: The state of the job before the run.
        unnotified: Open tickets of which no client was notified, by key: they were held.
        waiting: The tickets that wait for a release.
        releases: The releases that are in force.
        released_today: The tickets that releases let through since midnight.
    """

    snapshot: Snapshot
    source: NoticeSource
    state: JobRecord
    unnotified: Mapping[str, TicketRecord]
    waiting: Sequence[ListedTicket]
    releases: Sequence[ReleaseRecord]
    released_today: Sequence[ReleasedTicket]


@dataclass(frozen=True, slots=True)
class ReleasedTickets:
    """What the releases let through in this run.

    Attributes:
        ids: Ids of the tickets.
        spent: Ids of releases that have no ticket left.
    """

    ids: tuple[int, ...]
    spent: tuple[int, ...]


def drop_outdated(database: Database, now: datetime) -> None:
    """Drop queued notices that are decided again in this run.

    A notice that waited may no longer be true, or may concern another client by now. A notice that
    was refused for another reason than its address is decided again after a day.
    """
    with database.write(now) as tx:
        # Rows of dead workers first, so that they are decided again with the others.
        outbox.recover(tx)
        waited = outbox.drop(
            tx,
            outbox.waiting(tx.conn, tx.at - STALE),
            "it waited, and is decided again",
            trace=False,
        )
        refused = outbox.drop(
            tx,
            outbox.refused(tx.conn, tx.at - REFUSED),
            "it was refused a day ago, and is decided again",
        )
    if waited or refused:
        _log.info("decided again: %d notices that waited, %d that were refused", waited, refused)


def read_basis(
    database: Database, now: datetime, config: NoticeSettings, gather: Gather
) -> RunBasis:
    """Return what is known now, outside of a write transaction, since rechecks take long.

    Args:
        gather: Collects the topics. It opens transactions to read.
    """
    with database.read() as conn:
        # Two transactions: the collector in between takes long, and opens further transactions.
        open_tickets = {
            k: t
            for k, t in tickets.by_key(conn, open_only=True).items()
            # An announcement is no topic: it ends when it is sent.
            if t.kind is not TicketKind.ANNOUNCEMENT
        }
        newest = audit_log.newest_instant(conn)
    # Only what clients know of has to be reported as over.
    notified = {k: t for k, t in open_tickets.items() if t.told_at is not None}
    source = gather(now, notified)
    with database.read() as conn:
        state = jobs.state(conn, JOB)
        return RunBasis(
            snapshot=_snapshot(conn, now, config, source, state, newest, set(notified)),
            source=source,
            state=state,
            # A ticket of the desk has no topic, and would end here as one whose topic is gone.
            unnotified={
                k: t
                for k, t in open_tickets.items()
                if t.told_at is None and t.kind is not TicketKind.DESK
            },
            waiting=tickets.listing(conn, held=True),
            releases=releases.in_force(conn),
            released_today=releases.released_since(conn, _midnight(now, config.zone)),
        )


def _snapshot(
    conn: Connection,
    now: datetime,
    config: NoticeSettings,
    source: NoticeSource,
    state: JobRecord,
    newest: int | None,
    notified: set[str],
) -> Snapshot:
    keys = {s.key for s in source.topics} | notified
    concerned = {s.client_id for s in source.topics} | tickets.clients_of_open(conn)
    baseline_at = int(state.detail.get("baseline_at") or 0)
    return Snapshot(
        now=now,
        zone=config.zone,
        policy=config.policy,
        people=config.recipients(conn, concerned),
        tickets=tickets.by_key(conn, keys),
        sent=notices.sent_about(conn, sorted(keys)),
        snoozes=snoozes.listing(conn, to_epoch(now)),
        last_written=notices.last_to_contacts(conn),
        # Two days: the patience with a failing recheck is one day, so older decisions do not count.
        waiting=decisions.waiting_since(
            conn, DecisionAction.WAIT, "the recheck failed", to_epoch(now) - 2 * DAY_SECONDS
        ),
        hold_reason=limits.clock_fault(now, newest) or source.suspect,
        allowances=allowances.active(conn, to_epoch(now)),
        baseline=baseline_at == 0,
        baseline_at=baseline_at,
    )


def released_tickets(basis: RunBasis) -> ReleasedTickets:
    """Return the tickets that releases let through today. Pure.

    A release has a limit of clients per day.
    """
    chosen: list[int] = []
    spent = []
    for release in basis.releases:
        # A release covers only tickets that were held when it was given, so that it never lets a
        # later fault through.
        covered = [
            t
            for t in basis.waiting
            if releases.belongs(t, release.cause) and releases.held_at(t) <= release.created_at
        ]
        if not covered:
            spent.append(release.id)
        already = {t.client_id for t in basis.released_today if releases.belongs(t, release.cause)}
        # Clients released earlier today count against the daily limit.
        room = max(0, release.per_day - len(already))
        clients = list(dict.fromkeys(t.client_id for t in covered if t.client_id not in already))
        admitted = already | set(clients[:room])
        chosen += [t.id for t in covered if t.client_id in admitted]
    return ReleasedTickets(tuple(chosen), tuple(spent))


def with_released(snapshot: Snapshot, released: ReleasedTickets) -> Snapshot:
    """Return the snapshot as it is after the releases. The rows change in the transaction."""
    ids = set(released.ids)
    changed = {
        k: replace(t, released_at=to_epoch(snapshot.now)) if t.id in ids else t
        for k, t in snapshot.tickets.items()
    }
    return replace(snapshot, tickets=changed)


def _midnight(now: datetime, zone: tzinfo) -> int:
    """Return when the day of the provider began, in epoch seconds."""
    local = now.astimezone(zone)
    return to_epoch(local.replace(hour=0, minute=0, second=0, microsecond=0))
