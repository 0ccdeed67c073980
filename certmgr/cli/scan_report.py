"""Output of a scan: the rows of ``certmgr.scan/1``, CSV, and a table for terminals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.output import STYLES, cell, instant, table
from certmgr.inspection.status import counts
from certmgr.inspection.trust_ends import trust_row, trust_text
from inventory.dates import days_left
from inventory.targets import Target
from inventory.vocabulary import Finding, verdict_of
from notifiers.wording.english import VERDICTS
from notifiers.wording.sentences import sentence, short

if TYPE_CHECKING:
    from certmgr.inspection.report import EndpointReport
    from inventory.vocabulary import Acceptance

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


def document(started: datetime, finished: datetime, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a scan of given targets as a document of ``certmgr.scan/1``."""
    return {
        "schema": "certmgr.scan/1",
        "started_at": instant(started),
        "finished_at": instant(finished),
        "endpoints": rows,
        "summary": counts(r["verdict"] for r in rows),
    }


def endpoint_row(
    report: EndpointReport, client: str | None, acceptances: list[tuple[str, Acceptance]]
) -> dict[str, Any]:
    """Return one endpoint as a row of ``certmgr.scan/1``.

    Args:
        report: The result of the scan.
        client: The number of the client, if known.
        acceptances: (finding code, acceptance) of the acceptances in force for this endpoint.
    """

    accepted = dict(acceptances)
    target, leaf = report.target, report.certificate
    findings = []
    for f in report.findings:
        finding: dict[str, Any] = {
            "code": f.code,
            "severity": str(f.severity),
            "actor": str(f.actor),
            "outcome": f.outcome,
            "addresses": list(f.addresses),
            "detail": sentence(f, target),
            "evidence": f.evidence,
        }
        if (acceptance := accepted.get(f.code)) is not None:
            finding["accepted"] = {
                "until": instant(acceptance.until),
                "by": acceptance.by,
                "reason": acceptance.reason,
            }
        findings.append(finding)
    return {
        "target": target.key,
        "host": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "client": client,
        # Accepted findings do not count for the verdict.
        "verdict": str(verdict_of({f["severity"] for f in findings if "accepted" not in f})),
        "certificate": (
            None
            if leaf is None
            else {
                "sha256": leaf.sha256,
                "serial": leaf.serial,
                "subject": leaf.subject,
                "issuer": leaf.issuer,
                "names": list(leaf.names),
                "not_before": instant(leaf.not_before),
                "not_after": instant(leaf.not_after),
                "days_left": days_left(leaf.not_after, report.at) if leaf.not_after else None,
                "key": leaf.key,
            }
        ),
        "addresses": [
            {
                "address": a.address,
                "tls_version": a.tls_version,
                "cipher": a.cipher,
                "group": a.group,
                "post_quantum": a.post_quantum,
                "alpn": a.alpn,
                "ocsp": a.ocsp,
                "chain": list(a.chain),
                "trusted": a.trusted,
                "trusted_until": trust_row(a.trust_ends, report.at, report.rules),
                "error": None if a.error is None else {"layer": a.error[0], "reason": a.error[1]},
            }
            for a in report.addresses
        ],
        "trust_rules": report.rules,
        "http": report.web.document if report.web is not None else None,
        "findings": findings,
    }


def csv_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of ``certmgr.scan/1`` as a row of the CSV, with one line per endpoint."""
    leaf = row["certificate"] or {}
    return {
        **{k: row[k] for k in ("target", "client", "verdict")},
        **{
            k: leaf.get(k)
            for k in ("days_left", "not_after", "issuer", "subject", "serial", "sha256")
        },
        "addresses": [a["address"] for a in row["addresses"]],
        "codes": [f["code"] for f in row["findings"]],
        "detail": [f["detail"] for f in row["findings"]],
    }


def problems_in_words(row: dict[str, Any]) -> str:
    """Return the findings of an endpoint as text, without those of severity info."""

    target = Target(row["host"], row["port"], row["protocol"])
    texts = []
    for f in row["findings"]:
        if f["severity"] == "info":
            continue
        words = short(
            Finding(f["code"], f["severity"], tuple(f["addresses"]), f["evidence"]), target
        )
        # Addresses are named only if the finding holds for some of them and not for all.
        partial = len(row["addresses"]) > 1 and 0 < len(f["addresses"]) < len(row["addresses"])
        texts.append(
            words
            + (f" at {', '.join(f['addresses'])}" if partial else "")
            + (" (accepted)" if "accepted" in f else "")
        )
    return "; ".join(texts)


def scan_table(rows: list[dict[str, Any]], verbose: bool) -> None:
    """Print rows of ``certmgr.scan/1`` as a table, with the evidence if ``verbose``."""
    lines, styles = [], []
    for row in rows:
        leaf = row["certificate"] or {}
        target = str(Target(row["host"], row["port"], row["protocol"]))
        lines.append(
            [
                VERDICTS[row["verdict"]],
                target,
                leaf.get("days_left"),
                issuer_name(leaf.get("issuer")),
                problems_in_words(row),
            ]
        )
        styles.append(STYLES.get(row["verdict"]))
    table(["VERDICT", "HOST", "DAYS LEFT", "ISSUER", "WHAT IS WRONG"], lines, styles)
    if verbose:
        for row in rows:
            show_evidence(row)
    total = {
        v: sum(r["verdict"] == v for r in rows) for v in ("ok", "attention", "fault", "unknown")
    }
    click.echo(f"{len(rows)} endpoint(s): " + ", ".join(f"{n} {v}" for v, n in total.items() if n))


def issuer_name(text: str | None) -> str:
    """Return the common name of an issuer, else its organisation."""
    parts = dict(p.split("=", 1) for p in reversed((text or "").split(", ")) if "=" in p)
    return parts.get("CN") or parts.get("O") or text or ""


def show_evidence(row: dict[str, Any]) -> None:
    """Print certificate, addresses, pages and findings of an endpoint."""
    click.echo(f"\n{row['target']}")
    leaf = row["certificate"]
    if leaf:
        click.echo(f"  subject {cell(leaf['subject'])}; names {cell(leaf['names'][:8])}")
        click.echo(
            f"  serial {leaf['serial']}, {leaf['key']}, {leaf['not_before']} to"
            f" {leaf['not_after']}, SHA-256 {leaf['sha256']}"
        )
    for a in row["addresses"]:
        trust = {True: "trusted", False: "not trusted", None: "trust not determined"}[a["trusted"]]
        facts = [f for f in (a["tls_version"], a["cipher"], a["group"], a["alpn"]) if f]
        error = f"; {a['error']['layer']}: {cell(a['error']['reason'])}" if a["error"] else ""
        click.echo(
            f"  {a['address']}: {', '.join(map(cell, facts)) or 'no handshake'}, chain of"
            f" {len(a['chain'])}, {trust}{error}"
        )
        if early := trust_text(a["trusted_until"]):
            click.echo(f"    trusted by {early}")
    for visit in (row["http"] or {}).get("visits", []):
        steps = [f"{h['status']} to {cell(h['location'])}" for h in visit["redirects"]]
        end = visit["status"] if visit["end"] == "page" else visit["end"]
        steps += (
            []
            if visit["end"] == "left"
            else [str(end) + (f" '{cell(visit['title'], 60)}'" if visit["title"] else "")]
        )
        error = f" ({cell(visit['error'])})" if visit["error"] else ""
        click.echo(f"  {visit['address']}: {cell(visit['url'])}: {', '.join(steps)}{error}")
    for f in row["findings"]:
        click.echo(f"  {f['severity']} {f['code']}: {cell(f['detail'], 400)}")
        if f["evidence"]:
            click.echo(f"    evidence: {cell(json.dumps(f['evidence'], default=str), 400)}")


def note_families(versions: Iterable[int]) -> None:
    """Print one note per address family that this machine has no route to.

    It is a limit of this machine and not a finding about a site.
    """
    for version in sorted(versions):
        click.echo(
            f"Note: this machine has no route to IPv{version}; those addresses were not checked.",
            err=True,
        )


def exit_code(rows: list[dict[str, Any]]) -> int:
    """Return 1 if an endpoint has a fault, 3 if over 20% are undetermined, else 0."""
    if any(r["verdict"] == "fault" for r in rows):
        return 1
    undetermined = sum(r["verdict"] == "unknown" for r in rows)
    return 3 if rows and 100 * undetermined / len(rows) > 20 else 0
