"""``certmgr solver``: the solvers for domain control validation."""

from __future__ import annotations

import click

from certmgr.acme.challenges.build import challenge_of, find
from certmgr.acme.challenges.build import snippet as server_snippet
from certmgr.cli import output
from certmgr.cli.shared import CommandContext, format_option, pass_app


@click.group()
def solver() -> None:
    """Show the solvers for domain control validation: [acme.solver.NAME]."""


@solver.command("list")
@format_option
@pass_app
def solvers(app: CommandContext, output_format: str) -> None:
    """List the configured solvers."""

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
        output_format,
        "There are no solvers. Configure one as [acme.solver.web].",
    )


@solver.command("snippet")
@click.argument("name")
@click.option(
    "--server",
    type=click.Choice(["nginx", "apache"]),
    default="nginx",
    show_default=True,
    help="Web server.",
)
@pass_app
def snippet(app: CommandContext, name: str, server: str) -> None:
    """Print the web server configuration that serves the challenge answers of a solver."""

    click.echo(server_snippet(find(app.settings, name), server), nl=False)
