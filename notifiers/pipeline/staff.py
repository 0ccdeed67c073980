"""Messages to the provider's staff: one digest per day, and alarms that cannot wait.

They are in English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inventory.db.database import Tx, to_epoch
from inventory.names import display
from inventory.records import ListedNotice
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
        digest = cls(now, clients=source.clients)
        digest.head, digest.entries = audit_log.head(conn)
        grouped: Counter[tuple[str, str]] = Counter()
        for topic, why in plan.for_staff:
            if topic.kind is TopicKind.CASE:
                continue  # the section of cases lists it
            grouped[(topic.cause or topic.key, why)] += 1
            if topic.assigned is not None and topic.assigned[1] <= now:
                digest.promises.append(
                    f"{display(topic.target.host)}: {topic.code} was assigned to"
                    f" {topic.assigned[0]} until {topic.assigned[1]:%Y-%m-%d}"
                )
        digest.causes = [
            f"{cause}: {n} endpoint(s); {why}" for (cause, why), n in grouped.most_common()
        ]
        open_tickets = tickets.listing(conn)
        for row in open_tickets:
            # An overdue promise to a client has to be kept by staff.
            if row.promised_at is not None and row.promised_at < at:
                digest.promises.append(
                    f"[{row.reference}] the client was promised an update by"
                    f" {datetime.fromtimestamp(row.promised_at, now.tzinfo):%Y-%m-%d}"
                )
        # Clients are not notified of flapping faults, so staff have to know.
        flapping = decisions.recent(conn, FLAPPING, at - 86_400)
        references = {k: m.reference for k, m in tickets.by_key(conn, flapping).items()}
        digest.causes += [f"[{references.get(k, k)}] it comes and goes ({k})" for k in flapping]
        digest.incidents = [f"{e.title}: {'; '.join(e.lines)}" for e in source.events]
        digest.cases = list(source.worklist)
        digest.automation = list(source.automation)
        digest.undetermined = [
            f"{code}: {n} endpoint(s)"
            for code, n in sorted(source.undetermined.items(), key=lambda x: -x[1])
        ]
        waiting: Counter[str] = Counter()
        clients: dict[str, set[int]] = {}
        for row in open_tickets:
            if row.hold is None or row.released_at is not None:
                continue
            waiting[row.cause] += 1
            clients.setdefault(row.cause, set()).add(row.client_id or 0)
        digest.held = [
            f"{cause}: {n} ticket(s) of {len(clients[cause])} client(s)"
            for cause, n in waiting.most_common()
        ]
        for notice in notices.listing(conn, states=("unknown",)):
            digest.unknown.append(_notice(notice))
        for notice in notices.listing(conn, states=("failed", "dead"), limit=200):
            # Older failures were in earlier digests.
            if notice.created_at > at - 86_400 * 2:
                digest.failed.append(_notice(notice))
        sent_items = notices.sent_about(conn, [m.key for m in open_tickets])
        digest.calls = call_lines(calls(open_tickets, sent_items, snapshot, policy))
        digest.answers = [
            f"notice {r.notice_id}, {r.kind}: {r.text or '(no text)'}"
            for r in inbox.answers(conn, at - 86_400)
        ]
        digest.unmatched_mail = [
            f"{datetime.fromtimestamp(r.at, now.tzinfo):%Y-%m-%d %H:%M}: {r.text or '(no text)'}"
            for r in inbox.unmatched(conn, at - 86_400)
        ]
        if source.suspect:
            digest.jobs.append(source.suspect)
        complete = runs.last_complete(conn)
        # Without complete scans nothing new is found, and no fault is closed.
        if complete is None or complete < at - 2 * 86_400:
            when = (
                "never"
                if complete is None
                else f"last on {datetime.fromtimestamp(complete, now.tzinfo):%Y-%m-%d %H:%M} UTC"
            )
            digest.jobs.append(f"no complete scan of the whole inventory: {when}")
        # A failed job must not go unnoticed.
        for name, job in jobs.every(conn).items():
            if job.error:
                digest.jobs.append(f"{name}: {job.error}")
        digest.sent = notices.count_sent(conn, at - 86_400)
        return digest


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
