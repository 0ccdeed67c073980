"""Tasks of the administrators from open cases: per assignee, escalated, and in the digest. Pure.

Cases of an incident, and many cases in one step, are folded into one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

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
from inventory.dates import minute_text
from inventory.db.database import from_epoch, to_epoch
from inventory.records import CaseRecord
from inventory.vocabulary import CaseState, WindowState
from notifiers.pipeline.notice_source import StaffTask

# More cases of one kind than this are one line of the digest.
_MAX_LINES = 5
# Commands that take --incident, by the state that they lead out of.
_BULK_COMMANDS = {
    CaseState.REQUESTED: "certmgr case csr --incident {incident}",
    CaseState.CSR_READY: "certmgr case send --incident {incident}",
}
_SHOW = "certmgr case show REF"
# The steps that follow from the incident itself. After the others a client has acted.
_QUIET_STATES = frozenset({CaseState.REQUESTED, CaseState.CSR_READY, CaseState.WAITING})


def worklist(
    rows: Sequence[CaseRecord],
    now: datetime,
    incidents: Mapping[int, str] | None = None,
    zone: tzinfo = UTC,
) -> list[str]:
    """Return lines about new and overdue cases, then about the windows of the next seven days.

    Args:
        rows: The open cases.
        now: The current time.
        incidents: Id -> reference of each incident.
        zone: The time zone of the provider.
    """
    references = incidents or {}
    since = to_epoch(now - DAY)
    # A few new cases were reported one by one.
    opened = [r for r in rows if r.incident_id is None and r.opened_at > since]
    new = opened if len(opened) > _MAX_LINES else []
    # The cases of an incident are listed every day until it is over, even if none is overdue.
    overdue = [r for r in rows if is_overdue(r, now) or r.incident_id is not None]
    groups: dict[tuple[str, str, CaseState], list[CaseRecord]] = {}
    for row in (*overdue, *(r for r in new if not is_overdue(r, now))):
        incident = references.get(row.incident_id or 0, "")
        groups.setdefault((incident, _waits_for_whom(row), CaseState(row.state)), []).append(row)
    lines = []
    for (incident, whom, state), group in groups.items():
        if incident or len(group) > _MAX_LINES:
            lines.append(_folded(incident, whom, state, group, now, zone))
            continue
        lines += [
            f"{r.reference} client {r.client}: {r.state} waits for {waits_for(r)}, due"
            f" {datetime.fromtimestamp(r.due_at, zone):%Y-%m-%d}"
            for r in group
            if r.due_at is not None
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


def _waits_for_whom(row: CaseRecord) -> str:
    """Return the person or party that a case waits for."""
    whom = waits_for(row)
    return row.staff or whom if whom == PROVIDER else whom


def _folded(
    incident: str,
    whom: str,
    state: CaseState,
    rows: Sequence[CaseRecord],
    now: datetime,
    zone: tzinfo,
) -> str:
    """Return one line about cases in one state: what is new, for whom they wait, the command."""
    late = sum(is_overdue(r, now) for r in rows)
    new = sum(r.opened_at > to_epoch(now - DAY) for r in rows)
    counts = ", ".join(f"{n} {word}" for n, word in ((new, "new"), (late, "overdue")) if n)
    first = min((r.due_at for r in rows if r.due_at is not None), default=None)
    return (
        f"{incident + ': ' if incident else ''}{len(rows)} case(s) in the step {state} wait for"
        f" {whom}{f' ({counts})' if counts else ''}"
        + (
            f", the first is due {minute_text(datetime.fromtimestamp(first, UTC), zone)}"
            if first
            else ""
        )
        + f": {_command(state, incident) or _list_command(state, incident)}"
    )


def _list_command(state: CaseState, incident: str) -> str:
    return f"certmgr case list --state {state}" + (f" --incident {incident}" if incident else "")


def _command(state: CaseState, incident: str) -> str:
    """Return the command for all cases of an incident in a state; empty if there is none."""
    return _BULK_COMMANDS.get(state, "").format(incident=incident) if incident else ""


def staff_task(
    row: CaseRecord,
    now: datetime,
    incidents: Mapping[int, str] | None = None,
    zone: tzinfo = UTC,
) -> StaffTask | None:
    """Return the task of the assignee of a case.

    The assignee is notified of each step that waits for the provider, and of each window with its
    calendar entry, including its cancellation. A case without an assignee notifies all
    administrators.

    Args:
        row: The case.
        now: The current time.
        incidents: Id -> reference of each incident.
        zone: The time zone of the provider.

    Returns:
        The task; None if the assignee has nothing to do.
    """
    incident = (incidents or {}).get(row.incident_id or 0, "")
    state, ref = CaseState(row.state), row.reference
    window_cancelled = (
        row.window_state is WindowState.CANCELLED
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
        lines.append(f"due: {minute_text(datetime.fromtimestamp(row.due_at, UTC), zone)}")
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
        # An overdue step is a new revision, so that the assignee is notified once more.
        revision=f"{row.step} {state}{' overdue' if overdue else ''}",
        title=title,
        lines=tuple(lines),
        window=window,
        reference=ref,
        step=f"{state}{', overdue' if overdue else ''}",
        command=_command(state, incident) or NEXT_STEPS.get(state, _SHOW),
        event=incident,
        # A window is an appointment, so that its message is never quiet.
        quiet=state in _QUIET_STATES and window is None,
    )


def level_2_task(
    row: CaseRecord,
    now: datetime,
    incidents: Mapping[int, str] | None = None,
    zone: tzinfo = UTC,
) -> StaffTask | None:
    """Return the task that escalates an overdue case of the provider to all administrators.

    They are notified once per state, in addition to the assignee.

    Args:
        row: The case.
        now: The current time.
        incidents: Id -> reference of each incident.
        zone: The time zone of the provider.

    Returns:
        The task; None if the case is not overdue for long enough.
    """
    due_at, state = from_epoch(row.due_at), CaseState(row.state)
    # A case that waits for the client is escalated by notices to the client's contacts.
    if waits_for(row) != PROVIDER or due_at is None or now < due_at + LEVEL_2:
        return None
    lines = (
        f"{row.reference}, client {row.client}: {state}, due {minute_text(due_at, zone)}",
        f"names: {', '.join(row.names[:20])}",
        f"assigned to: {row.staff or 'no administrator'}",
        _next_step(row, state),
    )
    incident = (incidents or {}).get(row.incident_id or 0, "")
    # Without a contact, the task goes to all administrators: the assignee did not act in time.
    return StaffTask(
        contact_id=None,
        key=f"errand:{row.id}:level2",
        revision=f"{row.step} {state} level 2",
        title=f"{row.reference}: overdue, level 2",
        lines=lines,
        reference=row.reference,
        step=f"{state}, level 2",
        command=_command(state, incident) or NEXT_STEPS.get(state, _SHOW),
        event=incident,
        # The digest repeats an incident daily until its cases are done.
        quiet=True,
    )


def _next_step(row: CaseRecord, state: CaseState) -> str:
    """Return the line with the next step of an open case, or the reason of an ended one."""
    return (
        f"to do: {NEXT_STEPS[state].replace('REF', row.reference)}"
        if state in NEXT_STEPS
        else f"reason: {row.reason or ''}"
    )
