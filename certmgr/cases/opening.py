"""Cases that open by themselves: a reissue or renewal of an order whose time has come, and a
certificate that was installed through a case and ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certmgr.cases import incident
from certmgr.cases.service import CaseService, Overrides
from certmgr.cases.states import CaseAction, CaseState
from certmgr.inspection.verification import VerificationState
from certmgr.purchases.load import leads_of, load, looked_after, parents
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, term_of
from certmgr.x509.names import name_covers
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.store import cases, findings, jobs
from inventory.store.records import Row
from notifiers.wording.cases import OLD_IS_BACK

# Order of durability: each case opens in a transaction of its own, under the lock of this job; what
# has an open case is not opened again.
JOB = "cases"


@dataclass(frozen=True, slots=True)
class DueCase:
    """A case that has to be opened, and why."""

    client: str
    names: tuple[str, ...]
    given: Mapping[str, Any]
    why: str


def due_of_order(
    order: Purchase, now: datetime, leads: LeadTimes, ahead: timedelta
) -> DueCase | None:
    """Of an order: its first certificate, a reissue that comes within ``ahead``, or its renewal
    where the provider or the client buys again. Pure.
    """
    if order.state != "active" or order.ends < now:
        return None
    steps = plan(term_of(order), now, leads.reissue)
    if steps and steps[0].issue <= now + ahead:
        first = not order.issued
        why = (
            "the first certificate of the order"
            if first
            else f"reissue {steps[0].number} of the order, due {steps[0].issue:%Y-%m-%d}"
        )
        return DueCase(
            order.client,
            order.names,
            {"order": f"#{order.id}", "kind": "new" if first else "reissue"},
            why,
        )
    if not steps and not order.renewed and order.ends - leads.buy <= now + ahead:
        return DueCase(
            order.client,
            order.names,
            {"order": f"#{order.id}", "kind": "renewal"},
            f"the order ends on {order.ends:%Y-%m-%d}",
        )
    return None


def due_of_case(
    row: Row, issued: Sequence[Row], now: datetime, leads: LeadTimes, ahead: timedelta
) -> DueCase | None:
    """Of a closed case without an order: its certificate ends. Pure."""
    ends = [
        i["not_after"] for i in issued if i["sha256"] is not None and i["not_after"] is not None
    ]
    end = from_epoch(max(ends)) if ends else None
    if (
        row["order_id"] is not None
        or row["state"] != CaseState.CLOSED
        or end is None
        or end - leads.buy > now + ahead
        or end < now - 60 * DAY
    ):
        return None
    given = {k: row[k] for k in ("bought_by", "own_csr", "price", "fee", "currency")} | {
        "kind": "renewal"
    }
    return DueCase(
        row["client"],
        tuple(row["names"]),
        given,
        f"the certificate of {row['reference']} ends on {end:%Y-%m-%d}",
    )


def due_cases(
    database: Database, now: datetime, leads: LeadTimes, ahead: timedelta
) -> list[DueCase]:
    """Everything that is due and has no open case; names that a robot renews are left out."""
    with database.read() as conn:
        known = load(conn, ended=False)
        busy = cases.open_names(conn)
        closed = [
            r for r in cases.listing(conn, states=("closed",)) if r["client_state"] != "retired"
        ]
        kept = looked_after(conn, {o.client_id for o in known} | {r["client_id"] for r in closed})
        until = cases.served_until(
            conn, {o.client_id for o in known} | {r["client_id"] for r in closed}
        )
        issued = cases.issuances(conn, [r["id"] for r in closed])
    found: list[DueCase] = []
    taken: dict[str, set[str]] = {}
    by_client = {o.client: o.client_id for o in known} | {
        r["client"]: r["client_id"] for r in closed
    }
    successors = _succeeded(closed)
    candidates = [due_of_order(o, now, leads, ahead) for o in known]
    candidates += [
        due_of_case(r, issued.get(r["id"], ()), now, leads, ahead)
        for r in closed
        if r["id"] not in successors
    ]
    for one in candidates:
        if one is None:
            continue
        client_id = by_client[one.client]
        names = set(one.names)
        if names & set(busy.get(client_id, {})) or names & taken.get(one.client, set()):
            continue
        if not any((client_id, parent) in kept for n in names for parent in parents(n)):
            # none of its names is looked after for this client any more, or a robot renews them
            continue
        served = [
            u for n in names for host, u in until.get(client_id, {}).items() if name_covers(n, host)
        ]
        if served and min(served) > to_epoch(now + leads.buy + ahead):
            continue  # whatever it is, what is served lasts longer
        taken.setdefault(one.client, set()).update(names)
        found.append(one)
    return found


def _succeeded(closed: Sequence[Row]) -> set[int]:
    """Cases whose names a later one was closed for."""
    latest: dict[tuple[int, str], int] = {}
    for row in sorted(closed, key=lambda r: int(r["id"])):
        for name in row["names"]:
            latest[(row["client_id"], name)] = row["id"]
    return {
        r["id"] for r in closed if any(latest[(r["client_id"], n)] != r["id"] for n in r["names"])
    }


@dataclass(slots=True)
class OpeningResult:
    """What one run did: references of cases by what became of them; ``problems``: what could not be
    done.
    """

    opened: list[str]
    closed: list[str]
    reopened: list[str]
    problems: list[str]


def run(desk: CaseService, overrides: Overrides | None = None) -> OpeningResult:
    """Opens what is due, looks at what waits for its proof, and reopens where an old certificate is
    back. One at a time for a database.
    """
    done = OpeningResult([], [], [], [])
    with jobs.alone(desk.database, JOB):
        ahead = timedelta(days=desk.settings.cases.open_ahead)
        for due in due_cases(desk.database, desk.now, leads_of(desk.settings), ahead):
            try:
                done.opened.append(
                    desk.open(
                        due.client, due.names, due.given, text=f"opened by itself: {due.why}"
                    )["reference"]
                )
            except CertmgrError as error:
                done.problems.append(f"client {due.client}: {error}")
        _prove(desk, overrides or {}, done)
        _back(desk, done)
        incident.settle(desk)
        with desk.database.write(desk.now) as tx:
            jobs.succeeded(tx, JOB)
    return done


def awaiting(rows: Sequence[Row], now: datetime) -> list[Row]:
    """Cases that wait to be seen: installed ones, and those whose window is over. Pure."""
    at = now.timestamp()
    return [
        r
        for r in rows
        if r["state"] in (CaseState.INSTALLED, CaseState.LIVE, CaseState.REOPENED)
        or (
            r["state"] == CaseState.WINDOW and r["window_end"] is not None and r["window_end"] <= at
        )
    ]


def _prove(desk: CaseService, overrides: Overrides, done: OpeningResult) -> None:
    with desk.database.read() as conn:
        rows = awaiting(cases.listing(conn, states=cases.OPEN), desk.now)
    for row in rows:
        try:
            if row["state"] == CaseState.REOPENED and not desk.expected(row):
                continue
            after, proof = desk.verify(row["reference"], overrides)
        except CertmgrError as error:
            done.problems.append(f"{row['reference']}: {error}")
            continue
        if after["state"] == CaseState.CLOSED and proof.state is VerificationState.LIVE:
            done.closed.append(row["reference"])


def _back(desk: CaseService, done: OpeningResult) -> None:
    """A scan saw a certificate that a closed case had replaced."""
    with desk.database.read() as conn:
        open_ = [f for f in findings.listing(conn) if f["code"] == "unexpected-certificate"]
        if not open_:
            return
        closed = [r for r in cases.listing(conn, states=("closed",)) if r["replaces"]]
        succeeded = _succeeded(closed)
    for row in closed:
        if row["id"] in succeeded:
            continue
        old = set(row["replaces"].split())
        seen = [
            f
            for f in open_
            if f["client"] == row["client"]
            and old & set(f["evidence"].get("sha256", ()))
            and any(name_covers(n, f["host"]) for n in row["names"])
            and f["opened_at"] >= (row["live_at"] or 0)
        ]
        if not seen:
            continue
        why = (
            "the old certificate is back (unexpected-certificate) at"
            f" {', '.join(dict.fromkeys(a for f in seen for a in f['addresses']))} of"
            f" {seen[0]['host']}"
        )
        try:
            done.reopened.append(
                desk.end(row["reference"], CaseAction.REOPEN, OLD_IS_BACK, detail=why[:1000])[
                    "reference"
                ]
            )
        except CertmgrError as error:
            done.problems.append(f"{row['reference']}: {error}")
