"""The outcomes of a message: you need to act, we are fixing it, passed to level 2. Pure.

Each message has exactly one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import assert_never

from inventory.vocabulary import SEVERITY_ORDER


@dataclass(frozen=True, slots=True)
class YouAct:
    """The client has to act.

    Attributes:
        by: The day. None means as soon as possible.
    """

    by: date | None


@dataclass(frozen=True, slots=True)
class WeAct:
    """A named person or an automation fixes it by a date.

    Attributes:
        person: The person that it was assigned to. Empty if it was assigned to no person: the
            provider plans to have it done then.
    """

    person: str
    by: datetime


@dataclass(frozen=True, slots=True)
class Escalated:
    """The cause is not known. Level 2 investigates.

    Attributes:
        next_update: The day by which level 2 sends the next status update.
    """

    next_update: date


@dataclass(frozen=True, slots=True)
class Resolved:
    """The topic is resolved. The message thanks the client and closes the ticket."""


Outcome = YouAct | WeAct | Escalated | Resolved


def name_of(outcome: Outcome) -> str:
    """Return the name of an outcome as it is stored."""
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


def decides(severities_and_outcomes: Iterable[tuple[str, Outcome]]) -> Outcome:
    """Return the outcome of a message from severity and outcome of each of its items.

    If anything is asked of the client, the message states so first. Otherwise the highest severity
    decides, and in a tie the order is: we act, escalated. Among several days to act by the first
    counts, and "as soon as possible" is before any day.
    """
    # A resolved item never hides one that is open. A client who reads that we fix one fault would
    # not read on to what only they can do.
    ranked = sorted(
        severities_and_outcomes,
        key=lambda f: (
            # False sorts before True: what is open stands before what is done.
            isinstance(f[1], Resolved),
            not isinstance(f[1], YouAct),
            SEVERITY_ORDER.get(f[0], 9),
            _TIES.index(name_of(f[1])),
        ),
    )
    first = ranked[0][1]
    if isinstance(first, YouAct):
        client_acts = [o for _, o in ranked if isinstance(o, YouAct)]
        # The first day that any item asks for, since the subject names one.
        days = [o.by for o in client_acts if o.by is not None]
        # If any item is due as soon as possible, so is the message.
        return YouAct(None if len(days) < len(client_acts) else min(days))
    return first
