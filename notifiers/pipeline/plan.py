"""The input and the result of the decisions of a run, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from inventory.dates import in_zone
from inventory.records import AllowanceRecord, SnoozeRecord, TicketRecord
from inventory.vocabulary import DecisionAction, ItemStep, NoticeState
from notifiers.pipeline.outcome import Outcome
from notifiers.pipeline.recipients import Person, Recipients
from notifiers.pipeline.thresholds import DAY, CrossedThreshold, ThresholdRules
from notifiers.pipeline.topic import Topic
from notifiers.working_days import ChangeFreeze

# (topic key, revision) -> (contact id, step, threshold, time, state of the notice) of each item.
SentHistory = Mapping[tuple[str, str], Sequence[tuple[int, ItemStep, str, int, NoticeState]]]


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """The provider's rules for notices. Days are counted in the time zone of the contact.

    Attributes:
        ack_days: How long an acknowledgement suppresses reminders.
        mass_percent: Above this share of clients, the changes of one run are held.
        mass_least: Below this number of clients, they never are.
        recheck_patience: How long a notice waits for a recheck that fails.
    """

    thresholds: ThresholdRules = field(default_factory=ThresholdRules)
    freezes: tuple[ChangeFreeze, ...] = ()
    # A week has five working days, so a contact on a short leave can still answer.
    escalate_after_days: int = 7
    escalate_near_after_days: int = 2
    ack_days: int = 7
    # Working days, counted from the day of the message.
    status_update_days: int = 2
    # More than one client in twenty with a new fault of one run is a fault of the scanner.
    mass_percent: float = 5.0
    # With fewer clients, the percentage would hold every ordinary day.
    mass_least: int = 5
    # A day of failing rechecks may be our network; longer, and an end comes closer unannounced.
    recheck_patience: timedelta = DAY


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one topic, and why. The audit trail of ``notify --explain``.

    Attributes:
        contact_id: 0 if the decision was made before a contact was chosen.
    """

    topic: str
    client_id: int
    contact_id: int
    threshold: str
    revision: str
    action: DecisionAction
    reason: str


@dataclass(frozen=True, slots=True)
class NoticeItem:
    """One topic in a message.

    Attributes:
        label: The threshold as it is stored.
    """

    topic: Topic
    crossed: CrossedThreshold
    step: ItemStep
    label: str
    outcome: Outcome
    reference: str = ""
    ticket_id: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """One message to one person.

    Attributes:
        also_open: Topics that are still open from earlier messages.
    """

    person: Person
    items: tuple[NoticeItem, ...]
    outcome: Outcome
    also_open: tuple[NoticeItem, ...] = ()

    @property
    def clients(self) -> frozenset[int]:
        """The ids of the clients whose topics the message contains."""
        return frozenset(i.topic.client_id for i in self.items)


@dataclass(frozen=True, slots=True)
class DueTopic:
    """A topic whose threshold was crossed."""

    topic: Topic
    crossed: CrossedThreshold


@dataclass(slots=True)
class Snapshot:
    """The state of inventory and queue at the time of the decision.

    Attributes:
        tickets: Ticket rows by topic key.
        sent: The items that were sent earlier.
        snoozes: The snooze rows that are in force.
        last_written: The time of the last message, by contact id.
        waiting: The time since when rechecks have failed, by topic.
        hold_reason: Why no client may be notified now. Empty if they may be.
        allowances: The confirmations of mass mail that are in force.
        baseline: Whether this is the first run, in which nothing goes to clients.
        baseline_at: The time of the first run.
        zone: The time zone of the provider, in which its staff read dates.
    """

    now: datetime
    policy: NoticePolicy
    people: Recipients
    tickets: Mapping[str, TicketRecord] = field(default_factory=dict)
    sent: SentHistory = field(default_factory=dict)
    snoozes: Sequence[SnoozeRecord] = ()
    last_written: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[tuple[str, str], int] = field(default_factory=dict)
    hold_reason: str = ""
    allowances: Sequence[AllowanceRecord] = ()
    baseline: bool = False
    baseline_at: int = 0
    zone: tzinfo = UTC

    def day(self, at: datetime) -> str:
        """Return the date of a timestamp in the time zone of the provider."""
        return f"{in_zone(at, self.zone):%Y-%m-%d}"


@dataclass(slots=True)
class NoticePlan:
    """The decisions of a run.

    Attributes:
        held: Topic and reason of what waits for a release.
        for_staff: Topic and reason of what the digest lists.
        unnotified: Ids of ended tickets. Some contacts who knew of them were not notified yet.
        unreachable: Topics of clients without a contact that can be reached.
        flapping: Keys of topics that came back within a few days after they ended.
    """

    drafts: list[Draft] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    held: list[tuple[Topic, str]] = field(default_factory=list)
    for_staff: list[tuple[Topic, str]] = field(default_factory=list)
    unnotified: set[int] = field(default_factory=set)
    unreachable: list[Topic] = field(default_factory=list)
    flapping: list[str] = field(default_factory=list)

    def record(
        self, topic: Topic, threshold: str, action: DecisionAction, reason: str, contact_id: int = 0
    ) -> None:
        """Add a decision about a topic."""
        self.decisions.append(
            Decision(
                topic=topic.key,
                client_id=topic.client_id,
                contact_id=contact_id,
                threshold=threshold,
                revision=topic.revision,
                action=action,
                reason=reason,
            )
        )
