"""Messages to administrators about steps of cases and about events: one per event. Pure.

An incident that opens a hundred cases is one message, and not a hundred. What follows in its cases
is in the daily digest, unless a client has acted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from inventory.vocabulary import ItemStep, NoticeState
from notifiers.calendar import invitation
from notifiers.pipeline.message import Message, Sender
from notifiers.pipeline.notice_source import StaffEvent, StaffTask
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff_message import section, staff_message

EVENT = "event:"
# More new steps than this at once are one message: a mass opening.
MAX_SEPARATE = 3
MAX_REFERENCES = 5


@dataclass(frozen=True, slots=True)
class TaskBundle:
    """What one message to one administrator reports.

    Attributes:
        event: The event that the message is about. None if it is about steps alone.
        tasks: The steps.
    """

    event: StaffEvent | None
    tasks: tuple[StaffTask, ...]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Key and revision of everything that the message reports."""
        of_event = [(EVENT + self.event.reference, "opened")] if self.event is not None else []
        return [*of_event, *((t.key, t.revision) for t in self.tasks)]


def bundles(
    events: Sequence[StaffEvent], new: Sequence[StaffTask], reported: frozenset[str]
) -> list[TaskBundle]:
    """Return the messages that an administrator gets now.

    Args:
        events: The incidents that are not over.
        new: The steps that wait for the administrator and were not reported.
        reported: The references of the incidents that the administrator knows of.
    """
    found: list[TaskBundle] = []
    rest: list[StaffTask] = []
    fresh = {e.reference for e in events} - reported
    for event in events:
        # One message about a new event with all its steps, however many cases it opens.
        if event.reference in fresh:
            found.append(TaskBundle(event, tuple(t for t in new if t.event == event.reference)))
    # The digest reports the quiet steps, whose event is known.
    rest = [t for t in new if t.event not in fresh and not (t.event and t.quiet)]
    # A few steps are separate mails, so that each can be forwarded and answered; many are one list.
    if len(rest) > MAX_SEPARATE:
        return [*found, TaskBundle(None, tuple(rest))]
    return [*found, *(TaskBundle(None, (t,)) for t in rest)]


def folded(tasks: Iterable[StaffTask]) -> list[str]:
    """Return one line per event and step: how many cases, what to do, and the first references."""
    groups: dict[tuple[str, str], list[StaffTask]] = {}
    for task in tasks:
        groups.setdefault((task.event, task.step), []).append(task)
    lines = []
    for (event, step), group in sorted(groups.items(), key=lambda g: -len(g[1])):
        # A few references are enough to begin; the command lists the others.
        references = [t.reference for t in group[:MAX_REFERENCES]]
        more = f" and {len(group) - MAX_REFERENCES} more" if len(group) > MAX_REFERENCES else ""
        where = f" of {event}" if event else ""
        lines.append(
            f"{len(group)} case(s){where} wait for you in the step {step}. To do:"
            f" {group[0].command} ({', '.join(references)}{more})"
        )
    return lines


def task_message(
    bundle: TaskBundle, person: Person, sender: Sender, templates: Templates, now: datetime
) -> Message:
    """Return the message of a bundle. Installation windows go along as calendar entries."""
    event, tasks = bundle.event, bundle.tasks
    if event is not None:
        title = event.title
        sections = [
            section("What happened", event.lines, event.command, numbered=False),
            section("What waits for you", folded(tasks), "certmgr case list"),
        ]
    elif len(tasks) == 1:
        title = tasks[0].title
        show = f"certmgr case show {tasks[0].reference}"
        sections = [section("Case", tasks[0].lines, show, numbered=False)]
    else:
        title = f"{len(tasks)} cases wait for you"
        sections = [section("Cases", folded(tasks), "certmgr case list")]
    message = staff_message(f"[certmgr] {title}", title, sections, (), templates, "errand")
    return replace(message, calendar=_windows(tasks, person, sender, now))


def _windows(
    tasks: Sequence[StaffTask], person: Person, sender: Sender, now: datetime
) -> tuple[str, ...]:
    kind, address = person.contact_method or ("", "")
    # Only mail can carry attachments.
    if kind != "email":
        return ()
    return tuple(
        invitation(
            t.window,
            f"Certificate installation: {t.title}",
            "\n".join(t.lines),
            sender.address,
            address,
            now,
        )
        for t in tasks
        if t.window is not None
    )


def unreported(
    tasks: Iterable[StaffTask],
    person: Person,
    known: Mapping[tuple[str, str], Sequence[tuple[int, ItemStep, str, int, NoticeState]]],
) -> list[StaffTask]:
    """Return the tasks of which the person was not notified.

    Args:
        known: What was sent, by key and revision.
    """
    return [
        t for t in tasks if person.id not in {c for c, *_ in known.get((t.key, t.revision), ())}
    ]
