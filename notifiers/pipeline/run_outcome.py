"""The result of a run of notices, as the command line shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from notifiers.pipeline.message import Message
from notifiers.pipeline.plan import Draft
from notifiers.pipeline.recipients import Person


@dataclass(slots=True)
class RunOutcome:
    """The result of a run.

    Attributes:
        drafts: The messages to clients.
        staff: Contact id and message of each message to staff.
        decisions: The number of decisions by action.
        clients: The number of clients with a message.
        unconfirmed: The number of clients that would get a message but need a confirmation. 0 if
            none is needed.
        held: The number of topics that wait for a release.
        hold: Why nothing went to clients. Empty if it could.
        unannounced: Which announcements could not be sent, and why, as sentences for staff.
        staffless: There are messages for staff, but no staff contact can be reached.
    """

    drafts: list[tuple[Draft, Message]] = field(default_factory=list)
    staff: list[tuple[int, Message]] = field(default_factory=list)
    announcements: list[tuple[Person, Message]] = field(default_factory=list)
    unannounced: list[str] = field(default_factory=list)
    decisions: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    clients: int = 0
    unconfirmed: int = 0
    held: int = 0
    baseline: bool = False
    hold: str = ""
    staffless: bool = False
