"""A finding as its columns: in a row, or as JSON in a proposal or the view of a zone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inventory.records import (
    FindingRecord,
)
from inventory.vocabulary import Actor, Finding, Severity


def finding_of(row: FindingRecord) -> Finding:
    """Return what a row states about its endpoint, without its times."""
    return Finding(
        code=row.code,
        severity=row.severity,
        addresses=row.addresses,
        evidence=row.evidence,
        actor=row.actor,
        outcome=row.outcome,
    )


def columns_of(finding: Finding) -> dict[str, Any]:
    """Return the columns of a finding; as JSON, they wait in proposals and views of zones."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "actor": str(finding.actor),
        "outcome": finding.outcome,
        "addresses": finding.addresses,
        "evidence": finding.evidence,
    }


def from_columns(columns: Mapping[str, Any]) -> Finding:
    """Return the finding of :func:`columns_of`, whose tuples became lists in JSON."""
    return Finding(
        code=columns["code"],
        severity=Severity(columns["severity"]),
        addresses=tuple(columns["addresses"]),
        evidence=columns["evidence"],
        actor=Actor(columns["actor"]),
        outcome=columns["outcome"],
    )
