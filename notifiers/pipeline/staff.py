"""Messages to the provider's staff: one digest per day, and alarms that cannot wait.

They are in English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from inventory.db.database import Tx, to_epoch
from inventory.names import display
from inventory.records import ListedNotice, ListedTicket
from inventory.store import audit_log, decisions, inbox, jobs, notices, runs, tickets
from notifiers.pipeline.alarms import Alarm
from notifiers.pipeline.call_list import call_lines, calls
from notifiers.pipeline.limits import FLAPPING
from notifiers.pipeline.message import Message
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff_message import Section, section, staff_message
from notifiers.pipeline.topic import TopicKind

DAY = 86_400  # seconds


def alarm_message(alarms: Sequence[Alarm], templates: Templates) -> Message:
    """Return one message with all alarms."""
    first = alarms[0].text if len(alarms) == 1 else f"{len(alarms)} alarms need your attention"
    return staff_message(
        f"[certmgr] {first}",
        first,
        [section("Now", [a.text for a in alarms], "certmgr status --causes")],
        (),
        templates,
        "alarm",
    )


@dataclass(slots=True)
class StaffDigest:
    """The content of a digest.

    Attributes:
        head: The head of the audit chain. It leaves the machine with the digest, so that a
            truncated log can be detected later.
        entries: The number of entries of the audit chain.
        sent: The number of notices sent in the last day.
    """

    now: datetime
    head: str = ""
    entries: int = 0
    causes: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    promises: list[str] = field(default_factory=list)
    undetermined: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    unmatched_mail: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    incidents: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    automation: list[str] = field(default_factory=list)
    sent: int = 0
    clients: int = 0

    @classmethod
    def read(
        cls,
        tx: Tx,
        now: datetime,
        plan: NoticePlan,
        snapshot: Snapshot,
        source: NoticeSource,
        policy: NoticePolicy,
    ) -> StaffDigest:
        """Read the content of the digest from the database and the plan of the run."""
        conn, at = tx.conn, to_epoch(now)
        open_tickets = tickets.listing(conn)
        sent_items = notices.sent_about(conn, [m.key for m in open_tickets])
        head, entries = audit_log.head(conn)
        return cls(
            now=now,
            head=head,
            entries=entries,
            causes=[*_causes(plan), *_flapping(conn, at)],
            calls=call_lines(calls(open_tickets, sent_items, snapshot, policy)),
            held=_held(open_tickets),
            # However old it is: only a person ends this state.
            unknown=[_notice(n) for n in notices.listing(conn, states=("unknown",))],
            failed=_failed(conn, at),
            promises=[*_overdue_assignments(plan, now), *_overdue_updates(open_tickets, now)],
            undetermined=[
                f"{code}: {n} endpoint(s)"
                for code, n in sorted(source.undetermined.items(), key=lambda x: -x[1])
            ],
            answers=[
                f"notice {r.notice_id}, {r.kind}: {r.text or '(no text)'}"
                for r in inbox.answers(conn, at - DAY)
            ],
            unmatched_mail=[
                f"{_at(r.at, now):%Y-%m-%d %H:%M}: {r.text or '(no text)'}"
                for r in inbox.unmatched(conn, at - DAY)
            ],
            jobs=_jobs(conn, source, now),
            incidents=[f"{e.title}: {'; '.join(e.lines)}" for e in source.events],
            cases=list(source.worklist),
            automation=list(source.automation),
            sent=notices.count_sent(conn, at - DAY),
            clients=source.clients,
        )


def _at(seconds: int, now: datetime) -> datetime:
    """Return a stored time in the time zone of the run."""
    return datetime.fromtimestamp(seconds, now.tzinfo)


def _causes(plan: NoticePlan) -> list[str]:
    """Return the causes of the topics that staff have to act on, the most frequent first."""
    grouped: Counter[tuple[str, str]] = Counter(
        (topic.cause or topic.key, why)
        for topic, why in plan.for_staff
        # The section of cases lists them.
        if topic.kind is not TopicKind.CASE
    )
    return [f"{cause}: {n} endpoint(s); {why}" for (cause, why), n in grouped.most_common()]


def _flapping(conn: Connection, at: int) -> list[str]:
    """Return the faults that come and go. Staff have to know, since no client is notified."""
    found = decisions.recent(conn, FLAPPING, at - DAY)
    references = {k: m.reference for k, m in tickets.by_key(conn, found).items()}
    return [f"[{references.get(k, k)}] it comes and goes ({k})" for k in found]


def _overdue_assignments(plan: NoticePlan, now: datetime) -> list[str]:
    return [
        f"{display(topic.target.host)}: {topic.code} was assigned to"
        f" {topic.assigned[0]} until {topic.assigned[1]:%Y-%m-%d}"
        for topic, _ in plan.for_staff
        if topic.kind is not TopicKind.CASE
        and topic.assigned is not None
        and topic.assigned[1] <= now
    ]


def _overdue_updates(open_tickets: Sequence[ListedTicket], now: datetime) -> list[str]:
    """Return the promises to clients that have passed: only staff can keep them now."""
    return [
        f"[{row.reference}] the client was promised an update by"
        f" {_at(row.promised_at, now):%Y-%m-%d}"
        for row in open_tickets
        if row.promised_at is not None and row.promised_at < to_epoch(now)
    ]


def _held(open_tickets: Sequence[ListedTicket]) -> list[str]:
    """Return the causes whose tickets wait for their release, the most frequent first."""
    waiting: Counter[str] = Counter()
    clients: dict[str, set[int]] = {}
    for row in open_tickets:
        if row.hold is None or row.released_at is not None:
            continue
        waiting[row.cause] += 1
        clients.setdefault(row.cause, set()).add(row.client_id or 0)
    return [
        f"{cause}: {n} ticket(s) of {len(clients[cause])} client(s)"
        for cause, n in waiting.most_common()
    ]


def _failed(conn: Connection, at: int) -> list[str]:
    """Return the notices that were not sent. Older failures were in earlier digests."""
    rows = notices.listing(conn, states=("failed", "dead"), limit=200)
    # Two days, because the digest of a day may be missing: a run failed, or it was a holiday.
    return [_notice(row) for row in rows if row.created_at > at - 2 * DAY]


def _jobs(conn: Connection, source: NoticeSource, now: datetime) -> list[str]:
    """Return what is wrong with the jobs themselves, which would otherwise go unnoticed."""
    found = [source.suspect] if source.suspect else []
    complete = runs.last_complete(conn)
    # Without complete scans nothing new is found, and no fault is closed.
    if complete is None or complete < to_epoch(now) - 2 * DAY:
        last = "never" if complete is None else f"last on {_at(complete, now):%Y-%m-%d %H:%M} UTC"
        found.append(f"no complete scan of the whole inventory: {last}")
    found += [f"{name}: {job.error}" for name, job in jobs.every(conn).items() if job.error]
    return found


def _notice(row: ListedNotice) -> str:
    return (
        f"notice {row.id} [{row.reference}] to contact {row.contact_id or '-'}:"
        f" {row.state}, {row.error or ''}"
    )


def digest_message(digest: StaffDigest, day: str, templates: Templates) -> Message:
    """Return the message of a digest. Empty sections are left out."""
    sections: list[Section] = [
        section("Jobs", digest.jobs, "certmgr doctor"),
        section("Incidents", digest.incidents, "certmgr incident list"),
        section("To call", digest.calls, "certmgr notice calls"),
        section(
            "Delivery status unknown: check whether they arrived, and retry them if not",
            digest.unknown,
            "certmgr notice list --state unknown",
        ),
        section(
            "Cases: new and overdue, and the windows of this week",
            digest.cases,
            "certmgr case list",
        ),
        section("Automatic renewal", digest.automation, "certmgr lineage list"),
        section("Not sent", digest.failed, "certmgr notice list --state failed"),
        section("Promises that are overdue", digest.promises, "certmgr finding list"),
        section("Held until you release them", digest.held, "certmgr notice release"),
        section("Our faults, or not assigned yet", digest.causes, "certmgr status --causes"),
        section("Undetermined", digest.undetermined, "certmgr finding list"),
        section("Answers of clients", digest.answers, "certmgr notice show ID"),
        section("Mail that belongs to no notice", digest.unmatched_mail, "certmgr notice inbox"),
    ]
    count = sum(len(s.lines) + s.more for s in sections)
    lead = (
        f"{count} line(s) for you, {digest.sent} notice(s) sent in the last day."
        if count
        else f"Nothing for you; {digest.sent} notice(s) sent in the last day."
    )
    footer = [
        f"Audit log: {digest.entries} entries, head {digest.head}. Keep this message: certmgr audit"
        f" verify --expect {digest.head}"
    ]
    return staff_message(f"[certmgr] {day}: {lead}", lead, sections, footer, templates, "digest")
