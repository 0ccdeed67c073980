"""Tasks of the administrators from open cases: per assignee, escalated, and in the digest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmgr.cases.states import (
    ENDED,
    LEVEL_2,
    NEXT_STEPS,
    PROVIDER,
    is_overdue,
    waits_for,
)
from certmgr.cases.window import calendar_window_of, window_of
from certmgr.purchases.terms import DAY
from inventory.db.database import from_epoch
from inventory.records import CaseRecord
from inventory.vocabulary import CaseState, WindowState
from notifiers.pipeline.topic import StaffTask


def worklist(rows: Sequence[CaseRecord], now: datetime) -> list[str]:
    """Return lines about overdue cases, then about the windows of the next seven days."""
    overdue = [r for r in rows if is_overdue(r, now)]
    lines = [
        f"{r.reference} client {r.client}: {r.state} waits for {waits_for(r)}, due"
        f" {from_epoch(r.due_at):%Y-%m-%d}"
        for r in overdue
    ]
    upcoming = [
        r
        for r in rows
        if r.state == CaseState.WINDOW
        and r.window_start is not None
        and now <= (from_epoch(r.window_start) or now) < now + 7 * DAY
    ]
    return lines + [
        f"{r.reference} client {r.client}: window {window_of(r).text}"
        for r in sorted(upcoming, key=lambda r: r.window_start or 0)
    ]


def staff_task(row: CaseRecord, now: datetime) -> StaffTask | None:
    """Return the task of the assignee of a case.

    The assignee is notified of each step that waits for the provider, and of each window with its
    calendar entry, including its cancellation. A case without an assignee notifies all
    administrators.

    Returns:
        The task; None if the assignee has nothing to do.
    """
    state, ref = CaseState(row.state), row.reference
    window_cancelled = (
        row.window_state == WindowState.CANCELLED
        and row.window_start is not None
        and (state in ENDED or state in (CaseState.CHECKED, CaseState.REOPENED))
    )
    # While the case waits for the client, the assignee has nothing to do.
    if waits_for(row) != PROVIDER and not window_cancelled:
        return None
    overdue = is_overdue(row, now)
    lines = [
        f"{ref}, client {row.client}: {state}",
        f"names: {', '.join(row.names[:20])}",
        _next_step(row, state),
    ]
    if row.due_at is not None:
        lines.append(f"due: {from_epoch(row.due_at):%Y-%m-%d %H:%M} UTC")
    window = None
    if state is CaseState.WINDOW and row.window_start is not None:
        window = calendar_window_of(row, cancelled=False)
        lines.append("window: " + window_of(row).text)
    elif window_cancelled:
        lines.append("the window is cancelled")
        window = calendar_window_of(row, cancelled=True)
    title = f"{ref}: {state}{', overdue' if overdue else ''}"
    return StaffTask(
        contact_id=row.staff_id,
        key=f"errand:{row.id}",
        revision=f"{row.step} {state}{' overdue' if overdue else ''}",
        title=title,
        lines=tuple(lines),
        window=window,
    )


def level_2_task(row: CaseRecord, now: datetime) -> StaffTask | None:
    """Return the task that escalates an overdue case of the provider to all administrators.

    They are notified once per state, in addition to the assignee.

    Returns:
        The task; None if the case is not overdue for long enough.
    """
    due_at, state = from_epoch(row.due_at), CaseState(row.state)
    # A case that waits for the client is escalated by notices to the client's contacts.
    if waits_for(row) != PROVIDER or due_at is None or now < due_at + LEVEL_2:
        return None
    lines = (
        f"{row.reference}, client {row.client}: {state}, due {due_at:%Y-%m-%d %H:%M} UTC",
        f"names: {', '.join(row.names[:20])}",
        f"assigned to: {row.staff or 'no administrator'}",
        _next_step(row, state),
    )
    return StaffTask(
        None,
        f"errand:{row.id}:level2",
        f"{row.step} {state} level 2",
        f"{row.reference}: overdue, level 2",
        lines,
    )


def _next_step(row: CaseRecord, state: CaseState) -> str:
    """Return the line with the next step of an open case, or the reason of an ended one."""
    return (
        f"to do: {NEXT_STEPS[state].replace('REF', row.reference)}"
        if state in NEXT_STEPS
        else f"reason: {row.reason or ''}"
    )
