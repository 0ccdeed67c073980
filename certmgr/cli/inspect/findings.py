"""``certmgr finding``: list, accept and assign findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certmgr.cli.inspect.finding_list import list_
from certmgr.cli.known_words import require_codes
from certmgr.cli.output import cell, local_time, paragraph
from certmgr.cli.shared import CommandContext, needs, pass_app
from certmgr.inspection.causes import causes
from certmgr.inspection.status import load
from inventory.errors import NotFound, UsageError
from inventory.finding_codes import CODES
from inventory.store import acceptance_ends, clients, domains, endpoints, findings, servers
from inventory.targets import parse
from inventory.vocabulary import FindingDecision

if TYPE_CHECKING:
    from inventory.db.database import Database, Tx

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
        # These two select faults when the command runs. One that appears later, even at the same
        # endpoint, is not covered, because its cause may be another one.
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
        kind: An acceptance or an assignment.
        by: The administrator of an assignment.
        informs: Whether clients who do not know of the fault are notified of the assignment.
    """

    kind: FindingDecision
    code: str
    until: datetime
    reason: str
    by: str | None = None
    informs: bool = True

    def record(self, tx: Tx, **scope: Any) -> int:
        """Record it for a scope, and return its number."""
        return findings.accept(
            tx,
            self.code,
            frozenset(CODES),
            self.until,
            self.reason,
            kind=self.kind,
            by=self.by,
            informs=self.informs,
            **scope,
        )


@finding.command()
@click.argument("code")
@click.option("--until", metavar="TIME", help="Date or time until which it does not count.")
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
    numbers = _record(
        app, _Decision(kind=FindingDecision.ACCEPT, code=code, until=end, reason=why), **scope
    )
    paragraph(
        f"{_numbers('Acceptance', numbers)}: {code} does not count until {local_time(end)}."
        f" {_how_to_end('acceptance', numbers)}"
    )


@finding.command()
@click.argument("code")
@click.option("--by", metavar="NAME", help="Administrator who fixes it, as clients read it.")
@click.option("--until", metavar="TIME", help="Date or time by which it will be fixed.")
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

    --client, --domain, --endpoint and --everywhere name a place: what is found there later is
    assigned as well. --server and --cause select the faults of now: each assignment ends with its
    fault, and one that is found later has no assignee. A fault has one assignee: a new
    assignment replaces earlier ones of the same scope, and a narrow scope counts before a wide one.

    \b
    certmgr finding assign hsts-missing --client 1001 --by Ines --until 2026-12-01
    """
    # One command over many clients must not mail all of them by the way.
    bulk = bool(scope["server"] or scope["cause"] or scope["everywhere"])
    informs = not bulk if inform is None else inform
    end = _end(app, needs(until, "--until"))
    name = _name(needs(by, "--by"))
    decision = _Decision(
        kind=FindingDecision.ASSIGN, code=code, until=end, reason=reason, by=name, informs=informs
    )
    numbers = _record(app, decision, **scope)
    paragraph(
        f"{_numbers('Assignment', numbers)}: {code} is assigned to {name} until {local_time(end)}."
        f" {_how_to_end('assignment', numbers)}"
    )
    if bulk and inform is None:
        paragraph("Clients who do not know of it get no message; --inform-clients sends them one.")


def _name(by: str) -> str:
    """Return the name of an assignee. Clients read it, and no address of staff."""
    if "@" in by or ":" in by:
        raise UsageError(
            f"--by is '{cell(by, 80)}'",
            "clients read it in reports and notices, so it must be a name and no address",
            "Give the name of the administrator, such as --by 'Ada Lovelace'.",
        )
    return by


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {numbers[0]} to {numbers[-1]}, for {len(numbers):,} endpoints"


def _how_to_end(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"To end the {noun}: certmgr finding withdraw {numbers[0]}"
    return f"To end all of them: certmgr finding withdraw {numbers[0]} --all"


def _end(app: CommandContext, until: str) -> datetime:
    # An acceptance always ends, so that a fault is not forgotten.
    return app.ahead(until)


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
    selected: list[int] = []
    if server or cause:
        # Read before the write transaction, because loading a large inventory would block other
        # commands.
        selected = _endpoints_of(database, now, decision.code, server, cause)
    with database.write(now) as tx:
        if server or cause:
            return _record_selected(tx, decision, selected)
        scope = {
            "client_id": clients.find(tx.conn, client).id if client else None,
            "domain_id": domains.find(tx.conn, domain).id if domain else None,
            "endpoint_id": endpoints.find(tx.conn, parse(endpoint)).id if endpoint else None,
        }
        return [decision.record(tx, everywhere=everywhere, **scope)]


def _record_selected(tx: Tx, decision: _Decision, selected: Sequence[int]) -> list[int]:
    """Record a decision about the faults at some endpoints, all or none, as one batch."""
    # A scan may have closed some since they were selected, and a later fault is another one.
    known = findings.open_findings(tx.conn, selected)
    still = [i for i in selected if any(f.code == decision.code for _, f in known.get(i, ()))]
    if not still:
        raise _not_found(f"'{decision.code}' was fixed meanwhile")
    numbers = [decision.record(tx, endpoint_id=still[0], batch=0)]
    first = numbers[0]
    return numbers + [decision.record(tx, endpoint_id=i, batch=first) for i in still[1:]]


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
        raise _not_found(what)
    return found


def _not_found(what: str) -> NotFound:
    return NotFound(what, "the last scan did not find it there", "See certmgr status --causes.")


@finding.command()
# Larger numbers do not fit an integer column.
@click.argument("number", type=click.IntRange(1, (1 << 63) - 1))
@click.option(
    "--all",
    "whole",
    is_flag=True,
    help="End all that the same command recorded with --server or --cause.",
)
@pass_app
def withdraw(app: CommandContext, number: int, whole: bool) -> None:
    """End an acceptance or an assignment now.

    With --all, NUMBER is any of those that one command recorded with --server or --cause. Those
    that ended before, alone or with their fault, stay as they are.
    """
    with app.open().write(app.now()) as tx:
        if not whole:
            acceptance_ends.withdraw(tx, number)
            click.echo(f"{number} was withdrawn.")
            return
        ended = acceptance_ends.withdraw_batch(tx, number)
    click.echo(f"{ended:,} were withdrawn.")
