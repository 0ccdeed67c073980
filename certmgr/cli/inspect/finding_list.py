"""``certmgr finding list``: findings, acceptances and assignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.known_words import require_codes
from certmgr.cli.output import (
    STYLES,
    epoch_text,
    host_text,
    instant,
    local_day,
    show,
    table,
    zone,
)
from certmgr.cli.planned import plan_document
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.cli.tables import MINOR, Column, Overflow
from certmgr.inspection.client_scope import scoped_findings
from certmgr.inspection.finding_states import FindingStanding, FindingState, FindingStates
from inventory.errors import UsageError
from inventory.records import AcceptanceScope, ListedFinding
from inventory.store import clients, domains, endpoints, findings
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Finding, FindingDecision
from notifiers.wording.sentences import sentence, short

if TYPE_CHECKING:
    from inventory.vocabulary import Acceptance


@click.command("list")
@client_filter
@click.option("--domain", metavar="NAME", help="Only this domain.")
@click.option("--code", metavar="CODE", help="Only this finding code.")
@click.option("--closed", is_flag=True, help="Include closed findings.")
@click.option("--accepted", is_flag=True, help="List the acceptances instead.")
@click.option(
    "--assigned", is_flag=True, help="List the assigned findings instead: who fixes them by when."
)
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    domain: str | None,
    code: str | None,
    closed: bool,
    accepted: bool,
    assigned: bool,
    output_format: str,
) -> None:
    """List findings, or the acceptances or assignments in force.

    \b
    certmgr finding list --code certificate-expired
    certmgr finding list --assigned
    """

    if accepted and assigned:
        raise UsageError(
            "--accepted and --assigned exclude each other",
            "they are separate lists",
            "Give one of them.",
        )
    if closed and (accepted or assigned):
        raise UsageError(
            "--closed is about findings",
            "--accepted and --assigned list what is in force",
            "Give one of them.",
        )
    # A misspelt code would list nothing, which is read as "no faults".
    require_codes([code] if code else [])
    if accepted or assigned:
        kind = FindingDecision.ASSIGN if assigned else FindingDecision.ACCEPT
        _list_acceptances(app, kind, client, domain, code, output_format)
        return
    with ProgressLine().waiting("finding list"):
        rows = _rows(app, client, domain, code, closed=closed)
    if output_format == "table" and rows:
        _show_table(rows, closed=closed)
        return
    dates = ("opened_at", "closed_at") if closed else ("opened_at",)
    columns = ("client", "target", "severity", "code", "state", "actor", *dates, "detail")
    show(
        "findings",
        columns,
        [r.as_row() for r in rows],
        output_format,
        "There are no open findings.",
        (*columns, "planned", "accepted", "assigned"),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A finding of the list.

    Attributes:
        state: The finding, with the evidence that the reader may see, and whether it counts.
    """

    stored: ListedFinding
    state: FindingState
    target: Target

    @property
    def standing(self) -> str:
        """The state in words: why it does not count, or who fixes it."""
        plan, acceptance, assigned = self.state.plan, self.state.acceptance, self.state.assignment
        if acceptance is not None:
            return f"accepted until {local_day(acceptance.until)}"
        if plan is not None:
            # Without a case or an automation, a person still has to begin it.
            text = plan.staff_text(zone())
            return text if plan.begun else f"{text}; no case is open for it yet"
        if assigned is not None:
            return f"{assigned.by} fixes it until {local_day(assigned.until)}"
        return str(self.state.standing)

    def as_row(self) -> dict[str, Any]:
        """Return the finding as it stands in JSON and CSV."""
        return {
            "client": self.stored.client,
            "target": self.target.key,
            "code": self.stored.code,
            "severity": self.stored.severity,
            "state": str(self.state.standing),
            "actor": self.state.finding.actor,
            "opened_at": epoch_text(self.stored.opened_at),
            "closed_at": epoch_text(self.stored.closed_at),
            "addresses": self.stored.addresses,
            "detail": sentence(self.state.finding, self.target),
            "planned": plan_document(self.state.plan),
            "accepted": _person(self.state.acceptance),
            "assigned": _person(self.state.assignment),
        }


def _person(decision: Acceptance | None) -> dict[str, Any] | None:
    """Return who accepted or fixes a finding, as it stands in JSON."""
    if decision is None:
        return None
    return {"by": decision.by, "until": instant(decision.until), "reason": decision.reason}


def _rows(
    app: CommandContext,
    client: str | None,
    domain: str | None,
    code: str | None,
    *,
    closed: bool,
) -> list[_Row]:
    """Return the findings, the most severe first."""
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        of_domain = domains.find(conn, domain) if domain else None
        # The list of a domain is passed on to its client, like the list of a client.
        reader = of_domain.client_id if of_domain and client_id is None else client_id
        # A finding of another code may show that the certificate belongs to another client, so
        # --code selects from the result.
        everything = findings.listing(
            conn,
            client_id=client_id,
            domain_id=of_domain.id if of_domain else None,
            code=code if reader is None else None,
            closed=closed,
        )
        # Only such a list is limited: without a client, administrators see all evidence.
        stored = (
            {r.id: Finding(r.code, r.severity, tuple(r.addresses), r.evidence) for r in everything}
            if reader is None
            else scoped_findings(conn, reader, everything)
        )
        states = FindingStates.read(conn, everything, app.now(), client_id=reader)
    rows = [
        _Row(
            r,
            states.of(r, replace(stored[r.id], actor=r.actor, outcome=r.outcome)),
            Target(r.host, r.port, r.protocol),
        )
        for r in everything
        if code in (None, r.code)
    ]
    # What counts comes first. A closed finding is history, so it comes after all that are open.
    return sorted(
        rows,
        key=lambda r: (
            r.stored.closed_at is not None,
            r.state.standing is not FindingStanding.OPEN,
            SEVERITY_ORDER[r.stored.severity],
            r.stored.code,
            r.target.host,
            r.target.port,
        ),
    )


# States that need no words: the list is about open findings, and a closed one has its date.
_PLAIN = frozenset({str(FindingStanding.OPEN), str(FindingStanding.CLOSED)})


def _show_table(rows: Sequence[_Row], *, closed: bool) -> None:
    """Print one row per finding, in a few words: the sentence repeats the name of the site."""
    columns: list[str | Column] = ["SEVERITY", "CODE", "HOST", "CLIENT"]
    # The date moves to the front if the list is about when something was closed.
    columns += ["SINCE", "CLOSED"] if closed else [Column("SINCE", MINOR)]
    # Which findings count shows in the list only if some do not, or have an assignee.
    with_state = any(r.standing not in _PLAIN for r in rows)
    columns += [Column("STATE", MINOR, Overflow.FOLD, least=16)] if with_state else []
    columns.append(Column("WHAT IS WRONG", MINOR, Overflow.FOLD, least=20))
    table(
        columns,
        [
            [
                r.stored.severity,
                r.stored.code,
                host_text(r.target),
                r.stored.client,
                local_day(r.stored.opened_at),
                *([local_day(r.stored.closed_at)] if closed else []),
                *(["" if r.standing in _PLAIN else r.standing] if with_state else []),
                short(r.state.finding, r.target),
            ]
            for r in rows
        ],
        # The colour of a severity stands for what counts.
        [
            STYLES.get(r.stored.severity) if r.state.standing is FindingStanding.OPEN else None
            for r in rows
        ],
    )


def _list_acceptances(
    app: CommandContext,
    kind: FindingDecision,
    client: str | None,
    domain: str | None,
    code: str | None,
    output_format: str,
) -> None:
    """List the acceptances or the assignments in force, with for whom they hold."""
    with app.open().read() as conn:
        number = clients.find(conn, client).number if client else None
        domain_id = domains.find(conn, domain).id if domain else None
        at_domain = {e.id for e in endpoints.of_domain(conn, domain_id)} if domain_id else set()
        known = [a for a in findings.acceptances(conn, kind=kind) if code in (None, a.code)]
        scopes = findings.scopes(conn, known)
        # Those that lie within the scope that was asked for. A wider one, such as one for the whole
        # inventory, is not one of this client.
        known = [
            a
            for a in known
            if number in (None, scopes[a.id].client)
            and (domain_id in (None, a.domain_id) or a.endpoint_id in at_domain)
        ]
    if output_format == "table" and known:
        # An assignment is about a person, and an acceptance about a reason.
        last: list[str | Column] = [
            Column("BY", 1),
            Column("REASON", MINOR, Overflow.FOLD, least=20),
        ]
        if kind is FindingDecision.ACCEPT:
            last = [Column("BY", MINOR), "REASON"]
        client_columns = (Column("CLIENT", 9), Column("NAME", MINOR + 1))
        table(
            ["ID", "CODE", "HOST", *client_columns, "UNTIL", *last],
            [
                [
                    a.id,
                    a.code,
                    _place(scope),
                    scope.client,
                    scope.client_name,
                    local_day(a.until),
                    a.by,
                    a.reason,
                ]
                for a, scope in ((a, scopes[a.id]) for a in known)
            ],
        )
        return
    fields = ("id", "code", "for", "until", "by", "reason")
    rows = [_acceptance_row(a, scopes[a.id]) for a in known]
    assigned = kind is FindingDecision.ASSIGN
    empty = "No finding is assigned." if assigned else "No finding is accepted."
    show("acceptances", fields, rows, output_format, empty, keys=list(rows[0]) if rows else None)


def _place(scope: AcceptanceScope) -> str:
    if scope.everywhere:
        return str(scope)
    return host_text(scope.target) if scope.target is not None else scope.place


def _acceptance_row(acceptance: Acceptance, scope: AcceptanceScope) -> dict[str, Any]:
    """Return an acceptance or an assignment as it stands in JSON."""
    return {
        "id": acceptance.id,
        "code": acceptance.code,
        "for": str(scope),
        "until": instant(acceptance.until),
        "by": acceptance.by,
        "reason": acceptance.reason,
        "client": scope.client,
        "domain": scope.domain,
        "target": None if scope.target is None else scope.target.key,
        "everywhere": scope.everywhere,
        # An acceptance is never reported to clients, so the key means something only for an
        # assignment; it is there in both, so that a program finds the same keys.
        "informs_clients": acceptance.informs,
    }
