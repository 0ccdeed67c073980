"""What clients and administrators have to hear of cases and orders: subjects for the run of
notices. Reading is an edge, the rest is pure.

A case is one subject a state: each state that is entered is a new round, told at once, and reminded
of as :func:`certmgr.cases.states.reminder` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from certmgr.cases.states import ENDED, LEVEL_2, TODO, CaseState, overdue, reminder, waits_for
from certmgr.cases.window import InstallationWindow, entry
from certmgr.purchases.load import load, looked_after, parents
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, purchase_deadlines, term_of
from inventory.db.database import from_epoch, to_epoch
from inventory.names import display
from inventory.store import cases
from inventory.store.records import Row
from inventory.targets import Target
from notifiers.pipeline.topic import EndedTopic, Money, StaffTask, Topic, TopicKind
from notifiers.wording.cases import OLD_IS_BACK

PRODUCTS = {"dv": "domain validation", "ov": "organisation validation", "ev": "extended validation"}
KINDS = {"single": "one name", "multi": "several names", "wildcard": "wildcard"}


@dataclass(frozen=True, slots=True)
class CaseTopics:
    """``open_names``: client id -> name -> reference of the case that leads it; about those no
    notice of another kind is sent.
    """

    subjects: list[Topic]
    ended: dict[str, EndedTopic]
    errands: list[StaffTask]
    worklist: list[str]
    open_names: dict[int, dict[str, str]]


def _moment(seconds: int | None) -> datetime | None:
    return from_epoch(seconds)


def gather(
    conn: Connection,
    now: datetime,
    told: Mapping[str, Mapping[str, Any]],
    leads: LeadTimes,
    minutes: int,
    provider: str = "",
) -> CaseTopics:
    """``told``: matters that are open and were told, by key.

    ``minutes``: of a window that is proposed. ``provider``: who acts where nobody leads a case.
    """
    rows = cases.listing(conn, states=cases.OPEN)
    issued = cases.issuances(conn, [r["id"] for r in rows])
    purchases = (
        {
            o.id: o
            for o in load(conn, ids=[r["order_id"] for r in rows if r["order_id"] is not None])
        }
        if rows
        else {}
    )
    places = {r["id"]: r for r in rows}
    subjects = [
        of_case(
            r, issued.get(r["id"], ()), purchases.get(r["order_id"] or 0), now, minutes, provider
        )
        for r in rows
    ]
    ended_ = [
        r
        for r in cases.listing(
            conn, states=("declined", "cancelled", "closed"), since=to_epoch(now) - 7 * 86_400
        )
        if r["window_state"] == "cancelled"
    ]
    errands = [
        e for r in (*rows, *ended_) for e in (errand(r, now), level_2(r, now)) if e is not None
    ]
    over = {}
    wanted = [
        int(k.split(":")[1])
        for k, m in told.items()
        if m["kind"] == TopicKind.CASE and int(k.split(":")[1]) not in places
    ]
    if wanted:
        closed = {r["id"]: r for r in cases.listing(conn) if r["id"] in set(wanted)}
        certificates = cases.issuances(conn, wanted)
        theirs = {
            o.id: o
            for o in load(
                conn, ids=[r["order_id"] for r in closed.values() if r["order_id"] is not None]
            )
        }
        for key, matter in told.items():
            if (
                matter["kind"] == TopicKind.CASE
                and (row := closed.get(int(key.split(":")[1]))) is not None
            ):
                over[key] = ended(
                    row,
                    certificates.get(row["id"], ()),
                    theirs.get(row["order_id"] or 0),
                    now,
                    leads,
                )
    return CaseTopics(subjects, over, errands, worklist(rows, now), _leading(rows, now))


def _leading(rows: Sequence[Row], now: datetime) -> dict[int, dict[str, str]]:
    """Client id -> name -> the case that leads it.

    One that is overdue, or whose certificate ends within a day, leads no more: then everything is
    said.
    """
    found: dict[int, dict[str, str]] = {}
    for row in rows:
        soon = row["ends_at"] is not None and row["ends_at"] < to_epoch(now + DAY)
        if not overdue(row, now) and not soon:
            found.setdefault(row["client_id"], {}).update(
                dict.fromkeys(row["names"], row["reference"])
            )
    return found


def worklist(rows: Sequence[Row], now: datetime) -> list[str]:
    """Overdue cases, then the windows of the next seven days."""
    late = [r for r in rows if overdue(r, now)]
    lines = [
        f"{r['reference']} client {r['client']}: {r['state']} waits for {waits_for(r)}, due"
        f" {_moment(r['due_at']):%Y-%m-%d}"
        for r in late
    ]
    ahead = [
        r
        for r in rows
        if r["state"] == CaseState.WINDOW
        and r["window_start"] is not None
        and now <= (_moment(r["window_start"]) or now) < now + 7 * DAY
    ]
    return lines + [
        f"{r['reference']} client {r['client']}: window {_span(r).text}"
        for r in sorted(ahead, key=lambda r: int(r["window_start"]))
    ]


def of_case(
    row: Row,
    issued: Sequence[Row],
    order: Purchase | None,
    now: datetime,
    minutes: int,
    provider: str = "",
) -> Topic:
    """The subject of an open case, in the state that it is in."""
    state, waits = CaseState(row["state"]), waits_for(row)
    since, due, end = _moment(row["since"]), _moment(row["due_at"]), _moment(row["ends_at"])
    assert since is not None
    client_acts = waits == "client"
    staff = row["staff"] or row["account_manager"] or provider or "certmgr"
    pems = (
        [i["csr"] for i in issued if i["csr"]]
        if state is CaseState.WAITING and client_acts and not row["own_csr"]
        else []
    )
    window = None
    if (
        row["window_state"] == "agreed"
        and state in (CaseState.WINDOW, CaseState.INSTALLED)
        and row["window_start"] is not None
    ):
        window = entry(
            row["reference"],
            row["window_sequence"],
            row["window_start"],
            row["window_end"],
            cancelled=False,
        )
    elif (
        row["window_state"] == "cancelled"
        and state in (CaseState.CHECKED, CaseState.REOPENED)
        and row["window_start"] is not None
    ):
        window = entry(
            row["reference"],
            row["window_sequence"],
            row["window_start"],
            row["window_end"],
            cancelled=True,
        )
    return Topic(
        key=cases.matter_key(row["id"], row["client_id"]),
        kind=TopicKind.CASE,
        round=f"{row['step']} {state}",
        client_id=row["client_id"],
        client=row["client"],
        domain_id=row["domain_id"] or 0,
        endpoint_id=None,
        target=_target(row["names"]),
        severity="critical" if row["kind"] == "incident" else "high",
        actor="client" if client_acts else "provider",
        opened=since,
        act_by=due if client_acts else None,
        code=_words(row, state, client_acts, order is not None and order.auto_renew),
        cause=f"case {row['reference']}",
        visible=True,
        taken=(staff, due) if not client_acts and staff and due is not None else None,
        facts=_facts(row, order, minutes),
        paste="\n".join(pems),
        window=window,
        since_days=reminder(since, due, end, now),
        text=row["reference"],
        contact_id=row["contact_id"],
        quiet=_quiet(row),
    )


def _quiet(row: Row) -> str:
    """Why the client hears nothing of it any more."""
    if row["domain_client"] is not None and row["domain_client"] != row["client_id"]:
        return "the domain belongs to another client now"
    return "the domain is retired" if row["domain_state"] == "retired" else ""


def _target(names: Sequence[str]) -> Target:
    return Target(
        next(
            (n for n in names if not n.startswith("*.")),
            names[0].removeprefix("*.") if names else "unnamed",
        )
    )


def _words(row: Row, state: CaseState, client_acts: bool, renews_itself: bool) -> str:
    """The key of its words in notifiers/wording/cases.py."""
    match state:
        case CaseState.REQUESTED if row["own_csr"]:
            return "requested-own"
        case CaseState.REQUESTED if row["kind"] == "incident":
            return "requested-incident"
        case CaseState.WAITING if not client_acts:
            return "waiting-us"
        case CaseState.WAITING if any(s[2] for s in json.loads(row["said"])):
            return "waiting-again-own" if row["own_csr"] else "waiting-again"
        case CaseState.WAITING if row["own_csr"]:
            return "waiting-own"
        case CaseState.WAITING if row["kind"] == "incident":
            return "waiting-incident"
        case CaseState.WAITING if row["order_id"] is None:
            return "waiting-free"
        case CaseState.WAITING if row["kind"] == "renewal" and not renews_itself:
            return "waiting-renewal"
        case CaseState.CHECKED if row["approved_at"] is not None:
            return "checked-approved"
        case _:
            return str(state)


def _facts(row: Row, order: Purchase | None, minutes: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "names": (
            ", ".join(display(n) for n in row["names"][:12])
            + (", ..." if len(row["names"]) > 12 else "")
        ),
        "vendor": order.vendor if order else ("your vendor",),
        "order": order.label if order else "",
        "product": [PRODUCTS[order.validation], KINDS[order.kind]] if order else [],
        "minutes": str(minutes),
        "why": row["reason"] or "",
        "said": [(s[0], s[1]) for s in json.loads(row["said"]) if s[2]],
        "fee": Money(row["fee"], row["currency"]),
    }
    if row["kind"] == "incident":
        facts["until"] = _moment(row["ends_at"])
    if row["reason"] == OLD_IS_BACK:
        facts["why"] = (OLD_IS_BACK,)
    if order is not None:
        facts["order_end"] = order.ends
    if row["window_start"] is not None:
        facts["window"] = _moment(row["window_start"])
        facts["minutes"] = str((row["window_end"] - row["window_start"]) // 60)
    return facts


def ended(
    row: Row, issued: Sequence[Row], order: Purchase | None, now: datetime, leads: LeadTimes
) -> EndedTopic:
    """The last word about a case: thanks, what changed, and the next date; or that it was stopped,
    and why.
    """
    key = cases.matter_key(row["id"], row["client_id"])
    stopped = row["state"] != CaseState.CLOSED
    window = None
    if row["window_state"] == "cancelled" and row["window_start"] is not None:
        window = entry(
            row["reference"],
            row["window_sequence"],
            row["window_start"],
            row["window_end"],
            cancelled=True,
        )
    facts = _facts(row, order, 0) | (
        _changed(row, issued, order, now, leads) if not stopped else {}
    )
    opened = _moment(row["opened_at"])
    assert opened is not None
    subject = Topic(
        key=key,
        kind=TopicKind.CASE,
        round=f"{row['step']} {row['state']}",
        client_id=row["client_id"],
        client=row["client"],
        domain_id=row["domain_id"] or 0,
        endpoint_id=None,
        target=_target(row["names"]),
        severity="high",
        actor="client",
        opened=opened,
        code="cancelled" if stopped else "closed",
        facts=facts,
        window=window,
        text=row["reference"],
    )
    return EndedTopic(key, True, f"the case is {row['state']}", subject)


def _changed(
    row: Row, issued: Sequence[Row], order: Purchase | None, now: datetime, leads: LeadTimes
) -> dict[str, Any]:
    have = [i for i in issued if i["sha256"] is not None]
    last = max(have, key=lambda i: i["not_after"] or 0, default=None)
    end = _moment(last["not_after"]) if last is not None else None
    facts: dict[str, Any] = {
        "serial": ", ".join(i["serial"] for i in have),
        "not_after": end,
        "before": (
            ("the earlier certificate ended on {date}", _moment(row["ends_at"]))
            if row["ends_at"]
            else ("there was none",)
        ),
        "next": ("none known",),
    }
    if end is None:
        return facts
    if order is not None and order.ends - end < DAY:
        facts["next"] = ("on {date} your order ends; we write to you in time", order.ends)
    elif order is not None and (steps := plan(term_of(order), now, leads.reissue)):
        facts["next"] = ("on {date} it must be reissued; we write to you in time", steps[0].issue)
    else:
        facts["next"] = ("on {date} it ends; we write to you in time", end)
    return facts


def errand(row: Row, now: datetime) -> StaffTask | None:
    """What the administrator of the case is told: each step that waits for them, and each window
    with its calendar entry, also when it is called off. Where nobody leads it, all of them are
    told.
    """
    state, ref = CaseState(row["state"]), row["reference"]
    called_off = (
        row["window_state"] == "cancelled"
        and row["window_start"] is not None
        and (state in ENDED or state in (CaseState.CHECKED, CaseState.REOPENED))
    )
    if waits_for(row) != "provider" and not called_off:
        return None
    late = overdue(row, now)
    lines = [
        f"{ref}, client {row['client']}: {state}",
        f"names: {', '.join(row['names'][:20])}",
        _todo(row, state),
    ]
    if row["due_at"] is not None:
        lines.append(f"due: {_moment(row['due_at']):%Y-%m-%d %H:%M} UTC")
    window = None
    if state is CaseState.WINDOW and row["window_start"] is not None:
        window = entry(
            ref, row["window_sequence"], row["window_start"], row["window_end"], cancelled=False
        )
        lines.append("window: " + _span(row).text)
    elif called_off:
        lines.append("the window is called off")
        window = entry(
            ref, row["window_sequence"], row["window_start"], row["window_end"], cancelled=True
        )
    title = f"{ref}: {state}{', overdue' if late else ''}"
    return StaffTask(
        contact_id=row["staff_id"],
        key=f"errand:{row['id']}",
        round=f"{row['step']} {state}{' overdue' if late else ''}",
        title=title,
        lines=tuple(lines),
        window=window,
    )


def level_2(row: Row, now: datetime) -> StaffTask | None:
    """A case that lies overdue with us for days: all administrators are told, once a state, whoever
    leads it.
    """
    due_at, state = _moment(row["due_at"]), CaseState(row["state"])
    if waits_for(row) != "provider" or due_at is None or now < due_at + LEVEL_2:
        return None
    lines = (
        f"{row['reference']}, client {row['client']}: {state}, due {due_at:%Y-%m-%d %H:%M} UTC",
        f"names: {', '.join(row['names'][:20])}",
        f"led by: {row['staff'] or 'nobody'}",
        _todo(row, state),
    )
    return StaffTask(
        None,
        f"errand:{row['id']}:level2",
        f"{row['step']} {state} level 2",
        f"{row['reference']}: nothing moves, level 2",
        lines,
    )


def _todo(row: Row, state: CaseState) -> str:
    return (
        f"to do: {TODO[state].replace('REF', row['reference'])}"
        if state in TODO
        else f"reason: {row['reason'] or ''}"
    )


def _span(row: Row) -> InstallationWindow:
    start, end = _moment(row["window_start"]), _moment(row["window_end"])
    assert start is not None
    assert end is not None
    return InstallationWindow(start, end, row["window_zone"])


# -- orders


def of_orders(
    conn: Connection,
    now: datetime,
    leads: LeadTimes,
    within: timedelta,
    busy: Mapping[int, Mapping[str, str]],
    client_id: int | None = None,
) -> list[Topic]:
    """Clocks of orders that somebody has to act on: buying again, and validations that a reissue
    ahead needs. The certificate's own end is the matter of its case, or of the name that loses
    cover.
    """
    found = []
    known = load(conn, client_id, ended=False)
    kept = looked_after(conn, {o.client_id for o in known})
    for order in known:
        if order.ends < now - 60 * DAY or all(
            n in busy.get(order.client_id, {}) for n in order.names
        ):
            continue
        if not any((order.client_id, p) in kept for n in order.names for p in parents(n)):
            continue
        steps = plan(term_of(order), now, leads.reissue)
        for clock in purchase_deadlines(order, leads, now):
            if clock.what == "certificate" or clock.due is None or clock.due > now + within:
                continue
            found.append(
                _of_clock(
                    order,
                    clock.what,
                    clock.at,
                    clock.due,
                    clock.actor,
                    steps[0].issue if steps else None,
                )
            )
    return found


_CODES = {"order": "order-ending", "dcv": "dcv-ending", "organisation": "organisation-ending"}


def _of_clock(
    order: Purchase, what: str, at: datetime, due: datetime, actor: str, issue: datetime | None
) -> Topic:
    end = at if what == "order" else due
    facts = {
        "order": order.label,
        "names": ", ".join(display(n) for n in order.names[:12]),
        "date": at,
        "vendor": order.vendor,
        "issue": issue or at,
    }
    return Topic(
        key=f"order:{order.id}:{what}:{order.client_id}",
        kind=TopicKind.ORDER,
        round=f"{at:%Y-%m-%d}",
        client_id=order.client_id,
        client=order.client,
        domain_id=0,
        endpoint_id=None,
        target=_target(order.names),
        severity="high",
        actor=actor,
        opened=order.starts,
        end=end,
        life=400 * DAY,
        act_by=due,
        code=_CODES[what],
        cause=f"order {order.id} {what}",
        facts=facts,
    )


def order_ended(key: str, current: set[str]) -> EndedTopic | None:
    """A told matter about an order that is no subject any more: it was renewed, cancelled, or
    validated.
    """
    return (
        None
        if key in current
        else EndedTopic(
            key, False, "the order was renewed, cancelled or validated, or its case is open"
        )
    )
