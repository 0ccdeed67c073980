"""Compose the message to one client contact: subject, plain text and HTML.

Each message is in the language and time zone of its reader. Pure, except for reading templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from inventory.names import display
from notifiers.calendar import invitation
from notifiers.pipeline.folding import (
    PLACEHOLDER,
    fold,
    hosts_of,
    joined,
    merged,
    name_in_text,
    nameless,
)
from notifiers.pipeline.message import MAX_SUBJECT, Message, Sender, long_date, one_line, signature
from notifiers.pipeline.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, name_of
from notifiers.pipeline.plan import Draft, NoticeItem
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.topic import CaseFacts, PurchaseFacts
from notifiers.pipeline.topic_text import (
    CASE_DO,
    case_text,
    certificate_facts,
    resolved_text,
    what_is_wrong,
)
from notifiers.wording.catalogue import Language, language
from notifiers.wording.notice import NoticePhrases as N
from notifiers.wording.sentences import client_instruction

# Beyond that, a message has one line per site: no one reads a hundred instructions in a mail.
MAX_BLOCKS = 60
MAX_NAMES = 100  # as many as a certificate has
MAX_BRIEF_NAMES = 8


def client_message(
    draft: Draft, sender: Sender, templates: Templates, manager: str | None, now: datetime
) -> Message:
    """Return the message to one client contact.

    Args:
        manager: The name of the account manager, if there is one.
    """
    reader = language(draft.person.language, draft.person.zone)
    first, groups = draft.items[0], fold(draft.items)
    subject = subject_line(draft, reader)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(draft.person.name, 100)),
        "lead": _draft_lead(draft, reader),
        "blocks": [_block(g, draft.outcome, reader) for g in groups[:MAX_BLOCKS]],
        "also": [
            *(_brief(g, reader) for g in groups[MAX_BLOCKS : 5 * MAX_BLOCKS]),
            *(_brief(g, reader) for g in fold(draft.also_open)[:MAX_BLOCKS]),
        ],
        # Empty unless the provider configured it: a fault is no occasion to sell something unasked.
        "offers": one_line(sender.offers, 2000),
        **signature(reader, sender, manager, first.reference),
    }
    return Message(
        # The reference in the subject keeps the mails of a ticket together in every mail program.
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
    lead = lead_sentence(draft.outcome, reader, work=_is_work(draft))
    # Nothing may be asked of the client anywhere in the message, also of what is open from before.
    asked = any(isinstance(i.outcome, YouAct) for i in (*draft.items, *draft.also_open))
    if isinstance(draft.outcome, WeAct | Escalated) and not asked:
        lead = f"{lead} {reader(N.nothing_asked)}"
    return lead


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


def _is_work(draft: Draft) -> bool:
    """Return whether a message is only about steps of cases.

    A certificate that is prepared in time is work, and nothing that would have to be fixed.
    """
    return all(isinstance(i.topic.facts, CaseFacts) for i in draft.items)


def lead_sentence(outcome: Outcome, reader: Language, *, work: bool = False) -> str:
    """Return the first sentence for an outcome.

    Args:
        outcome: The outcome.
        reader: The language of the reader.
        work: Whether it is work in time, and no fault.
    """
    match outcome:
        case YouAct(None):
            return reader(N.you_now)
        case YouAct(date() as by):
            return reader(N.you_by).format(date=long_date(by, reader))
        # Only a person who was assigned is named: a promise by name must be kept by that person.
        case WeAct("", by):
            text = reader(N.we_work_unnamed if work else N.we_act_unnamed)
            return text.format(date=reader.date(by))
        case WeAct(person, by):
            text = reader(N.we_work if work else N.we_act)
            return text.format(person=one_line(person, 100), date=reader.date(by))
        case Escalated(by):
            return reader(N.escalated).format(date=long_date(by, reader))
        case Resolved():
            return reader(N.resolved)
    raise AssertionError(outcome)


def subject_line(draft: Draft, reader: Language) -> str:
    """Return the subject of the mail."""
    site = _site(hosts_of(draft.items), reader)
    match draft.outcome:
        case YouAct(None):
            text = reader(N.subject_you_now).format(site=site)
        case YouAct(date() as by):
            text = reader(N.subject_you_by).format(date=long_date(by, reader), site=site)
        case WeAct():
            text = reader(N.subject_work if _is_work(draft) else N.subject_we).format(site=site)
        case Escalated():
            text = reader(N.subject_escalated).format(site=site)
        case Resolved():
            # "Done" would be wrong for an installation that was cancelled.
            stopped = all(i.topic.code == "cancelled" for i in draft.items)
            text = reader(N.subject_stopped if stopped else N.subject_resolved).format(site=site)
    return one_line(text, MAX_SUBJECT)


def _block(group: Sequence[NoticeItem], outcome: Outcome, reader: Language) -> dict[str, Any]:
    """Return the paragraph about one certificate, one cause, or one other topic."""
    item = merged(group)
    hosts, name = hosts_of(group), name_in_text(group, reader)
    text = resolved_text if isinstance(item.outcome, Resolved) else what_is_wrong
    facts = item.topic.facts
    names = [(reader("Names"), joined(hosts, reader, MAX_NAMES))] if len(hosts) > 1 else []
    return {
        "heading": _site(hosts, reader),
        "reference": item.reference,
        "what": text(item, reader, name),
        "do": _instructions(group, outcome, reader),
        "facts": [*names, *certificate_facts(item, reader)],
        "paste": facts.paste if isinstance(facts, CaseFacts) else "",
    }


def _instructions(group: Sequence[NoticeItem], outcome: Outcome, reader: Language) -> str:
    """Return what the client has to do about a group.

    Names of one certificate can differ in it: one is served by us, and another by the client.
    Then each instruction names those that it is for.
    """
    variants: dict[str, list[NoticeItem]] = {}
    for item in group:
        variants.setdefault(_instruction(item, outcome, reader, PLACEHOLDER), []).append(item)
    if len(variants) == 1:
        return _instruction(merged(group), outcome, reader, name_in_text(group, reader))
    parts = []
    for items in variants.values():
        if text := _instruction(merged(items), outcome, reader, name_in_text(items, reader)):
            parts.append(f"{joined(hosts_of(items), reader, MAX_NAMES)}: {text}")
    return " ".join(parts)


def _instruction(item: NoticeItem, outcome: Outcome, reader: Language, name: str) -> str:
    topic, facts = item.topic, item.topic.facts
    # Steps of a case have their own instructions; findings have those of their code.
    if isinstance(facts, CaseFacts | PurchaseFacts):
        return case_text(topic, CASE_DO, reader)
    if isinstance(item.outcome, YouAct):
        finding = facts.finding
        if finding is None:
            return ""
        finding = nameless(finding) if name == PLACEHOLDER else finding
        return client_instruction(
            finding, topic.target, reader, we_install=facts.we_install, host=name
        )
    # The outcome of this item differs from the first sentence of the message.
    return lead_sentence(item.outcome, reader) if item.outcome != outcome else ""


def _site(hosts: Sequence[str], reader: Language) -> str:
    """Return the first name, with the number of the others."""
    if len(hosts) == 1:
        return hosts[0]
    return reader(N.subject_more).format(site=hosts[0], n=len(hosts) - 1)


def _brief(group: Sequence[NoticeItem], reader: Language) -> str:
    names = joined(hosts_of(group), reader, MAX_BRIEF_NAMES)
    what = what_is_wrong(merged(group), reader, name_in_text(group, reader))
    return f"{names}: {what} [{group[0].reference}]"
