"""Takes over what a certbot renewed: its accounts, its keys and certificates, its directory.

An edge.

Order of durability: certbot's schedule is ended, an account's key is a file before its row is
written, a version holds the very same key and certificate before the row of the lineage says so,
and only then do the links of certbot's live directory pass through ours. The same call goes on
where one died.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.acme import cas
from certmgr.acme.accounts import base_directory, key_store
from certmgr.acme.arrange import check_solver, check_targets
from certmgr.config.settings import KEY_TYPES, Settings
from certmgr.deploy import hooks
from certmgr.deploy.certbot import CertbotAccount, CertbotInstallation, CertbotLineage, read
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, schedules, take_over_links, undo
from certmgr.inspection.report import certificate_row
from certmgr.x509.key_store import key_reference
from inventory.certificates import describe_key
from inventory.db.database import Database, Tx
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.names import normalise_host
from inventory.store import accounts, clients, lineages, purchases, scan_results
from inventory.text import printable


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What would be taken over. ``strange``: lineages -> why they are left."""

    installation: CertbotInstallation
    chosen: tuple[CertbotLineage, ...]
    strange: tuple[tuple[str, str], ...]
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """``names``: of certbot's lineages, empty: all.

    ``solver``, ``targets``: of all of them, since a web root of certbot's stands in no
    configuration of ours.
    """

    path: Path
    names: tuple[str, ...] = ()
    solver: str = ""
    targets: tuple[str, ...] = ()
    root: Path = Path("/")


def plan(database: Database, settings: Settings, wanted: AdoptionRequest) -> AdoptionPlan:
    """Reads and changes nothing.

    Raises :class:`UsageError` for a name that certbot does not have.
    """
    found = read(wanted.path)
    known = {x.name: x for x in found.lineages}
    if missing := [n for n in wanted.names if n not in known]:
        raise UsageError(
            f"certbot has no lineage '{printable(missing[0], 60)}' in {wanted.path}",
            f"it has {', '.join(sorted(known)[:20]) or 'none'}",
        )
    chosen, strange = [], []
    with database.read() as conn:
        for one in [known[n] for n in wanted.names] or list(found.lineages):
            owners = {
                o["number"] if (o := purchases.owner_of(conn, n.removeprefix("*."))) else None
                for n in one.names
            }
            if None in owners or len(owners) != 1:
                strange.append(
                    (
                        one.name,
                        (
                            "its names are not those of one client of the inventory (certmgr"
                            " domain add NAME --client NUMBER)"
                        ),
                    )
                )
            elif one.key_type not in KEY_TYPES:
                strange.append(
                    (
                        one.name,
                        f"its key is {one.key_type}, and {', '.join(KEY_TYPES)} are renewed here",
                    )
                )
            elif found.account_of(one) is None:
                strange.append((one.name, "its account cannot be read"))
            else:
                chosen.append(one)
    return AdoptionPlan(found, tuple(chosen), tuple(strange), tuple(schedules(wanted.root)))


def take_over(
    database: Database, settings: Settings, wanted: AdoptionRequest, planned: AdoptionPlan
) -> list[str]:
    """The names of the lineages.

    Raises :class:`CertmgrError` before anything is taken over where certbot would still renew by
    itself.
    """
    solver = wanted.solver or settings.acme.default_solver
    if not solver:
        raise UsageError(
            "How is control of the names shown from now on?",
            "neither --solver nor [acme] default_solver says it",
            "Write [acme.solver.web] with its kind.",
        )
    for one in planned.chosen:
        check_solver(settings, solver, one.names)
    check_targets(settings, wanted.targets)
    _end_schedules(planned.schedules, wanted.root)
    done = []
    for one in planned.chosen:
        account = planned.installation.account_of(one)
        assert account is not None
        _one(database, settings, one, _account(database, settings, account), solver, wanted.targets)
        done.append(one.name)
    return done


def _end_schedules(found: Sequence[Schedule], root: Path) -> None:
    """Two programs that renew the same names would undo each other's work."""
    for one in found:
        if one.disable is None:
            raise CertmgrError(
                f"certbot would still renew by itself: {one.where}",
                "nothing was taken over",
                one.todo,
            )
        outcome = hooks.run(one.disable)
        if not outcome.ok:
            raise CertmgrError(
                f"certbot's schedule {one.where} could not be ended",
                f"{outcome.sentence}: {outcome.last_words}",
                one.todo,
            )
    if found and schedules(root):
        raise CertmgrError(
            f"certbot's schedule {schedules(root)[0].where} is still there",
            "nothing was taken over",
            schedules(root)[0].todo,
        )


def _account(database: Database, settings: Settings, account: CertbotAccount) -> int:
    """Its row; made where there is none with this URL. The key is a file of ours before that."""

    with database.read() as conn:
        same = next(
            (r for r in accounts.listing(conn, retired=True) if r["url"] == account.uri), None
        )
    if same is not None:
        return int(same["id"])
    ca = cas.find(settings.acme, "", account.directory_url)
    key = load_pem_private_key(account.key_pem, None)
    kind = (
        describe_key(key.public_key())[0].lower().replace("ec p-", "ec-p").replace("rsa ", "rsa-")
    )
    if kind not in KEY_TYPES:
        raise CertmgrError(
            f"The key of certbot's account {account.id[:12]} is {printable(kind, 30)}",
            f"{', '.join(KEY_TYPES)} can be used",
            "Make a new account: certmgr account add.",
        )
    name = f"certbot-{account.id[:12]}".lower()
    path = key_store(settings).keep(f"account-{name}", kind, key)
    with database.write() as tx:
        made = accounts.add(
            tx,
            {
                "name": name,
                "ca": ca.name,
                "directory": account.directory_url,
                "key_reference": key_reference(path),
                "contacts": " ".join(account.contacts),
            },
        )
        accounts.edit(tx, made, url=account.uri, state="active")
        return made


def _one(
    database: Database,
    settings: Settings,
    one: CertbotLineage,
    account_id: int,
    solver: str,
    targets: Sequence[str],
) -> None:
    folder = Lineage(base_directory(settings), one.name)
    version = folder.store(one.material.key_pem, one.material.chain_der)
    folder.switch(version)
    with database.write() as tx:
        _row(tx, one, account_id, solver, targets)
    take_over_links(one.live, folder)


def _row(tx: Tx, one: CertbotLineage, account_id: int, solver: str, targets: Sequence[str]) -> None:
    names = [
        normalise_host(n) if not n.startswith("*.") else f"*.{normalise_host(n[2:])}"
        for n in one.names
    ]
    owner = purchases.owner_of(tx.conn, names[0].removeprefix("*."))
    assert owner is not None
    mine = [
        r
        for r in lineages.listing(tx.conn, states=("active", "paused", "retired"))
        if r["name"] == one.name
    ]
    if mine and (
        mine[0]["client_id"] != owner["client_id"]
        or mine[0]["sha256"] not in (None, one.material.sha256)
    ):
        raise Conflict(
            f"There is another lineage '{one.name}' already",
            "",
            "Retire it first, or leave this one to certbot.",
        )
    scan_results.add_certificates(tx, [asdict(certificate_row(c)) for c in one.material.chain])
    if not mine:
        values = {
            "account_id": account_id,
            "key_type": one.key_type,
            "solver": solver,
            "targets": " ".join(targets),
            "reuse_key": int(one.reuse_key),
            "profile": one.profile or None,
            "preferred_chain": one.preferred_chain or None,
        }
        made = lineages.add(
            tx, one.name, clients.find(tx.conn, owner["number"])["number"], names, values
        )
    else:
        made = int(mine[0]["id"])
        lineages.edit(
            tx,
            made,
            state="active",
            retired_at=None,
            account_id=account_id,
            solver=solver,
            targets=" ".join(targets),
        )
        lineages.set_names(tx, made, names)
    digest = one.material.sha256
    lineages.note(
        tx,
        made,
        sha256=digest,
        deployed=digest,
        chain=" ".join(c.sha256 for c in one.material.chain),
    )


def give_back(database: Database, settings: Settings, name: str) -> None:
    """Undoes the links, and only then renews it no more here: what was never certbot's is refused
    and stays as it is. After a death in between the links are certbot's, and the lineage is still
    renewed here, into a folder that no server reads; ``certmgr lineage retire`` ends that.
    """
    with database.read() as conn:
        row = lineages.find(conn, name)
    undo(Lineage(base_directory(settings), row["name"]))
    with database.write() as tx:
        lineages.edit(tx, row["id"], state="retired", retired_at=tx.at)
