"""Announcements to many clients about a coming deadline, with the state of each client's sites."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.compliance.assessment import ComplianceRow, judge
from certmgr.compliance.facts import ComplianceState
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.compliance.milestones import Deadline
from certmgr.config.context import Context
from certmgr.notices.setup import rules_of, templates_of
from inventory.db.database import Database, Tx
from inventory.errors import UsageError
from inventory.names import display
from inventory.records import AnnouncementRecord
from inventory.store import announcements, clients, domains, editing, recipients, releases, tickets
from inventory.store.suggestions import missing_word, not_found
from inventory.vocabulary import TicketKind
from notifiers.pipeline.announcement import (
    Announcement,
    WithdrawnAnnouncement,
    announcement_message,
)
from notifiers.pipeline.message import Message
from notifiers.pipeline.recipients import Person, Recipients
from notifiers.wording.catalogue import Language, language
from notifiers.wording.notice import NoticePhrases as N
from notifiers.wording.scope import for_client, names_in
from notifiers.wording.sentences import client_instruction, short

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AnnouncementResult:
    """The result of an announcement.

    Attributes:
        messages: One message per client that gets it.
        client_ids: The clients of the messages, in their order.
        before: The number of clients that got it before.
        unreachable: The number of clients without a contact that can be reached.
    """

    messages: list[tuple[Person, Message]] = field(default_factory=list)
    client_ids: list[int] = field(default_factory=list)
    before: int = 0
    unreachable: int = 0


def find_deadline(database: Database, name: str) -> Deadline:
    """Return a deadline by its name.

    Raises:
        NotFound: There is no such deadline. The error names a similar one.
    """
    known = {d.name: d for d in all_deadlines(database)}
    if name not in known:
        raise missing_word("deadline", name, known, "certmgr deadline list")
    return known[name]


def broadcast(
    context: Context,
    *,
    template: str,
    name: str,
    tag: str | None,
    text: str | None,
    per_day: int,
    dry_run: bool,
) -> AnnouncementResult:
    """Open a ticket per client, and release the tickets to ``per_day`` clients per day.

    The next runs of notify compose and queue the messages.

    Args:
        template: The name of the template.
        name: The name of the deadline.
        tag: Only clients with this tag.
        text: A text to use instead of that of the deadline.
        dry_run: Compose the messages, and store nothing.

    Raises:
        NotFound: There is no such deadline.
        UsageError: The deadline does not concern clients, or has passed.
    """
    # One time, so that all clients get the status of the same moment.
    context = context.frozen()
    _require_announceable(find_deadline(context.database, name), context.now())
    row = AnnouncementRecord(
        # It is not stored yet, so that a dry run composes the same texts as the announcement.
        id=0,
        template=template,
        tag=tag,
        deadline=name,
        text=editing.clean(text, "text", 2000),
        by="",
        created_at=int(context.now().timestamp()),
    )
    result = _composed(context, row)
    if result.client_ids and not dry_run:
        with context.write() as tx:
            # Announcement, tickets and release commit together: a ticket without its release
            # would wait forever, and a release without tickets would end at once.
            number = announcements.add(tx, template, name, tag, row.text)
            _open_tickets(tx, template, name, number, result.client_ids)
            releases.add(tx, _cause(template, name), per_day, tx.actor)
        _log.info(
            "announcement %d of %s: %d clients, %d per day",
            number,
            name,
            len(result.client_ids),
            per_day,
        )
    return result


def _composed(context: Context, row: AnnouncementRecord) -> AnnouncementResult:
    """Return the messages of an announcement to the clients that have not got it before.

    They are only counted and shown. A run of notify composes each again when the release lets its
    ticket through, because the state of the sites may have changed by then.
    """
    now, rules, templates = (
        context.now(),
        rules_of(context.settings),
        templates_of(context.settings),
    )
    result, compose = AnnouncementResult(), announcements_of(context)
    with context.read() as conn:
        all_recipients = rules.recipients(conn)
        chosen = _chosen(conn, all_recipients, row.tag)
        known = tickets.by_key(conn, [_key(row.template, row.deadline, i) for i in chosen])
    for client_id in chosen:
        person = all_recipients.owner(client_id, now).person
        # The key of the ticket ensures that a client gets an announcement only once.
        if _key(row.template, row.deadline, client_id) in known:
            result.before += 1
            continue
        # A client without an address is counted, so that staff can call.
        if person is None:
            result.unreachable += 1
            continue
        announcement = compose(row, client_id, language(person.language, person.zone))
        # None: the rule does not concern this client, who would only wonder about a message. The
        # deadline may also have been retired since it was read.
        if announcement is None or isinstance(announcement, WithdrawnAnnouncement):
            continue
        message = announcement_message(
            row.template,
            person,
            announcement,
            rules.sender,
            templates,
            all_recipients.clients[client_id].account_manager,
            # The reference is known only when the ticket is stored.
            "CM-......",
        )
        result.messages.append((person, message))
        result.client_ids.append(client_id)
    return result


def _require_announceable(due: Deadline, now: datetime) -> None:
    """Require a deadline that concerns clients and lies ahead.

    Raises:
        UsageError: The deadline does not concern clients, or has passed.
    """
    if not due.for_clients:
        raise UsageError(
            f"The deadline '{due.name}' is only for administrators",
            "clients cannot act on it",
            "Choose another deadline.",
        )
    # Clients who read of a passed date could only ask why they were not notified before.
    if due.at <= now:
        raise UsageError(
            f"The deadline '{due.name}' has passed",
            "an announcement needs a deadline in the future",
            "Choose another deadline.",
        )


def _chosen(conn: Connection, all_recipients: Recipients, tag: str | None) -> list[int]:
    """Return the ids of the clients that an announcement may concern.

    Raises:
        NotFound: No client or domain has the tag.
    """
    numbers = set(clients.with_domains(conn))
    # A client without a domain has no site that the announcement could concern.
    chosen = sorted(i for i, c in all_recipients.clients.items() if c.number in numbers)
    if tag is None:
        return chosen
    tagged = clients.ids_with_tag(conn, tag)
    # A misspelt tag would announce to no client, and look like success.
    if not tagged:
        raise not_found(conn, "tag", tag, "certmgr domain list")
    return [i for i in chosen if i in tagged]


def _open_tickets(tx: Tx, template: str, name: str, number: int, client_ids: Sequence[int]) -> None:
    """Open a held ticket per client, which the release lets through day by day."""
    tickets.open_(
        tx,
        [
            tickets.NewTicket(
                key=_key(template, name, i),
                kind=TicketKind.ANNOUNCEMENT,
                client_id=i,
                round=str(number),
                cause=_cause(template, name),
                # A release picks held tickets only, so without a hold this one would never be sent.
                hold="broadcast 0",
            )
            for i in client_ids
        ],
    )


def _cause(template: str, name: str) -> str:
    return f"broadcast {name} {template}"


def _key(template: str, name: str, client_id: int) -> str:
    return f"broadcast:{template}:{name}:{client_id}"


def announcements_of(
    context: Context,
) -> Callable[[AnnouncementRecord, int, Language], Announcement | WithdrawnAnnouncement | None]:
    """Return a function that composes the announcement to one client, from its sites only."""

    def compose(
        broadcast_row: AnnouncementRecord, client_id: int, reader: Language
    ) -> Announcement | WithdrawnAnnouncement | None:
        now = context.now()
        # Tickets wait for days for their release, and the deadline may change in that time.
        due = next(
            (d for d in all_deadlines(context.database) if d.name == broadcast_row.deadline), None
        )
        if due is None:
            return WithdrawnAnnouncement(
                f"the deadline '{broadcast_row.deadline}' is retired or does not exist any more"
            )
        try:
            _require_announceable(due, now)
        except UsageError as error:
            return WithdrawnAnnouncement(f"{error.what}: {error.why}")
        with context.read() as conn:
            number = next(
                (c.number for i, c in recipients.clients(conn).items() if i == client_id), None
            )
        # The client was retired after its ticket was opened.
        if number is None:
            return None
        known, _ = load_domain_facts(context.database, now, client=number)
        tagged = [s for s in known if due.is_for(number, s.tags)]
        if not tagged:
            return None
        rows = judge(tagged, [due], now)
        with context.read() as conn:
            owners = domains.owners_of(conn, names_in(f for r in rows for _, f in r.findings))
        # A deadline of the provider is stored as the last second before its first day. It is the
        # same day for every reader.
        own_day = (due.at + timedelta(seconds=1)).astimezone(
            ZoneInfo(context.settings.provider.time_zone)
        )
        at = own_day.date() if due.own else due.at.date()
        text = broadcast_row.text or (due.text if due.own else due.affects)
        return Announcement(
            due.title,
            at,
            text or "",
            tuple(line for r in rows if (line := _line(r, reader, owners))),
        )

    return compose


def _line(row: ComplianceRow, reader: Language, owners: Mapping[str, int]) -> str:
    """Return the state of one site as a line. Empty if there is nothing to report."""
    host = display(row.subject.name)
    # The provider accepted the deviation of a waived site, so its client has nothing to do.
    if row.state in (ComplianceState.COMPLIES, ComplianceState.WAIVED):
        return reader(N.announcement_complies).format(host=host)
    # A failed check must read neither as a fault nor as compliance.
    if row.state is ComplianceState.UNKNOWN:
        return reader(N.announcement_unknown).format(host=host)
    target, finding = next(iter(row.findings), (None, None))
    # Without a finding there is nothing to instruct.
    if finding is None or target is None:
        return ""
    names = frozenset({row.subject.name, *(k.target.host for k in row.subject.known)})
    client_finding = for_client(
        finding,
        names,
        codes=row.codes_at(target),
        owners=owners,
        client_id=row.subject.client_id,
    )
    we_install = any(
        s.name in ("install", "configure") and s.actor == "provider" for s in row.steps
    )
    do = (
        client_instruction(client_finding, target, reader, we_install=we_install)
        if finding.actor == "client"
        else ""
    )
    return (
        reader(N.announcement_fails)
        .format(host=host, what=f"{short(client_finding, target, reader)}.", do=do)
        .strip()
    )
