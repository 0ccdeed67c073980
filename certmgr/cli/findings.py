"""``certmgr finding``: list, accept and assign findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certmgr.checks.codes import CODES
from certmgr.cli.finding_list import list_
from certmgr.cli.known_words import require_codes
from certmgr.cli.output import local_time, paragraph
from certmgr.cli.shared import CommandContext, needs, pass_app
from certmgr.inspection.causes import causes
from certmgr.inspection.status import load
from inventory.errors import NotFound, UsageError
from inventory.store import clients, domains, endpoints, findings, servers
from inventory.targets import parse

if TYPE_CHECKING:
    from inventory.db.database import Database

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group()
def finding() -> None:
    """Manage the faults and remarks that scans found."""


finding.add_command(list_)


def _scope_options(command: _F) -> _F:
    """Add the options that select where a finding is accepted or assigned."""
    options = (
        ("--client", "NUMBER", "Only at this client."),
        ("--domain", "NAME", "Only at this domain."),
        ("--endpoint", "TARGET", "Only at this endpoint."),
        # These two select endpoints when the command runs. A fault that appears elsewhere later is
        # not covered, because its cause may be another one.
        ("--server", "NAME", "At all endpoints on this server that have it now."),
        ("--cause", "TARGET", "At all endpoints that have it now for the same cause as TARGET."),
    )
    command = click.option(
        "--everywhere", is_flag=True, help="In the whole inventory, also where it is found later."
    )(command)
    for name, metavar, text in reversed(options):
        command = click.option(name, metavar=metavar, help=text)(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """An acceptance or an assignment, as it was given.

    Attributes:
        kind: accept, or take (an assignment).
        by: The administrator of an assignment.
        informs: Whether clients who do not know of the fault are notified of the assignment.
    """

    kind: str
    code: str
    until: datetime
    reason: str
    by: str | None = None
    informs: bool = True


@finding.command()
@click.argument("code")
@click.option("--until", metavar="DATE", help="Date until which it does not count.")
@click.option("--reason", metavar="TEXT", help="Why it is accepted.")
@_scope_options
@pass_app
def accept(
    app: CommandContext, /, code: str, until: str | None, reason: str | None, **scope: Any
) -> None:
    """Accept a finding: until a date it does not count in verdicts and exit codes.

    \b
    certmgr finding accept hsts-missing --client 1001 --until 2027-01-31 \\
            --reason 'the client does not want it'
    """
    # Checked before --reason, so that each missing option is reported by name.
    end = _end(app, needs(until, "--until"))
    why = needs(reason, "--reason")
    numbers = _record(app, _Decision(kind="accept", code=code, until=end, reason=why), **scope)
    paragraph(f"{_numbers('Acceptance', numbers)}: {code} does not count until {local_time(end)}.")


@finding.command()
@click.argument("code")
@click.option("--by", metavar="NAME", help="Administrator who fixes it.")
@click.option("--until", metavar="DATE", help="Date by which it will be fixed.")
@click.option("--reason", metavar="TEXT", default="taken", help="What will be done.")
@click.option(
    "--inform-clients/--no-inform-clients",
    "inform",
    default=None,
    help=(
        "Whether clients who were not notified of the fault yet get a message. Default: only with"
        " --client, --domain or --endpoint."
    ),
)
@_scope_options
@pass_app
def assign(
    app: CommandContext,
    /,
    code: str,
    by: str | None,
    until: str | None,
    reason: str,
    inform: bool | None,
    **scope: Any,
) -> None:
    """Assign a finding to an administrator, with the date by which it will be fixed.

    Reports and diagnoses then state "We are fixing it", with that date. Clients get a message about
    it if they were notified of the fault, or if they are to be informed.

    \b
    certmgr finding assign hsts-missing --client 1001 --by Ines --until 2026-12-01
    """
    # One command over many clients must not mail all of them by the way.
    bulk = bool(scope["server"] or scope["cause"] or scope["everywhere"])
    informs = not bulk if inform is None else inform
    end = _end(app, needs(until, "--until"))
    name = needs(by, "--by")
    decision = _Decision(kind="take", code=code, until=end, reason=reason, by=name, informs=informs)
    numbers = _record(app, decision, **scope)
    # Each endpoint has a separate assignment, which is withdrawn by its number.
    one = numbers[0] if len(numbers) == 1 else "NUMBER"
    paragraph(
        f"{_numbers('Assignment', numbers)}: {code} is assigned to {name} until {local_time(end)}."
        f" To end the assignment: certmgr finding withdraw {one}"
    )
    if bulk and inform is None:
        paragraph("Clients who do not know of it get no message; --inform-clients sends them one.")


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {numbers[0]} to {numbers[-1]}, for {len(numbers):,} endpoints"


def _end(app: CommandContext, until: str) -> datetime:
    # An acceptance always ends, so that a fault is not forgotten.
    end = app.moment(until)
    assert end is not None
    return end


def _record(
    app: CommandContext,
    decision: _Decision,
    *,
    client: str | None,
    domain: str | None,
    endpoint: str | None,
    server: str | None,
    cause: str | None,
    everywhere: bool,
) -> list[int]:
    """Record an acceptance or an assignment, and return its numbers."""
    narrow = bool(client or domain or endpoint)
    # With two scopes, more could be selected than one of them states.
    if sum((bool(server), bool(cause), everywhere, narrow)) > 1:
        raise UsageError(
            "More than one scope was given",
            "--server, --cause and --everywhere select endpoints alone",
            "Give one of them.",
        )
    database, now = app.open(), app.now()
    # None stands for one record with the scope that was given.
    selected: list[int | None] = [None]
    if server or cause:
        # Read before the write transaction, because loading a large inventory would block other
        # commands.
        selected = list(_endpoints_of(database, now, decision.code, server, cause))
    with database.write(now) as tx:
        scope = {
            "client_id": clients.find(tx.conn, client).id if client else None,
            "domain_id": domains.find(tx.conn, domain).id if domain else None,
            "endpoint_id": endpoints.find(tx.conn, parse(endpoint)).id if endpoint else None,
        }
        # One transaction, so that all selected endpoints are covered or none.
        return [
            findings.accept(
                tx,
                decision.code,
                frozenset(CODES),
                decision.until,
                decision.reason,
                **(scope if row_id is None else {"endpoint_id": row_id}),
                everywhere=everywhere,
                kind=decision.kind,
                by=decision.by,
                informs=decision.informs,
            )
            for row_id in selected
        ]


def _endpoints_of(
    database: Database, now: datetime, code: str, server: str | None, cause: str | None
) -> list[int]:
    """Return the endpoints on a server, or with the cause of a target, that have a finding now."""
    # An endpoint without findings cannot have this one.
    statuses = load(database, now, skip_healthy=True)
    if server:
        with database.read() as conn:
            name = servers.find(conn, server).name
        on_server = [s for s in statuses if s.server == name]
        found = [s.id for s in on_server if any(f.code == code for f in s.findings)]
        what = f"No endpoint on {name} has the finding '{code}'"
    else:
        target = parse(cause or "")
        # A server that is down is one cause with several codes: the endpoints with this one count.
        found = [
            row_id
            for c in causes(statuses)
            if target in c.endpoints
            for row_id, (at_endpoint, _) in zip(c.endpoint_ids, c.severities, strict=True)
            if at_endpoint == code
        ]
        what = f"{target} does not have the finding '{code}'"
    if not found:
        # A misspelt code is found nowhere, and "did not find it there" would hide that.
        require_codes([code])
        raise NotFound(what, "the last scan did not find it there", "See certmgr status --causes.")
    return found


@finding.command()
# Larger numbers do not fit an integer column.
@click.argument("number", type=click.IntRange(1, (1 << 63) - 1))
@pass_app
def withdraw(app: CommandContext, number: int) -> None:
    """End an acceptance or an assignment now."""

    with app.open().write(app.now()) as tx:
        findings.withdraw(tx, number)
    click.echo(f"{number} was withdrawn.")
