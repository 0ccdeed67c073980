"""The endpoints of a scan, as JSON (``certmgr.scan/1``), CSV, and a table for terminals.

A :class:`ScannedEndpoint` has the keys of the JSON document as fields, so that a run can keep its
endpoints in a file, and every format reads the same values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from certmgr.checks.folding import parent_of
from certmgr.cli.inspect.scan_document import ScannedAddress, ScannedEndpoint
from certmgr.cli.inspect.scan_spool import ScanSpool
from certmgr.cli.output import STYLES, cell, detail_words, host_text, paragraph, table
from certmgr.inspection.trust_ends import trust_text
from inventory.certificates import issuer_name
from inventory.vocabulary import Finding
from notifiers.wording.sentences import short
from notifiers.wording.verdicts import VERDICTS

CSV_COLUMNS = (
    "target",
    "client",
    "verdict",
    "days_left",
    "not_after",
    "issuer",
    "subject",
    "serial",
    "sha256",
    "addresses",
    "codes",
    "detail",
)


def problems_in_words(endpoint: ScannedEndpoint) -> str:
    """Return the findings of an endpoint as text.

    Those of severity info are left out, and those that the action for another one resolves too.
    """
    texts = []
    # An accepted finding stays, so it explains no other one.
    codes = frozenset(f.code for f in endpoint.findings if f.accepted is None)
    for f in endpoint.findings:
        # This text answers what is wrong, and a remark would distract from it.
        if f.severity == "info" or parent_of(f.code, codes):
            continue
        words = short(
            Finding(f.code, f.severity, tuple(f.addresses), dict(f.evidence)),
            endpoint.parsed_target,
        )
        # Addresses are named only if the finding holds for some of them and not for all.
        some = len(endpoint.addresses) > 1 and 0 < len(f.addresses) < len(endpoint.addresses)
        texts.append(
            words
            + (f" at {', '.join(f.addresses)}" if some else "")
            + (" (accepted)" if f.accepted is not None else "")
        )
    return "; ".join(texts)


def scan_table(endpoints: Sequence[ScannedEndpoint] | ScanSpool, verbose: bool) -> None:
    """Print endpoints as a table, with the evidence if ``verbose``.

    Each is visited once for the table and once for the evidence, and none is kept.
    """
    lines: list[list[Any]] = []
    verdicts: list[str] = []
    for e in endpoints:
        verdicts.append(e.verdict)
        lines.append(
            [
                VERDICTS[e.verdict],
                host_text(e.parsed_target),
                e.certificate.days_left if e.certificate else None,
                issuer_name(e.certificate.issuer if e.certificate else None),
                problems_in_words(e),
            ]
        )
    styles = [STYLES.get(v) for v in verdicts]
    table(["VERDICT", "HOST", "DAYS", "ISSUER", "WHAT IS WRONG"], lines, styles)
    # The table first, since it fits the screen; the evidence may be long.
    if verbose:
        for endpoint in endpoints:
            show_evidence(endpoint)
    total = Counter(verdicts)
    # Verdicts without an endpoint are left out, so that a zero does not draw attention.
    shown = ", ".join(
        f"{total[v]} {v}" for v in ("ok", "attention", "fault", "unknown") if total[v]
    )
    click.echo(f"{len(verdicts)} endpoint(s): {shown}")


def show_evidence(endpoint: ScannedEndpoint) -> None:
    """Print certificate, addresses, pages and findings of an endpoint."""
    click.echo(f"\n{endpoint.target}")
    if leaf := endpoint.certificate:
        # A certificate may have hundreds of names; the first ones identify it.
        click.echo(f"  subject {cell(leaf.subject)}; names {cell(leaf.names[:8])}")
        click.echo(
            f"  serial {leaf.serial}, {leaf.key}, {leaf.not_before} to"
            f" {leaf.not_after}, SHA-256 {leaf.sha256}"
        )
    for address in endpoint.addresses:
        _show_address(address)
    for visit in (endpoint.http or {}).get("visits", []):
        # Only the keys that are shown are taken, so new keys of a visit need no change here.
        _show_visit(_ShownVisit(**{k: visit[k] for k in _ShownVisit.__slots__}))
    for f in endpoint.findings:
        click.echo(f"  {f.severity} {f.code}: {cell(f.detail, 400)}")
        if f.evidence:
            paragraph(f"evidence: {cell(detail_words(f.evidence), 400)}", "      ", "    ")


def _show_address(a: ScannedAddress) -> None:
    trust = {True: "trusted", False: "not trusted", None: "trust not determined"}[a.trusted]
    facts = [f for f in (a.tls_version, a.cipher, a.group, a.alpn) if f]
    # A failed handshake has a layer, which shows if the network or the server is at fault.
    error = f"; {a.error.layer}: {cell(a.error.reason)}" if a.error else ""
    click.echo(
        f"  {a.address}: {', '.join(map(cell, facts)) or 'no handshake'}, chain of"
        f" {len(a.chain)}, {trust}{error}"
    )
    # A line only if a browser ends its trust early: for most certificates none does.
    if early := trust_text(a.trusted_until):
        click.echo(f"    trusted by {early}")


@dataclass(frozen=True, slots=True)
class _ShownVisit:
    """The keys of a visit that a terminal shows (certmgr/scan/visits.py)."""

    url: str
    address: str
    end: str
    status: int | None
    redirects: Sequence[Mapping[str, Any]]
    title: str | None
    error: str | None


def _show_visit(visit: _ShownVisit) -> None:
    steps = [f"{h['status']} to {cell(h['location'])}" for h in visit.redirects]
    # A redirect to another site ends the visit: what that site serves is not about this one.
    if visit.end != "left":
        end = visit.status if visit.end == "page" else visit.end
        steps.append(str(end) + (f" '{cell(visit.title, 60)}'" if visit.title else ""))
    error = f" ({cell(visit.error)})" if visit.error else ""
    click.echo(f"  {visit.address}: {cell(visit.url)}: {', '.join(steps)}{error}")


def note_families(versions: Iterable[int]) -> None:
    """Print one note per address family that this machine has no route to.

    It is a limit of this machine and not a finding about a site.
    """
    for version in sorted(versions):
        click.echo(
            f"Note: this machine has no route to IPv{version}; those addresses were not checked.",
            err=True,
        )


def exit_code(verdicts: Sequence[str]) -> int:
    """Return 1 if an endpoint has a fault, 3 if over 20% are undetermined, else 0."""
    if "fault" in verdicts:
        return 1
    # If more are undetermined, the cause is probably this machine or its network.
    undetermined = verdicts.count("unknown")
    return 3 if verdicts and 100 * undetermined / len(verdicts) > 20 else 0
