"""Fold the items of a message: one paragraph and one reference per certificate or cause. Pure.

A client with one certificate for eight names has one thing to do, and not eight.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from inventory.names import display
from inventory.vocabulary import Finding
from notifiers.pipeline.outcome import Resolved
from notifiers.pipeline.plan import NoticeItem
from notifiers.pipeline.topic import CoverFacts, DeadlineFacts, FaultFacts, Topic
from notifiers.wording.catalogue import ENGLISH, Language
from notifiers.wording.notice import NoticePhrases as N
from notifiers.wording.sentences import sentence

# Stands for the names and addresses of an item, so that texts can be compared without them.
PLACEHOLDER = "\N{REPLACEMENT CHARACTER}"


def fold(items: Iterable[NoticeItem]) -> tuple[tuple[NoticeItem, ...], ...]:
    """Return the items in groups of one certificate or one cause, in the order of their firsts.

    A group never contains items of two clients, even if one reader gets the notices of both: each
    client has separate references.
    """
    groups: dict[Hashable, list[NoticeItem]] = {}
    for item in items:
        groups.setdefault(_key(item), []).append(item)
    return tuple(tuple(group) for group in groups.values())


def _key(item: NoticeItem) -> Hashable:
    topic = item.topic
    if not isinstance(item.outcome, Resolved):
        return fold_key(topic)
    # What was one paragraph while it was open is one when it is done.
    known = bool(item.reference) and isinstance(topic.facts, CoverFacts | FaultFacts)
    return ("done", topic.client_id, item.reference if known else topic.mark)


def fold_key(topic: Topic) -> Hashable:
    """Return what open topics of one paragraph have in common."""
    facts, client = topic.facts, topic.client_id
    match facts:
        case CoverFacts():
            return ("cover", client, topic.revision)
        case FaultFacts(finding=finding) if finding is not None and topic.cause:
            # Faults are one paragraph only if nothing but name and address differs: a sentence
            # with the evidence of another site would be wrong for the others.
            text = sentence(nameless(finding), topic.target, ENGLISH, host=PLACEHOLDER)
            return ("fault", client, topic.cause, topic.code, text)
        case DeadlineFacts(title=title, day=day, finding=finding):
            text = (
                sentence(nameless(finding), topic.target, ENGLISH, host=PLACEHOLDER)
                if finding is not None
                else ""
            )
            return ("deadline", client, title, day, text)
        case _:
            # Each case and each purchase has separate steps and dates.
            return ("alone", topic.mark)


def nameless(finding: Finding) -> Finding:
    """Return the finding without its addresses, for comparisons."""
    return replace(finding, addresses=(PLACEHOLDER,))


def hosts_of(group: Sequence[NoticeItem]) -> list[str]:
    """Return the names of a group as they are shown, each once: a name may have several ports."""
    return list(dict.fromkeys(display(i.topic.target.host) for i in group))


def name_in_text(group: Sequence[NoticeItem], reader: Language) -> str:
    """Return what stands for the names of a group in a sentence. The paragraph lists them."""
    first, *more = hosts_of(group)
    return reader(N.and_more_below).format(host=first, n=len(more)) if more else first


def joined(names: Sequence[str], reader: Language, limit: int) -> str:
    """Return the names in one line, at most ``limit`` of them with the number of the others."""
    text = ", ".join(names[:limit])
    more = len(names) - limit
    return f"{text} {reader('and {n} more').replace('{n}', str(more))}" if more > 0 else text


def merged(group: Sequence[NoticeItem]) -> NoticeItem:
    """Return the first item of a group, with the addresses of all its names."""
    first = group[0]
    facts = first.topic.facts
    if len(group) == 1 or not isinstance(facts, CoverFacts | FaultFacts) or facts.finding is None:
        return first
    addresses = dict.fromkeys(
        a for i in group if (finding := i.topic.finding) is not None for a in finding.addresses
    )
    whole = replace(facts, finding=replace(facts.finding, addresses=tuple(addresses)))
    return replace(first, topic=replace(first.topic, facts=whole))
