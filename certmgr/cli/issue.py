"""``certmgr issue``: a certificate by ACME, and what keeps a name from one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from certmgr.acme import arrange as arranging
from certmgr.acme.arrange import IssueRequest, arrange
from certmgr.acme.context import IssuanceContext
from certmgr.acme.preflight_run import PreflightRequest, preflight
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.cli import output
from certmgr.cli.accounts import KEY_TYPES
from certmgr.cli.issue_states import SYMBOLS, WORDS
from certmgr.cli.lineages import rows_of
from certmgr.cli.shared import CommandContext, format_option, pass_app
from certmgr.x509.csr import MAX_CSR
from inventory.errors import UsageError
from inventory.files import read_regular

SORTS = {
    "automate": "✓ automate now",
    "record": "→ add this record",
    "buy": "€ buy",
    "elsewhere": "✗ no longer hosted here",
    "unknown": "? could not be told",
}


@click.command("issue")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--client",
    default="",
    metavar="NUMBER",
    help="Whose certificate it is; else whose the first name is.",
)
@click.option(
    "--lineage",
    default="",
    metavar="NAME",
    help="What it is called here, and its folder; else its first name.",
)
@click.option(
    "--account",
    default="",
    metavar="NAME",
    help="With which ACME account; else [acme] default_account.",
)
@click.option(
    "--solver",
    default="",
    metavar="NAME",
    help="How control is shown: an [acme.solver.NAME]; else [acme] default_solver.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Where it goes: an [acme.target.NAME]; may be repeated.",
)
@click.option(
    "--key",
    "key_types",
    multiple=True,
    type=click.Choice(KEY_TYPES),
    help="Kind of key; given twice: one certificate of each.",
)
@click.option(
    "--reuse-key",
    is_flag=True,
    help="Keep the key over renewals; else each certificate has a new one.",
)
@click.option(
    "--csr",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's own CSR: then the key never comes here.",
)
@click.option("--profile", default="", metavar="NAME", help="A profile of the CA's.")
@click.option(
    "--chain",
    default="",
    metavar="NAME",
    help="The chain whose top has this in its name, where the CA offers several.",
)
@click.option(
    "--leave-out",
    "shrink",
    type=click.Choice(["ask", "auto"]),
    default=None,
    help="Whether names that cannot be had may be left out unasked.",
)
@click.option(
    "--preflight",
    is_flag=True,
    help="Only say what keeps each name from a certificate; nothing is ordered.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With --preflight: every name of the inventory, or of --client.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Arrange nothing and order nothing; only say whether it could be.",
)
@format_option
@pass_app
def issue(
    app: CommandContext,
    names: tuple[str, ...],
    client: str,
    lineage: str,
    account: str,
    solver: str,
    targets: tuple[str, ...],
    key_types: tuple[str, ...],
    reuse_key: bool,
    csr: Path | None,
    profile: str,
    chain: str,
    shrink: str | None,
    preflight: bool,
    everything: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Orders a certificate for NAMEs of one client, puts it in place, and proves that it is live.

    Renewals follow by themselves (certmgr renew --due).

    \b
    certmgr issue shop.example.com www.shop.example.com --target nginx
    certmgr issue '*.example.com' --solver dns
    certmgr issue --preflight --all    which names could be automated, and what the others need
    """

    if preflight or everything:
        if everything and names:
            raise UsageError("--all means every name", "", "Leave the names out, or --all.")
        return _preflight(app, names, client, account, solver, everything, form)

    wanted = IssueRequest(
        names=names,
        client=client,
        lineage=lineage,
        account=account,
        solver=solver,
        targets=targets or None,
        key_types=key_types,
        reuse_key=reuse_key,
        profile=profile,
        chain=chain,
        shrink=shrink or "",
        csr=_read_csr(csr) if csr is not None else None,
    )
    database = app.open()
    if dry_run:
        return _dry(database, app, wanted)
    arranged = arrange(database, app.settings, wanted)
    fleet = RenewalRunner(IssuanceContext(database, app.settings))
    wanted_now = [p.name for p in fleet.plan(arranged) if p.due.at <= app.now()]
    code = told(database, wanted_now, fleet.named(wanted_now), form) if wanted_now else 0
    rest = [n for n in arranged if n not in wanted_now]
    if rest and (form == "table" or not wanted_now):
        code = max(code, _there_already(database, rest, form))
    return code


def _there_already(database: Any, names: list[str], form: str) -> int:
    """Typed twice is not ordered twice: a CA counts."""

    with database.read() as conn:
        rows = [r for r in rows_of(conn, None, ("active", "paused")) if r["lineage"] in names]
    if form != "table":
        output.show(
            "lineages",
            ("lineage", "client", "state", "ends", "names", "proof", "error"),
            rows,
            form,
        )
        return 0
    for row in rows:
        click.echo(
            f"· {row['lineage']}: it has a certificate until {row['ends']}; nothing was ordered."
            f" certmgr renew {row['lineage']} orders another one."
        )
    return 0


def _dry(database: Any, app: CommandContext, wanted: Any) -> int:
    """Everything that arranging checks, rolled back."""

    found = arranging.check(database, app.settings, wanted)
    click.echo(
        f"It could be ordered as {', '.join(found)}. Nothing was ordered; --preflight says what a"
        " CA would find."
    )
    return 0


def _read_csr(path: Path) -> bytes:
    return read_regular(path, MAX_CSR)


def told(database: Any, names: list[str], summary: Any, form: str) -> int:
    """How each of these lineages stands after a run, and the exit code."""

    with database.read() as conn:
        rows = [r for r in rows_of(conn, None, ("active", "paused")) if r["lineage"] in names]
    troubles = {n: (state, said) for n, state, said in summary.troubles}
    if form != "table":
        output.show(
            "lineages",
            ("lineage", "client", "state", "ends", "names", "proof", "error"),
            rows,
            form,
        )
    else:
        for row in rows:
            state, said = troubles.get(row["lineage"], ("", ""))
            if state:
                click.echo(
                    f"{SYMBOLS.get(state, '✗')} {row['lineage']}: {WORDS.get(state, state)}:"
                    f" {output.cell(said, 1500)}"
                )
            else:
                click.echo(
                    f"✓ {row['lineage']}: until {row['ends'] or '?'};"
                    f" {output.cell(row['proof'] or 'in place', 600)}"
                )
    if summary.failed and form == "table":
        click.echo("What is only a matter of time is tried again by certmgr renew --due.", err=True)
    return 3 if summary.failed or summary.counts["busy"] else 0


def _preflight(
    app: CommandContext,
    names: tuple[str, ...],
    client: str,
    account: str,
    solver: str,
    everything: bool,
    form: str,
) -> int:
    if not names and not everything:
        raise UsageError("Which names?", "", "Name them, or give --all for the whole inventory.")
    found = preflight(app.open(), app.settings, PreflightRequest(names, client, account, solver))
    rows: list[dict[str, Any]] = [
        {
            "name": a.name,
            "sort": str(a.sort),
            "reason": a.reason,
            "record": a.record,
            "notes": list(a.notes),
            "client": who,
        }
        for a, who in found
    ]
    if form != "table":
        output.show(
            "preflight", ("name", "client", "sort", "reason", "record", "notes"), rows, form
        )
        return 0
    shown = [
        [
            SORTS[r["sort"]],
            r["name"],
            r["client"],
            "; ".join([str(r["reason"]), *r["notes"]]),
            r["record"],
        ]
        for r in rows
    ]
    output.table(["WHAT", "NAME", "CLIENT", "WHY", "RECORD"], shown)
    counts = {s: sum(r["sort"] == s for r in rows) for s in SORTS}
    click.echo(
        ", ".join(f"{n} {SORTS[s][2:]}" for s, n in counts.items() if n),
        err=not sys.stdout.isatty(),
    )
    return 0
