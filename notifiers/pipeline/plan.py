"""What a run of notices knows and what it decides, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from notifiers.pipeline.outcome import Outcome
from notifiers.pipeline.recipients import Person, Recipients
from notifiers.pipeline.thresholds import DAY, CrossedThreshold, ThresholdRules
from notifiers.pipeline.topic import Topic
from notifiers.working_days import ChangeFreeze

Said = Mapping[tuple[str, str], Sequence[tuple[int, str, str, int, str]]]


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """The provider's rules. Days are counted in the contact's time zone."""

    thresholds: ThresholdRules = field(default_factory=ThresholdRules)
    freezes: tuple[ChangeFreeze, ...] = ()
    climb_days: int = 7
    climb_near_days: int = 2
    ack_days: int = 7
    word_days: int = 2
    mass_percent: float = 5.0
    mass_least: int = 5
    look_patience: timedelta = DAY


@dataclass(frozen=True, slots=True)
class Decision:
    """``action``: send, wait, hold, suppress, staff.

    ``contact_id`` 0: before anybody was chosen.
    """

    subject: str
    client_id: int
    contact_id: int
    threshold: str
    round: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoticeItem:
    """One thing that a message says. ``label`` is the threshold as it is kept."""

    subject: Topic
    crossed: CrossedThreshold
    step: str
    label: str
    outcome: Outcome
    reference: str = ""
    matter_id: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """One message to one person. ``also``: what is open beside it and was said before."""

    person: Person
    items: tuple[NoticeItem, ...]
    outcome: Outcome
    also: tuple[NoticeItem, ...] = ()

    @property
    def clients(self) -> frozenset[int]:
        return frozenset(i.subject.client_id for i in self.items)


@dataclass(frozen=True, slots=True)
class DueTopic:
    """A subject whose threshold was crossed and not yet told to everybody who should hear."""

    subject: Topic
    crossed: CrossedThreshold


@dataclass(slots=True)
class Snapshot:
    """What is known when it is decided.

    ``matters``: by key. ``said``: (subject, round) -> (contact, step, threshold, when, state of the
    notice). ``snoozes``: rows in force. ``written``: contact -> when it was last written to.
    ``waiting``: since when a look fails. ``hold``: why no client may hear anything now.
    ``baseline``: this is the first sight of the inventory.
    """

    now: datetime
    policy: NoticePolicy
    people: Recipients
    matters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Said = field(default_factory=dict)
    snoozes: Sequence[Mapping[str, Any]] = ()
    written: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[tuple[str, str], int] = field(default_factory=dict)
    hold: str = ""
    baseline: bool = False
    baseline_at: int = 0


@dataclass(slots=True)
class NoticePlan:
    """``hold``: (subject, reason) of matters that wait for a release.

    ``for_staff``: what the digest says.
    """

    drafts: list[Draft] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    hold: list[tuple[Topic, str]] = field(default_factory=list)
    for_staff: list[tuple[Topic, str]] = field(default_factory=list)
    unsaid: set[int] = field(
        default_factory=set
    )  # matters whose end some of those who were told have not heard
    nobody: list[Topic] = field(default_factory=list)  # what nobody of the client can be told
    flapping: list[str] = field(
        default_factory=list
    )  # keys of matters that came back a few days after they ended

    def note(
        self, subject: Topic, threshold: str, action: str, reason: str, contact_id: int = 0
    ) -> None:
        self.decisions.append(
            Decision(
                subject=subject.key,
                client_id=subject.client_id,
                contact_id=contact_id,
                threshold=threshold,
                round=subject.round,
                action=action,
                reason=reason,
            )
        )
