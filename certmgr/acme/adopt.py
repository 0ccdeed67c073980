"""Takeover of certbot's accounts, keys, certificates and live directories.

This module performs I/O.

A takeover is all or nothing. Every lineage is checked before anything is changed
(:func:`plan`). What a takeover changes outside of the inventory is recorded before its first step
(``takeover_journal.py``), so that a failure undoes it, and after a kill the same call completes it
or ``--undo`` restores certbot.

Order of durability: the record; certbot's timer, or the renewal configuration of each lineage if
the timer keeps running for others; the keys of accounts and a version per lineage as files; one
transaction with all rows; the links of certbot's live directories; the end of the record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from certmgr.acme.adopt_records import (
    account_objection,
    conflict,
    record_account,
    record_lineage,
    store_account_key,
)
from certmgr.acme.arrange import check_solver, check_targets
from certmgr.acme.certbot_renewal import (
    disable_renewal,
    enable,
    enable_renewal,
    end_schedules,
)
from certmgr.acme.session import base_directory
from certmgr.acme.takeover_journal import (
    TakeoverJournal,
    TakeoverRecord,
)
from certmgr.config.checks import KEY_TYPES
from certmgr.config.context import Context
from certmgr.deploy.certbot import (
    CertbotInstallation,
    CertbotLineage,
    read_installation,
)
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import (
    Schedule,
    UndoneTakeover,
    is_taken_over,
    renewal_schedules,
    take_over_links,
    undo_takeover,
)
from certmgr.deploy.takeover_checks import objections
from inventory.errors import CertmgrError, NotFound, UsageError
from inventory.store import domain_owners, lineages
from inventory.text import printable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What a takeover would do.

    Attributes:
        installation: What was read from certbot's directory.
        chosen: The lineages that would be taken over.
        unmanaged: The lineages that stay with certbot: (name, reason).
        schedules: The timers and cron jobs that run certbot.
    """

    installation: CertbotInstallation
    chosen: tuple[CertbotLineage, ...]
    unmanaged: tuple[tuple[str, str], ...]
    schedules: tuple[Schedule, ...]

    @property
    def rest(self) -> tuple[str, ...]:
        """What certbot would still have to renew, including what was not named or not readable."""
        taken = {x.name for x in self.chosen}
        names = [x.name for x in self.installation.lineages if x.name not in taken]
        return (*names, *(p.path.stem for p in self.installation.problems if p.renewal))


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """The arguments of ``certmgr lineage adopt``.

    Attributes:
        path: certbot's directory.
        names: The lineages of certbot to take over; empty for all.
        solver: The solver of all of them, because the configuration has no web root of certbot.
        targets: The targets of all of them.
        root: The root of the file system, for tests.
        keep_timer: Whether certbot's timer keeps running for the lineages that stay with certbot.
    """

    path: Path
    names: tuple[str, ...] = ()
    solver: str = ""
    targets: tuple[str, ...] = ()
    root: Path = Path("/")
    keep_timer: bool = False


def plan(context: Context, request: AdoptionRequest) -> AdoptionPlan:
    """Return what a takeover would do, without changing anything.

    Raises:
        UsageError: certbot has no lineage of a given name, or no directory at the path.
    """
    record = TakeoverJournal(base_directory(context.settings)).read()
    interrupted = record.lineages if record is not None and record.running else ()
    installation = read_installation(request.path, interrupted)
    known = {x.name: x for x in installation.lineages}
    unreadable = {p.path.stem for p in installation.problems if p.renewal}
    if missing := [n for n in request.names if n not in known and n not in unreadable]:
        raise UsageError(
            f"certbot has no lineage '{printable(missing[0], 60)}' in {request.path}",
            f"it has {', '.join(sorted(known)[:20]) or 'none'}",
        )
    wanted = [known[n] for n in dict.fromkeys(request.names) if n in known]
    chosen, unmanaged = [], []
    with context.read() as conn:
        for lineage in wanted or ([] if request.names else installation.lineages):
            if why := _objections(context, conn, request, installation, lineage):
                unmanaged.append((lineage.name, "; ".join(why)))
            else:
                chosen.append(lineage)
    return AdoptionPlan(
        installation, tuple(chosen), tuple(unmanaged), tuple(renewal_schedules(request.root))
    )


def _objections(
    context: Context,
    conn: Connection,
    request: AdoptionRequest,
    installation: CertbotInstallation,
    lineage: CertbotLineage,
) -> list[str]:
    """Return all reasons why a lineage has to stay with certbot."""
    why = []
    owners = {
        o.client_id if (o := domain_owners.owner_of(conn, n.removeprefix("*."))) else None
        for n in lineage.names
    }
    # A lineage belongs to one client: names of several clients, or of none, stay with certbot.
    owner = next(iter(owners)) if len(owners) == 1 else None
    if owner is None:
        why.append(
            "its names do not belong to one client of the inventory (certmgr domain add NAME"
            " --client NUMBER)"
        )
    elif refusal := conflict(conn, lineage, owner):
        why.append(refusal)
    if lineage.key_type not in KEY_TYPES:
        why.append(f"its key is {lineage.key_type}; certmgr renews {', '.join(KEY_TYPES)}")
    account = installation.account_of(lineage)
    if account is None:
        why.append("its account cannot be read")
    elif refusal := account_objection(context, account):
        why.append(refusal)
    solver = request.solver or context.settings.acme.default_solver
    if solver:
        try:
            check_solver(context.settings, solver, lineage.names)
        except UsageError as error:
            why.append(f"{error.what}: {error.why}")
    ours = Lineage(base_directory(context.settings), lineage.name)
    return [*why, *objections(lineage, ours, context.now())]


def take_over(context: Context, request: AdoptionRequest, planned: AdoptionPlan) -> list[str]:
    """Take over the lineages of a plan, all or none.

    Returns:
        The names of the lineages.

    Raises:
        UsageError: There is no solver, or it cannot validate a name.
        CertmgrError: certbot would still renew automatically, or a step failed. Nothing is taken
            over then: what was done is undone.
    """
    solver = _require_possible(context, request, planned)
    journal = TakeoverJournal(base_directory(context.settings))
    before = journal.read()
    names = tuple(x.name for x in planned.chosen)
    # The timer keeps running if certbot still has lineages; it then must not see ours.
    disabled = () if planned.rest else planned.schedules
    record = TakeoverRecord(
        str(request.path.resolve()),
        True,
        tuple(dict.fromkeys([*(before.lineages if before else ()), *names])),
        tuple(
            dict.fromkeys(
                [*(before.enable if before else ()), *(s.enable for s in disabled if s.enable)]
            )
        ),
    )
    journal.write(record)
    try:
        if disabled:
            end_schedules(disabled, request.root)
        elif planned.schedules:
            for name in names:
                disable_renewal(record, name)
        _take_over_all(context, planned, solver, request.targets)
    except BaseException:
        _undo_failed(context, record, before, [n for n in names if n not in _finished(before)])
        raise
    journal.write(replace(record, running=False))
    return list(names)


def _finished(before: TakeoverRecord | None) -> tuple[str, ...]:
    """Return the lineages of an earlier takeover that completed, which a failure must not undo."""
    return () if before is None or before.running else before.lineages


def _require_possible(context: Context, request: AdoptionRequest, planned: AdoptionPlan) -> str:
    """Check what concerns the takeover as a whole, and return the solver."""
    solver = request.solver or context.settings.acme.default_solver
    if not solver:
        raise UsageError(
            "There is no solver for domain control validation",
            "neither --solver nor [acme] default_solver names one",
            "Write [acme.solver.web] with its kind.",
        )
    for lineage in planned.chosen:
        check_solver(context.settings, solver, lineage.names)
    check_targets(context.settings, request.targets)
    if not planned.schedules:
        return solver
    if planned.rest and not request.keep_timer:
        # Without its timer certbot would let these certificates expire.
        raise CertmgrError(
            f"certbot would still renew automatically: {planned.schedules[0].source}",
            f"{len(planned.rest)} of its lineages stay with it"
            f" ({printable(', '.join(planned.rest[:10]), 300)}); nothing was taken over",
            "Fix what --dry-run lists and take over all, or give --keep-timer: the timer then keeps"
            " running for them, and no longer renews what is taken over.",
        )
    # A line in a crontab is the administrator's: only they can remove it.
    manual = next((s for s in planned.schedules if s.disable is None), None)
    if manual is not None and not planned.rest:
        raise CertmgrError(
            f"certbot would still renew automatically: {manual.source}",
            "nothing was taken over",
            manual.todo,
        )
    return solver


def _take_over_all(
    context: Context, planned: AdoptionPlan, solver: str, targets: Sequence[str]
) -> None:
    base = base_directory(context.settings)
    accounts = {}
    for lineage in planned.chosen:
        account = planned.installation.account_of(lineage)
        assert account is not None
        accounts[lineage.name] = store_account_key(context, account)
        folder = Lineage(base, lineage.name)
        folder.switch(folder.store(lineage.bundle.key_pem, lineage.bundle.chain_der))
    with context.write() as tx:
        for lineage in planned.chosen:
            account_id = record_account(tx, accounts[lineage.name])
            record_lineage(tx, lineage, account_id, solver, targets)
    # The links come last: until then servers read certbot's own files.
    for lineage in planned.chosen:
        _log.info("taking %s over from certbot", lineage.name)
        take_over_links(lineage.live, Lineage(base, lineage.name))


# -- back to certbot


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
        enable(tuple(c for c in record.enable if c not in known))
    except (CertmgrError, OSError) as error:
        raise CertmgrError(
            "The takeover failed, and what was done could not be undone completely",
            str(error),
            "Run certmgr lineage adopt --undo when the cause is fixed.",
        ) from error
    journal = TakeoverJournal(base_directory(context.settings))
    if before is None or before.running:
        journal.remove()
    else:
        journal.write(before)


def _restore(context: Context, record: TakeoverRecord | None, name: str) -> UndoneTakeover | None:
    """Give one lineage back: its links, its renewal configuration, then its row.

    Each step may have been taken before, or never.

    Returns:
        What certbot's links lead to; None if an earlier call restored them.
    """
    folder = Lineage(base_directory(context.settings), name)
    undone = undo_takeover(folder) if is_taken_over(folder) else None
    if record is not None:
        enable_renewal(record, name)
    try:
        with context.read() as conn:
            row = lineages.find(conn, name)
    except NotFound:
        return undone
    if row.state != "retired":
        with context.write() as tx:
            lineages.edit(tx, row.id, state="retired", retired_at=tx.at)
    return undone


def taken_over(context: Context) -> tuple[str, ...]:
    """Return the lineages that were taken over, or whose takeover was interrupted."""
    record = TakeoverJournal(base_directory(context.settings)).read()
    return () if record is None else record.lineages


def give_back(context: Context, name: str) -> UndoneTakeover | None:
    """Give a lineage back to certbot: restore its links, then retire the lineage.

    A certificate that was issued since and ends later stays in use, as certbot's newest version.

    A lineage that was never certbot's is refused and stays as it is. If the process dies in
    between, the same call completes it. certbot's timer is enabled again if the takeover disabled
    it; certbot then no longer sees the lineages that stay taken over.

    Returns:
        What certbot's links lead to; None if an earlier call restored them.

    Raises:
        NotFound: There is no such lineage.
        UsageError: Nothing of certbot was taken over for it.
        CertmgrError: A link cannot be restored, or the timer cannot be enabled.
    """
    base = base_directory(context.settings)
    journal = TakeoverJournal(base)
    record = journal.read()
    if record is None or name not in record.lineages:
        with context.read() as conn:
            lineages.find(conn, name)
        if not is_taken_over(Lineage(base, name)):
            undo_takeover(Lineage(base, name))  # which states that there is nothing to undo
        return _restore(context, None, name)
    undone = _restore(context, record, name)
    for other in record.lineages:
        if other != name and is_taken_over(Lineage(base, other)):
            disable_renewal(record, other)
    enable(record.enable)
    left = replace(record, lineages=tuple(n for n in record.lineages if n != name), enable=())
    if left.lineages:
        journal.write(left)
    else:
        journal.remove()
    return undone
