"""What the provider's own people hear: one digest a day with everything, and an alarm where
something cannot wait. In English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from inventory.db.database import Tx, to_epoch
from inventory.names import display
from inventory.store import audit_log, certificate_ends, inbox, jobs, outbox, tickets
from inventory.store.records import Row
from notifiers.calendar import invitation
from notifiers.pipeline.compose import Message, Section, Sender, one_line, section, staff_message
from notifiers.pipeline.limits import FLAPS
from notifiers.pipeline.plan import NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.topic import NoticeSource, StaffTask, TopicKind


@dataclass(frozen=True, slots=True)
class Alarm:
    """``key`` once a day. Those on call hear of faults; everybody of the staff hears of holds."""

    key: str
    text: str

    @property
    def subject(self) -> str:
        """As it is kept with what was said."""
        return f"alarm:{self.key}"

    @property
    def oncall(self) -> bool:
        return self.key.startswith(("oncall:", "acme:"))


def alarm_message(alarms: Sequence[Alarm], templates: Templates) -> Message:
    first = alarms[0].text if len(alarms) == 1 else f"{len(alarms)} things need you"
    return staff_message(
        f"[certmgr] {first}",
        first,
        [section("Now", [a.text for a in alarms], "certmgr status --causes")],
        (),
        templates,
        "alarm",
    )


def staff_task_message(
    errand: StaffTask, person: Person, sender: Sender, templates: Templates, now: datetime
) -> Message:
    """One step of a case, to the administrator whose case it is, with its window as a calendar
    entry.
    """
    kind, address = person.way or ("", "")
    title = f"Certificate installation: {errand.title}"
    window = (
        [invitation(errand.window, title, "\n".join(errand.lines), sender.address, address, now)]
        if errand.window and kind == "email"
        else []
    )
    made = staff_message(
        f"[certmgr] {errand.title}",
        errand.title,
        [section("Case", errand.lines, "certmgr case list")],
        (),
        templates,
        "errand",
    )
    return replace(made, calendar=tuple(window))


@dataclass(slots=True)
class StaffDigest:
    """Everything a digest says.

    ``head``: of the audit chain, with the number of its entries: it leaves the machine with the
    digest.
    """

    now: datetime
    head: str = ""
    entries: int = 0
    causes: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    promises: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    automation: list[str] = field(default_factory=list)
    sent: int = 0
    clients: int = 0

    @classmethod
    def read(
        cls,
        tx: Tx,
        now: datetime,
        plan: NoticePlan,
        world: Snapshot,
        found: NoticeSource,
        policy: NoticePolicy,
    ) -> StaffDigest:
        conn, at = tx.conn, to_epoch(now)
        said = cls(now, clients=found.clients)
        said.head, said.entries = audit_log.head(conn)
        grouped: Counter[tuple[str, str]] = Counter()
        for subject, why in plan.for_staff:
            if subject.kind is TopicKind.CASE:
                continue  # the work list has it
            grouped[(subject.cause or subject.key, why)] += 1
            if subject.taken is not None and subject.taken[1] <= now:
                said.promises.append(
                    f"{display(subject.target.host)}: {subject.code} was taken by"
                    f" {subject.taken[0]} until {subject.taken[1]:%Y-%m-%d}"
                )
        said.causes = [
            f"{cause}: {n} endpoint(s); {why}" for (cause, why), n in grouped.most_common()
        ]
        open_matters = tickets.listing(conn)
        for row in open_matters:
            if row["promised_at"] is not None and row["promised_at"] < at:
                said.promises.append(
                    f"[{row['reference']}] the client was promised word by"
                    f" {datetime.fromtimestamp(row['promised_at'], now.tzinfo):%Y-%m-%d}"
                )
        flapping = tickets.recent(conn, FLAPS, at - 86_400)
        references = {k: m["reference"] for k, m in tickets.by_key(conn, flapping).items()}
        said.causes += [f"[{references.get(k, k)}] it comes and goes ({k})" for k in flapping]
        said.cases = list(found.worklist)
        said.automation = list(found.automation)
        said.unsure = [
            f"{code}: {n} endpoint(s)"
            for code, n in sorted(found.unsure.items(), key=lambda x: -x[1])
        ]
        waiting: Counter[str] = Counter()
        clients: dict[str, set[int]] = {}
        for row in open_matters:
            if row["hold"] is None or row["released_at"] is not None:
                continue
            waiting[row["cause"]] += 1
            clients.setdefault(row["cause"], set()).add(row["client_id"])
        said.held = [
            f"{cause}: {n} matter(s) of {len(clients[cause])} client(s)"
            for cause, n in waiting.most_common()
        ]
        for row in outbox.listing(conn, states=("unknown",)):
            said.unknown.append(_notice(row))
        for row in outbox.listing(conn, states=("failed", "dead"), limit=200):
            if row["created_at"] > at - 86_400 * 2:
                said.failed.append(_notice(row))
        told = outbox.said(conn, [m["key"] for m in open_matters])
        said.calls = [call_line(c) for c in calls(open_matters, told, world, policy)]
        said.strangers = [
            f"{r['kind']} of {datetime.fromtimestamp(r['at'], now.tzinfo):%Y-%m-%d %H:%M}"
            for r in inbox.unmatched(conn, at - 86_400)
        ]
        if found.suspect:
            said.jobs.append(found.suspect)
        complete = certificate_ends.last_complete(conn)
        if complete is None or complete < at - 2 * 86_400:
            when = (
                "never"
                if complete is None
                else f"last on {datetime.fromtimestamp(complete, now.tzinfo):%Y-%m-%d %H:%M} UTC"
            )
            said.jobs.append(f"no complete scan of the whole inventory: {when}")
        for name, row in jobs.every(conn).items():
            if row["error"]:
                said.jobs.append(f"{name}: {row['error']}")
        said.sent = outbox.count_sent(conn, at - 86_400)
        return said


def _notice(row: Row) -> str:
    return (
        f"notice {row['id']} [{row['reference']}] to contact {row['contact_id'] or '-'}:"
        f" {row['state']}, {row['error'] or ''}"
    )


def digest_message(said: StaffDigest, day: str, templates: Templates) -> Message:
    sections: list[Section] = [
        section("Jobs", said.jobs, "certmgr doctor"),
        section("To call", said.calls, "certmgr notice calls"),
        section(
            "Nobody knows whether these arrived: look, then certmgr notice retry, or leave them",
            said.unknown,
            "certmgr notice list --state unknown",
        ),
        section(
            "Cases: overdue, and the windows of this week",
            said.cases,
            "certmgr case list --overdue",
        ),
        section("Automatic renewal", said.automation, "certmgr lineage list"),
        section("Not sent", said.failed, "certmgr notice list --state failed"),
        section("Promised, and still there", said.promises, "certmgr finding list"),
        section("Held until you release them", said.held, "certmgr notice release"),
        section("Ours, or nobody's yet", said.causes, "certmgr status --causes"),
        section("Could not be told", said.unsure, "certmgr finding list"),
        section("Mail that belongs to no notice", said.strangers, "certmgr notice inbox"),
    ]
    count = sum(len(s.lines) + s.more for s in sections)
    lead = (
        f"{count} line(s) for you, {said.sent} notice(s) sent in the last day."
        if count
        else f"Nothing for you; {said.sent} notice(s) sent in the last day."
    )
    footer = [
        f"Audit log: {said.entries} entries, head {said.head}. Keep this message: certmgr audit"
        f" verify --expect {said.head}"
    ]
    return staff_message(f"[certmgr] {day}: {lead}", lead, sections, footer, templates, "digest")


# -- who is to be called


@dataclass(frozen=True, slots=True)
class PhoneCall:
    """A client who has to be telephoned, because nothing else worked."""

    reference: str
    client: str
    client_name: str
    manager: str
    site: str
    why: str
    phones: tuple[str, ...]
    since: int


def calls(
    open_matters: Sequence[Row], said: Any, world: Snapshot, policy: NoticePolicy
) -> list[PhoneCall]:
    """Matters of clients who were written to, in vain: nobody acknowledged, or nobody can be
    written to. Pure.
    """
    found, now = [], to_epoch(world.now)
    for row in open_matters:
        if row["client_id"] is None or row["client_id"] not in world.people.clients:
            continue
        if row["acked_at"] is not None and row["acked_at"] + policy.ack_days * 86_400 > now:
            continue
        told = said.get((row["key"], row["round"]), ())
        first = world.people.owner(row["client_id"], world.now)
        sent = [
            at
            for _, step, _, at, state in told
            if step in ("owner", "fallback") and state in ("sent", "unknown")
        ]
        if first.person is None:
            why = first.reason
        elif sent and now - min(sent) > (policy.climb_days + policy.climb_near_days) * 86_400:
            why = (
                "no acknowledgement since"
                f" {datetime.fromtimestamp(min(sent), world.now.tzinfo):%Y-%m-%d}"
            )
        else:
            continue
        contacts = world.people.of_client.get(world.people.addressee(row["client_id"]), [])
        phones = tuple(f"{one_line(p.name, 60)} {phone}" for p in contacts for phone in p.phones)
        found.append(
            PhoneCall(
                reference=row["reference"],
                client=row["client"],
                client_name=row["client_name"],
                manager=row["account_manager"] or "",
                site=display(row["domain"]) if row["domain"] else "",
                why=why,
                phones=phones,
                since=min(sent, default=row["opened_at"]),
            )
        )
    return sorted(found, key=lambda c: (c.manager, c.since))


def call_line(call: PhoneCall) -> str:
    return (
        f"[{call.reference}] client {call.client}, {call.site}: {call.why};"
        f" {', '.join(call.phones) or 'no telephone number'}"
    )
