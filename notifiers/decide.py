"""What is said to whom, and why not. Values in, values out; ``now`` is part of them.

In steps: what is due (:func:`due`), then, with a fresh look at each, what goes out (:func:`plan`). Every subject that is due gets a decision with its
reason, whether it is said, waits, is held, or is none of the client's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from inventory.database import to_epoch
from notifiers.days import Freeze, before_freezes
from notifiers.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, decides
from notifiers.people import Choice, People, Person
from notifiers.subject import Kind, Look, Seen, Subject
from notifiers.thresholds import DAY, Crossed, Rules, before_end, crossed, rank_of, since

NEAR = 7  # days: nearer than that one a day, further ahead one a week
FLAP = 7 * DAY
FLAPS = "it was mended a few days ago and came back; the client hears of it when it stays for a day"
Said = Mapping[tuple[str, str], Sequence[tuple[int, str, str, int, str]]]


@dataclass(frozen=True, slots=True)
class Policy:
    """The provider's rules. Days are counted in the contact's time zone."""

    thresholds: Rules = field(default_factory=Rules)
    freezes: tuple[Freeze, ...] = ()
    climb_days: int = 7
    climb_near_days: int = 2
    ack_days: int = 7
    word_days: int = 2
    mass_percent: float = 5.0
    mass_least: int = 5
    look_patience: timedelta = DAY


@dataclass(frozen=True, slots=True)
class Decision:
    """``action``: send, wait, hold, suppress, staff. ``contact_id`` 0: before anybody was chosen."""

    subject: str
    client_id: int
    contact_id: int
    threshold: str
    round: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a message says. ``label`` is the threshold as it is kept."""

    subject: Subject
    crossed: Crossed
    step: str
    label: str
    outcome: Outcome
    reference: str = ""
    matter_id: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """One message to one person. ``also``: what is open beside it and was said before."""

    person: Person
    items: tuple[Item, ...]
    outcome: Outcome
    also: tuple[Item, ...] = ()

    @property
    def clients(self) -> frozenset[int]:
        return frozenset(i.subject.client_id for i in self.items)


@dataclass(frozen=True, slots=True)
class Due:
    """A subject whose threshold was crossed and not yet told to everybody who should hear."""

    subject: Subject
    crossed: Crossed


@dataclass(slots=True)
class World:
    """What is known when it is decided. ``matters``: by key. ``said``: (subject, round) -> (contact, step, threshold, when, state of the notice).
    ``snoozes``: rows in force. ``written``: contact -> when it was last written to. ``waiting``: since when a look fails. ``hold``: why no client may
    hear anything now. ``baseline``: this is the first sight of the inventory.
    """

    now: datetime
    policy: Policy
    people: People
    matters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Said = field(default_factory=dict)
    snoozes: Sequence[Mapping[str, Any]] = ()
    written: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[tuple[str, str], int] = field(default_factory=dict)
    hold: str = ""
    baseline: bool = False


@dataclass(slots=True)
class Plan:
    """``hold``: (subject, reason) of matters that wait for a release. ``for_staff``: what the digest says."""

    drafts: list[Draft] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    hold: list[tuple[Subject, str]] = field(default_factory=list)
    for_staff: list[tuple[Subject, str]] = field(default_factory=list)
    flapping: list[str] = field(default_factory=list)  # keys of matters that came back a few days after they ended

    def note(self, subject: Subject, threshold: str, action: str, reason: str, contact_id: int = 0) -> None:
        self.decisions.append(Decision(subject.key, subject.client_id, contact_id, threshold, subject.round, action, reason))


# -- what is due ---------------------------------------------------------------------------------------------------------


def threshold(subject: Subject, policy: Policy, zone: Any, now: datetime) -> Crossed | None:
    """The most urgent threshold that the subject has crossed."""
    if subject.end is None:
        return since(subject.opened, now, 7 if subject.severity in ("critical", "high") else 30)
    end = before_freezes(subject.end, policy.freezes, zone) if subject.end > now else subject.end
    thresholds, chosen = policy.thresholds.of(subject.client, subject.tags)
    life = subject.life or timedelta(days=400)
    return crossed(end, before_end(life, thresholds, chosen=chosen, lead_days=subject.lead_days, usual=subject.usual), now)


def due(world: World, subjects: Iterable[Subject], zone: Any) -> list[Due]:
    """Subjects past a threshold."""
    found = []
    for subject in subjects:
        hit = threshold(subject, world.policy, zone, world.now)
        if hit is not None:
            found.append(Due(subject, hit))
    return found


def outcome_of(due_: Due, world: World, person: Person) -> Outcome | None:
    """What it is for a client; None where no client hears of it. The type admits no two."""
    subject, now = due_.subject, world.now
    if subject.actor == "client":
        if subject.act_by is None or subject.act_by <= now or (subject.end is not None and subject.end <= now):
            end = subject.end
            return YouAct(person.calendar.working_day_before(end) if end is not None and end > now else None)
        by = before_freezes(subject.act_by, world.policy.freezes, person.calendar.zone)
        day = person.calendar.working_day_before(by)
        return YouAct(day if day >= person.calendar.day(now) else None)
    if not subject.visible:
        return None
    if subject.taken is not None and subject.taken[1] > now:
        return WeAct(*subject.taken)
    if subject.actor == "staff" and subject.severity == "critical" and subject.confirmed:
        return Escalated(person.calendar.working_day_after(now, world.policy.word_days))
    return None


def label_of(
    outcome: Outcome, crossed_: Crossed, said: Sequence[tuple[int, str, str, int, str]], contact_id: int, now: datetime
) -> tuple[str, str]:
    """(step, threshold) as they are kept. "We are fixing it" is said once for a date; word from level 2 when the day of the last promise has come."""
    if isinstance(outcome, WeAct):
        return "we", outcome.by.date().isoformat()
    if isinstance(outcome, Escalated):
        promised = [t for c, step, t, _, _ in said if step == "word" and c == contact_id]
        today = now.date().isoformat()
        running = [p for p in promised if p > today]
        return "word", max(running) if running else outcome.next_word.isoformat()
    return "owner", crossed_.label


def reaches_clients(due_: Due, world: World) -> bool:
    """Whether a client would ever hear of it as it stands: who acts, and who has taken it."""
    subject = due_.subject
    if subject.actor == "client":
        return True
    if not subject.visible:
        return False
    taken = subject.taken is not None and subject.taken[1] > world.now
    return taken or (subject.actor == "staff" and subject.severity == "critical" and subject.confirmed)


def silence(due_: Due, world: World) -> str:
    """Why the client hears nothing of it now, in the order of what is surest; empty where nothing speaks against it."""
    subject, now = due_.subject, world.now
    if subject.quiet:
        return subject.quiet
    matter = world.matters.get(subject.key)
    for row in world.snoozes:
        if _covers(row, subject, matter):
            until = datetime.fromtimestamp(row["until"], now.tzinfo)
            return f"snoozed until {until:%Y-%m-%d %H:%M} UTC: {row['reason']}"
    if matter is not None and matter["acked_at"] is not None and matter["closed_at"] is None and matter["round"] == subject.round:
        acked = datetime.fromtimestamp(matter["acked_at"], now.tzinfo)
        if now < acked + world.policy.ack_days * DAY and not due_.crossed.critical and due_.crossed.rank < -3:
            return f"acknowledged on {acked:%Y-%m-%d}"
        if now < acked + world.policy.ack_days * DAY and subject.end is None:
            return f"acknowledged on {acked:%Y-%m-%d}"
    if matter is not None and matter["closed_at"] is not None and matter["told_at"] is not None:
        closed = datetime.fromtimestamp(matter["closed_at"], now.tzinfo)
        if closed + FLAP > now and subject.opened > now - DAY:
            return FLAPS
    return ""


def _covers(row: Mapping[str, Any], subject: Subject, matter: Mapping[str, Any] | None) -> bool:
    match row["scope"]:
        case "all":
            return True
        case "client":
            return bool(row["scope_id"] == subject.client_id)
        case "domain":
            return bool(row["scope_id"] == subject.domain_id)
        case "server":
            return bool(row["scope_id"] == subject.server_id)
        case _:
            return matter is not None and bool(row["scope_id"] == matter["id"])


def held(due_: Due, world: World) -> str:
    """Why it waits for a release: the first sight of the inventory, or a run that changed too much. What is more urgent than what was held is new,
    while the end lies ahead.
    """
    matter = world.matters.get(due_.subject.key)
    if matter is None or matter["hold"] is None or matter["released_at"] is not None or matter["round"] != due_.subject.round:
        return ""
    name, _, rank = matter["hold"].partition(" ")
    if name == "baseline" and due_.subject.end is not None and int(rank or 0) < 0 and int(rank) < due_.crossed.rank:
        return ""
    words = {"baseline": "it was there at the first sight of the inventory", "mass": "one run changed too much at once"}
    return f"{words.get(name, name)}; certmgr notice release"


# -- what goes out -------------------------------------------------------------------------------------------------------


def candidates(world: World, dues: Sequence[Due], plan_: Plan) -> list[Due]:
    """Those that might be sent, so that each is worth a fresh look; the others get their decision here."""
    kept, keys = [], {d.subject.key for d in dues if not d.subject.quiet}
    for one in dues:
        subject = one.subject
        if subject.parent in keys:
            plan_.note(subject, one.crossed.label, "suppress", f"it goes away with {subject.parent}")
        elif subject.partial:
            plan_.note(subject, one.crossed.label, "staff", "replaced on some addresses: that is the administrator's")
            plan_.for_staff.append((subject, "replaced on some addresses only"))
        elif not reaches_clients(one, world):
            plan_.note(subject, one.crossed.label, "staff", _ours(subject, world.now))
            plan_.for_staff.append((subject, _ours(subject, world.now)))
        elif reason := silence(one, world):
            plan_.note(subject, one.crossed.label, "suppress", reason)
            if reason is FLAPS:
                plan_.flapping.append(subject.key)
        elif world.baseline and not _spoken(subject, world):
            plan_.hold.append((subject, f"baseline {one.crossed.rank}"))
            plan_.note(
                subject, one.crossed.label, "hold", "it was there at the first sight of the inventory; certmgr notice release"
            )
        elif reason := held(one, world):
            plan_.note(subject, one.crossed.label, "hold", reason)
        elif _recipients(one, world, plan_):
            kept.append(one)
    return kept


def _ours(subject: Subject, now: datetime) -> str:
    if subject.severity == "undetermined":
        return "it could not be told: staff look first"
    if subject.taken is not None and subject.taken[1] <= now:
        return f"{subject.taken[0]} had taken it until {subject.taken[1]:%Y-%m-%d}, and it is still there"
    return "it is ours, and nobody has taken it with a date" if subject.actor == "provider" else "nobody knows yet whose it is"


def _spoken(subject: Subject, world: World) -> bool:
    return bool(world.said.get((subject.key, subject.round)))


def _recipients(one: Due, world: World, plan_: Plan) -> list[tuple[Choice, Outcome, str, str]]:
    """(who, outcome, step, label) of everybody who has not heard of this threshold. Notes why where nobody is reached."""
    subject = one.subject
    technical = subject.finding is not None and subject.kind is Kind.FAULT and subject.code in TECHNICAL
    first = world.people.owner(subject.client_id, world.now, technical=technical)
    if first.person is None:
        plan_.note(subject, one.crossed.label, "staff", f"nobody can be written to: {first.reason}")
        plan_.for_staff.append((subject, f"nobody can be written to: {first.reason}"))
        return []
    said = world.said.get((subject.key, subject.round), ())
    chosen = [first]
    if first.step == "owner" and _climbs(one, world, first.person, said):
        second = world.people.fallback(first.person, subject.client_id)
        if second.person is not None:
            chosen.append(second)
    found = []
    for choice in chosen:
        assert choice.person is not None
        outcome = outcome_of(one, world, choice.person)
        if outcome is None:
            continue
        step, label = label_of(outcome, one.crossed, said, choice.person.id, world.now)
        if step == "owner":
            step = choice.step
        if not _told(said, choice.person.id, step, label):
            found.append((choice, outcome, step, label))
    return found


# Faults in how a site is served: for whoever looks after the client's server.
TECHNICAL = frozenset({
    "not-tls", "starttls-missing", "handshake-failed", "tls-legacy-only", "ciphers-obsolete", "chain-incomplete", "intermediate-expired", "mixed-content",
    "redirect-missing", "redirect-insecure", "redirect-loop", "http-collects-secrets", "http-collects-input", "http-served", "default-certificate",
})  # fmt: skip


def _told(said: Sequence[tuple[int, str, str, int, str]], contact_id: int, step: str, label: str) -> bool:
    """Whether this contact heard of this threshold, or of a more urgent one."""
    for contact, said_step, said_label, _, _ in said:
        if contact != contact_id:
            continue
        if step in ("we", "word"):
            if said_step == step and said_label == label:
                return True
        elif said_step in ("owner", "fallback") and rank_of(said_label) >= rank_of(label):
            return True
    return False


def _climbs(one: Due, world: World, first: Person, said: Sequence[tuple[int, str, str, int, str]]) -> bool:
    """No acknowledgement (or one that is long ago) some days after the first message: then the fallback hears of it too."""
    first_at = min(
        (at for contact, step, _, at, state in said if contact == first.id and step == "owner" and state in ("sent", "unknown")),
        default=None,
    )
    if first_at is None:
        return False
    matter = world.matters.get(one.subject.key)
    if matter is not None and matter["acked_at"] is not None:
        first_at = max(first_at, int(matter["acked_at"]) + world.policy.ack_days * 86_400)
    days = world.policy.climb_days if one.crossed.days > NEAR else world.policy.climb_near_days
    return to_epoch(world.now) >= first_at + days * 86_400


def plan(world: World, dues: Sequence[Due], looks: Mapping[str, Look], plan_: Plan) -> None:
    """``dues``: those that :func:`candidates` kept. Fills the drafts and the decisions."""
    by_person: dict[int, tuple[Person, list[Item]]] = {}
    for one in dues:
        subject = one.subject
        look = looks.get(subject.key, Look(Seen.UNKNOWN, "it was not looked at"))
        if (stop := _after_look(one, look, world, plan_)) is not None:
            plan_.note(subject, one.crossed.label, *stop)
            continue
        for choice, outcome, step, label in _recipients(one, world, Plan()):
            assert choice.person is not None
            assert world.people.may_read(choice.person, subject.client_id), "a notice would cross the border between clients"
            by_person.setdefault(choice.person.id, (choice.person, []))[1].append(item_of(one, outcome, step, label, world))
    for person, items in by_person.values():
        if world.hold:
            for item in items:
                plan_.note(item.subject, item.label, "hold", world.hold, person.id)
        elif reason := not_now(world, person, items):
            for item in items:
                plan_.note(item.subject, item.label, "wait", reason, person.id)
        else:
            plan_.drafts.append(Draft(person, tuple(items), decides((i.subject.severity, i.outcome) for i in items)))


def item_of(one: Due, outcome: Outcome, step: str, label: str, world: World) -> Item:
    matter = world.matters.get(one.subject.key)
    reference, matter_id = (matter["reference"], matter["id"]) if matter is not None else ("", None)
    return Item(one.subject, one.crossed, step, label, outcome, reference, matter_id)


def _after_look(one: Due, look: Look, world: World, plan_: Plan) -> tuple[str, str] | None:
    """(action, reason) where the fresh look speaks against the message."""
    subject = one.subject
    match look.seen:
        case Seen.GONE:
            return "suppress", look.reason
        case Seen.PARTIAL:
            plan_.for_staff.append((subject, look.reason))
            return "staff", look.reason
        case Seen.UNKNOWN:
            first = world.waiting.get((subject.key, subject.round))
            patient = first is None or to_epoch(world.now) - first < world.policy.look_patience.total_seconds()
            if patient or subject.end is None:
                return "wait", f"a fresh look did not succeed: {look.reason}"
            plan_.for_staff.append((subject, f"sent without a fresh look, which fails since a day: {look.reason}"))
    return None


def not_now(world: World, person: Person, items: Sequence[Item]) -> str:
    """Why this person is not written to at this moment; empty where it may be. The last day and what came after it go before the limits, not before
    the night.
    """
    if not person.calendar.may_write(world.now):
        opening = person.calendar.next_opening(world.now)
        return f"quiet hours of contact {person.id} until {opening:%Y-%m-%d %H:%M} UTC"
    last = world.written.get(person.id)
    if last is None or any(_presses(i) for i in items):
        return ""
    before = datetime.fromtimestamp(last, world.now.tzinfo)
    if all(_far(i) for i in items):
        if world.now - before < 7 * DAY - timedelta(hours=12):
            return f"contact {person.id} was written to on {before:%Y-%m-%d}: one message a week while all lies over {NEAR} days ahead"
    elif person.calendar.day(before) == person.calendar.day(world.now):
        return f"contact {person.id} was written to today: one message a day"
    return ""


def _presses(item: Item) -> bool:
    if isinstance(item.outcome, Resolved):
        return False
    if item.subject.end is None:
        return item.subject.severity == "critical" and item.crossed.rank == 0
    return item.crossed.critical


def _far(item: Item) -> bool:
    if item.subject.end is None:
        return item.subject.severity not in ("critical", "high") and not isinstance(item.outcome, Resolved)
    return item.crossed.days > NEAR


# -- too much at once ------------------------------------------------------------------------------------------------------


def mass_change(changed: Iterable[int], clients: int, policy: Policy) -> bool:
    """Whether one run changed more of the clients than is believable."""
    count = len(set(changed))
    return count >= policy.mass_least and 100.0 * count > policy.mass_percent * max(clients, 1)


def clock_fault(now: datetime, newest: int | None) -> str:
    """``newest``: the latest instant that is stored. Rows from the future mean that the clock was set back."""
    if newest is not None and to_epoch(now) + 300 < newest:
        stored = datetime.fromtimestamp(newest, now.tzinfo)
        return f"the clock says {now:%Y-%m-%d %H:%M} UTC, and there are rows of {stored:%Y-%m-%d %H:%M} UTC"
    return ""


# -- what is over ------------------------------------------------------------------------------------------------------------


def resolved_items(world: World, matter: Mapping[str, Any], subject: Subject) -> list[tuple[Person, Item]]:
    """Exactly one "resolved" for everybody who was told and still may read it."""
    said = world.said.get((matter["key"], matter["round"]), ())
    if any(step == "resolved" for _, step, _, _, _ in said):
        return []
    told = dict.fromkeys(c for c, _, _, _, state in said if state in ("sent", "unknown"))
    found = []
    for contact_id in told:
        person = world.people.by_id.get(contact_id)
        if person is None or person.way is None or not world.people.may_read(person, subject.client_id):
            continue
        item = Item(
            replace(subject, key=matter["key"], round=matter["round"]), Crossed("+0", 0, 0.0), "resolved", "+0", Resolved(),
            matter["reference"], matter["id"],
        )  # fmt: skip
        found.append((person, item))
    return found


def merge(plan_: Plan, more: Iterable[tuple[Person, Item]], world: World) -> None:
    """Adds what is over to the message that goes to the same person, or makes one of its own."""
    by_person: dict[int, tuple[Person, list[Item]]] = {}
    for person, item in more:
        by_person.setdefault(person.id, (person, []))[1].append(item)
    for contact_id, (person, items) in by_person.items():
        index = next((i for i, d in enumerate(plan_.drafts) if d.person.id == contact_id), None)
        if index is not None:
            draft = plan_.drafts[index]
            plan_.drafts[index] = replace(draft, items=(*draft.items, *items))
        elif world.hold:
            for item in items:
                plan_.note(item.subject, "resolved", "hold", world.hold, contact_id)
        elif reason := not_now(world, person, items):
            for item in items:
                plan_.note(item.subject, "resolved", "wait", reason, contact_id)
        else:
            plan_.drafts.append(Draft(person, tuple(items), Resolved()))
