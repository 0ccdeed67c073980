"""What an import prints: problems, names without a client, changes to confirm, and totals."""

from __future__ import annotations

from collections.abc import Iterable

import click

from certmgr.cli.output import cell, paragraph
from inventory.importers.ownership import NameSummary
from inventory.importers.plan import ImportPlan

MAX_SHOWN = 200  # a file may have any number of bad rows


def show_lines(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == MAX_SHOWN:
            click.echo("...")
            break
        click.echo(cell(line, 300))


def show_problems(planned: ImportPlan) -> None:
    # What is left out is listed once, also if a snippet is included several times.
    problems = list(dict.fromkeys(planned.problems))
    for problem in problems[:MAX_SHOWN]:
        click.echo(f"{cell(problem.where, 300)}: skipped: {cell(problem.reason, 400)}", err=True)
    if len(problems) > MAX_SHOWN:
        click.echo(f"... and {len(problems) - MAX_SHOWN:,} more rows were skipped.", err=True)


def show_names(summary: NameSummary, *, accepted: bool) -> None:
    """Show which names of a server configuration are known, and who could own the others."""
    if not summary.total:
        return
    others = summary.total - len(summary.known)
    if not others:
        click.echo(f"{summary.total:,} names, all known.")
        return
    click.echo(f"{summary.total:,} names: {len(summary.known):,} known, {others:,} new.")
    show_lines(f"  {host}" for host in sorted(summary.new))
    show_lines(
        f"  {host}: {'given' if accepted else 'proposed'} to the client {number}, below {parent}"
        for host, (number, parent) in sorted(summary.proposed.items())
    )
    show_lines(
        f"  {host}: no client ({where})" for host, where in sorted(summary.unassigned.items())
    )
    if summary.proposed and not accepted:
        click.echo("To accept the proposals: add --accept-proposed.")
    if summary.unassigned:
        click.echo("To give the names without a client to one: add --client NUMBER.")


def show_sensitive(lines: list[str], *, changed: bool) -> None:
    if not lines:
        return
    click.echo("Changes to existing contacts, addresses and paths:")
    show_lines(lines)
    if not changed:
        click.echo("They are left out. Check them, and add --change-contacts to make them.")


def show_totals(planned: ImportPlan, *, dry_run: bool) -> None:
    # A dry run counts what is planned; an import counts what was stored.
    counts = planned.counts() if dry_run else planned.applied
    totals = [f"{n['added']:,} {kind}(s) added" for kind, n in counts.items() if n["added"]]
    totals += [f"{n['changed']:,} {kind}(s) changed" for kind, n in counts.items() if n["changed"]]
    verb = "Would change" if dry_run else "Done"
    paragraph(
        f"{verb}: {planned.rows:,} row(s); {', '.join(totals) or 'nothing to change'};"
        f" {len(planned.problems):,} skipped."
    )
    if dry_run and totals:
        click.echo("Nothing was changed. To import: the same command without --dry-run.")
    elif not dry_run and counts["endpoint"]["added"]:
        click.echo("To check the new sites: certmgr scan")
