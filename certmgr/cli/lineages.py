"""``certmgr lineage`` and ``certmgr solver``: what is renewed, and how control is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from certmgr.acme import adopt as work
from certmgr.acme import arrange, deployment
from certmgr.acme.accounts import base_directory
from certmgr.acme.challenges.build import challenge_of, find
from certmgr.acme.challenges.build import snippet as made
from certmgr.acme.context import IssuanceContext
from certmgr.acme.planning import plan_one
from certmgr.acme.renewal import failure
from certmgr.cli import output
from certmgr.cli.issue_states import SYMBOLS, WORDS
from certmgr.cli.shared import CommandContext, client_filter, format_option, given, pass_app
from certmgr.deploy.lineage import Lineage
from inventory.errors import Conflict, UsageError
from inventory.names import display
from inventory.store import accounts, acme_orders, clients, lineages
from inventory.store import purchases as orders

_STATES = {
    "live": "✓ live",
    "placed": "· in place",
    "waiting": "… not brought yet",
    "none": "✗ no certificate yet",
    "taken-back": "✗ taken back",
    "paused": "· paused",
    "unproved": "? not seen live",
    "held": "! waits for you",
    "condemned": "✗ must be replaced",
    "retired": "· retired",
}


def rows_of(conn: Any, client_id: int | None, states: Sequence[str]) -> list[dict[str, Any]]:
    """Lineages as they are shown."""

    found = []
    condemned = lineages.condemned(conn)
    for row in lineages.listing(conn, client_id=client_id, states=states):
        names = [n["name"] for n in row["names"]]
        out = [n["name"] for n in row["names"] if n["state"] == "quarantined"]
        found.append(
            {
                "lineage": row["name"],
                "client": row["client"],
                "state": _state(row, out, condemned),
                "ends": output.epoch_text(row["not_after"]),
                "names": names,
                "quarantined": out,
                "account": row["account"],
                "solver": row["solver"],
                "targets": row["targets"].split(),
                "key": row["key_type"],
                "sha256": row["sha256"],
                "proof": row["proof"],
                "error": failure(row["error"]),
                "next_at": output.epoch_text(row["next_at"]),
                "renew_at": output.epoch_text(row["ari_at"]),
                "explanation": row["ari_url"],
                "failures": row["failures"],
            }
        )
    return found


def _state(row: Any, out: list[str], condemned: Mapping[str, str]) -> str:
    if row["state"] != "active":
        return str(row["state"])
    if row["sha256"] in condemned:
        return "condemned"
    if row["sha256"] is not None and row["rolled_back"] == row["sha256"]:
        return "taken-back"
    if out and not (row["shrink"] == "auto" or set(out) <= set(row["shrink_ok"].split())):
        return "held"
    if row["sha256"] is None:
        return "none"
    if row["deployed"] != row["sha256"]:
        return "waiting"
    if row["proven_at"] is not None:
        return "live"
    return "unproved" if row["proof"] and not str(row["proof"]).startswith("no place") else "placed"


@click.group()
def lineage() -> None:
    """Certificates that are renewed automatically: names, account, validation, targets."""


@lineage.command("list")
@client_filter
@click.option("--retired", is_flag=True, help="Also what was retired.")
@format_option
@pass_app
def list_(app: CommandContext, client: str | None, retired: bool, form: str) -> None:
    """All lineages, or those of a client."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows = rows_of(
            conn, client_id, ("active", "paused", "retired") if retired else ("active", "paused")
        )
    keys = (
        "lineage",
        "client",
        "state",
        "ends",
        "names",
        "quarantined",
        "account",
        "solver",
        "targets",
        "key",
        "sha256",
        "proof",
        "error",
        "next_at",
        "renew_at",
        "explanation",
        "failures",
    )
    if form != "table":
        output.show("lineages", keys, rows, form)
        return
    if not rows:
        click.echo("There are no lineages: certmgr issue NAME.")
        return
    shown = [
        [
            _STATES.get(r["state"], r["state"]),
            r["lineage"],
            r["client"],
            (r["ends"] or "")[:10],
            len(r["names"]),
            r["error"] or r["proof"] or "",
        ]
        for r in rows
    ]
    output.table(["STATE", "LINEAGE", "CLIENT", "ENDS", "NAMES", "LAST WORD"], shown)


@lineage.command("show")
@click.argument("name")
@format_option
@pass_app
def show(app: CommandContext, name: str, form: str) -> None:
    """One lineage: certificates, names, targets, when it is renewed and why."""

    with app.open().read() as conn:
        row = lineages.find(conn, name)
        row = {**row, "names": lineages.names_of(conn, [row["id"]]).get(row["id"], [])}
        view = next(
            r
            for r in rows_of(conn, row["client_id"], (row["state"],))
            if r["lineage"] == row["name"]
        )
        orders = acme_orders.last_of(conn, row["id"], 10)
        deliveries = lineages.deliveries(conn, lineage_id=row["id"], states=("pending", "done"))
        served = lineages.served_names(conn, [row["sha256"]]) if row["sha256"] else {}
        bad = lineages.condemned(conn).get(row["sha256"] or "", "")

    due = plan_one(row, app.now(), bad, served.get(row["sha256"] or "")).due
    folder = Lineage(base_directory(app.settings), row["name"])
    if form != "table":
        output.echo_json(
            {
                "schema": "certmgr.lineage/1",
                **view,
                "renew_from": output.instant(due.at),
                "renew_because": due.reason,
                "folder": str(folder.live),
            }
        )
        return
    output.pairs(
        [
            ("Lineage", row["name"]),
            ("Must be replaced", bad or None),
            ("Client", row["client"]),
            ("State", _STATES.get(view["state"], view["state"])),
            ("Certificate", row["sha256"]),
            ("Ends", view["ends"]),
            (
                "Renewed from",
                f"{output.instant(due.at)}: {due.reason}" if row["sha256"] else due.reason,
            ),
            ("The CA explains", row["ari_url"]),
            ("Not before", view["next_at"]),
            ("Account", row["account"]),
            ("Solver", row["solver"]),
            ("Targets", row["targets"]),
            ("Key", row["key_type"]),
            ("Profile", row["profile"]),
            ("Chain", row["preferred_chain"]),
            ("Leaves out", row["shrink"]),
            ("Folder", folder.live),
            ("Seen", row["proof"]),
            ("Last word", view["error"]),
        ]
    )
    for one in row["names"]:
        mark = "✓" if one["state"] == "active" else "!"
        why = (
            f": in quarantine since {output.epoch_text(one['since'])}:"
            f" {output.cell(one['reason'], 400)}"
            if one["state"] != "active"
            else ""
        )
        click.echo(f"{mark} {output.cell(one['name'])}{why}")
    for delivery in deliveries:
        if delivery["sha256"] == row["sha256"]:
            click.echo(
                f"{'✓' if delivery['state'] == 'done' else '✗'} target {delivery['target']}:"
                f" {output.cell(delivery['error'] or delivery['state'], 400)}"
            )
    for order in orders:
        when, sha = (
            output.epoch_text(order["created_at"]),
            (f" {order['sha256'][:16]}" if order["sha256"] else ""),
        )
        click.echo(
            f"order {order['id']} of {when}: {order['state']}{sha}"
            f" ({output.cell(order['reason'], 100)})"
        )


@lineage.command("edit")
@click.argument("name")
@click.option("--account", metavar="NAME", help="Another ACME account.")
@click.option("--solver", metavar="NAME", help="Another way of showing control.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="The targets, in place of those before; '' for none.",
)
@click.option(
    "--names", metavar="NAMES", help="The names, in place of those before, with blanks between."
)
@click.option("--profile", help="A profile of the CA's; empty: none.")
@click.option("--chain", help="The top of the chain; empty: the CA's own.")
@click.option(
    "--leave-out",
    "shrink",
    type=click.Choice(["ask", "auto"]),
    help="Whether names that cannot be had may be left out unasked.",
)
@click.option("--reuse-key/--new-key", default=None, help="Whether the key stays over renewals.")
@pass_app
def edit(
    app: CommandContext,
    name: str,
    account: str | None,
    solver: str | None,
    targets: tuple[str, ...],
    names: str | None,
    profile: str | None,
    chain: str | None,
    shrink: str | None,
    reuse_key: bool | None,
) -> None:
    """Changes an arrangement; its next certificate follows it."""

    if (
        all(x is None for x in (account, solver, names, profile, chain, shrink, reuse_key))
        and not targets
    ):
        raise UsageError(
            "Nothing is to be changed", "no option was given", "See certmgr lineage edit --help."
        )
    if names is not None and not names.strip():
        raise UsageError(
            "A lineage needs at least one name", "", f"certmgr lineage retire {name} ends it."
        )
    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        _not_retired(row)
        have = [n["name"] for n in lineages.names_of(tx.conn, [row["id"]]).get(row["id"], [])]
        values = given(
            solver=solver, shrink=shrink, reuse_key=None if reuse_key is None else int(reuse_key)
        )
        values |= {k: v or None for k, v in given(profile=profile, preferred_chain=chain).items()}
        if names is not None:
            who = clients.find(tx.conn, row["client"])
            new, _ = orders.names_of(tx.conn, who["id"], [names], lineages.MAX_NAMES)
            lineages.require_owned(tx.conn, who, new)
            lineages.set_names(tx, row["id"], new)
            have = new
        arrange.check_solver(app.settings, solver or row["solver"], have)
        if targets:
            words = [t for t in targets if t]
            arrange.check_targets(app.settings, words, own_key=row["csr"] is None)
            values["targets"] = " ".join(words)
        if account is not None:
            values["account_id"] = accounts.find(tx.conn, account)["id"]
        lineages.edit(tx, row["id"], **values)
        lineages.note(tx, row["id"], next_at=None)
    click.echo(
        f"'{name}' is changed. certmgr renew {name} makes a certificate of it now; else the next"
        " renewal does."
    )


@lineage.command("approve")
@click.argument("name")
@pass_app
def approve(app: CommandContext, name: str) -> None:
    """Lets the names in quarantine be left out of the next certificate.

    They return by themselves when they can be had again.
    """

    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        out = [
            n["name"]
            for n in lineages.names_of(tx.conn, [row["id"]]).get(row["id"], [])
            if n["state"] == "quarantined"
        ]
        if not out:
            raise Conflict(
                f"No name of '{name}' is in quarantine", "", f"See certmgr lineage show {name}."
            )
        lineages.edit(tx, row["id"], shrink_ok=" ".join(out))
        lineages.note(tx, row["id"], next_at=None)
    click.echo(
        f"The next certificate of '{name}' is made without {', '.join(display(n) for n in out)}."
    )


def _not_retired(row: Any) -> None:
    if row["state"] == "retired":
        raise Conflict(
            f"'{row['name']}' is retired",
            "",
            f"certmgr lineage resume {row['name']} brings it back.",
        )


def _set_state(app: CommandContext, name: str, state: str) -> None:
    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        if state != "active":
            _not_retired(row)
        lineages.edit(tx, row["id"], state=state, retired_at=tx.at if state == "retired" else None)


@lineage.command("pause")
@click.argument("name")
@pass_app
def pause(app: CommandContext, name: str) -> None:
    """Renews it no more, until it is resumed."""
    _set_state(app, name, "paused")
    click.echo(f"'{name}' is paused: nothing renews it.")


@lineage.command("resume")
@click.argument("name")
@pass_app
def resume(app: CommandContext, name: str) -> None:
    """Renews it again, also one that was retired."""
    _set_state(app, name, "active")
    click.echo(f"'{name}' is renewed again.")


@lineage.command("retire")
@click.argument("name")
@pass_app
def retire(app: CommandContext, name: str) -> None:
    """Ends the arrangement.

    Files stay where they are, and so does the certificate until its end.
    """
    _set_state(app, name, "retired")
    click.echo(f"'{name}' is retired. Its files stay; nothing renews them.")


@lineage.command("deploy")
@click.argument("name")
@pass_app
def deploy(app: CommandContext, name: str) -> int:
    """Brings the newest certificate to its targets again, also one that was taken back, and looks
    whether it is live.
    """

    database = app.open()
    with database.read() as conn:
        row = lineages.find(conn, name)
    _not_retired(row)
    done = deployment.deploy(IssuanceContext(database, app.settings), row["id"], again=True)
    symbol = SYMBOLS.get(done.state, "✓" if done.good else "✗")
    click.echo(
        f"{symbol} {done.lineage}: {WORDS.get(done.state, done.state)}:"
        f" {output.cell(done.said, 1500)}"
    )
    return 0 if done.good else 3


@lineage.command("adopt")
@click.argument("names", nargs=-1, metavar="[CERTBOT-LINEAGE]...")
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/etc/letsencrypt"),
    show_default=True,
    metavar="DIR",
    help="certbot's directory.",
)
@click.option(
    "--solver",
    "solver_name",
    default="",
    metavar="NAME",
    help="How control is shown from now on; else [acme] default_solver.",
)
@click.option(
    "--target", "targets", multiple=True, metavar="NAME", help="Where renewals go; may be repeated."
)
@click.option("--undo", is_flag=True, help="Give the lineages named back to certbot.")
@click.option("--dry-run", is_flag=True, help="Only say what would be taken over.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def adopt(
    app: CommandContext,
    names: tuple[str, ...],
    path: Path,
    solver_name: str,
    targets: tuple[str, ...],
    undo: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Takes over what certbot renews here: accounts, keys, certificates.

    Its timer is ended first; live/NAME stays where it is, so that no server's configuration
    changes.
    """

    database = app.open()
    if undo:
        if not names:
            raise UsageError("Which are to be given back?", "", "Name them.")
        for name in names:
            work.give_back(database, app.settings, name)
            click.echo(
                f"'{name}' is certbot's again: enable its timer, if nothing else of it is taken"
                " over."
            )
        return 0
    wanted = work.AdoptionRequest(path, names, solver_name, targets)
    planned = work.plan(database, app.settings, wanted)
    for one in planned.chosen:
        click.echo(
            f"{'→' if dry_run else '·'} {one.name}: {len(one.names)} name(s), {one.key_type},"
            f" {one.authenticator}, until {one.material.leaf.not_after:%Y-%m-%d}"
        )
        for hook in one.hooks:
            click.echo(
                f"  its {hook} is not taken over: write it as a target ([acme.target.NAME] reload)"
            )
    for name, why in planned.strange:
        click.echo(f"✗ {output.cell(name)} is left: {why}")
    for problem in planned.installation.problems:
        click.echo(f"✗ {output.cell(str(problem.path))}: {output.cell(problem.why, 300)}")
    for schedule in planned.schedules:
        click.echo(
            f"! {schedule.where} runs certbot:"
            f" {'it is ended first' if schedule.disable else schedule.todo}"
        )
    if dry_run or not planned.chosen:
        click.echo("Nothing was changed.")
        return 0 if dry_run or not (planned.strange or planned.installation.problems) else 3
    if not yes:
        click.confirm(f"Take over {len(planned.chosen)} lineage(s)?", abort=True)
    done = work.take_over(database, app.settings, wanted, planned)
    click.echo(
        f"✓ {len(done)} lineage(s) are renewed here from now on. Run certmgr renew --due twice a"
        " day (certmgr run does it)."
    )
    return 0


@click.group()
def solver() -> None:
    """How control of names is shown: the [acme.solver.NAME] of the configuration."""


@solver.command("list")
@format_option
@pass_app
def solvers(app: CommandContext, form: str) -> None:
    """The solvers of the configuration."""

    rows = [
        {
            "name": n,
            "kind": s.kind,
            "challenge": challenge_of(s),
            "where": (
                s.path
                or s.server
                or s.provider
                or " ".join(s.command)
                or (f"port {s.port}" if s.port else "")
            ),
        }
        for n, s in sorted(app.settings.acme.solvers.items())
    ]
    output.show(
        "solvers",
        ["name", "kind", "challenge", "where"],
        rows,
        form,
        "The configuration has none: write [acme.solver.web].",
    )


@solver.command("snippet")
@click.argument("name")
@click.option(
    "--server",
    type=click.Choice(["nginx", "apache"]),
    default="nginx",
    show_default=True,
    help="For which web server.",
)
@pass_app
def snippet(app: CommandContext, name: str, server: str) -> None:
    """What a web server's configuration needs so that a CA finds the answers of a solver."""

    click.echo(made(find(app.settings, name), server), nl=False)
