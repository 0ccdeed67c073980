"""Compose messages from drafts: subject, plain text and HTML.

Each message is in the language and time zone of its reader. Pure, except for reading templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, assert_never

from babel.dates import format_date

from inventory.dates import shifted
from inventory.names import display
from inventory.text import printable
from notifiers.calendar import invitation
from notifiers.pipeline.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, name_of
from notifiers.pipeline.plan import Draft, NoticeItem
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.thresholds import DAY
from notifiers.pipeline.topic import (
    CaseFacts,
    CoverFacts,
    DeadlineFacts,
    FaultFacts,
    Money,
    PurchaseFacts,
    TextValue,
    Topic,
)
from notifiers.wording.cases import ORDERS, STEPS, UPLOAD_MESSAGES, filled
from notifiers.wording.catalogue import Language, language
from notifiers.wording.notice import NoticePhrases
from notifiers.wording.sentences import client_instruction, sentence

N = NoticePhrases
MAX_BLOCKS = 60
MAX_SUBJECT = 160


@dataclass(frozen=True, slots=True)
class Message:
    """A composed message.

    Attributes:
        subject: The subject of the mail, as one line.
        calendar: iCalendar files to attach.
    """

    subject: str
    text: str
    html: str
    outcome: str | None
    reference: str
    calendar: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of messages.

    Attributes:
        answer: The time within which clients get an answer, in words.
        offers: A text about offers. Empty unless the provider configured one.
        address: The mail address of the organizer of calendar entries.
    """

    provider: str
    answer: str = ""
    offers: str = ""
    address: str = "noreply@certmgr.invalid"


def one_line(text: str, limit: int) -> str:
    """Return the text without control characters and line breaks, as headers require."""
    return " ".join(printable(text, limit).split())


def client_message(
    draft: Draft, sender: Sender, templates: Templates, manager: str | None, now: datetime
) -> Message:
    """Return the message to one client contact.

    Args:
        manager: The name of the account manager, if there is one.
    """
    reader = language(draft.person.language, draft.person.zone)
    first = draft.items[0]
    subject = subject_line(draft, reader)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(draft.person.name, 100)),
        "lead": _draft_lead(draft, reader),
        "blocks": [_block(i, draft.outcome, reader) for i in draft.items[:MAX_BLOCKS]],
        "also": [
            *_more(draft.items, reader),
            *(_brief(i, reader) for i in draft.also_open[:MAX_BLOCKS]),
        ],
        "offers": one_line(sender.offers, 2000),
        **_signature(reader, sender, manager, first.reference),
    }
    return Message(
        subject=f"[{first.reference}] {subject}",
        text=templates.render("client", reader.code, "txt", message, reader),
        html=templates.render("client", reader.code, "html", message, reader),
        outcome=name_of(draft.outcome),
        reference=first.reference,
        calendar=_calendar(draft, sender, reader, now),
    )


def _draft_lead(draft: Draft, reader: Language) -> str:
    """Return the first sentence of a message."""
    # A cancelled installation was not done, so the client is not thanked for it.
    if isinstance(draft.outcome, Resolved) and all(
        i.topic.code == "cancelled" for i in draft.items
    ):
        return reader(N.stopped)
    return lead_sentence(draft.outcome, reader)


def _calendar(draft: Draft, sender: Sender, reader: Language, now: datetime) -> tuple[str, ...]:
    """Return the installation windows of the message as invitations to its reader."""
    kind, address = draft.person.contact_method or ("", "")
    # Only mail can carry attachments.
    if kind != "email":
        return ()
    found = []
    for item in draft.items:
        facts = item.topic.facts
        if isinstance(facts, CaseFacts) and (window := facts.window) is not None:
            title = reader(N.window_title).format(
                host=display(item.topic.target.host), reference=item.reference
            )
            found.append(
                invitation(window, title, what_is_wrong(item, reader), sender.address, address, now)
            )
    return tuple(found)


def _signature(
    reader: Language, sender: Sender, manager: str | None, reference: str
) -> dict[str, str]:
    provider = one_line(sender.provider, 200) or "certmgr"
    # Without an account manager, the message names the provider only.
    words = N.handler if manager else N.handler_plain
    return {
        "handler": (
            reader(words).format(
                person=one_line(manager or "", 100), provider=provider, reference=reference
            )
        ),
        "answer": (
            reader(N.answer).format(time=one_line(sender.answer, 100)) if sender.answer else ""
        ),
        "thanks": reader(N.thanks),
        "provider": provider,
    }


def lead_sentence(outcome: Outcome, reader: Language) -> str:
    """Return the first sentence for an outcome."""
    match outcome:
        case YouAct(None):
            return reader(N.you_now)
        case YouAct(by):
            return reader(N.you_by).format(date=_day(by, reader))
        case WeAct(person, by):
            return reader(N.we_act).format(person=one_line(person, 100), date=reader.date(by))
        case Escalated(by):
            return reader(N.escalated).format(date=_day(by, reader))
        case Resolved():
            return reader(N.resolved)
    raise AssertionError(outcome)


def _day(day: Any, reader: Language) -> str:
    return format_date(day, "long", locale=reader.locale)


def subject_line(draft: Draft, reader: Language) -> str:
    """Return the subject of the mail."""
    sites = list(dict.fromkeys(display(i.topic.target.host) for i in draft.items))
    site = (
        sites[0]
        if len(sites) == 1
        else reader(N.subject_more).format(site=sites[0], n=len(sites) - 1)
    )
    match draft.outcome:
        case YouAct(None):
            text = reader(N.subject_you_now).format(site=site)
        case YouAct(by):
            text = reader(N.subject_you_by).format(date=_day(by, reader), site=site)
        case WeAct():
            text = reader(N.subject_we).format(site=site)
        case Escalated():
            text = reader(N.subject_escalated).format(site=site)
        case Resolved():
            stopped = all(i.topic.code == "cancelled" for i in draft.items)
            text = reader(N.subject_stopped if stopped else N.subject_resolved).format(site=site)
    return one_line(text, MAX_SUBJECT)


def _block(item: NoticeItem, outcome: Outcome, reader: Language) -> dict[str, Any]:
    topic = item.topic
    host = display(topic.target.host)
    do, facts = "", topic.facts
    if isinstance(facts, CaseFacts | PurchaseFacts):
        do = case_text(topic, CASE_DO, reader)
    elif isinstance(item.outcome, YouAct) and facts.finding is not None:
        do = client_instruction(facts.finding, topic.target, reader, we_install=facts.we_install)
    elif not isinstance(item.outcome, YouAct) and item.outcome != outcome:
        # The outcome of this item differs from the first sentence of the message.
        do = lead_sentence(item.outcome, reader)
    what = (
        _resolved(item, reader)
        if isinstance(item.outcome, Resolved)
        else what_is_wrong(item, reader)
    )
    return {
        "heading": host,
        "reference": item.reference,
        "what": what,
        "do": do,
        "facts": _facts(item, reader),
        "paste": facts.paste if isinstance(facts, CaseFacts) else "",
    }


def what_is_wrong(item: NoticeItem, reader: Language) -> str:
    """Return what is wrong, in one or more sentences."""
    topic, facts = item.topic, item.topic.facts
    if isinstance(facts, CaseFacts | PurchaseFacts):
        return case_text(topic, CASE_WHAT, reader)
    problem = sentence(facts.finding, topic.target, reader) if facts.finding is not None else ""
    # Only a deadline has a title and a text of the provider.
    if not isinstance(facts, DeadlineFacts) or topic.end is None:
        return problem
    words = N.deadline_ahead if item.crossed.days >= 0 else N.deadline_past
    head = reader(words).format(
        host=display(topic.target.host),
        date=_day(facts.day, reader),
        title=one_line(facts.title, 200),
    )
    return " ".join(p for p in (head, one_line(facts.text, 2000), problem) if p)


def _resolved(item: NoticeItem, reader: Language) -> str:
    topic, host = item.topic, display(item.topic.target.host)
    match topic.facts:
        case CaseFacts() | PurchaseFacts():
            return case_text(topic, CASE_WHAT, reader)
        case CoverFacts():
            return reader(N.resolved_cover).format(host=host)
        case DeadlineFacts(title=title):
            return reader(N.resolved_deadline).format(host=host, title=one_line(title, 200))
        case FaultFacts(finding=finding):
            what = sentence(finding, topic.target, reader) if finding is not None else host
            return reader(N.resolved_fault).format(what=what)
        case _:
            assert_never(topic.facts)


CASE_WHAT, CASE_DO = 0, 1


def case_text(topic: Topic, part: int, reader: Language) -> str:
    """Return the text of a step of a case, or of a date of a purchase, with its facts filled in.

    Args:
        part: :data:`CASE_WHAT` or :data:`CASE_DO`.
    """
    facts = topic.facts
    assert isinstance(facts, CaseFacts | PurchaseFacts), "only cases and purchases have such texts"
    # The code of such a topic selects its texts.
    words = (STEPS if isinstance(facts, CaseFacts) else ORDERS)[topic.code][part]
    if not words:
        return ""
    values = {k: _text_value(k, v, reader) for k, v in facts.values.items()}
    values["problems"] = _problems(facts, reader) if isinstance(facts, CaseFacts) else ""
    return one_line(filled(reader(words), values), 4000)


def _problems(facts: CaseFacts, reader: Language) -> str:
    """Return the problems of an upload as one text."""
    problems = [
        filled(reader(UPLOAD_MESSAGES[code]), {k: one_line(v, 300) for k, v in values.items()})
        for code, values in facts.upload_problems
        if code in UPLOAD_MESSAGES
    ]
    return " ".join(problems)


def _text_value(name: str, value: TextValue, reader: Language) -> str:
    """Return a value in the reader's format. A tuple is a phrase with a date."""
    if isinstance(value, Money):
        return (
            reader("no fee")
            if not value.amount
            else reader("fee {amount}").format(
                amount=f"{value.amount} {value.currency or ''}".strip()
            )
        )
    if isinstance(value, datetime):
        return local_and_utc(value, reader) if name in ("window", "until") else reader.date(value)
    if isinstance(value, list):
        return ", ".join(reader(text) for text in value)
    if isinstance(value, tuple):
        text, *rest = value
        return reader(text).format(date=reader.date(rest[0])) if rest else reader(text)
    return one_line(value, 1000) if isinstance(value, str) else ""


def local_and_utc(at: datetime, reader: Language) -> str:
    """Return a time in the reader's time zone and in UTC."""
    local = reader.timestamp(at)
    # A reader in UTC would see the same time twice.
    return local if reader.zone is UTC else f"{local} ({at.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"


def _facts(item: NoticeItem, reader: Language) -> list[tuple[str, str]]:
    """Return label and value of the certificate that the item is about."""
    topic, facts = item.topic, item.topic.facts
    if isinstance(item.outcome, Resolved) or not isinstance(facts, CoverFacts | FaultFacts):
        return []
    if (named := facts.certificate) is None:
        return []
    pairs = []
    if named.serial:
        label = (
            f"{reader('Certificate')} ({reader('issued by')} {one_line(named.issuer, 100)})"
            if named.issuer
            else reader("Certificate")
        )
        pairs.append((label, one_line(named.serial, 80)))
    # The days of a topic without a date ahead count from its opening.
    ended = (
        item.crossed.days < 0
        if isinstance(facts, CoverFacts)
        else named.not_after < shifted(topic.opened, -item.crossed.days * DAY)
    )
    pairs.append((reader(N.ended if ended else "ends"), local_and_utc(named.not_after, reader)))
    return pairs


def _brief(item: NoticeItem, reader: Language) -> str:
    return f"{display(item.topic.target.host)}: {what_is_wrong(item, reader)} [{item.reference}]"


def _more(items: Sequence[NoticeItem], reader: Language) -> list[str]:
    return [_brief(i, reader) for i in items[MAX_BLOCKS : 5 * MAX_BLOCKS]]


# -- an announcement to many clients


@dataclass(frozen=True, slots=True)
class Announcement:
    """The content of an announcement to one client.

    Attributes:
        at: The day from which the rule holds.
        lines: The state of each of the client's sites, as translated text.
    """

    title: str
    at: date | None
    text: str
    lines: tuple[str, ...]


def announcement_message(
    template: str,
    person: Person,
    announcement: Announcement,
    sender: Sender,
    templates: Templates,
    manager: str | None,
    reference: str,
) -> Message:
    """Return the announcement to one contact, rendered with a template."""
    reader = language(person.language, person.zone)
    title = one_line(reader(announcement.title), 200)
    subject = one_line(reader(N.announcement_title).format(title=title), MAX_SUBJECT)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(person.name, 100)),
        "lead": (
            subject
            if announcement.at is None
            else f"{subject}. "
            + reader(N.announcement_from).format(date=_day(announcement.at, reader))
        ),
        "text": one_line(reader(announcement.text), 4000),
        "lines": list(announcement.lines),
        **_signature(reader, sender, manager, reference),
    }
    return Message(
        f"[{reference}] {subject}",
        templates.render(template, reader.code, "txt", message, reader),
        templates.render(template, reader.code, "html", message, reader),
        None,
        reference,
    )


# -- to staff


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a digest.

    Attributes:
        more: The number of lines that did not fit.
        command: The command that shows all of them.
    """

    heading: str
    lines: tuple[str, ...]
    more: int = 0
    command: str = ""


MAX_LINES = 25


def section(heading: str, lines: Sequence[str], command: str) -> Section:
    """Return a section with at most :data:`MAX_LINES` lines."""
    # A digest stays short; the command shows the rest.
    shown = tuple(one_line(line, 300) for line in lines[:MAX_LINES])
    return Section(heading, shown, max(0, len(lines) - MAX_LINES), command)


def staff_message(
    subject: str,
    lead_sentence: str,
    sections: Sequence[Section],
    footer: Sequence[str],
    templates: Templates,
    reference: str,
) -> Message:
    """Return a message to staff, in English."""
    message = {
        "subject": one_line(subject, MAX_SUBJECT),
        "lead": lead_sentence,
        "sections": [s for s in sections if s.lines],
        "footer": [one_line(line, 500) for line in footer],
    }
    text, html = (
        templates.render("staff", "en", output_format, message, str)
        for output_format in ("txt", "html")
    )
    return Message(one_line(subject, MAX_SUBJECT), text, html, None, reference)


SAMPLES: dict[str, dict[str, Any]] = {
    "client": {
        "language": "en",
        "subject": "s",
        "greeting": "g",
        "lead": "l",
        "also": ["a"],
        "offers": "o",
        "handler": "h",
        "answer": "a",
        "thanks": "t",
        "provider": "p",
        "blocks": [
            {
                "heading": "h",
                "reference": "CM-AAAAAA",
                "what": "w",
                "do": "d",
                "facts": [("label", "value")],
                "paste": "-----BEGIN",
            }
        ],
    },
    "announcement": {
        "language": "en",
        "subject": "s",
        "greeting": "g",
        "lead": "l",
        "text": "t",
        "lines": ["x"],
        "handler": "h",
        "answer": "a",
        "thanks": "t",
        "provider": "p",
    },
    "staff": {
        "subject": "s",
        "lead": "l",
        "sections": [{"heading": "h", "lines": ["x"], "more": 1, "command": "c"}],
        "footer": ["f"],
    },
}
