"""You need to act, we are fixing it, passed to level 2: always exactly one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import assert_never

from inventory.vocabulary import SEVERITY_ORDER


@dataclass(frozen=True, slots=True)
class YouAct:
    """The client acts by this day; None: as soon as possible."""

    by: date | None


@dataclass(frozen=True, slots=True)
class WeAct:
    """A named person, or a running automation, has it done by then."""

    person: str
    by: datetime


@dataclass(frozen=True, slots=True)
class Escalated:
    """The cause is not known; level 2 has it, and sends word by then."""

    next_word: date


@dataclass(frozen=True, slots=True)
class Resolved:
    """It is done: thanks, and the end of the conversation."""


Outcome = YouAct | WeAct | Escalated | Resolved


def name_of(outcome: Outcome) -> str:
    match outcome:
        case YouAct():
            return "you-act"
        case WeAct():
            return "we-act"
        case Escalated():
            return "escalated"
        case Resolved():
            return "resolved"
        case _:
            assert_never(outcome)


_TIES = ("you-act", "we-act", "escalated", "resolved")


def decides(found: Iterable[tuple[str, Outcome]]) -> Outcome:
    """``found``: (severity, outcome) of everything that one message speaks of.

    The worst decides; ties: you act, we act, escalated. Among several dates to act by the first
    counts, and "as soon as possible" before any.
    """
    ranked = sorted(
        found,
        key=lambda f: (
            isinstance(f[1], Resolved),
            SEVERITY_ORDER.get(f[0], 9),
            _TIES.index(name_of(f[1])),
        ),
    )
    first = ranked[0][1]
    if isinstance(first, YouAct):
        mine = [o for _, o in ranked if isinstance(o, YouAct)]
        days = [o.by for o in mine if o.by is not None]
        return YouAct(None if len(days) < len(mine) else min(days))
    return first
