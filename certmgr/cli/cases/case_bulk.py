"""``case csr|send|approve --incident``: one step of all cases of an incident."""

from __future__ import annotations

from collections import Counter

import click

from certmgr.cases.bulk import BulkResult
from certmgr.cli.output import cell
from inventory.errors import UsageError

incident_option = click.option(
    "--incident", metavar="REF", help="All cases of this incident that are in the step before."
)


def one_of(reference: str | None, incident: str | None) -> None:
    """Require either a case or an incident.

    Raises:
        UsageError: Both or none are given.
    """
    if (reference is None) == (incident is None):
        raise UsageError(
            "Exactly one of a case and an incident is needed",
            "the command changes one case, or all cases of an incident",
            "Give the reference of a case, or --incident REF.",
        )


def alone(**options: object) -> None:
    """Refuse options that concern a single case.

    Raises:
        UsageError: One of them is given.
    """
    for name, value in options.items():
        # One file or one version cannot fit all cases of an incident.
        if value:
            raise UsageError(
                f"--{name.replace('_', '-')} cannot be combined with --incident",
                "it concerns a single case",
                "Name the case.",
            )


def echo_bulk(result: BulkResult, words: str) -> int:
    """Print what became of the cases; return 3 if one failed."""
    for reference, error in result.failed:
        # On stderr, so that failures stay visible if the output is redirected to a file.
        click.echo(f"{reference}: {cell(error, 300)}", err=True)
    # A repeated command skips what it did before, so skipped cases are no failure. They are counted
    # by state, because an incident can have hundreds of cases.
    counts = Counter(state for _, state in result.skipped)
    skipped = ", ".join(f"{n} {state}" for state, n in counts.items())
    click.echo(
        f"{result.incident}: {len(result.done)} case(s) {words}"
        + (f"; not in this step: {skipped}" if skipped else "")
        + (f"; {len(result.failed)} failed" if result.failed else "")
        + "."
    )
    return 3 if result.failed else 0
