"""Takeover of certbot's accounts, keys, certificates and live directories.

This module performs I/O.

Order of durability: certbot's schedule is disabled first. An account's key is a file before its row
is written. A version holds the same key and certificate before the row of the lineage names it. The
links of certbot's live directory are redirected last. After a crash the same call continues.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.acme import cas
from certmgr.acme.arrange import check_solver, check_targets
from certmgr.acme.session import base_directory, key_store
from certmgr.config.checks import KEY_TYPES
from certmgr.config.context import Context
from certmgr.deploy import hooks
from certmgr.deploy.certbot import (
    CertbotAccount,
    CertbotInstallation,
    CertbotLineage,
    read_installation,
)
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, renewal_schedules, take_over_links, undo_takeover
from certmgr.inspection.report import certificate_row
from certmgr.x509.key_store import key_reference
from inventory.certificates import describe_key
from inventory.db.database import Tx
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.names import normalise_host
from inventory.store import (
    accounts,
    certificates,
    clients,
    domain_owners,
    lineages,
)
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


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """The arguments of ``certmgr lineage adopt``.

    Attributes:
        path: certbot's directory.
        names: The lineages of certbot to take over; empty for all.
        solver: The solver of all of them, because the configuration has no web root of certbot.
        targets: The targets of all of them.
        root: The root of the file system, for tests.
    """

    path: Path
    names: tuple[str, ...] = ()
    solver: str = ""
    targets: tuple[str, ...] = ()
    root: Path = Path("/")


def plan(context: Context, request: AdoptionRequest) -> AdoptionPlan:
    """Return what a takeover would do, without changing anything.

    Raises:
        UsageError: certbot has no lineage of a given name, or no directory at the path.
    """
    installation = read_installation(request.path)
    known = {x.name: x for x in installation.lineages}
    if missing := [n for n in request.names if n not in known]:
        raise UsageError(
            f"certbot has no lineage '{printable(missing[0], 60)}' in {request.path}",
            f"it has {', '.join(sorted(known)[:20]) or 'none'}",
        )
    chosen, unmanaged = [], []
    with context.read() as conn:
        for lineage in [known[n] for n in request.names] or list(installation.lineages):
            owners = {
                o.number if (o := domain_owners.owner_of(conn, n.removeprefix("*."))) else None
                for n in lineage.names
            }
            # A lineage belongs to one client: names of several clients, or of none, stay with
            # certbot.
            if None in owners or len(owners) != 1:
                unmanaged.append(
                    (
                        lineage.name,
                        (
                            "its names do not belong to one client of the inventory (certmgr"
                            " domain add NAME --client NUMBER)"
                        ),
                    )
                )
            elif lineage.key_type not in KEY_TYPES:
                unmanaged.append(
                    (
                        lineage.name,
                        f"its key is {lineage.key_type}; certmgr renews {', '.join(KEY_TYPES)}",
                    )
                )
            elif installation.account_of(lineage) is None:
                unmanaged.append((lineage.name, "its account cannot be read"))
            else:
                chosen.append(lineage)
    return AdoptionPlan(
        installation, tuple(chosen), tuple(unmanaged), tuple(renewal_schedules(request.root))
    )


def take_over(context: Context, request: AdoptionRequest, planned: AdoptionPlan) -> list[str]:
    """Take over the lineages of a plan.

    Returns:
        The names of the lineages.

    Raises:
        UsageError: There is no solver, or it cannot validate a name.
        CertmgrError: certbot would still renew automatically. Nothing was taken over then.
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
    _end_schedules(planned.schedules, request.root)
    done = []
    for lineage in planned.chosen:
        _log.info("taking %s over from certbot", lineage.name)
        account = planned.installation.account_of(lineage)
        assert account is not None
        account_id = _ensure_account(context, account)
        _take_over_lineage(context, lineage, account_id, solver, request.targets)
        done.append(lineage.name)
    return done


def _end_schedules(active: Sequence[Schedule], root: Path) -> None:
    """Disable certbot's schedules.

    Two programs that renew the same names would undo each other's work.
    """
    for schedule in active:
        # A line in a crontab is the administrator's: only they can remove it.
        if schedule.disable is None:
            raise CertmgrError(
                f"certbot would still renew automatically: {schedule.source}",
                "nothing was taken over",
                schedule.todo,
            )
        outcome = hooks.run(schedule.disable)
        if not outcome.ok:
            raise CertmgrError(
                f"certbot's schedule {schedule.source} could not be disabled",
                f"{outcome.sentence}: {outcome.output_tail}",
                schedule.todo,
            )
    if active and renewal_schedules(root):
        raise CertmgrError(
            f"certbot's schedule {renewal_schedules(root)[0].source} is still active",
            "nothing was taken over",
            renewal_schedules(root)[0].todo,
        )


def _ensure_account(context: Context, account: CertbotAccount) -> int:
    """Return the id of certbot's account in the inventory, recorded if it is new there.

    The key is stored as a file before the row is written.
    """

    with context.read() as conn:
        same = next((r for r in accounts.listing(conn, retired=True) if r.url == account.uri), None)
    if same is not None:
        return int(same.id)
    ca = cas.find(context.settings.acme, "", account.directory_url)
    key = load_pem_private_key(account.key_pem, None)
    kind = (
        describe_key(key.public_key())[0].lower().replace("ec p-", "ec-p").replace("rsa ", "rsa-")
    )
    if kind not in KEY_TYPES:
        raise CertmgrError(
            f"The key of certbot's account {account.id[:12]} is {printable(kind, 30)}",
            f"certmgr can use {', '.join(KEY_TYPES)}",
            "Create a new account: certmgr account add.",
        )
    name = f"certbot-{account.id[:12]}".lower()
    path = key_store(context.settings).store_key(f"account-{name}", kind, key)
    with context.write() as tx:
        account_id = accounts.add(
            tx,
            {
                "name": name,
                "ca": ca.name,
                "directory": account.directory_url,
                "key_reference": key_reference(path),
                "contacts": tuple(account.contacts),
            },
        )
        accounts.edit(tx, account_id, url=account.uri, state="active")
        return account_id


def _take_over_lineage(
    context: Context,
    lineage: CertbotLineage,
    account_id: int,
    solver: str,
    targets: Sequence[str],
) -> None:
    folder = Lineage(base_directory(context.settings), lineage.name)
    version = folder.store(lineage.bundle.key_pem, lineage.bundle.chain_der)
    folder.switch(version)
    with context.write() as tx:
        _record_lineage(tx, lineage, account_id, solver, targets)
    # The links come last: until then servers read certbot's own files.
    take_over_links(lineage.live, folder)


def _record_lineage(
    tx: Tx, lineage: CertbotLineage, account_id: int, solver: str, targets: Sequence[str]
) -> None:
    names = [
        normalise_host(n) if not n.startswith("*.") else f"*.{normalise_host(n[2:])}"
        for n in lineage.names
    ]
    owner = domain_owners.owner_of(tx.conn, names[0].removeprefix("*."))
    assert owner is not None
    existing = [
        r
        for r in lineages.listing(tx.conn, states=("active", "paused", "retired"))
        if r.name == lineage.name
    ]
    if existing and (
        existing[0].client_id != owner.client_id
        or existing[0].sha256 not in (None, lineage.bundle.sha256)
    ):
        raise Conflict(
            f"There is already another lineage '{lineage.name}'",
            "",
            "Retire it first, or leave this one to certbot.",
        )
    certificates.add(tx, [asdict(certificate_row(c)) for c in lineage.bundle.chain])
    if not existing:
        values = {
            "account_id": account_id,
            "key_type": lineage.key_type,
            "solver": solver,
            "targets": tuple(targets),
            "reuse_key": int(lineage.reuse_key),
            "profile": lineage.profile or None,
            "preferred_chain": lineage.preferred_chain or None,
        }
        lineage_id = lineages.add(
            tx, lineage.name, clients.find(tx.conn, owner.number).number, names, values
        )
    else:
        # A second call after a crash, or a lineage that was given back to certbot before.
        lineage_id = int(existing[0].id)
        lineages.edit(
            tx,
            lineage_id,
            state="active",
            retired_at=None,
            account_id=account_id,
            solver=solver,
            targets=tuple(targets),
        )
        lineages.set_names(tx, lineage_id, names)
    digest = lineage.bundle.sha256
    lineages.note(
        tx,
        lineage_id,
        sha256=digest,
        deployed=digest,
        chain=tuple(c.sha256 for c in lineage.bundle.chain),
    )


def give_back(context: Context, name: str) -> None:
    """Give a lineage back to certbot: restore its links, then retire the lineage.

    A lineage that was never certbot's is refused and stays as it is. If the process dies in
    between, certbot has its links again, and the lineage is still renewed here into a directory
    that no server reads. ``certmgr lineage retire`` ends that.
    """
    with context.read() as conn:
        row = lineages.find(conn, name)
    undo_takeover(Lineage(base_directory(context.settings), row.name))
    with context.write() as tx:
        lineages.edit(tx, row.id, state="retired", retired_at=tx.at)
