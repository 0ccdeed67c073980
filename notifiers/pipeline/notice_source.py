"""What the caller collects from the inventory for one run of notices. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inventory.targets import Target
from notifiers.calendar import CalendarWindow
from notifiers.pipeline.topic import Topic


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
    # None if nothing is sent about the end, so that no text is needed.
    topic: Topic | None = None
    run: int = 0


@dataclass(frozen=True, slots=True)
class StaffTask:
    """A step of a case that waits for an administrator, who is notified once per revision.

    Attributes:
        contact_id: The administrator. None for all of them.
        reference: The reference of the case.
        step: What is waited for; tasks with the same step are folded into one line.
        command: What to do: for all cases of the event, or with REF for the reference of a case.
        event: The reference of the incident. Empty for a case without one.
        quiet: The step follows from the event itself, such as the first step of each of its
            cases. After the message about the event, only the digest reports it.
    """

    contact_id: int | None
    key: str
    revision: str
    title: str
    lines: tuple[str, ...]
    window: CalendarWindow | None = None
    reference: str = ""
    step: str = ""
    command: str = ""
    event: str = ""
    # Without it, an incident with a hundred cases would be a hundred mails.
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class StaffEvent:
    """Something that opens many cases or concerns many certificates: an incident.

    Staff get one message about it, however many cases it has.

    Attributes:
        reference: The reference of the incident.
        title: What happened, in one line.
        lines: What is new, and by whom it waits.
        command: What shows all of it.
    """

    reference: str
    title: str
    lines: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True)
class NoticeSource:
    """The topics of the inventory at the time of a run.

    Attributes:
        ended: Of the tickets that the caller asked about, those that are over.
        suspect: Why no client may be notified now. Empty if they may be.
        clients: The number of clients in the inventory.
        run: The last run that ended.
        whole_run: Whether a complete run has ever checked the whole inventory.
        events: The incidents that are not over.
        worklist: New and overdue cases, folded, and the windows ahead.
        undetermined: The endpoints without a result, by finding code.
        automation: What our automation could not do, or what waits for staff, one line each.
        alarms: Key and text of what cannot wait for the daily digest.
    """

    topics: Sequence[Topic]
    ended: Mapping[str, EndedTopic] = field(default_factory=dict)
    # A suspect scan must not reach clients, but its topics are still decided and recorded.
    suspect: str = ""
    # For the share of clients that one run may change.
    clients: int = 0
    run: int = 0
    whole_run: bool = False
    staff_tasks: Sequence[StaffTask] = ()
    events: Sequence[StaffEvent] = ()
    worklist: Sequence[str] = ()
    undetermined: Mapping[str, Sequence[Target]] = field(default_factory=dict)
    automation: Sequence[str] = ()
    alarms: Sequence[tuple[str, str]] = ()
