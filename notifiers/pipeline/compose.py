"""Drafts -> messages: subject, plain text, HTML, in the reader's language and time zone.

Pure, but for reading templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from babel.dates import format_date

from inventory.names import display
from inventory.text import printable
from notifiers.calendar import invitation
from notifiers.pipeline.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, name_of
from notifiers.pipeline.plan import Draft, NoticeItem
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.thresholds import DAY
from notifiers.pipeline.topic import Money, Topic, TopicKind
from notifiers.wording.cases import MATERIAL, ORDERS, STEPS, filled
from notifiers.wording.catalogue import Language, language
from notifiers.wording.notice import NoticePhrases
from notifiers.wording.sentences import client_instruction, sentence

N = NoticePhrases
MAX_BLOCKS = 60
MAX_SUBJECT = 160


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out. ``subject`` is one line. ``calendar``: iCalendar files that go with it."""

    subject: str
    text: str
    html: str
    outcome: str | None
    reference: str
    calendar: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who signs.

    ``answer``: within what time an answer comes, in words. ``offers``: empty unless the provider
    switched it on. ``address``: the mail address that calendar entries come from.
    """

    provider: str
    answer: str = ""
    offers: str = ""
    address: str = "noreply@certmgr.invalid"


def one_line(text: str, limit: int) -> str:
    """Without control characters and line breaks: what stands in a header."""
    return " ".join(printable(text, limit).split())


def client_message(
    draft: Draft, sender: Sender, templates: Templates, manager: str | None, now: datetime
) -> Message:
    """The message to one client contact. ``manager``: who handles it."""
    reader = language(draft.person.language, draft.person.zone)
    first = draft.items[0]
    subject = subject_line(draft, reader)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(draft.person.name, 100)),
        "lead": _lead(draft, reader),
        "blocks": [_block(i, draft.outcome, reader) for i in draft.items[:MAX_BLOCKS]],
        "also": [
            *_more(draft.items, reader),
            *(_brief(i, reader) for i in draft.also[:MAX_BLOCKS]),
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


def _lead(draft: Draft, reader: Language) -> str:
    if isinstance(draft.outcome, Resolved) and all(
        i.subject.code == "cancelled" for i in draft.items
    ):
        return reader(N.stopped)
    return lead(draft.outcome, reader)


def _calendar(draft: Draft, sender: Sender, reader: Language, now: datetime) -> tuple[str, ...]:
    """Windows of the cases that it speaks of, as invitations to its reader."""
    kind, address = draft.person.way or ("", "")
    if kind != "email":
        return ()
    found = []
    for item in draft.items:
        if (window := item.subject.window) is not None:
            title = reader(N.window_title).format(
                host=display(item.subject.target.host), reference=item.reference
            )
            found.append(
                invitation(window, title, what_is_wrong(item, reader), sender.address, address, now)
            )
    return tuple(found)


def _signature(
    reader: Language, sender: Sender, manager: str | None, reference: str
) -> dict[str, str]:
    provider = one_line(sender.provider, 200) or "certmgr"
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


def lead(outcome: Outcome, reader: Language) -> str:
    """The first sentence: the outcome."""
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
    sites = list(dict.fromkeys(display(i.subject.target.host) for i in draft.items))
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
            stopped = all(i.subject.code == "cancelled" for i in draft.items)
            text = reader(N.subject_stopped if stopped else N.subject_resolved).format(site=site)
    return one_line(text, MAX_SUBJECT)


def _block(item: NoticeItem, outcome: Outcome, reader: Language) -> dict[str, Any]:
    subject = item.subject
    host = display(subject.target.host)
    do = ""
    if subject.kind in (TopicKind.CASE, TopicKind.ORDER):
        do = case_text(subject, CASE_DO, reader)
    elif isinstance(item.outcome, YouAct) and subject.finding is not None:
        do = client_instruction(
            subject.finding, subject.target, reader, we_install=subject.we_install
        )
    elif (
        not isinstance(item.outcome, YouAct) and item.outcome != outcome
    ):  # the first sentence has said it
        do = lead(item.outcome, reader)
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
        "paste": subject.paste,
    }


def what_is_wrong(item: NoticeItem, reader: Language) -> str:
    subject = item.subject
    if subject.kind in (TopicKind.CASE, TopicKind.ORDER):
        return case_text(subject, CASE_WHAT, reader)
    said = sentence(subject.finding, subject.target, reader) if subject.finding is not None else ""
    if subject.kind is not TopicKind.DEADLINE or subject.end is None:
        return said
    words = N.deadline_ahead if item.crossed.days >= 0 else N.deadline_past
    head = reader(words).format(
        host=display(subject.target.host),
        date=_day(subject.day, reader) if subject.day else reader.date(subject.end),
        title=one_line(subject.title, 200),
    )
    return " ".join(p for p in (head, one_line(subject.text, 2000), said) if p)


def _resolved(item: NoticeItem, reader: Language) -> str:
    subject, host = item.subject, display(item.subject.target.host)
    match subject.kind:
        case TopicKind.CASE | TopicKind.ORDER:
            return case_text(subject, CASE_WHAT, reader)
        case TopicKind.COVER:
            return reader(N.resolved_cover).format(host=host)
        case TopicKind.DEADLINE:
            return reader(N.resolved_deadline).format(host=host, title=one_line(subject.title, 200))
        case _:
            what = (
                sentence(subject.finding, subject.target, reader)
                if subject.finding is not None
                else host
            )
            return reader(N.resolved_fault).format(what=what)


CASE_WHAT, CASE_DO = 0, 1


def case_text(subject: Topic, part: int, reader: Language) -> str:
    """The text of a case's step, or of an order's date, with its facts in this reader's format."""
    words = (STEPS if subject.kind is TopicKind.CASE else ORDERS)[subject.code][part]
    if not words:
        return ""
    return one_line(
        filled(
            reader(words),
            {k: _fact(k, v, reader) for k, v in subject.facts.items() if k != "said"}
            | _problems(subject, reader),
        ),
        4000,
    )


def _problems(subject: Topic, reader: Language) -> dict[str, str]:
    said = [
        filled(reader(MATERIAL[code]), {k: one_line(v, 300) for k, v in values.items()})
        for code, values in subject.facts.get("said", ())
        if code in MATERIAL
    ]
    return {"problems": " ".join(said)}


def _fact(name: str, value: Any, reader: Language) -> str:
    """Dates as the reader writes them; a tuple is a phrase with a date."""
    if isinstance(value, Money):
        return (
            reader("no fee")
            if not value.amount
            else reader("fee {amount}").format(
                amount=f"{value.amount} {value.currency or ''}".strip()
            )
        )
    if isinstance(value, datetime):
        return moment(value, reader) if name in ("window", "until") else reader.date(value)
    if isinstance(value, list):
        return ", ".join(reader(text) for text in value)
    if isinstance(value, tuple):
        text, *rest = value
        return reader(text).format(date=reader.date(rest[0])) if rest else reader(text)
    return one_line(value, 1000) if isinstance(value, str) else ""


def moment(at: datetime, reader: Language) -> str:
    """The client's local time and UTC."""
    local = reader.instant(at)
    return local if reader.zone is UTC else f"{local} ({at.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"


def _facts(item: NoticeItem, reader: Language) -> list[tuple[str, str]]:
    subject, facts = item.subject, []
    if isinstance(item.outcome, Resolved):
        return []
    if subject.serial:
        named = (
            f"{reader('Certificate')} ({reader('issued by')} {one_line(subject.issuer, 100)})"
            if subject.issuer
            else reader("Certificate")
        )
        facts.append((named, one_line(subject.serial, 80)))
    end = subject.end if subject.kind is TopicKind.COVER else subject.not_after
    if end is not None:
        # What has no date ahead counts the days since it was opened.
        over = (
            item.crossed.days < 0
            if subject.kind is TopicKind.COVER
            else end < subject.opened - item.crossed.days * DAY
        )
        facts.append((reader(N.ended if over else "ends"), moment(end, reader)))
    return facts


def _brief(item: NoticeItem, reader: Language) -> str:
    return f"{display(item.subject.target.host)}: {what_is_wrong(item, reader)} [{item.reference}]"


def _more(items: Sequence[NoticeItem], reader: Language) -> list[str]:
    return [_brief(i, reader) for i in items[MAX_BLOCKS : 5 * MAX_BLOCKS]]


# -- a bulletin to many clients


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a broadcast says to one client: the dated rule, and how each of its sites stands (one
    line each, already in words).
    """

    title: str
    at: date | None
    text: str
    lines: tuple[str, ...]


def announcement_message(
    template: str,
    person: Person,
    bulletin: Announcement,
    sender: Sender,
    templates: Templates,
    manager: str | None,
    reference: str,
) -> Message:
    reader = language(person.language, person.zone)
    title = one_line(reader(bulletin.title), 200)
    subject = one_line(reader(N.bulletin_title).format(title=title), MAX_SUBJECT)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(person.name, 100)),
        "lead": (
            subject
            if bulletin.at is None
            else f"{subject}. {reader(N.bulletin_from).format(date=_day(bulletin.at, reader))}"
        ),
        "text": one_line(reader(bulletin.text), 4000),
        "lines": list(bulletin.lines),
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
    """One part of a digest. ``command`` shows what does not fit."""

    heading: str
    lines: tuple[str, ...]
    more: int = 0
    command: str = ""


MAX_LINES = 25


def section(heading: str, lines: Sequence[str], command: str) -> Section:
    shown = tuple(one_line(line, 300) for line in lines[:MAX_LINES])
    return Section(heading, shown, max(0, len(lines) - MAX_LINES), command)


def staff_message(
    subject: str,
    lead_: str,
    sections: Sequence[Section],
    footer: Sequence[str],
    templates: Templates,
    reference: str,
) -> Message:
    """In English: it is for our own staff."""
    message = {
        "subject": one_line(subject, MAX_SUBJECT),
        "lead": lead_,
        "sections": [s for s in sections if s.lines],
        "footer": [one_line(line, 500) for line in footer],
    }
    text, html = (templates.render("staff", "en", form, message, str) for form in ("txt", "html"))
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
    "bulletin": {
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
