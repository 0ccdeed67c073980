"""What a notice can be about: values that the caller fills in from the inventory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.calendar import CalendarWindow


class TopicKind(StrEnum):
    """The kinds of topics.

    Attributes:
        COVER: A name that loses cover: after ``end`` some address serves no valid certificate.
        FAULT: A finding of a scan.
        DEADLINE: A dated rule of the provider that a domain does not, or will not, meet.
        CASE: A step of an installation that client and provider coordinate.
        ORDER: A purchased term that ends, or a validation under it.
        BROADCAST: An announcement to many clients.
    """

    COVER = "cover"
    FAULT = "fault"
    DEADLINE = "deadline"
    CASE = "case"
    ORDER = "order"
    BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount as it was entered, or None if there is none."""

    amount: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that a client may have to know.

    Attributes:
        key: Identifies the topic permanently.
        revision: The certificate, the opened finding or the date that is current. A new revision
            starts the thresholds again.
        opened: Since when the fault is known.
        end: The end that the thresholds are counted to. None if no date lies ahead.
        life: The lifetime of the certificate.
        act_by: The day by which the client has to act.
        lead_days: How long purchase and installation take.
        renewal_lead: How long before the end automation renews. None if people renew.
        suppress_reason: Why clients are never notified of it. Empty if they may be.
        partial: Some addresses already serve the successor.
        parent: The key of the topic that this one is resolved with.
        visible: Visitors notice it.
        confirmed: More than one run has seen it.
        assigned: Who fixes it, and until when.
        not_after: The end of the certificate that a fault message names.
        day: The day from which a deadline holds, which is the same for every reader.
        run: The run that opened the finding.
        facts: The values for the placeholders in the texts of a case or a purchase.
        paste: Text for the reader to copy, such as a CSR.
        window: An installation window that the message carries as a calendar entry.
        contact_id: The contact of the client who is notified first.
        since_days: How many days after the start of a case's step the last reminder was due.
    """

    key: str
    kind: TopicKind
    revision: str
    client_id: int
    client: str
    domain_id: int
    endpoint_id: int | None
    target: Target
    severity: str
    actor: str
    opened: datetime
    end: datetime | None = None
    life: timedelta = timedelta(0)
    act_by: datetime | None = None
    lead_days: int = 0
    renewal_lead: timedelta | None = None
    code: str = ""
    finding: Finding | None = None
    server_id: int | None = None
    suppress_reason: str = ""
    partial: bool = False
    parent: str = ""
    cause: str = ""
    visible: bool = False
    confirmed: bool = True
    assigned: tuple[str, datetime] | None = None
    we_install: bool = False
    tags: frozenset[str] = frozenset()
    serial: str = ""
    issuer: str = ""
    title: str = ""
    text: str = ""
    not_after: datetime | None = None
    day: date | None = None
    run: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    paste: str = ""
    window: CalendarWindow | None = None
    contact_id: int | None = None
    since_days: int | None = None

    @property
    def mark(self) -> tuple[str, str]:
        """Key and revision. A resolved topic and its successor can share one key."""
        return self.key, self.revision


class RecheckState(StrEnum):
    """What a recheck found.

    Attributes:
        SAME: The topic is unchanged.
        GONE: Every address has the replacement or the fix.
        PARTIAL: Some addresses have it.
        UNKNOWN: The recheck failed.
    """

    SAME = "same"
    GONE = "gone"
    PARTIAL = "partial"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recheck:
    """The result of checking the endpoint of a topic again."""

    state: RecheckState
    reason: str


@dataclass(frozen=True, slots=True)
class EndedTopic:
    """A topic that clients were notified of and that no longer exists.

    Attributes:
        resolved: Whether it was really resolved. False if only the reason to notify is gone, for
            example because the domain was retired.
        topic: Enough of the topic to compose the message that it is done.
        run: The run that closed it.
    """

    key: str
    resolved: bool
    reason: str
    topic: Topic | None = None
    run: int = 0


@dataclass(frozen=True, slots=True)
class StaffTask:
    """A step of a case that waits for an administrator, who is notified once per revision.

    Attributes:
        contact_id: The administrator. None for all of them.
    """

    contact_id: int | None
    key: str
    revision: str
    title: str
    lines: tuple[str, ...]
    window: CalendarWindow | None = None


@dataclass(frozen=True, slots=True)
class NoticeSource:
    """The topics of the inventory at the time of a run.

    Attributes:
        ended: Of the tickets that the caller asked about, those that are over.
        suspect: Why no client may be notified now. Empty if they may be.
        clients: The number of clients in the inventory.
        run: The last run that ended.
        whole_run: Whether a complete run has ever checked the whole inventory.
        worklist: Overdue cases and the windows ahead, one line each.
        undetermined: The number of endpoints without a result, by finding code.
        automation: What our automation could not do, or what waits for staff, one line each.
        alarms: Key and text of what cannot wait for the daily digest.
    """

    topics: Sequence[Topic]
    ended: Mapping[str, EndedTopic] = field(default_factory=dict)
    suspect: str = ""
    clients: int = 0
    run: int = 0
    whole_run: bool = False
    staff_tasks: Sequence[StaffTask] = ()
    worklist: Sequence[str] = ()
    undetermined: Mapping[str, int] = field(default_factory=dict)
    automation: Sequence[str] = ()
    alarms: Sequence[tuple[str, str]] = ()
