"""What the commands about cases share."""

from __future__ import annotations

import click

from certmgr.cases.service import CaseService
from certmgr.cases.states import NO_PARTY, waits_for
from certmgr.cli.output import local_time
from certmgr.cli.shared import CommandContext
from certmgr.config.secret_values import secret
from inventory.errors import UsageError
from inventory.records import CaseRecord
from inventory.store import cases

# Two administrators may work on one case: the version detects a change in the meantime.
version_option = click.option(
    "--if-version",
    "expected_version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Do nothing if the case has another version. `case show` prints the version.",
)


def case_service(app: CommandContext, expected_version: int | None = None) -> CaseService:
    """Return the service that changes cases.

    Args:
        app: The context of the command.
        expected_version: The version that the caller has read; the service refuses to change a
            case that has another version.
    """
    return CaseService(app.context(), expected_version=expected_version)


def echo_result(row: CaseRecord, text: str = "") -> None:
    """Print what a command did to a case, who acts next, and the new version."""
    due = f", due {local_time(row.due_at)}" if row.due_at else ""
    party = waits_for(row)
    # A case that has ended waits for no party.
    follows = "It has ended." if party == NO_PARTY else f"It waits for {party}{due}."
    click.echo(f"{row.reference}: {text or row.state}. {follows} Version {row.version}.")


def case_row(service: CaseService, reference: str) -> CaseRecord:
    """Return a case as it is stored now."""
    # One command may take several steps, as an upload does. Only the stored row has the last one.
    with service.context.read() as conn:
        return cases.find(conn, reference)


def secret_text(text: str) -> str:
    """Resolve env:NAME or file:PATH; refuse a literal password."""
    # Every user of the machine can read the arguments of a running process.
    if text and not text.startswith(("env:", "file:")):
        raise UsageError(
            "--password does not accept the password itself",
            "other users of this machine could read it in the process list",
            "Write --password env:NAME or file:PATH.",
        )
    return secret(text) if text else ""
