"""Read the content of the daily digest from the database and the plan of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from sqlalchemy import Connection

from inventory.db.database import to_epoch
from inventory.names import display
from inventory.records import ListedNotice, ListedTicket
from inventory.store import audit_log, decisions, inbox, jobs, notices, runs, tickets
from notifiers.pipeline.call_list import call_lines, calls
from notifiers.pipeline.limits import FLAPPING
from notifiers.pipeline.message import one_line
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.staff import StaffDigest
from notifiers.pipeline.staff_causes import (
    StaffReader,
    cause_lines,
    expiries,
    held_lines,
    hosts_text,
    is_about_dates,
)
from notifiers.pipeline.staff_message import SectionLine
from notifiers.pipeline.topic import Topic, TopicKind

DAY_SECONDS = 86_400
MAX_NOTICES = 200


@dataclass(frozen=True, slots=True)
class DigestReading:
    """What a digest is read from.

    Attributes:
        zone: The time zone of the provider.
    """

    conn: Connection
    now: datetime
    zone: tzinfo
    plan: NoticePlan
    snapshot: Snapshot
    source: NoticeSource
    policy: NoticePolicy

    @property
    def reader(self) -> StaffReader:
        """What the lines need to know besides the topics."""
        return StaffReader(self.now, self.zone, self.snapshot.people.clients)

    def digest(self) -> StaffDigest:
        """Read the digest."""
        conn, day_ago = self.conn, to_epoch(self.now) - DAY_SECONDS
        head, entries = audit_log.head(conn)
        open_tickets = tickets.listing(conn)
        # The section of cases lists the steps of cases.
        staff_topics = [(t, w) for t, w in self.plan.for_staff if t.kind is not TopicKind.CASE]
        # The number of faults is that of the status, which counts no certificate that ends later.
        faults = [(t, w) for t, w in staff_topics if t.counted]
        ahead = [(t, w) for t, w in staff_topics if not t.counted]
        expiry = expiries(self.source.topics, _reasons(staff_topics), self.reader)
        sent_items = notices.sent_about(conn, [t.key for t in open_tickets])
        return StaffDigest(
            head=head,
            entries=entries,
            expiry=expiry,
            causes=[*self._causes(faults, assigned=False), *self._flapping(day_ago)],
            ahead=self._causes(ahead, assigned=False),
            assigned=self._causes(staff_topics, assigned=True),
            calls=call_lines(calls(open_tickets, sent_items, self.snapshot, self.policy)),
            held=held_lines([t for t in open_tickets if _waits(t)], self.reader),
            # However old it is: only a person ends this state.
            unknown=[self._notice(n) for n in notices.listing(conn, states=("unknown",))],
            failed=[
                self._notice(n)
                for n in notices.listing(conn, states=("failed", "dead"), limit=MAX_NOTICES)
                # Older failures were in earlier digests.
                if n.created_at > day_ago - DAY_SECONDS
            ],
            promises=[*self._assigned(staff_topics), *self._promised(open_tickets)],
            undetermined=self._undetermined(),
            answers=[
                SectionLine(
                    f"notice {r.notice_id}, {r.kind}: {r.text or '(no text)'}",
                    f"certmgr notice show {r.notice_id}",
                )
                for r in inbox.answers(conn, day_ago)
            ],
            unmatched_mail=[
                f"{self._minute(r.at)}: {r.text or '(no text)'}"
                for r in inbox.unmatched(conn, day_ago)
            ],
            jobs=self._jobs(),
            incidents=[
                SectionLine(f"{e.title}: {'; '.join(e.lines)}", e.command)
                for e in self.source.events
            ],
            cases=self.source.worklist,
            automation=self.source.automation,
            sent=notices.count_sent(conn, day_ago),
        )

    def _minute(self, seconds: int) -> str:
        return f"{datetime.fromtimestamp(seconds, self.zone):%Y-%m-%d %H:%M %Z}"

    def _causes(
        self, staff_topics: Sequence[tuple[Topic, str]], *, assigned: bool
    ) -> list[SectionLine]:
        """Return what a person fixes, or what is to be assigned or checked.

        What the dates already list is left out.
        """
        soon = self.now + timedelta(days=7)
        return cause_lines(
            [
                (topic, why)
                for topic, why in staff_topics
                # A certificate that ends later than in a week is listed here, with its reason.
                if topic.is_assigned(self.now) is assigned
                and (not is_about_dates(topic) or (topic.end is not None and topic.end > soon))
            ],
            self.reader,
            # A fault without a date would stand behind each certificate that ends, and be cut.
            worst_first=True,
        )

    def _flapping(self, since: int) -> list[SectionLine]:
        """Clients are not notified of faults that come and go, so staff have to know."""
        keys = decisions.recent(self.conn, FLAPPING, since)
        topics = {t.key: t for t in self.source.topics}
        known = tickets.by_key(self.conn, keys)
        lines = []
        for key in keys:
            topic, ticket = topics.get(key), known.get(key)
            reference = f"[{ticket.shown}] " if ticket is not None else ""
            what = (
                f"{topic.code}: {hosts_text([topic.target])};"
                f" {self.reader.client(topic.client_id, topic.client)}"
                if topic is not None
                else (ticket.code or ticket.cause if ticket is not None else key)
            )
            command = f"certmgr domain show {topic.target.host}" if topic is not None else ""
            lines.append(SectionLine(f"{reference}{what}: it comes and goes", command))
        return lines

    def _assigned(self, staff_topics: Iterable[tuple[Topic, str]]) -> list[SectionLine]:
        """A date that a colleague gave has passed, and the fault still exists."""
        return [
            SectionLine(
                f"{display(t.target.host)}; {self.reader.client(t.client_id, t.client)}: {t.code}"
                f" was assigned to {t.assigned[0]} until {self.reader.day(t.assigned[1])}",
                f"certmgr domain show {t.target.host}",
            )
            for t, _ in staff_topics
            if t.assigned is not None and t.assigned[1] <= self.now
        ]

    def _promised(self, open_tickets: Iterable[ListedTicket]) -> list[SectionLine]:
        """An overdue promise to a client has to be kept by staff."""
        return [
            SectionLine(
                f"[{row.shown}] {_subject(row)}: the client was promised an update by"
                f" {self.reader.day_of(row.promised_at)}",
                f"certmgr domain show {row.host or row.domain}" if row.host or row.domain else "",
            )
            for row in open_tickets
            if row.promised_at is not None and row.promised_at < to_epoch(self.now)
        ]

    def _undetermined(self) -> list[SectionLine]:
        found = sorted(self.source.undetermined.items(), key=lambda x: (-len(x[1]), x[0]))
        return [
            SectionLine(
                f"{code}: {hosts_text(targets)}, {len(targets)} endpoint(s)",
                f"certmgr status --code {code}",
            )
            for code, targets in found
        ]

    def _jobs(self) -> list[str]:
        """Return what failed. A failed job must not go unnoticed."""
        lines = [self.source.suspect] if self.source.suspect else []
        complete = runs.last_complete(self.conn)
        # Without complete scans nothing new is found, and no fault is closed.
        if complete is None or complete < to_epoch(self.now) - 2 * DAY_SECONDS:
            when = "never" if complete is None else f"last on {self._minute(complete)}"
            lines.append(f"no complete scan of the whole inventory: {when}")
        lines += [f"{name}: {j.error}" for name, j in jobs.every(self.conn).items() if j.error]
        return lines

    def _notice(self, row: ListedNotice) -> SectionLine:
        client = f", client {self.reader.client(row.client_id)}" if row.client_id else ""
        contact = one_line(row.contact or "", 60) or "a contact that was removed"
        return SectionLine(
            f"notice {row.id} [{row.reference}] to {contact}{client}:"
            f" {row.state}{f', {row.error}' if row.error else ''}",
            f"certmgr notice retry {row.id}",
        )


def _reasons(staff_topics: Iterable[tuple[Topic, str]]) -> dict[str, str]:
    """Return why staff read of a topic, by its key; the first reason counts."""
    reasons: dict[str, str] = {}
    for topic, why in staff_topics:
        reasons.setdefault(topic.key, why)
    return reasons


def _waits(row: ListedTicket) -> bool:
    """Return whether a ticket is held until staff release it."""
    return row.hold is not None and row.released_at is None


def _subject(row: ListedTicket) -> str:
    """Return the name and the client of a ticket."""
    name = display(row.host or row.domain or "")
    owner = f"{row.client or ''} {one_line(row.client_name or '', 60)}".strip()
    return "; ".join(part for part in (name, owner) if part)
