"""A bulletin to all clients about a coming deadline: whom it is for, and what it says of each
client's own sites.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from certmgr.compliance.assessment import ComplianceRow, all_deadlines, judge, subjects
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import ComplianceState
from certmgr.config.settings import Settings
from certmgr.notices.setup import rules_of, templates_of
from inventory.db.database import Database
from inventory.errors import NotFound, UsageError
from inventory.names import display
from inventory.store import clients, endpoint_status, recipients, records, tickets
from inventory.store.records import Row
from inventory.text import printable
from notifiers.pipeline.compose import Announcement, Message, announcement_message
from notifiers.pipeline.recipients import Person
from notifiers.wording.catalogue import Language, language
from notifiers.wording.notice import NoticePhrases as N
from notifiers.wording.scope import for_client
from notifiers.wording.sentences import client_instruction, short


@dataclass(slots=True)
class AnnouncementResult:
    """``messages``: one a client that gets it; ``before``: clients that had it; ``nobody``: clients
    without anybody to write to.
    """

    messages: list[tuple[Person, Message]] = field(default_factory=list)
    before: int = 0
    nobody: int = 0


def find_deadline(database: Database, name: str) -> Deadline:
    known = {d.name: d for d in all_deadlines(database)}
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1)
        raise NotFound(
            f"There is no deadline '{printable(name, 60)}'",
            "",
            f"Did you mean '{near[0]}'?" if near else "See certmgr deadline list.",
        )
    return known[name]


def broadcast(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    template: str,
    name: str,
    tag: str | None,
    text: str | None,
    per_day: int,
    dry_run: bool,
) -> AnnouncementResult:
    """Opens a matter for each client, and releases them to ``per_day`` clients a day; notify
    composes and queues them.
    """
    due, rules, templates = (
        find_deadline(database, name),
        rules_of(settings),
        templates_of(settings),
    )
    if not due.for_clients:
        raise UsageError(
            f"The deadline '{name}' is for administrators alone",
            "clients can do nothing about it",
            "Choose another one.",
        )
    if due.at <= now:
        raise UsageError(
            f"The deadline '{name}' has passed",
            "a bulletin is about one that comes",
            "Choose another one.",
        )
    words, made = records.clean(text, "text", 2000), AnnouncementResult()
    say = announcements_of(database, settings, now)
    with database.read() as conn:
        everybody = rules.recipients(conn)
        numbers = clients.with_domains(conn)
        chosen = [i for i, c in everybody.clients.items() if c["number"] in set(numbers)]
        if tag is not None:
            mine = endpoint_status.clients_with_tag(conn, tag)
            chosen = [i for i in chosen if i in mine]
        known = tickets.by_key(conn, [_key(template, name, i) for i in chosen])
    sheet = {"id": 0, "template": template, "deadline": name, "text": words}
    fresh = []
    for client_id in sorted(chosen):
        person = everybody.owner(client_id, now).person
        if _key(template, name, client_id) in known:
            made.before += 1
        elif person is None:
            made.nobody += 1
        elif (
            bulletin := say(sheet, client_id, language(person.language, person.zone))
        ) is not None:
            manager = everybody.clients[client_id]["account_manager"]
            made.messages.append(
                (
                    person,
                    announcement_message(
                        template, person, bulletin, rules.sender, templates, manager, "CM-......"
                    ),
                )
            )
            fresh.append(client_id)
    if fresh and not dry_run:
        with database.write(now) as tx:
            number = tickets.add_broadcast(tx, template, name, tag, words)
            cause = f"broadcast {name} {template}"
            tickets.open_(
                tx,
                [
                    {
                        "key": _key(template, name, i),
                        "kind": "broadcast",
                        "client_id": i,
                        "endpoint_id": None,
                        "domain_id": None,
                        "code": None,
                        "round": str(number),
                        "cause": cause,
                        "hold": "broadcast 0",
                    }
                    for i in fresh
                ],
            )
            tickets.release(tx, cause, per_day, tx.actor)
    return made


def _key(template: str, name: str, client_id: int) -> str:
    return f"broadcast:{template}:{name}:{client_id}"


def announcements_of(
    database: Database, settings: Settings, now: datetime
) -> Callable[[Row, int, Language], Announcement | None]:
    """A function that composes one client's announcement, from the sites of that client alone."""

    def say(sheet: Row, client_id: int, reader: Language) -> Announcement | None:
        due = find_deadline(database, sheet["deadline"])
        with database.read() as conn:
            number = next(
                (c["number"] for i, c in recipients.clients(conn).items() if i == client_id), None
            )
        if number is None:
            return None
        known, _ = subjects(database, now, client=number)
        mine = [s for s in known if due.is_for(number, s.tags)]
        if not mine:
            return None
        rows = judge(mine, [due], now)
        # One's own date is the last day of what was before; it is the same day for every reader.
        own = (due.at + timedelta(seconds=1)).astimezone(ZoneInfo(settings.provider.time_zone))
        at = own.date() if due.own else due.at.date()
        text = sheet["text"] or (due.text if due.own else due.affects)
        return Announcement(
            due.title, at, text or "", tuple(line for r in rows if (line := _line(r, reader)))
        )

    return say


def _line(row: ComplianceRow, reader: Language) -> str:
    host = display(row.subject.name)
    if row.state in (ComplianceState.COMPLIES, ComplianceState.WAIVED):
        return reader(N.bulletin_comply).format(host=host)
    if row.state is ComplianceState.UNKNOWN:
        return reader(N.bulletin_unknown).format(host=host)
    target, finding = next(iter(row.findings), (None, None))
    if finding is None or target is None:
        return ""
    names = frozenset({row.subject.name, *(k.target.host for k in row.subject.known)})
    own = for_client(finding, names)
    we_install = any(
        s.name in ("install", "configure") and s.actor == "provider" for s in row.steps
    )
    do = (
        client_instruction(own, target, reader, we_install=we_install)
        if finding.actor == "client"
        else ""
    )
    return (
        reader(N.bulletin_fails)
        .format(host=host, what=f"{short(own, target, reader)}.", do=do)
        .strip()
    )
