"""Collect topics from the inventory: names that lose cover, faults, deadlines, resolved topics.

Only this module and :func:`certmgr.notices.deadline_topics.deadlines` read the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from certmgr.acme.renewal import staff_news as automation
from certmgr.cases import purchase_topics as purchase_deadlines
from certmgr.cases import topics as casework
from certmgr.compliance.load import own_deadlines
from certmgr.inspection.server_down import NOT_CONNECTED, servers_down
from certmgr.notices.basis import TopicBasis
from certmgr.notices.cover_topics import cover
from certmgr.notices.deadline_topics import deadlines, with_deadlines_as_parents
from certmgr.notices.ended_topics import resolved_topic
from certmgr.notices.fault_topics import NOTIFIED_SEVERITIES, faults
from certmgr.purchases.model import LeadTimes
from certmgr.renewers.load import load_facts
from inventory.db.database import Database, to_epoch
from inventory.records import EndedRun, FindingRecord, ListedFinding, TicketRecord
from inventory.store import (
    certificate_ends,
    certificates,
    clients,
    domains,
    findings,
    runs,
    server_faults,
)
from inventory.store import tickets as tickets_store
from inventory.store.certificate_ends import EarlierLeaf
from inventory.targets import Target
from inventory.vocabulary import FindingDecision, TicketKind
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.thresholds import DAY, ThresholdRules
from notifiers.pipeline.topic import Topic

# How long clients are reminded of a deadline that they missed.
KEPT_AFTER_DEADLINE = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRules:
    """What the provider has configured about topics.

    Attributes:
        thresholds: How long before an end clients are notified.
        leads: How long purchase, validation and installation take.
        freeze: The length of the longest change freeze.
        zone: The time zone of the provider.
        window_minutes: The length of a proposed installation window.
        provider: The name of the provider, who acts in a case without an assignee.
    """

    thresholds: ThresholdRules = field(default_factory=ThresholdRules)
    leads: LeadTimes = field(default_factory=LeadTimes)
    freeze: timedelta = timedelta(0)
    zone: tzinfo = UTC
    window_minutes: int = 60
    provider: str = ""

    @property
    def ahead(self) -> timedelta:
        """How long before an end its topic may be due."""
        # A week more than purchase and installation take: the earliest threshold lies there.
        return max(self.thresholds.longest, self.leads.total + 7) * DAY + self.freeze


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read of the inventory, at one time.

    Attributes:
        run: The last scan run.
        whole_run: Whether a run was ever complete.
        clients: The number of clients with domains.
        histories: Endpoint id -> the certificates that it served, for those that end soon.
        cases: The topics and tasks of cases.
        purchases: The topics of purchases.
        automation: What automatic renewals report.
        open_rows: The open findings.
        basis: What the topics of endpoints are computed from.
        alarms: One alarm per ticket that was passed to level 2.
        known: The findings of the open tickets, by id.
        together: All codes of an endpoint while a closed finding was open, by its id.
    """

    run: EndedRun | None
    whole_run: bool
    clients: int
    histories: Mapping[int, Sequence[EarlierLeaf]]
    cases: casework.CaseTopics
    purchases: Sequence[Topic]
    automation: automation.AutomationReport
    open_rows: Sequence[ListedFinding]
    basis: TopicBasis
    alarms: Sequence[tuple[str, str]]
    known: Mapping[int, FindingRecord]
    together: Mapping[int, frozenset[str]]


def gather(
    database: Database, now: datetime, tickets: Mapping[str, TicketRecord], rules: TopicRules
) -> NoticeSource:
    """Return the topics of the inventory.

    Args:
        database: The inventory.
        now: The current time.
        tickets: The open tickets that clients were notified of, by key. The result contains those
            of them that are over.
        rules: What the provider has configured.
    """
    with database.read() as conn:
        read = _read(conn, now, tickets, rules)
    topics = [
        topic
        for endpoint_id, history in read.histories.items()
        if (topic := cover(read.basis, endpoint_id, history, rules.leads)) is not None
    ]
    topics += faults(read.basis, {s.endpoint_id for s in topics})
    # Deadlines of browsers and CAs reach clients by announcements only.
    earliest, latest = now - KEPT_AFTER_DEADLINE, now + rules.ahead
    due = [d for d in own_deadlines(database) if earliest <= d.at <= latest]
    met: dict[str, Topic | None] = {}
    if due:
        deadline_topics, met = deadlines(database, now, due, read.basis)
        topics = [*with_deadlines_as_parents(topics, deadline_topics), *deadline_topics]
    topics += [*read.cases.topics, *read.purchases]
    current = {s.key: s for s in topics}
    # The cases decide on their own tickets, for which resolved_topic always returns None.
    ended = read.cases.ended | {
        k: e
        for k, t in tickets.items()
        if (e := resolved_topic(t, current.get(k), read.basis, read.known, read.together, met))
        is not None
    }
    return NoticeSource(
        topics=tuple(topics),
        ended=ended,
        suspect=_suspicion(read.run),
        clients=read.clients,
        run=read.run.id if read.run else 0,
        whole_run=read.whole_run,
        staff_tasks=read.cases.staff_tasks,
        events=read.cases.events,
        worklist=read.cases.worklist,
        undetermined=_undetermined(read.open_rows),
        automation=read.automation.lines,
        alarms=(*read.automation.alarms, *read.alarms),
    )


def _read(
    conn: Connection, now: datetime, tickets: Mapping[str, TicketRecord], rules: TopicRules
) -> _Read:
    """Read what topics are computed from."""
    thresholds = rules.thresholds
    ids = certificate_ends.ending(
        conn,
        to_epoch(now),
        to_epoch(now + rules.ahead),
        # Thresholds that a provider set do not scale with the lifetime of a certificate.
        scaled=not (thresholds.by_client or thresholds.by_tag or rules.freeze),
    )
    histories = certificate_ends.replacements(conn, ids)
    case_topics = casework.gather(
        conn, now, tickets, rules.leads, rules.window_minutes, rules.provider, rules.zone
    )
    automation_report = automation.gather(conn, now)
    # Clients are never notified of findings of low severity.
    open_rows = [r for r in findings.listing(conn) if r.severity != "low"]
    known = findings.by_ids(
        conn, [int(t.round) for t in tickets.values() if t.kind is TicketKind.FAULT]
    )
    return _Read(
        run=runs.last_run(conn),
        whole_run=runs.last_complete(conn) is not None,
        clients=clients.count_with_domains(conn),
        histories={i: histories.get(i, ()) for i in ids},
        cases=case_topics,
        purchases=purchase_deadlines.purchase_topics(
            conn, now, rules.leads, rules.ahead, case_topics.open_names
        ),
        automation=automation_report,
        open_rows=open_rows,
        basis=_read_basis(
            conn, now, rules.zone, ids, open_rows, tickets, case_topics, automation_report.automated
        ),
        alarms=_desk_alarms(conn),
        known=known,
        together=findings.codes_together(
            conn, [r for r in known.values() if r.closed_at is not None]
        ),
    )


def _undetermined(open_rows: Sequence[ListedFinding]) -> dict[str, list[Target]]:
    """Return the endpoints without a result, by finding code."""
    found: dict[str, list[Target]] = {}
    for row in open_rows:
        if row.severity == "undetermined":
            found.setdefault(row.code, []).append(Target(row.host, row.port, row.protocol))
    return found


def _read_basis(
    conn: Connection,
    now: datetime,
    zone: tzinfo,
    ending: Sequence[int],
    open_rows: Sequence[ListedFinding],
    tickets: Mapping[str, TicketRecord],
    case_topics: casework.CaseTopics,
    automated: Mapping[int, datetime],
) -> TopicBasis:
    """Read what the topics of endpoints are computed from.

    Args:
        ending: The endpoints with a certificate near its end.
        open_rows: The open findings of the inventory.
        automated: The time until which our automation handles an endpoint.
    """
    # Endpoints of open tickets are read too, since their topic may be resolved by now.
    endpoint_ids = sorted(
        {
            *ending,
            *(r.endpoint_id for r in open_rows if r.severity in NOTIFIED_SEVERITIES),
            *(t.endpoint_id for t in tickets.values() if t.endpoint_id is not None),
        }
    )
    places = certificate_ends.places(conn, endpoint_ids)
    by_endpoint: dict[int, list[ListedFinding]] = {}
    for row in open_rows:
        by_endpoint.setdefault(row.endpoint_id, []).append(row)
    return TopicBasis(
        now=now,
        places=places,
        open=by_endpoint,
        served=certificate_ends.leaves(conn, endpoint_ids),
        # Accepted findings suppress notices while the acceptance is in force.
        accepted=findings.acceptances(conn, now),
        assigned=findings.acceptances(conn, kind=FindingDecision.ASSIGN),
        names=domains.names_of_clients(conn, sorted({p.client_id for p in places.values()})),
        owners=domains.owners_of(
            conn, {str(n) for r in open_rows for n in r.evidence.get("names", ())}
        ),
        ends=certificates.ends_of(
            conn, [str(t.round) for t in tickets.values() if t.kind is TicketKind.COVER]
        ),
        zone=zone,
        case_references=case_topics.open_names,
        automated=automated,
        down=servers_down(server_faults.not_connected(conn, NOT_CONNECTED)),
        # What scans learned of an endpoint is in the history of its certificates already.
        renewers=load_facts(conn, now, learned=False),
    )


def _desk_alarms(conn: Connection) -> list[tuple[str, str]]:
    """Return one alarm per ticket that the desk passed to level 2: a client waits for an answer."""
    return [
        (
            f"desk {ticket.reference}",
            f"[{ticket.reference}] passed to level 2 for client {ticket.client}: {ticket.cause}."
            f" When it is done: certmgr notice close {ticket.reference}",
        )
        for ticket in tickets_store.listing(conn)
        if ticket.kind is TicketKind.DESK
    ]


def _suspicion(run: EndedRun | None) -> str:
    """Return why no client may be notified now. Empty if they may be."""
    # A suspect run may report faults that do not exist, so nothing goes to clients.
    if run is None or run.state != "suspect":
        return ""
    return f"the last run (number {run.id}) is suspect: {run.reason}"
