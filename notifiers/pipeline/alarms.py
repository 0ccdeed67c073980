"""Messages to staff that cannot wait for the digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from inventory.db.database import to_epoch
from inventory.store import notices
from notifiers.pipeline import limits
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import DueTopic, Snapshot
from notifiers.pipeline.topic import Topic, TopicKind

_ALARM = "alarm:"
_ONCALL = "oncall:"
_ACME = "acme:"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A message to staff that is sent at once, and at most once per day and key.

    Faults go to administrators on call; holds go to all staff.
    """

    key: str
    text: str

    @property
    def topic(self) -> str:
        """The key under which the sent item is stored."""
        return _ALARM + self.key

    @property
    def oncall(self) -> bool:
        """Whether it goes to administrators on call only."""
        return self.key.startswith((_ONCALL, _ACME))


def hold_alarms(
    snapshot: Snapshot, source: NoticeSource, *, mass_clients: int, unconfirmed: int
) -> list[Alarm]:
    """Return the alarms about messages that wait for staff, and those of our automation. Pure.

    Args:
        mass_clients: The number of clients whose changes are held, since one run made too many.
        unconfirmed: The number of clients that need a confirmation.
    """
    alarms = [Alarm(_ACME + key, text) for key, text in source.alarms]
    # A hold stops all clients, so staff are notified at once and not by the digest.
    if snapshot.hold_reason:
        alarms.append(Alarm("hold", f"Client messages are held: {snapshot.hold_reason}"))
    # Only a person can see whether so many changes are real.
    if mass_clients:
        alarms.append(
            Alarm(
                "mass",
                f"One run changed {mass_clients} of {source.clients} clients at once. Their"
                " messages are held: release them with certmgr notice release",
            )
        )
    if unconfirmed:
        alarms.append(
            Alarm(
                "confirm",
                f"{unconfirmed} clients are due at once. To send, run certmgr notify"
                f" --clients {unconfirmed}",
            )
        )
    # A partial first run is not the baseline yet.
    if snapshot.baseline and source.whole_run:
        alarms.append(
            Alarm(
                "baseline",
                "First run: what it found is the baseline, and its messages to clients are held."
                " Release them with certmgr notice release",
            )
        )
    return alarms


def faults_of_ours(snapshot: Snapshot, due_topics: Sequence[DueTopic]) -> dict[str, list[Topic]]:
    """Return new critical faults of the provider by cause. Pure.

    Faults of the baseline were there before notices began, so they alarm no one. A fault with a
    parent is fixed with it. A step of a case is work and no fault: staff read of it in the message
    about its incident or in the digest.
    """
    # Per cause, because one dead server has the same fault at hundreds of sites.
    causes: dict[str, list[Topic]] = {}
    if snapshot.baseline:
        return causes
    for due in due_topics:
        topic = due.topic
        if (
            topic.kind is not TopicKind.CASE
            and topic.actor == "provider"
            and topic.severity == "critical"
            and not topic.suppress_reason
            and not topic.parent
            and topic.end is None
            and to_epoch(topic.opened) > snapshot.baseline_at
            # A snoozed maintenance must not wake the administrator who does it.
            and not limits.suppression(due, snapshot)
        ):
            causes.setdefault(topic.cause, []).append(topic)
    return causes


def oncall_alarms(conn: Connection, causes: Mapping[str, Sequence[Topic]]) -> list[Alarm]:
    """Return one alarm per cause, unless an alarm for it is younger than all its faults.

    Args:
        causes: Faults by cause, from :func:`faults_of_ours`.
    """
    # An alarm is repeated only if its cause has a newer fault.
    before = notices.last_about(conn, [_ALARM + _ONCALL + cause for cause in causes])
    return [
        Alarm(
            _ONCALL + cause,
            f"New fault on our side: {cause}, {len(topics)} endpoint(s), {topics[0].target}",
        )
        for cause, topics in sorted(causes.items())
        if max(to_epoch(t.opened) for t in topics) > before.get(_ALARM + _ONCALL + cause, 0)
    ]
