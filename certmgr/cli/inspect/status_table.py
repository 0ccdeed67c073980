"""The tables of ``certmgr status``: one row per endpoint, and the numbers at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.output import (
    STYLES,
    cell,
    detail_words,
    epoch_text,
    host_text,
    instant,
    local_day,
    paragraph,
    table,
    zone,
)
from certmgr.cli.planned import plan_document
from certmgr.cli.shared import CommandContext
from certmgr.inspection.status import FAULT_SEVERITIES, count_findings, counted, findings_text
from certmgr.inspection.trust_ends import StoredTrust, trust_row, trust_text
from inventory.certificates import issuer_name
from inventory.store import clients
from notifiers.wording.sentences import sentence, short
from notifiers.wording.verdicts import VERDICTS

if TYPE_CHECKING:
    from certmgr.inspection.status import EndpointStatus
    from inventory.db.database import Database

COLUMNS = (
    "target",
    "client",
    "server",
    "verdict",
    "days_left",
    "not_after",
    "issuer",
    "last_good",
    "last_attempt",
    "codes",
    "detail",
    "trust",
)
_MOST_CLIENTS = 10
NEXT_STEP = "What to do: certmgr status --causes"


def client_names(database: Database) -> dict[str, str]:
    """Return the name of each client by its number."""
    # A retired client may still have endpoints in a past status.
    with database.read() as conn:
        return {c.number: c.name for c in clients.listing(conn, retired=True)}


def show_totals(
    database: Database, statuses: Sequence[EndpointStatus], total: Mapping[str, int]
) -> None:
    """Print the numbers of endpoints by verdict and by client, and of findings."""
    # An inventory without endpoints is not "all ok": the next step is stated instead.
    if not total["endpoints"]:
        paragraph(
            "There are no endpoints here. Import a list (certmgr import FILE --dry-run), or add a"
            " domain: certmgr domain add shop.example.com --client NUMBER"
        )
        return
    verdicts = ", ".join(
        f"{total[v]:,} {v}" for v in ("fault", "unknown", "attention", "ok") if total[v]
    )
    numbers = count_findings(statuses)
    found = f"; {findings_text(numbers)}" if numbers else ""
    paragraph(f"{total['endpoints']:,} endpoint(s): {verdicts or 'none'}{found}.")
    if planned := sum(s.planned is not None and s.planned.begun for s in statuses):
        paragraph(f"{planned:,} renewal(s) due, planned and in time: certmgr status --all.")
    faults = Counter(s.client for s in statuses if s.verdict == "fault")
    if not faults:
        return
    names = client_names(database)
    # The clients with most faults first; the number makes the order the same in each run.
    ranked = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    click.echo()
    table(
        ["FAULTS", "CLIENT", "NAME"],
        [[count, number, names.get(number, "")] for number, count in ranked[:_MOST_CLIENTS]],
    )
    if (more := len(ranked) - _MOST_CLIENTS) > 0:
        click.echo(f"... and {more:,} more client(s) with faults.")


def trusted_until(
    app: CommandContext,
    database: Database,
    statuses: Sequence[EndpointStatus],
    now: datetime,
    as_of: datetime | None,
) -> dict[int, dict[str, Any]]:
    """Return until when browsers trust the certificate of each endpoint, by its id.

    It is not known for the past: the rules of that day are not kept.
    """
    if not statuses or (as_of is not None and as_of < now):
        return {}
    with database.read() as conn:
        stored = StoredTrust.of(conn, app.settings)
        found = stored.endpoints(endpoint_ids=[s.id for s in statuses])
    rows = {i: trust_row(t.ends, as_of or now, stored.rules.version) for i, t in found.items()}
    return {i: row for i, row in rows.items() if row is not None}


def status_row(
    endpoint: EndpointStatus, moment: datetime, until: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return one endpoint as a row of ``certmgr.status/1``.

    Args:
        until: Until when browsers trust its certificate.
    """

    return {
        "target": endpoint.target.key,
        "client": endpoint.client,
        "server": endpoint.server,
        "verdict": str(endpoint.verdict),
        "days_left": endpoint.days_left(moment),
        "not_after": epoch_text(endpoint.not_after),
        "trusted_until": until,
        "trust": trust_text(until),
        "issuer": endpoint.issuer,
        "last_good": epoch_text(endpoint.last_good),
        "last_attempt": epoch_text(endpoint.last_attempt),
        "error": endpoint.error,
        "codes": [f.code for f in endpoint.findings],
        "detail": [sentence(f, endpoint.target) for f in endpoint.findings],
        "findings": [
            {
                "code": f.code,
                "severity": f.severity,
                "actor": f.actor,
                "outcome": f.outcome,
                "addresses": list(f.addresses),
            }
            for f in endpoint.findings
        ],
        "accepted": [
            {"code": f.code, "until": instant(a.until), "by": a.by, "reason": a.reason}
            for f, a in endpoint.accepted
        ],
        "planned": plan_document(endpoint.planned),
    }


def status_table(
    statuses: Sequence[EndpointStatus],
    moment: datetime,
    verbose: bool,
    until: Mapping[int, dict[str, Any]] | None = None,
    *,
    remarks: bool = False,
) -> None:
    """Print one row per endpoint, and the evidence if ``verbose``.

    Args:
        statuses: The endpoints.
        moment: The time of the status.
        verbose: Whether findings are shown with their evidence.
        until: Until when browsers trust the certificate, by endpoint id.
        remarks: Whether remarks are shown at endpoints with a fault too.
    """
    trust = [trust_text((until or {}).get(s.id)) for s in statuses]
    # Most certificates are trusted to their end, so the column is usually empty and left out.
    lines = [
        [
            VERDICTS[s.verdict],
            host_text(s.target),
            s.client,
            s.days_left(moment),
            issuer_name(s.issuer),
            trusted,
            _what_is_wrong(s, remarks),
        ]
        for s, trusted in zip(statuses, trust, strict=True)
    ]
    columns = ["VERDICT", "HOST", "CLIENT", "DAYS", "ISSUER", "TRUSTED", "WHAT IS WRONG"]
    table(columns, lines, [STYLES.get(s.verdict) for s in statuses])
    if verbose:
        for status in statuses:
            _show_evidence(status)


def _what_is_wrong(status: EndpointStatus, remarks: bool) -> str:
    findings = counted(status.findings)
    worse = [f for f in findings if f.severity in FAULT_SEVERITIES]
    # A remark next to a fault would only distract from it.
    texts = [short(f, status.target) for f in (findings if remarks else worse or findings)]
    texts += [
        f"{short(f, status.target)} (accepted until {local_day(a.until)})"
        for f, a in status.accepted
    ]
    # A renewal that is in time is no fault, and an administrator still asks who does it.
    if status.planned is not None:
        texts.append(status.planned.description(zone()))
    # The last error is shown only if no finding explains the verdict.
    return "; ".join(texts) or (status.error if status.verdict != "ok" else "") or ""


def _show_evidence(status: EndpointStatus) -> None:
    # An endpoint without findings has no evidence, so it gets no heading.
    if status.findings:
        click.echo(f"\n{host_text(status.target)}")
    for f in status.findings:
        text = cell(sentence(f, status.target), 400)
        paragraph(f"{f.severity} {f.code} ({f.actor}): {text}", "    ", "  ")
        if f.evidence:
            paragraph(f"evidence: {cell(detail_words(f.evidence), 400)}", "      ", "    ")
