"""Takeover of the accounts, keys, certificates and served files of other ACME clients.

This module performs I/O.

A takeover is all or nothing. Every lineage is checked before anything is changed
(:func:`certmgr.acme.takeover.adopt_plan.plan`). What a takeover changes outside of the inventory is
recorded before its first step (``takeover_journal.py``), so that a failure undoes it, and after a
kill the same call completes it or ``--undo`` restores the client.

Order of durability: the record; the client's timer, or the configuration of each lineage if the
timer keeps running; the keys of accounts and a version per lineage as files; one transaction with
all rows; the links or files that servers read; the end of the record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from certmgr.acme.protocol.session import base_directory
from certmgr.acme.takeover.adopt_plan import (
    AdoptionPlan,
    AdoptionRequest,
    disabled_schedules,
    plan,
    reload_modes,
    require_possible,
)
from certmgr.acme.takeover.adopt_records import (
    record_account,
    record_lineage,
    resolve_account,
    store_account_key,
)
from certmgr.acme.takeover.takeover_journal import TakeoverJournal, TakeoverRecord
from certmgr.config.context import Context
from certmgr.deploy import hooks
from certmgr.deploy.clients.registry import CLIENTS, source_of
from certmgr.deploy.disk import Modes
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, UndoneTakeover
from inventory.errors import CertmgrError, NotFound
from inventory.store import accounts as account_rows
from inventory.store import lineages
from inventory.text import printable

__all__ = [
    "AdoptionPlan",
    "AdoptionRequest",
    "client_of",
    "disabled_schedules",
    "give_back",
    "plan",
    "take_over",
    "taken_over",
]

_log = logging.getLogger(__name__)


def take_over(context: Context, request: AdoptionRequest, planned: AdoptionPlan) -> list[str]:
    """Take over the lineages of a plan, all or none.

    Returns:
        The names of the lineages.

    Raises:
        UsageError: There is no solver, or it cannot validate a name.
        CertmgrError: The client would still renew automatically, or a step failed. Nothing is
            taken over then: what was done is undone.
    """
    solver = require_possible(context, request, planned)
    source = request.source
    journal = TakeoverJournal(base_directory(context.settings), request.client)
    before = journal.read()
    names = tuple(x.name for x in planned.chosen)
    disabled = disabled_schedules(request, planned)
    # Recorded as commands, because --undo may run when the timer cannot be read any more.
    enable = [s.enable for s in disabled if s.enable]
    configurations = {**dict(before.configurations if before else ())} | {
        x.name: str(x.configuration) for x in planned.chosen
    }
    record = TakeoverRecord(
        path=str(request.path.resolve()),
        running=True,
        lineages=tuple(dict.fromkeys([*(before.lineages if before else ()), *names])),
        enable=tuple(dict.fromkeys([*(before.enable if before else ()), *enable])),
        client=request.client,
        configurations=tuple(configurations.items()),
    )
    # Durable before the first change outside of the inventory: everything after it can be undone.
    journal.write(record)
    try:
        _end_schedules(disabled, request)
        # A timer that keeps running, or a run by hand, must not see what is taken over.
        if source.always_hidden or (planned.schedules and not disabled):
            for lineage in planned.chosen:
                source.hide(lineage.configuration, lineage.name)
        _take_over_all(context, request, planned, solver)
    except BaseException:
        _undo_failed(context, record, before, [n for n in names if n not in _finished(before)])
        raise
    journal.write(replace(record, running=False))
    return list(names)


def _finished(before: TakeoverRecord | None) -> tuple[str, ...]:
    """Return the lineages of an earlier takeover that completed, which a failure must not undo."""
    return () if before is None or before.running else before.lineages


def _end_schedules(active: Sequence[Schedule], request: AdoptionRequest) -> None:
    """Disable the client's schedules.

    Two programs that renew the same names would undo each other's work.
    """
    client = request.source.name
    for schedule in active:
        assert schedule.disable is not None
        outcome = hooks.run(schedule.disable)
        if not outcome.ok:
            raise CertmgrError(
                f"{client}'s schedule {schedule.source} could not be disabled",
                f"{outcome.sentence}: {outcome.output_tail}",
                schedule.todo,
            )
    ended = {s.source for s in active}
    if ended and (left := [s for s in request.source.schedules(request.root) if s.source in ended]):
        raise CertmgrError(
            f"{client}'s schedule {left[0].source} is still active",
            "nothing was taken over",
            left[0].todo,
        )


def _take_over_all(
    context: Context, request: AdoptionRequest, planned: AdoptionPlan, solver: str
) -> None:
    base = base_directory(context.settings)
    made = {}
    for lineage in planned.chosen:
        if not request.account:
            account = planned.installation.account_of(lineage)
            assert account is not None
            account = resolve_account(context, account, lineage)
            made[lineage.name] = store_account_key(context, account, request.source.name)
        folder = Lineage(base, lineage.name)
        # Files that a group reads stay readable for it through our version.
        modes = reload_modes(context, request) if lineage.files else Modes()
        bundle = lineage.bundle
        current = folder.read_current()
        # An interrupted call holds the lineage, which is switched already.
        if current is None or current.chain_der != bundle.chain_der:
            folder.switch(folder.store(bundle.key_pem, bundle.chain_der, modes=modes))
    with context.write() as tx:
        for lineage in planned.chosen:
            account_id = (
                int(account_rows.find(tx.conn, request.account).id)
                if request.account
                else record_account(tx, made[lineage.name])
            )
            record_lineage(tx, lineage, account_id, solver, request.targets)
    # What servers read comes last: until then they read the client's own files.
    for lineage in planned.chosen:
        _log.info("taking %s over from %s", lineage.name, request.source.name)
        request.source.take_over(lineage, Lineage(base, lineage.name))


def _undo_failed(
    context: Context, record: TakeoverRecord, before: TakeoverRecord | None, names: Sequence[str]
) -> None:
    """Undo what a failed takeover did, and restore the record of before.

    Raises:
        CertmgrError: It cannot be undone completely. The record stays, for ``--undo``.
    """
    try:
        for name in names:
            _restore(context, record, name)
        known = before.enable if before is not None else ()
        _enable(tuple(c for c in record.enable if c not in known))
    except (CertmgrError, OSError) as error:
        raise CertmgrError(
            "The takeover failed, and what was done could not be undone completely",
            str(error),
            "Run certmgr lineage adopt --undo when the cause is fixed.",
        ) from error
    journal = TakeoverJournal(base_directory(context.settings), record.client)
    if before is None or before.running:
        journal.remove()
    else:
        journal.write(before)


def _restore(context: Context, record: TakeoverRecord, name: str) -> UndoneTakeover | None:
    """Give one lineage back: its files, its configuration, then its row.

    Each step may have been taken before, or never.

    Returns:
        What servers read now; None if an earlier call restored it.
    """
    source = source_of(record.client)
    folder = Lineage(base_directory(context.settings), name)
    # What servers read comes first: from here on it is the client's, whatever follows.
    undone = source.give_back(folder, context.clock) if source.is_taken_over(folder) else None
    if record.path:
        source.show(Path(record.configuration_of(name)), name)
    try:
        with context.read() as conn:
            row = lineages.find(conn, name)
    except NotFound:
        return undone
    # Retired last: a death before leaves a lineage that certmgr still renews, which is better than
    # none that does.
    if row.state != "retired":
        with context.write() as tx:
            lineages.edit(tx, row.id, state="retired", retired_at=tx.at)
    return undone


def _enable(commands: Sequence[Sequence[str]]) -> None:
    """Enable the client's timers again."""
    for command in commands:
        outcome = hooks.run(tuple(command))
        if not outcome.ok:
            raise CertmgrError(
                "The timer could not be enabled again",
                f"{outcome.sentence}: {outcome.output_tail}",
                f"Run: {printable(' '.join(command), 200)}",
            )


def _records(context: Context) -> list[TakeoverRecord]:
    base = base_directory(context.settings)
    found = (TakeoverJournal(base, client).read() for client in CLIENTS)
    return [r for r in found if r is not None]


def taken_over(context: Context) -> tuple[str, ...]:
    """Return the lineages that were taken over, or whose takeover was interrupted."""
    return tuple(n for r in _records(context) for n in r.lineages)


def client_of(context: Context, name: str) -> str:
    """Return the name of the client from which a lineage was taken over; certbot by default."""
    found = (r.client for r in _records(context) if name in r.lineages)
    return source_of(next(found, CLIENTS[0])).name


def give_back(context: Context, name: str) -> UndoneTakeover | None:
    """Give a lineage back to its client: restore what servers read, then retire the lineage.

    A certificate that was issued since and ends later stays in use, as the client's newest one.

    A lineage that was never another client's is refused and stays as it is. If the process dies in
    between, the same call completes it. The client's timer is enabled again if the takeover
    disabled it; the client then does not see the lineages that stay taken over. If nothing can be
    hidden from it, its timer is enabled with the last lineage.

    Returns:
        What servers read now; None if an earlier call restored it.

    Raises:
        NotFound: There is no such lineage.
        UsageError: Nothing of another client was taken over for it.
        CertmgrError: A file cannot be restored, or the timer cannot be enabled.
    """
    base = base_directory(context.settings)
    record = next((r for r in _records(context) if name in r.lineages), None)
    if record is None:
        with context.read() as conn:
            lineages.find(conn, name)
        ours = Lineage(base, name)
        client = next((c for c in CLIENTS if source_of(c).is_taken_over(ours)), CLIENTS[0])
        if not source_of(client).is_taken_over(ours):
            source_of(client).give_back(ours, context.clock)  # states that nothing is to be undone
        return _restore(context, TakeoverRecord("", client=client), name)
    source = source_of(record.client)
    undone = _restore(context, record, name)
    left = tuple(n for n in record.lineages if n != name)
    journal = TakeoverJournal(base, record.client)
    # The timer would renew all lineages of this client, also those that stay taken over.
    if left and record.enable and not source.hides:
        journal.write(replace(record, lineages=left))
        return undone
    for other in left:
        if source.hides and source.is_taken_over(Lineage(base, other)):
            source.hide(Path(record.configuration_of(other)), other)
    _enable(record.enable)
    if left:
        journal.write(replace(record, lineages=left, enable=()))
    else:
        journal.remove()
    return undone
