"""What a message states about one topic, in the language and time zone of its reader. Pure.

Cases and purchases have texts with placeholders; all other topics are described by a finding.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_never

from inventory.dates import shifted
from inventory.names import display
from notifiers.pipeline.message import long_date, one_line
from notifiers.pipeline.outcome import Resolved
from notifiers.pipeline.plan import NoticeItem
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
from notifiers.wording.catalogue import Language
from notifiers.wording.notice import NoticePhrases as N
from notifiers.wording.sentences import sentence


def what_is_wrong(item: NoticeItem, reader: Language, name: str = "") -> str:
    """Return what is wrong, in one or more sentences.

    Args:
        name: What stands for the name, if the text is about several. Empty for that of the item.
    """
    topic, facts = item.topic, item.topic.facts
    if isinstance(facts, CaseFacts | PurchaseFacts):
        return case_text(topic, CASE_WHAT, reader)
    problem = (
        sentence(facts.finding, topic.target, reader, host=name)
        if facts.finding is not None
        else ""
    )
    # Only a deadline has a title and a text of the provider.
    if not isinstance(facts, DeadlineFacts) or topic.end is None:
        return problem
    words = N.deadline_ahead if item.crossed.days >= 0 else N.deadline_past
    head = reader(words).format(
        host=name or display(topic.target.host),
        date=long_date(facts.day, reader),
        title=one_line(facts.title, 200),
    )
    return " ".join(p for p in (head, one_line(facts.text, 2000), problem) if p)


def resolved_text(item: NoticeItem, reader: Language, name: str = "") -> str:
    """Return the sentence of an item whose topic is over.

    Args:
        item: The item.
        reader: The language.
        name: The name to show instead of that of the target.
    """
    topic, host = item.topic, name or display(item.topic.target.host)
    match topic.facts:
        case CaseFacts() | PurchaseFacts():
            return case_text(topic, CASE_WHAT, reader)
        # The fault itself is not repeated: the message states that the new certificate is served.
        case CoverFacts():
            return reader(N.resolved_cover).format(host=host)
        case DeadlineFacts(title=title):
            return reader(N.resolved_deadline).format(host=host, title=one_line(title, 200))
        case FaultFacts(finding=finding):
            what = (
                sentence(finding, topic.target, reader, host=host) if finding is not None else host
            )
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
    # Some steps only inform: nothing is asked of the client.
    if not words:
        return ""
    # In the language and zone of the reader, which is why topics carry values and no texts.
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


def certificate_facts(item: NoticeItem, reader: Language) -> list[tuple[str, str]]:
    """Return label and value of the certificate that the item is about."""
    topic, facts = item.topic, item.topic.facts
    if isinstance(item.outcome, Resolved) or not isinstance(facts, CoverFacts | FaultFacts):
        return []
    if (named := facts.certificate) is None:
        return []
    pairs = []
    # By serial number and issuer a client finds the certificate in the customer area of its vendor.
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
