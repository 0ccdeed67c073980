"""What is said to whom, and why not.

Values in, values out; ``now`` is part of them.

In steps: what is due (:func:`due`), then, with a fresh look at each, what goes out (:func:`plan`).
Every subject that is due gets a decision with its reason, whether it is said, waits, is held, or is
none of the client's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from inventory.db.database import to_epoch
from notifiers.pipeline.limits import FLAPS, NEAR, held, not_now, silence
from notifiers.pipeline.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, decides
from notifiers.pipeline.plan import Draft, DueTopic, NoticeItem, NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person, RecipientChoice
from notifiers.pipeline.thresholds import DAY, CrossedThreshold, before_end, crossed, rank_of, since
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind
from notifiers.working_days import before_freezes

MAX_ITEMS = 300


# -- what is due


def threshold(
    subject: Topic, policy: NoticePolicy, zone: Any, now: datetime
) -> CrossedThreshold | None:
    """The most urgent threshold that the subject has crossed."""
    if subject.since_days is not None:
        return CrossedThreshold(
            f"+{subject.since_days}", subject.since_days, -float(subject.since_days)
        )
    if subject.end is None:
        return since(subject.opened, now, 7 if subject.severity in ("critical", "high") else 30)
    end = before_freezes(subject.end, policy.freezes, zone) if subject.end > now else subject.end
    if end <= now < subject.end:
        return CrossedThreshold(
            "0", 0, (subject.end - now) / DAY
        )  # in the freeze: what comes after the end is counted from the real one
    thresholds, chosen = policy.thresholds.of(subject.client, subject.tags)
    life = subject.life or timedelta(days=400)
    return crossed(
        end,
        before_end(
            life, thresholds, chosen=chosen, lead_days=subject.lead_days, usual=subject.usual
        ),
        now,
    )


def due(world: Snapshot, subjects: Iterable[Topic], zone: Any) -> list[DueTopic]:
    """Subjects past a threshold."""
    found = []
    for subject in subjects:
        hit = threshold(subject, world.policy, zone, world.now)
        if hit is not None:
            found.append(DueTopic(subject, hit))
    return found


def outcome_of(due_: DueTopic, world: Snapshot, person: Person) -> Outcome | None:
    """What it is for a client; None where no client hears of it. The type admits no two."""
    subject, now = due_.subject, world.now
    if subject.actor == "client":
        if (
            subject.act_by is None
            or subject.act_by <= now
            or (subject.end is not None and subject.end <= now)
        ):
            end = subject.end
            return YouAct(
                person.calendar.working_day_before(end) if end is not None and end > now else None
            )
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
    outcome: Outcome,
    crossed_: CrossedThreshold,
    said: Sequence[tuple[int, str, str, int, str]],
    contact_id: int,
    now: datetime,
) -> tuple[str, str]:
    """(step, threshold) as they are kept. "We are fixing it" is said once for a date; word from
    level 2 when the day of the last promise has come.
    """
    if isinstance(outcome, WeAct):
        return "we", outcome.by.date().isoformat()
    if isinstance(outcome, Escalated):
        promised = [t for c, step, t, _, _ in said if step == "word" and c == contact_id]
        today = now.date().isoformat()
        running = [p for p in promised if p > today]
        return "word", max(running) if running else outcome.next_word.isoformat()
    return "owner", crossed_.label


def reaches_clients(due_: DueTopic, world: Snapshot) -> bool:
    """Whether a client would ever hear of it as it stands: who acts, and who has taken it."""
    subject = due_.subject
    if subject.actor == "client":
        return True
    if not subject.visible:
        return False
    taken = subject.taken is not None and subject.taken[1] > world.now
    return taken or (
        subject.actor == "staff" and subject.severity == "critical" and subject.confirmed
    )


# -- what goes out


def candidates(world: Snapshot, dues: Sequence[DueTopic], plan_: NoticePlan) -> list[DueTopic]:
    """Those that might be sent, so that each is worth a fresh look; the others get their decision
    here.
    """
    kept, keys = [], {d.subject.key for d in dues if not d.subject.quiet}
    for one in dues:
        subject = one.subject
        if subject.parent in keys:
            plan_.note(
                subject, one.crossed.label, "suppress", f"it goes away with {subject.parent}"
            )
        elif subject.partial:
            plan_.note(
                subject,
                one.crossed.label,
                "staff",
                "replaced on some addresses: that is the administrator's",
            )
            plan_.for_staff.append((subject, "replaced on some addresses only"))
        elif not reaches_clients(one, world):
            plan_.note(subject, one.crossed.label, "staff", _ours(subject, world.now))
            plan_.for_staff.append((subject, _ours(subject, world.now)))
        elif reason := silence(one, world):
            plan_.note(subject, one.crossed.label, "suppress", reason)
            if reason is FLAPS:
                plan_.flapping.append(subject.key)
        elif (
            subject.kind is not TopicKind.CASE
            and (world.baseline or _before_baseline(subject, world))
            and not _spoken(subject, world)
        ):
            plan_.hold.append((subject, f"baseline {one.crossed.rank} {to_epoch(world.now)}"))
            plan_.note(
                subject,
                one.crossed.label,
                "hold",
                "it was there at the first sight of the inventory; certmgr notice release",
            )
        elif reason := held(one, world):
            plan_.note(subject, one.crossed.label, "hold", reason)
        elif _recipients(one, world, plan_):
            kept.append(one)
    return kept


def _ours(subject: Topic, now: datetime) -> str:
    if subject.severity == "undetermined":
        return "it could not be told: staff look first"
    if subject.taken is not None and subject.taken[1] <= now:
        return (
            f"{subject.taken[0]} had taken it until {subject.taken[1]:%Y-%m-%d}, and it is still"
            " there"
        )
    return (
        "it is ours, and nobody has taken it with a date"
        if subject.actor == "provider"
        else "nobody knows yet whose it is"
    )


def _before_baseline(subject: Topic, world: Snapshot) -> bool:
    """A fault that was there at the first sight, and becomes a client's only now: because it was
    seen again, taken, or no longer accepted.
    """
    return (
        subject.end is None
        and to_epoch(subject.opened) <= world.baseline_at
        and subject.key not in world.matters
    )


def _spoken(subject: Topic, world: Snapshot) -> bool:
    return bool(world.said.get((subject.key, subject.round)))


def _recipients(
    one: DueTopic, world: Snapshot, plan_: NoticePlan
) -> list[tuple[RecipientChoice, Outcome, str, str]]:
    """(who, outcome, step, label) of everybody who has not heard of this threshold.

    Notes why where nobody is reached.
    """
    subject = one.subject
    technical = (
        subject.finding is not None
        and subject.kind is TopicKind.FAULT
        and subject.code in TECHNICAL
    )
    named = world.people.chosen(subject.contact_id, subject.client_id, world.now)
    first = named or world.people.owner(subject.client_id, world.now, technical=technical)
    if first.person is None:
        plan_.note(subject, one.crossed.label, "staff", f"nobody can be written to: {first.reason}")
        plan_.for_staff.append((subject, f"nobody can be written to: {first.reason}"))
        plan_.nobody.append(subject)
        return []
    said = world.said.get((subject.key, subject.round), ())
    chosen = [first]
    if first.step == "owner" and _climbs(one, world, first.person, said):
        second = world.people.fallback(first.person, subject.client_id, world.now)
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
TECHNICAL = frozenset(
    {
        "not-tls",
        "starttls-missing",
        "handshake-failed",
        "tls-legacy-only",
        "ciphers-obsolete",
        "chain-incomplete",
        "intermediate-expired",
        "mixed-content",
        "redirect-missing",
        "redirect-insecure",
        "redirect-loop",
        "http-collects-secrets",
        "http-collects-input",
        "http-served",
        "default-certificate",
    }
)


def _told(
    said: Sequence[tuple[int, str, str, int, str]], contact_id: int, step: str, label: str
) -> bool:
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


def _climbs(
    one: DueTopic, world: Snapshot, first: Person, said: Sequence[tuple[int, str, str, int, str]]
) -> bool:
    """No acknowledgement (or one that is long ago) some days after the first message: then the
    fallback hears of it too.
    """
    first_at = min(
        (
            at
            for contact, step, _, at, state in said
            if contact == first.id and step == "owner" and state in ("sent", "unknown")
        ),
        default=None,
    )
    if any(contact == first.id and state == "failed" for contact, _, _, _, state in said):
        return True  # the owner was not reached
    if first_at is None:
        return False
    matter = world.matters.get(one.subject.key)
    if matter is not None and matter["acked_at"] is not None:
        first_at = max(first_at, int(matter["acked_at"]) + world.policy.ack_days * 86_400)
    days = world.policy.climb_days if one.crossed.days > NEAR else world.policy.climb_near_days
    return to_epoch(world.now) >= first_at + days * 86_400


def plan(
    world: Snapshot,
    dues: Sequence[DueTopic],
    looks: Mapping[tuple[str, str], Recheck],
    plan_: NoticePlan,
) -> None:
    """``dues``: those that :func:`candidates` kept. Fills the drafts and the decisions."""
    by_person: dict[int, tuple[Person, list[NoticeItem]]] = {}
    for one in dues:
        subject = one.subject
        look = looks.get(subject.mark, Recheck(RecheckState.UNKNOWN, "it was not looked at"))
        if (stop := _after_look(one, look, world, plan_)) is not None:
            plan_.note(subject, one.crossed.label, *stop)
            continue
        for choice, outcome, step, label in _recipients(one, world, NoticePlan()):
            assert choice.person is not None
            assert world.people.may_read(choice.person, subject.client_id), (
                "a notice would cross the border between clients"
            )
            by_person.setdefault(choice.person.id, (choice.person, []))[1].append(
                item_of(one, outcome, step, label, world)
            )
    for person, items in by_person.values():
        if world.hold:
            for item in items:
                plan_.note(item.subject, item.label, "hold", world.hold, person.id)
        elif reason := not_now(world, person, items):
            for item in items:
                plan_.note(item.subject, item.label, "wait", reason, person.id)
        else:
            items.sort(
                key=lambda i: (-i.crossed.rank if i.subject.end is not None else 0, i.subject.key)
            )
            for item in items[MAX_ITEMS:]:
                plan_.note(
                    item.subject,
                    item.label,
                    "wait",
                    f"more than {MAX_ITEMS} sites in one message: the rest goes with the next",
                    person.id,
                )
            shown = tuple(items[:MAX_ITEMS])
            plan_.drafts.append(
                Draft(person, shown, decides((i.subject.severity, i.outcome) for i in shown))
            )


def item_of(one: DueTopic, outcome: Outcome, step: str, label: str, world: Snapshot) -> NoticeItem:
    matter = world.matters.get(one.subject.key)
    reference, matter_id = (matter["reference"], matter["id"]) if matter is not None else ("", None)
    return NoticeItem(
        subject=one.subject,
        crossed=one.crossed,
        step=step,
        label=label,
        outcome=outcome,
        reference=reference,
        matter_id=matter_id,
    )


def _after_look(
    one: DueTopic, look: Recheck, world: Snapshot, plan_: NoticePlan
) -> tuple[str, str] | None:
    """(action, reason) where the fresh look speaks against the message."""
    subject = one.subject
    match look.seen:
        case RecheckState.GONE:
            return "suppress", look.reason
        case RecheckState.PARTIAL:
            plan_.for_staff.append((subject, look.reason))
            return "staff", look.reason
        case RecheckState.UNKNOWN:
            first = world.waiting.get((subject.key, subject.round))
            patient = (
                first is None
                or to_epoch(world.now) - first < world.policy.look_patience.total_seconds()
            )
            if patient or subject.end is None:
                return "wait", f"a fresh look did not succeed: {look.reason}"
            plan_.for_staff.append(
                (subject, f"sent without a fresh look, which fails since a day: {look.reason}")
            )
    return None


# -- what is over


def resolved_items(
    world: Snapshot, matter: Mapping[str, Any], subject: Topic
) -> list[tuple[Person, NoticeItem]]:
    """Exactly one "resolved" for everybody who was told and still may read it."""
    said = world.said.get((matter["key"], matter["round"]), ())
    done = {c for c, step, _, _, _ in said if step == "resolved"}
    told = dict.fromkeys(
        c for c, _, _, _, state in said if state in ("sent", "unknown") and c not in done
    )
    found = []
    for contact_id in told:
        person = world.people.by_id.get(contact_id)
        if (
            person is None
            or person.way is None
            or not world.people.may_read(person, subject.client_id)
        ):
            continue
        item = NoticeItem(
            subject=replace(subject, key=matter["key"], round=matter["round"]),
            crossed=CrossedThreshold("+0", 0, 0.0),
            step="resolved",
            label="+0",
            outcome=Resolved(),
            reference=matter["reference"],
            matter_id=matter["id"],
        )
        found.append((person, item))
    return found


def merge(plan_: NoticePlan, more: Iterable[tuple[Person, NoticeItem]], world: Snapshot) -> None:
    """Adds what is over to the message that goes to the same person, or makes one of its own."""
    by_person: dict[int, tuple[Person, list[NoticeItem]]] = {}
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
