"""``certmgr lineage adopt``: take over certificates that certbot renews on this machine."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from certmgr.acme import adopt as adoption
from certmgr.cli import output
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.deploy.takeover import Schedule, UndoneTakeover
from inventory.errors import UsageError


@click.command("adopt")
@click.argument("names", nargs=-1, metavar="[CERTBOT-LINEAGE]...")
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/etc/letsencrypt"),
    show_default=True,
    metavar="DIR",
    help="Directory of certbot.",
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
    "--keep-timer",
    is_flag=True,
    help="If some lineages stay with certbot, keep its timer running for them."
    " Default: nothing is taken over then.",
)
@click.option(
    "--undo",
    is_flag=True,
    help="Give the named lineages back to certbot, or all, also after an interrupted takeover.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be taken over.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def adopt(
    app: CommandContext,
    names: tuple[str, ...],
    path: Path,
    solver_name: str,
    targets: tuple[str, ...],
    keep_timer: bool,
    undo: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Take over accounts, keys and certificates that certbot renews on this machine.

    All lineages are checked before anything is changed, and all or none are taken over: a failure
    undoes what was done. certbot's timer is disabled. live/NAME keeps its path, so no server
    configuration changes.
    """

    context = app.context()
    if undo:
        names = names or adoption.taken_over(context)
        if not names:
            raise UsageError(
                "No lineage was given",
                "nothing is recorded as taken over from certbot",
                "Name the lineages.",
            )
        for name in names:
            undone = adoption.give_back(context, name)
            click.echo(
                f"'{name}' belongs to certbot again. Check that certbot's timer is enabled:"
                " systemctl list-timers"
            )
            if undone is not None:
                click.echo(_served(undone, context.now()))
        return 0
    wanted = adoption.AdoptionRequest(path, names, solver_name, targets, keep_timer=keep_timer)
    planned = adoption.plan(context, wanted)
    for adopted in planned.chosen:
        click.echo(
            f"{'→' if dry_run else '·'} {adopted.name}: {len(adopted.names)} name(s),"
            f" {adopted.key_type}, {adopted.authenticator},"
            f" until {adopted.bundle.leaf.not_after:%Y-%m-%d}"
        )
        # Hooks of certbot are shell text, which certmgr does not run.
        for hook in adopted.hooks:
            click.echo(
                f"  its {hook} is not taken over: configure it as reload of an [acme.target.NAME]"
            )
    for name, reason in planned.unmanaged:
        click.echo(f"✗ {output.cell(name)} stays with certbot: {reason}")
    for problem in planned.installation.problems:
        click.echo(f"✗ {output.cell(str(problem.path))}: {output.cell(problem.reason, 300)}")
    for schedule in planned.schedules:
        click.echo(f"! {schedule.source} runs certbot: {_effect(planned, keep_timer, schedule)}")
    if dry_run or not planned.chosen:
        click.echo("Nothing was changed.")
        return 0 if dry_run or not (planned.unmanaged or planned.installation.problems) else 3
    # A takeover disables the timer of another program, so it needs a confirmation.
    if not yes:
        click.confirm(f"Take over {len(planned.chosen)} lineage(s)?", abort=True)
    adopted_names = adoption.take_over(context, wanted, planned)
    click.echo(
        f"✓ certmgr renews {len(adopted_names)} lineage(s) from now on. Run certmgr renew --due"
        " twice a day, or certmgr run, which includes it."
    )
    return 0


def _served(undone: UndoneTakeover, now: datetime) -> str:
    """Return which certificate servers serve after an undo, and what remains to be done."""
    end = undone.leaf.not_after
    until = f"{end:%Y-%m-%d}" if end is not None else "an unknown date"
    if end is not None and end <= now:
        return f"! Its certificate ended on {until}: run certbot renew now, and reload the servers."
    if undone.kept:
        return (
            f"  The certificate in use stays, until {until}: it is certbot's newest version now,"
            " because the one of before the takeover ends earlier. Reload the servers."
        )
    return f"  Its certificate ends on {until}. Reload the servers."


def _effect(planned: adoption.AdoptionPlan, keep_timer: bool, schedule: Schedule) -> str:
    """Return what the takeover would do about a timer or cron job."""
    if planned.rest and keep_timer:
        return f"it keeps running for {len(planned.rest)} lineage(s) that stay with certbot"
    if planned.rest:
        return (
            f"nothing is taken over while {len(planned.rest)} lineage(s) stay with certbot, unless"
            " --keep-timer is given"
        )
    return "it is disabled" if schedule.disable else schedule.todo
