"""``certmgr lineage adopt``: take over certificates that another client renews on this machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click

from certmgr.acme.takeover import adopt as adoption
from certmgr.cli import output
from certmgr.cli.cases.case_shared import secret_text
from certmgr.cli.progress import progress_line
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.context import Context
from certmgr.deploy.client_model import ClientLineage
from certmgr.deploy.clients.registry import CLIENTS, guess, source_of
from certmgr.deploy.hooks import display_command
from certmgr.deploy.takeover import Schedule, UndoneTakeover
from inventory.errors import UsageError


@click.command("adopt")
@click.argument("names", nargs=-1, metavar="[LINEAGE]...")
@click.option(
    "--from",
    "client",
    default="certbot",
    show_default=True,
    metavar="CLIENT",
    help="The client that renews now: certbot, acme.sh, lego, dehydrated or win-acme-export (a copy"
    " of its folder with PEM or PFX files).",
)
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of the client. Default: /etc/letsencrypt, ~/.acme.sh or /etc/dehydrated.",
)
@click.option(
    "--solver",
    "solver_name",
    default="",
    metavar="NAME",
    help="Solver for renewals. Default: [acme] default_solver.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Deployment target of renewals; may be repeated.",
)
@click.option(
    "--account",
    default="",
    metavar="NAME",
    help="Account of the inventory for renewals. Default: the account of the client.",
)
@click.option(
    "--password",
    default="",
    metavar="SECRET",
    help="Password of PFX files in an export of win-acme, as env:NAME or file:PATH.",
)
@click.option(
    "--keep-timer",
    is_flag=True,
    help="If some lineages stay with the client, keep its timer running for them."
    " Default: nothing is taken over then.",
)
@click.option(
    "--undo",
    is_flag=True,
    help="Give the named lineages back to their client, or all, also after an interrupted"
    " takeover.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be taken over.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def adopt(
    app: CommandContext,
    names: tuple[str, ...],
    client: str,
    path: Path | None,
    solver_name: str,
    targets: tuple[str, ...],
    account: str,
    password: str,
    keep_timer: bool,
    undo: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Take over accounts, keys and certificates that another client renews on this machine.

    All lineages are checked before anything is changed, and all or none are taken over: a failure
    undoes what was done. The client's timer is disabled. What servers read keeps its path, so no
    server configuration changes.

    \b
    certmgr lineage adopt --dry-run
    certmgr lineage adopt --solver web --target nginx
    """

    context = app.context()
    if undo:
        # The record of the takeover names the client and its directory, so the other options are
        # not needed.
        return _undo(context, names)
    client, path = _client(client, path)
    wanted = adoption.AdoptionRequest(
        path,
        names,
        solver_name,
        targets,
        keep_timer=keep_timer,
        client=client,
        account=account,
        password=secret_text(password),
    )
    planned = adoption.plan(context, wanted)
    _show(context, wanted, planned, dry_run=dry_run)
    # A script must not believe that everything was taken over if something could not be. For a dry
    # run, the list of such lineages is the result that was requested.
    left = planned.unmanaged or planned.installation.problems
    if dry_run or not planned.chosen:
        click.echo("Nothing was changed.")
        return 0 if dry_run or not left else 3
    # A takeover disables the timer of another program, so it needs a confirmation.
    if not yes:
        click.confirm(f"Take over {len(planned.chosen)} lineage(s)?", abort=True)
    _take_over(context, wanted, planned)
    return 0


def _take_over(
    context: Context, wanted: adoption.AdoptionRequest, planned: adoption.AdoptionPlan
) -> None:
    # Hooks and reloads are other programs, so nothing is drawn while they run but this line.
    with progress_line() as line:
        line.text(f"lineage adopt: {len(planned.chosen)} lineage(s)")
        adopted_names = adoption.take_over(context, wanted, planned)
    click.echo(
        # The client no longer renews these certificates. Without regular runs of certmgr they
        # expire.
        f"✓ certmgr renews {len(adopted_names)} lineage(s) from now on. Run certmgr renew --due"
        " twice a day, or certmgr run, which includes it."
    )


def _client(client: str, path: Path | None) -> tuple[str, Path]:
    """Return the client and its directory. ``--from DIR`` is recognised by its content."""
    # A slash distinguishes a directory from a misspelt name of a client.
    if client not in CLIENTS and "/" in client and path is None:
        path = Path(client)
        return guess(path), path
    source = source_of(client)
    path = path or source.default_path
    if path is None:
        raise UsageError(
            f"The directory of {source.name} is not known",
            f"{source.name} has no usual directory",
            "Give it with --path.",
        )
    return client, path.expanduser()


def _undo(context: Context, names: tuple[str, ...]) -> int:
    # After an interrupted takeover, the administrator may not know which lineages it had reached.
    names = names or adoption.taken_over(context)
    if not names:
        raise UsageError(
            "No lineage was given",
            "nothing is recorded as taken over from another client",
            "Name the lineages.",
        )
    # One after the other: if one cannot be given back, those before it have been.
    for name in names:
        # Read first: giving a lineage back removes it from the record that names its client.
        client = adoption.client_of(context, name)
        undone = adoption.give_back(context, name)
        click.echo(
            f"'{name}' belongs to {client} again. Check that the timer of {client} is enabled:"
            " systemctl list-timers"
        )
        if undone is not None:
            click.echo(_served(undone, client, context.now()))
    return 0


def _served(undone: UndoneTakeover, client: str, now: datetime) -> str:
    """Return which certificate servers serve after an undo, and what remains to be done."""
    end = undone.leaf.not_after
    until = f"{end:%Y-%m-%d}" if end is not None else "an unknown date"
    # Visitors see an error at such a site already, so a reload of the servers is not enough.
    if end is not None and end <= now:
        return (
            f"! Its certificate ended on {until}: renew it with {client} now, and reload the"
            " servers."
        )
    if undone.kept:
        return (
            f"  The certificate in use stays, until {until}: it is {client}'s newest version now,"
            " because the one of before the takeover ends earlier. Reload the servers."
        )
    return f"  Its certificate ends on {until}. Reload the servers."


def _show(
    context: Context,
    wanted: adoption.AdoptionRequest,
    planned: adoption.AdoptionPlan,
    *,
    dry_run: bool,
) -> None:
    """Print what would be taken over, what stays, and which timers keep running."""
    client = wanted.source.name
    for lineage in planned.chosen:
        click.echo(
            f"{'→' if dry_run else '·'} {lineage.name}: {len(lineage.names)} name(s),"
            f" {lineage.key_type}, {output.cell(lineage.authenticator, 200)},"
            f" until {lineage.bundle.leaf.not_after:%Y-%m-%d}"
        )
        _show_lineage(context, wanted, planned, lineage)
    for name, reason in planned.unmanaged:
        click.echo(f"✗ {output.cell(name)} stays with {client}: {reason}")
    for problem in planned.installation.problems:
        click.echo(f"✗ {output.cell(str(problem.path))}: {output.cell(problem.reason, 300)}")
    for schedule in planned.schedules:
        effect = _effect(wanted, planned, schedule)
        click.echo(f"! {output.cell(schedule.source, 200)} runs {client}: {effect}")
        if schedule.command:
            click.echo(f"  its command is: {output.cell(schedule.command, 300)}")


def _show_lineage(
    context: Context,
    wanted: adoption.AdoptionRequest,
    planned: adoption.AdoptionPlan,
    lineage: ClientLineage,
) -> None:
    # A certificate can have a hundred names, which would hide the other lineages.
    shown = ", ".join(output.cell(n) for n in lineage.names[:20])
    more = f" and {len(lineage.names) - 20} more" if len(lineage.names) > 20 else ""
    click.echo(f"  names: {shown}{more}")
    key = "is kept at renewals" if lineage.reuse_key else "is new at each renewal"
    click.echo(f"  key: {lineage.key_type}; it {key}")
    account = planned.installation.account_of(lineage)
    if wanted.account:
        click.echo(f"  account: {output.cell(wanted.account)} of the inventory")
    elif account is not None:
        click.echo(f"  account: {output.cell(account.uri, 200)}")
    files = [f.path for f in lineage.files] or (
        [lineage.live] if wanted.client == "certbot" else []
    )
    for path in files:
        click.echo(f"  servers keep reading: {output.cell(str(path), 300)}")
    solver = wanted.solver or context.settings.acme.default_solver
    click.echo(f"  validation from then on: {output.cell(solver) or 'no solver is configured'}")
    # Servers that are not reloaded go on with the old certificate until it expires. So an empty
    # list is stated before the question, and not noticed after months.
    click.echo(f"  after a renewal runs: {_reloads(context, wanted)}")
    # Hooks of other clients are shell text, which certmgr does not run.
    for hook, text in lineage.hooks.items():
        shown = f" ({output.cell(text, 200)})" if text else ""
        click.echo(
            f"  its {hook}{shown} is not taken over: configure it as reload of an"
            " [acme.target.NAME]"
        )
    for remark in lineage.remarks:
        click.echo(f"  {output.cell(remark, 500)}")


def _reloads(context: Context, wanted: adoption.AdoptionRequest) -> str:
    """Return the commands of the targets, which are all that runs after a renewal."""
    targets = context.settings.acme.targets
    commands = [
        f"{output.cell(display_command(t.reload), 200)} (target {name})"
        for name in wanted.targets
        if (t := targets.get(name)) is not None and t.reload
    ]
    return ", ".join(commands) or "nothing (no --target with a reload was given)"


def _effect(
    wanted: adoption.AdoptionRequest, planned: adoption.AdoptionPlan, schedule: Schedule
) -> str:
    """Return what the takeover would do about a timer or cron job."""
    client = wanted.source.name
    # If lineages stay, nothing is taken over without --keep-timer. The preview then shows what the
    # option would lead to.
    disabled = adoption.disabled_schedules(
        replace(wanted, keep_timer=wanted.keep_timer or bool(planned.rest)), planned
    )
    if planned.rest and not wanted.keep_timer:
        return (
            f"nothing is taken over while {len(planned.rest)} lineage(s) stay with {client}, unless"
            " --keep-timer is given"
        )
    if planned.rest and schedule not in disabled:
        return f"it keeps running for {len(planned.rest)} lineage(s) that stay with {client}"
    if schedule not in disabled:
        return "it keeps running, and finds nothing to renew"
    return "it is disabled" if schedule.disable else schedule.todo
