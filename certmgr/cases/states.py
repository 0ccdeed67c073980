"""The states of a case, who is waited for in each, and which action leads where.

Pure; the table is all there is.

requested -> csr-ready -> waiting-purchase -> received -> checked -> window-agreed -> installed ->
seen-live -> closed; declined, cancelled and reopened beside them. A case reaches ``closed`` from
``seen-live`` alone, which only a look at the servers reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from certmgr.purchases.model import LeadTimes


class CaseState(StrEnum):
    REQUESTED = "requested"
    CSR_READY = "csr-ready"
    WAITING = "waiting-purchase"
    RECEIVED = "received"
    CHECKED = "checked"
    WINDOW = "window-agreed"
    INSTALLED = "installed"
    LIVE = "seen-live"
    CLOSED = "closed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    REOPENED = "reopened"


ENDED = frozenset({CaseState.CLOSED, CaseState.DECLINED, CaseState.CANCELLED})
OPEN = tuple(s for s in CaseState if s not in ENDED)
_BEFORE_WINDOW = (
    CaseState.REQUESTED,
    CaseState.CSR_READY,
    CaseState.WAITING,
    CaseState.RECEIVED,
    CaseState.CHECKED,
    CaseState.REOPENED,
)


class CaseAction(StrEnum):
    CSR = "csr"  # key and CSR exist, made by us or checked
    SEND = "send"  # the CSR is with whoever buys
    RECEIVE = "receive"  # something came back
    REFUSE = "refuse"  # and is not what was asked for
    ACCEPT = "accept"  # and is
    AGREE = "agree"  # on a window
    LIFT = "lift"  # the window does not hold any more
    INSTALL = "install"
    SEE = "see"  # seen live on every address
    CLOSE = "close"
    DECLINE = "decline"
    CANCEL = "cancel"
    REOPEN = "reopen"


_A, _S = CaseAction, CaseState
TABLE: dict[tuple[CaseState, CaseAction], CaseState] = {
    **{(s, _A.CSR): _S.CSR_READY for s in (*_BEFORE_WINDOW, _S.CSR_READY)},
    (_S.CSR_READY, _A.SEND): _S.WAITING,
    **{(s, _A.RECEIVE): _S.RECEIVED for s in _BEFORE_WINDOW},
    (_S.RECEIVED, _A.REFUSE): _S.WAITING,
    (_S.RECEIVED, _A.ACCEPT): _S.CHECKED,
    **{(s, _A.AGREE): _S.WINDOW for s in (_S.CHECKED, _S.WINDOW, _S.REOPENED)},
    (_S.WINDOW, _A.LIFT): _S.CHECKED,
    **{(s, _A.INSTALL): _S.INSTALLED for s in (_S.CHECKED, _S.WINDOW, _S.REOPENED)},
    **{(s, _A.SEE): _S.LIVE for s in (_S.CHECKED, _S.WINDOW, _S.INSTALLED, _S.REOPENED)},
    (_S.LIVE, _A.CLOSE): _S.CLOSED,
    **{(s, _A.DECLINE): _S.DECLINED for s in (*_BEFORE_WINDOW, _S.WINDOW)},
    **{(s, _A.CANCEL): _S.CANCELLED for s in OPEN},
    **{
        (s, _A.REOPEN): _S.REOPENED
        for s in (_S.INSTALLED, _S.LIVE, _S.CLOSED, _S.DECLINED, _S.CANCELLED)
    },
}


def after(state: str, action: CaseAction) -> CaseState | None:
    """The state that the action leads to; None where it is not allowed."""
    return TABLE.get((CaseState(state), action))


def allowed(state: str) -> tuple[CaseAction, ...]:
    return tuple(a for a in CaseAction if (CaseState(state), a) in TABLE)


CLIENT, PROVIDER, NOBODY = "client", "provider", "nobody"


def waits_for(case: Mapping[str, Any]) -> str:
    """client, provider or nobody. ``case``: its row."""
    match CaseState(case["state"]):
        case CaseState.REQUESTED:
            return CLIENT if case["own_csr"] else PROVIDER
        case CaseState.WAITING:
            return PROVIDER if case["bought_by"] == "us" else CLIENT
        case CaseState.CHECKED:
            return PROVIDER if case["approved_at"] is not None else CLIENT
        case CaseState.CLOSED | CaseState.DECLINED | CaseState.CANCELLED:
            return NOBODY
        case _:
            return PROVIDER


# What has to be done in each state, for the work list.
TODO = {
    CaseState.REQUESTED: "make the CSR: certmgr case csr REF (or take the client's: --from FILE)",
    CaseState.CSR_READY: "give the CSR to whoever buys: certmgr case send REF",
    CaseState.WAITING: "wait for the certificate; then certmgr case receive REF FILE",
    CaseState.RECEIVED: "look at what came: certmgr case receive REF FILE again",
    CaseState.CHECKED: "agree on price and window: certmgr case approve REF, then window REF",
    CaseState.WINDOW: (
        "install it in the window: certmgr case package REF; then certmgr case install REF"
    ),
    CaseState.INSTALLED: "prove it: certmgr case verify REF",
    CaseState.LIVE: "certmgr case close REF",
    CaseState.REOPENED: "look why: certmgr case show REF",
}


# How long a case lies overdue with us until all administrators get a mail about it.
LEVEL_2 = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who hears of a case that stands still, and from when on."""

    who: str
    at: datetime


def due(
    case: Mapping[str, Any], now: datetime, leads: LeadTimes, verify: timedelta
) -> datetime | None:
    """By when the state should be left.

    Where the certificate that is replaced ends, backwards from there; not in less than a day from
    now, unless that certificate ends sooner.

    ``case``: the row with the state that was just entered. ``verify``: how long after a window the
    proof is awaited.
    """
    state, end = CaseState(case["state"]), case["ends_at"]
    if state in ENDED:
        return None
    if state is CaseState.WINDOW and case["window_end"] is not None:
        return datetime.fromtimestamp(case["window_end"], now.tzinfo)
    days = {
        CaseState.REQUESTED: 2,
        CaseState.CSR_READY: 1,
        CaseState.WAITING: leads.purchase + leads.validation,
        CaseState.RECEIVED: 1,
        CaseState.CHECKED: leads.installation,
        CaseState.WINDOW: leads.installation,
        CaseState.LIVE: 1,
        CaseState.REOPENED: 1,
    }
    if state is CaseState.INSTALLED:
        return now + verify
    usual = now + timedelta(days=days[state])
    if end is None:
        return usual
    after_it = {
        CaseState.REQUESTED: leads.buy,
        CaseState.CSR_READY: leads.buy,
        CaseState.WAITING: timedelta(days=leads.installation),
    }
    last = datetime.fromtimestamp(end, now.tzinfo) - after_it.get(state, timedelta(days=1))
    least = min(usual, max(last, now + timedelta(days=1)))
    over = datetime.fromtimestamp(end, now.tzinfo)
    return min(least, over) if over > now else least


def escalations(case: Mapping[str, Any], climb_days: int, tz: Any) -> tuple[Escalation, ...]:
    """Whom a case climbs to when nothing moves, in their order."""
    if case["due_at"] is None:
        return ()
    since, due_at = (datetime.fromtimestamp(case[k], tz) for k in ("since", "due_at"))
    step = timedelta(days=climb_days)
    if waits_for(case) == CLIENT:
        return (
            Escalation("the client's fallback contact", since + step),
            Escalation("the account manager, by telephone", max(due_at, since + step)),
        )
    return (
        Escalation("all administrators, in their digest", due_at),
        Escalation("level 2: all administrators, by mail", due_at + LEVEL_2),
    )


def reminder(since: datetime, due_at: datetime | None, end: datetime | None, now: datetime) -> int:
    """How many days after the state began the last reminder was due: at once (0), every seven days,
    and every two days once it is overdue or the certificate that is replaced ends within a week.
    The number only grows.
    """
    passed = (now - since) / timedelta(days=1)
    dense = [
        x - since
        for x in (due_at, end - timedelta(days=7) if end is not None else None)
        if x is not None
    ]
    begins = max(0.0, min(dense) / timedelta(days=1)) if dense else float("inf")
    if passed <= begins:
        return int(passed // 7) * 7
    first = int(begins) + 1
    return first + int((passed - first) // 2) * 2 if passed >= first else int(begins // 7) * 7


def next_reminder(case: Mapping[str, Any], now: datetime) -> datetime | None:
    """When the client, if it is waited for, is reminded the next time; None where nobody is."""
    if waits_for(case) != CLIENT:
        return None
    since, due_at, end = (
        None if case[k] is None else datetime.fromtimestamp(case[k], now.tzinfo)
        for k in ("since", "due_at", "ends_at")
    )
    assert since is not None
    last = reminder(since, due_at, end, now)
    ahead = (now + timedelta(days=d) for d in range(1, 9))
    return next(
        (
            since + timedelta(days=n)
            for at in ahead
            if (n := reminder(since, due_at, end, at)) > last
        ),
        None,
    )


def overdue(case: Mapping[str, Any], now: datetime) -> bool:
    return case["due_at"] is not None and int(case["due_at"]) < now.timestamp()
