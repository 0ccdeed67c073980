"""``certmgr issue``: issuance by ACME, and the preflight check of names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from certmgr.acme import arrange as arranging
from certmgr.acme.arrange import IssueRequest, arrange
from certmgr.acme.context import IssuanceContext
from certmgr.acme.preflight.preflight_run import PreflightRequest, preflight
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.cli import output
from certmgr.cli.acme.accounts import KEY_TYPES
from certmgr.cli.acme.issue_states import SYMBOLS, WORDS
from certmgr.cli.acme.lineage_rows import rows_of
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, format_option, pass_app
from certmgr.config.context import Context
from certmgr.x509.csr import MAX_CSR
from inventory.errors import UsageError
from inventory.files import read_regular

# The categories of a preflight answer, as a terminal shows them.
CATEGORIES = {
    "automate": "✓ automate now",
    "record": "→ add this record",
    "buy": "€ buy",
    "elsewhere": "✗ no longer hosted here",
    "unknown": "? undetermined",
    "not-now": "… not now",
}


@click.command("issue")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--client",
    default="",
    metavar="NUMBER",
    help="Client who owns the certificate. Default: the owner of the first name.",
)
@click.option(
    "--lineage",
    default="",
    metavar="NAME",
    help="Name of the lineage and its folder. Default: the first name.",
)
@click.option(
    "--account",
    default="",
    metavar="NAME",
    help="ACME account to order from. Default: [acme] default_account.",
)
@click.option(
    "--solver",
    default="",
    metavar="NAME",
    help="Solver for domain control validation: an [acme.solver.NAME]."
    " Default: [acme] default_solver.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Deployment target: an [acme.target.NAME]; may be repeated.",
)
@click.option(
    "--key",
    "key_types",
    multiple=True,
    type=click.Choice(KEY_TYPES),
    help="Key type. If given twice, one certificate per type.",
)
@click.option(
    "--reuse-key",
    is_flag=True,
    help="Keep the key at renewals. Default: a new key per certificate.",
)
@click.option(
    "--csr",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's CSR; certmgr then never has the private key.",
)
@click.option("--profile", default="", metavar="NAME", help="Certificate profile of the CA.")
@click.option(
    "--chain",
    default="",
    metavar="NAME",
    help="If the CA offers several chains, use the one whose topmost issuer contains NAME.",
)
@click.option(
    "--on-failed-name",
    "on_failed_name",
    type=click.Choice(["ask", "auto"]),
    default=None,
    help="Leave out quarantined names only after approval (ask) or automatically (auto).",
)
@click.option(
    "--preflight",
    is_flag=True,
    help="Only report what prevents a certificate for each name; nothing is ordered.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With --preflight: check every name of the inventory, or of --client.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only report whether the certificate could be ordered; nothing is stored or ordered.",
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
    on_failed_name: str | None,
    preflight: bool,
    everything: bool,
    dry_run: bool,
    output_format: str,
) -> int:
    """Issue a certificate for NAMEs of one client, deploy it, and verify that it is live.

    Renewals follow automatically (certmgr renew --due).

    \b
    certmgr issue shop.example.com www.shop.example.com --target nginx
    certmgr issue '*.example.com' --solver dns
    certmgr issue --preflight --all    which names can be automated
    """

    # --all alone means a preflight: issuing for the whole inventory at once is not offered.
    if preflight or everything:
        if everything and names:
            raise UsageError(
                "--all and names exclude each other",
                "--all checks every name",
                "Omit --all, or omit the names.",
            )
        return _preflight(app, names, client, account, solver, everything, output_format)

    request = IssueRequest(
        names=names,
        client=client,
        lineage=lineage,
        account=account,
        solver=solver,
        # None stands for the default targets. An empty tuple would mean no target.
        targets=targets or None,
        key_types=key_types,
        reuse_key=reuse_key,
        profile=profile,
        chain=chain,
        on_failed_name=on_failed_name or "",
        csr=_read_csr(csr) if csr is not None else None,
    )
    if dry_run:
        return _check_only(app.context(), request)
    return _issue(app, request, output_format)


def _issue(app: CommandContext, request: IssueRequest, output_format: str) -> int:
    """Arrange the lineages of a request, and issue what is due of them."""
    context = app.context()
    lineages = arrange(context, request)
    _show_csr_remarks(request)
    # Some CAs refuse a redundant name and others leave it out, so the remark does not stop the
    # order.
    if remark := arranging.remarks(request):
        click.echo(f"Names are {output.cell(remark, 1500)}.", err=True)
    runner = RenewalRunner(IssuanceContext.of(context))
    # A lineage that exists already and is not due keeps its certificate: CAs limit the number of
    # certificates per set of names.
    due_lineages = [p.name for p in runner.plan(lineages) if p.due.at <= app.now()]
    code = 0
    if due_lineages:
        with ProgressLine().waiting(
            f"{len(due_lineages)} certificate(s): the CA, deployment, verification"
        ):
            summary = runner.run_named(due_lineages)
        code = show_lineages(context.database, due_lineages, summary, output_format)
    unchanged = [n for n in lineages if n not in due_lineages]
    # One JSON or CSV document per call: the lineages that ran have filled it already.
    if unchanged and (output_format == "table" or not due_lineages):
        code = max(code, _show_unchanged(context.database, unchanged, output_format))
    return code


def _show_unchanged(database: Any, names: list[str], output_format: str) -> int:
    """Show lineages that keep their certificate, because another order would count at the CA."""

    with database.read() as conn:
        # A paused lineage keeps its certificate too, so it is shown like an active one.
        rows = [r for r in rows_of(conn, None, ("active", "paused")) if r["lineage"] in names]
    if output_format != "table":
        output.show(
            "lineages",
            ("lineage", "client", "state", "ends", "names", "proof", "error"),
            rows,
            output_format,
        )
        return 0
    for row in rows:
        click.echo(
            f"· {row['lineage']}: valid until {row['ends']}; nothing was ordered."
            f" To order another one: certmgr renew {row['lineage']}"
        )
    # The names have a valid certificate, which is what the command asked for.
    return 0


def _check_only(context: Context, request: IssueRequest) -> int:
    """Run all checks of a new lineage in a transaction that is rolled back."""

    lineages = arranging.check(context, request)
    _show_csr_remarks(request)
    if remark := arranging.remarks(request):
        click.echo(f"Names are {output.cell(remark, 1500)}.")
    click.echo(
        f"It could be ordered as {', '.join(lineages)}. Nothing was ordered; --preflight"
        " checks what a CA would check."
    )
    return 0


def _show_csr_remarks(request: IssueRequest) -> None:
    for remark in arranging.csr_remarks(request):
        click.echo(f"! {output.cell(remark, 1500)}", err=True)


def _read_csr(path: Path) -> bytes:
    # The file may come from a client, so its size is bounded and a device is refused.
    return read_regular(path, MAX_CSR)


def show_lineages(database: Any, names: list[str], summary: Any, output_format: str) -> int:
    """Show the state of these lineages after a run.

    Args:
        database: The inventory.
        names: The lineages to show.
        summary: The result of the run.
        output_format: ``table``, ``json`` or ``csv``.

    Returns:
        The exit code: 3 if a lineage failed or was in use by another process, else 0.
    """

    with database.read() as conn:
        rows = [r for r in rows_of(conn, None, ("active", "paused")) if r["lineage"] in names]
    # The stored row has the last state of a lineage; only the run knows what it did now.
    problems = {n: (state, message) for n, state, message in summary.problems}
    if output_format != "table":
        output.show(
            "lineages",
            ("lineage", "client", "state", "ends", "names", "proof", "error"),
            rows,
            output_format,
        )
    else:
        for row in rows:
            state, message = problems.get(row["lineage"], ("", ""))
            if state:
                click.echo(
                    f"{SYMBOLS.get(state, '✗')} {row['lineage']}: {WORDS.get(state, state)}:"
                    f" {output.cell(message, 1500)}"
                )
            else:
                click.echo(
                    f"✓ {row['lineage']}: until {row['ends'] or '?'};"
                    f" {output.cell(row['proof'] or 'deployed', 600)}"
                )
    # In JSON and CSV, the error column shows what failed.
    if summary.failed and output_format == "table":
        click.echo("certmgr renew --due retries temporary failures automatically.", err=True)
    # If another process works on a lineage, the request of the caller was not carried out.
    return 3 if summary.failed or summary.counts["busy"] else 0


def _preflight(
    app: CommandContext,
    names: tuple[str, ...],
    client: str,
    account: str,
    solver: str,
    everything: bool,
    output_format: str,
) -> int:
    """Report per name whether a CA would issue, and what is missing."""
    # Without a name, the whole inventory would be checked, which takes hours for a typing error.
    if not names and not everything:
        raise UsageError(
            "No names were given",
            "a preflight needs at least one name",
            "Name them, or give --all for the whole inventory.",
        )
    with ProgressLine().waiting("preflight: DNS and CAA of each name, and its servers"):
        advices = preflight(
            app.context(),
            PreflightRequest(names, client, account, solver),
        )
    rows: list[dict[str, Any]] = [
        {
            "name": a.name,
            "sort": str(a.category),
            "reason": a.reason,
            "record": a.record,
            "notes": list(a.notes),
            "client": owner,
        }
        for a, owner in advices
    ]
    if output_format != "table":
        output.show(
            "preflight",
            ("name", "client", "sort", "reason", "record", "notes"),
            rows,
            output_format,
        )
        # A name that cannot be automated is an answer and not a failure of the command.
        return 0
    shown = [
        [
            CATEGORIES[r["sort"]],
            r["name"],
            r["client"],
            "; ".join([str(r["reason"]), *r["notes"]]),
            r["record"],
        ]
        for r in rows
    ]
    output.table(["CATEGORY", "NAME", "CLIENT", "WHY", "RECORD"], shown)
    # The order of CATEGORIES is that of the work: what can be automated comes first.
    counts = {s: sum(r["sort"] == s for r in rows) for s in CATEGORIES}
    # A program that reads the table from a pipe gets rows only; the totals go to stderr.
    click.echo(
        ", ".join(f"{n} {CATEGORIES[s][2:]}" for s, n in counts.items() if n),
        err=not sys.stdout.isatty(),
    )
    return 0
