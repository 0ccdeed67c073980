"""What a notice can be about, as values that whoever knows the inventory fills in. Pure."""

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
    COVER = (  # a name that loses cover: at some address nothing valid will be served after ``end``
        "cover"
    )
    FAULT = "fault"  # a finding of a scan
    DEADLINE = "deadline"  # a dated rule of the provider that a domain will not, or does not, meet
    CASE = "case"  # a step of an installation that client and provider coordinate
    ORDER = "order"  # a paid term that ends, or a validation under it
    BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount as it was entered; None: there is none."""

    amount: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Topic:
    """``key`` names it for ever; ``round`` is the certificate, the opening or the date that is
    spoken of now: a new one begins anew.

    ``quiet``: why clients hear nothing of it, whatever the date. ``parent``: the key of the subject
    that it goes away with. ``usual``: how long before the end a robot renews. ``partial``: some
    addresses have the successor already. ``visible``: visitors notice it. ``taken``: by whom and
    until when it is mended. ``opened``: since when it is known; ``confirmed``: seen in more than
    one run.
    """

    key: str
    kind: TopicKind
    round: str
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
    usual: timedelta | None = None
    code: str = ""
    finding: Finding | None = None
    server_id: int | None = None
    quiet: str = ""
    partial: bool = False
    parent: str = ""
    cause: str = ""
    visible: bool = False
    confirmed: bool = True
    taken: tuple[str, datetime] | None = None
    we_install: bool = False
    tags: frozenset[str] = frozenset()
    serial: str = ""
    issuer: str = ""
    title: str = ""
    text: str = ""
    not_after: datetime | None = None  # of the certificate beside a fault
    day: date | None = None  # from which a deadline holds, the same for every reader
    run: int = 0  # that opened the finding
    facts: Mapping[str, Any] = field(
        default_factory=dict
    )  # of a case or an order: what its words are filled with
    paste: str = ""  # what the reader hands on, such as a CSR
    window: CalendarWindow | None = None  # goes along as a calendar entry
    contact_id: int | None = None  # who of the client is asked first
    since_days: int | None = (
        None  # of a case: how many days after its step began the last reminder was due
    )

    @property
    def mark(self) -> tuple[str, str]:
        """Names it with its round: what is over and what is new may have one key."""
        return self.key, self.round


class RecheckState(StrEnum):
    SAME = "same"
    GONE = "gone"  # replaced, or mended, on every address
    PARTIAL = "partial"  # on some
    UNKNOWN = "unknown"  # the look failed


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a fresh look at the subject's endpoint showed."""

    seen: RecheckState
    reason: str


@dataclass(frozen=True, slots=True)
class EndedTopic:
    """A matter that was told and is no longer there.

    ``mended``: in truth, and not because it is no longer ours to say.
    """

    key: str
    mended: bool
    reason: str
    subject: Topic | None = None  # enough of it to say that it is done
    run: int = 0  # that closed it


@dataclass(frozen=True, slots=True)
class StaffTask:
    """What one administrator (``contact_id`` None: each of them) is told once a round: a step of a
    case that waits for them.
    """

    contact_id: int | None
    key: str
    round: str
    title: str
    lines: tuple[str, ...]
    window: CalendarWindow | None = None


@dataclass(frozen=True, slots=True)
class NoticeSource:
    """What the inventory has to say now.

    ``ended``: of the matters that were asked for, those that are over. ``suspect``: why nothing of
    it may reach a client, empty where it may. ``clients``: how many there are.
    """

    subjects: Sequence[Topic]
    ended: Mapping[str, EndedTopic] = field(default_factory=dict)
    suspect: str = ""
    clients: int = 0
    run: int = 0  # the last one that ended
    whole_run: bool = False  # whether the whole inventory was ever looked at in a complete run
    errands: Sequence[StaffTask] = ()
    worklist: Sequence[str] = ()  # cases that are overdue, and the windows ahead, a line each
    unsure: Mapping[str, int] = field(
        default_factory=dict
    )  # code -> how many endpoints nobody can tell about
    automation: Sequence[
        str
    ] = ()  # what our own robot could not do, and what of it waits for somebody, a line each
    alarms: Sequence[tuple[str, str]] = ()  # (key, text) of that what cannot wait
