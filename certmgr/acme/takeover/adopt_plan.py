"""What a takeover from another ACME client would do. Nothing is changed.

This module reads files, and the inventory.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from certmgr.acme.arrange import check_solver, check_targets
from certmgr.acme.protocol.session import base_directory
from certmgr.acme.takeover.adopt_records import (
    account_objection,
    conflict,
    objection_to_test_ca,
    resolve_account,
)
from certmgr.acme.takeover.takeover_journal import TakeoverJournal
from certmgr.config.checks import KEY_TYPES
from certmgr.config.context import Context
from certmgr.deploy.client_model import ClientInstallation, ClientLineage
from certmgr.deploy.clients.registry import source_of
from certmgr.deploy.clients.schedules import domains_of
from certmgr.deploy.clients.source import ClientSource, key_file_status
from certmgr.deploy.disk import Modes, resolve_modes
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule
from inventory.errors import CertmgrError, UsageError
from inventory.store import accounts, domain_owners
from inventory.text import printable


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What a takeover would do.

    Attributes:
        installation: What was read from the client's directory.
        chosen: The lineages that would be taken over.
        unmanaged: The lineages that stay with the client: (name, reason).
        schedules: The timers and cron jobs that run the client.
    """

    installation: ClientInstallation
    chosen: tuple[ClientLineage, ...]
    unmanaged: tuple[tuple[str, str], ...]
    schedules: tuple[Schedule, ...]

    @property
    def rest(self) -> tuple[str, ...]:
        """What the client still has to renew, including what was not named or not readable."""
        taken = {x.name for x in self.chosen}
        names = [x.name for x in self.installation.lineages if x.name not in taken]
        return (*names, *(p.lineage for p in self.installation.problems if p.renewal))


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """The arguments of ``certmgr lineage adopt``.

    Attributes:
        path: The client's directory.
        names: The lineages of the client to take over; empty for all.
        solver: The solver of all of them, because the configuration has no web root of the client.
        targets: The targets of all of them.
        root: The root of the file system, for tests.
        keep_timer: Whether the client's timer keeps running for the lineages that stay with it.
        client: The client, as ``--from`` names it.
        account: The account of the inventory to use instead of the client's; empty for the
            client's.
        password: The password of PFX files in an export of win-acme.
    """

    path: Path
    names: tuple[str, ...] = ()
    solver: str = ""
    targets: tuple[str, ...] = ()
    root: Path = Path("/")
    keep_timer: bool = False
    client: str = "certbot"
    account: str = ""
    password: str = field(default="", repr=False)

    @property
    def source(self) -> ClientSource:
        """The client."""
        return source_of(self.client, password=self.password)


def plan(context: Context, request: AdoptionRequest) -> AdoptionPlan:
    """Return what a takeover would do, without changing anything.

    Raises:
        UsageError: The client has no lineage of a given name, or no directory at the path.
        NotFound: There is no account of the given name.
    """
    source = request.source
    record = TakeoverJournal(base_directory(context.settings), request.client).read()
    interrupted = (
        {n: record.configuration_of(n) for n in record.lineages}
        if record is not None and record.running
        else {}
    )
    installation = source.read(request.path, interrupted)
    known = {x.name: x for x in installation.lineages}
    unreadable = {p.lineage for p in installation.problems if p.renewal}
    # A name that was given and is unreadable is reported as such below, and not as unknown.
    if missing := [n for n in request.names if n not in known and n not in unreadable]:
        raise UsageError(
            f"{source.name} has no lineage '{printable(missing[0], 60)}' in {request.path}",
            f"it has {', '.join(sorted(known)[:20]) or 'none'}",
        )
    wanted = [known[n] for n in dict.fromkeys(request.names) if n in known]
    chosen, unmanaged = [], []
    with context.read() as conn:
        for lineage in wanted or ([] if request.names else installation.lineages):
            # All reasons at once, so that one repair is enough. A lineage with an objection stays
            # as it is.
            if why := _objections(context, conn, request, installation, lineage):
                unmanaged.append((lineage.name, "; ".join(why)))
            else:
                chosen.append(lineage)
    return AdoptionPlan(
        installation, tuple(chosen), tuple(unmanaged), tuple(source.schedules(request.root))
    )


def _objections(
    context: Context,
    conn: Connection,
    request: AdoptionRequest,
    installation: ClientInstallation,
    lineage: ClientLineage,
) -> list[str]:
    """Return all reasons why a lineage has to stay with its client."""
    why = []
    owners = {
        o.client_id if (o := domain_owners.owner_of(conn, n.removeprefix("*."))) else None
        for n in lineage.names
    }
    # A lineage belongs to one client: names of several clients, or of none, stay where they are.
    owner = next(iter(owners)) if len(owners) == 1 else None
    if owner is None:
        why.append(
            "its names do not belong to one client of the inventory (certmgr domain add NAME"
            " --client NUMBER)"
        )
    elif refusal := conflict(conn, lineage, owner):
        why.append(refusal)
    # Renewals would need another key type, which is a decision of the administrator.
    if lineage.key_type not in KEY_TYPES:
        why.append(f"its key is {lineage.key_type}; certmgr renews {', '.join(KEY_TYPES)}")
    if refusal := _account_refusal(context, conn, request, installation, lineage):
        why.append(refusal)
    solver = request.solver or context.settings.acme.default_solver
    if solver:
        try:
            check_solver(context.settings, solver, lineage.names)
        except UsageError as error:
            why.append(f"{error.what}: {error.why}")
    if refusal := _reader_refusal(context, request, lineage):
        why.append(refusal)
    ours = Lineage(base_directory(context.settings), lineage.name)
    return [*why, *request.source.objections(lineage, ours, context.now())]


def _account_refusal(
    context: Context,
    conn: Connection,
    request: AdoptionRequest,
    installation: ClientInstallation,
    lineage: ClientLineage,
) -> str:
    """Return why there is no account for renewals; empty if there is one."""
    # The administrator chose it: the account of the client is neither read nor stored.
    if request.account:
        row = accounts.find(conn, request.account)
        return "" if row.state == "active" else f"the account '{row.name}' is {row.state}"
    account = installation.account_of(lineage)
    if account is None:
        return "its account cannot be read (--account NAME uses one of the inventory)"
    account = resolve_account(context, account, lineage)
    why = (
        account_objection(context, account),
        objection_to_test_ca(context, account.directory_url, lineage),
    )
    return "; ".join(part for part in why if part)


def reload_modes(context: Context, request: AdoptionRequest) -> Modes:
    """Return owner, group and mode that a renewal gives to the files that servers read."""
    targets = (context.settings.acme.targets.get(n) for n in request.targets)
    target = next((t for t in targets if t is not None and t.kind == "reload"), None)
    return resolve_modes(target.owner, target.group, target.mode) if target else Modes()


def _reader_refusal(context: Context, request: AdoptionRequest, lineage: ClientLineage) -> str:
    """Return why a server could not read the key any more; empty if it can.

    Only root can read the files of a renewal, unless the target gives them to a user or a group.
    """
    status = key_file_status(lineage)
    # Without a file no server of this machine reads the key.
    if status is None:
        return ""
    try:
        modes = reload_modes(context, request)
    except CertmgrError as error:
        return str(error)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o004:
        return "all users of this machine can read its key: remove that right first (chmod o-r)"
    wanted = []
    if mode & 0o040 and status.st_gid != 0 and modes.gid != status.st_gid:
        wanted.append(f'group = "{_group(status.st_gid)}"')
    if status.st_uid != 0 and modes.uid != status.st_uid and status.st_uid != os.geteuid():
        wanted.append(f'owner = "{_user(status.st_uid)}"')
    if not wanted:
        return ""
    return (
        f"another user than root reads its key: name a target of the kind reload with"
        f' {" and ".join(wanted)} and mode = "{mode:04o}" (--target)'
    )


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def disabled_schedules(request: AdoptionRequest, planned: AdoptionPlan) -> tuple[Schedule, ...]:
    """Return the timers and cron jobs that must not run any more after the takeover."""
    if not planned.rest and not request.keep_timer:
        return planned.schedules
    # Of the schedules that stay, none may renew what is taken over.
    kept = request.source.kept_schedules(planned.schedules, planned.chosen)
    return tuple(s for s in planned.schedules if s not in kept)


def require_possible(context: Context, request: AdoptionRequest, planned: AdoptionPlan) -> str:
    """Check what concerns the takeover as a whole, and return the solver.

    Raises:
        UsageError: There is no solver, or it cannot validate a name.
        CertmgrError: The client would still renew automatically.
    """
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
    client = request.source.name
    if planned.schedules and planned.rest and not request.keep_timer:
        # Without its timer the client would let these certificates expire.
        raise CertmgrError(
            f"{client} would still renew automatically: {planned.schedules[0].source}",
            f"{len(planned.rest)} of its lineages stay with it"
            f" ({printable(', '.join(planned.rest[:10]), 300)}); nothing was taken over",
            "Fix what --dry-run lists and take over all, or give --keep-timer: the timer then keeps"
            " running for them, and no longer renews what is taken over.",
        )
    for schedule in disabled_schedules(request, planned):
        if planned.rest and not _is_only_for(schedule, planned):
            raise CertmgrError(
                f"{client} would still renew automatically: {schedule.source}",
                f"it renews what is taken over and also what stays with {client}"
                f" ({printable(', '.join(planned.rest[:10]), 300)}); nothing was taken over",
                "Take over all of them, or give each domain a separate timer first.",
            )
        # A line in a crontab is the administrator's: only they can remove it.
        if schedule.disable is None:
            more = (
                f" Or give --keep-timer: {client} then finds nothing to renew any more."
                if request.source.hides
                else ""
            )
            raise CertmgrError(
                f"{client} would still renew automatically: {schedule.source}",
                "nothing was taken over",
                f"{schedule.todo[:1].upper()}{schedule.todo[1:]}.{more}",
            )
    return solver


def _is_only_for(schedule: Schedule, planned: AdoptionPlan) -> bool:
    """Return whether a schedule names its domains, and none of them stays with the client."""
    taken = {x.name for x in planned.chosen}
    stays = {n.removeprefix("*.") for n in planned.rest} | {
        n.removeprefix("*.")
        for x in planned.installation.lineages
        if x.name not in taken
        for n in x.names
    }
    domains = domains_of(schedule)
    return bool(domains) and stays.isdisjoint(domains)
