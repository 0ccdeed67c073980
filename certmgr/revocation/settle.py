"""What the lists and the DNS change among the open findings of an endpoint.

Pure.

As for a scan: what could not be told changes nothing, and an address that is silent keeps what was
known of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from certmgr.checks.actors import with_actor
from certmgr.checks.codes import STAPLE, layer_of
from certmgr.checks.judge import for_port
from certmgr.checks.transport import finding
from certmgr.inspection.reconcile import FindingChanges, OpenFinding
from certmgr.x509.crl import REASONS
from inventory.db.database import to_epoch
from inventory.store.revocation import ServedAddress
from inventory.targets import Target
from inventory.vocabulary import Finding, Parties


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint: its open findings, and what its addresses served last."""

    id: int
    target: Target
    parties: Parties
    known: Sequence[OpenFinding]
    served: Sequence[ServedAddress]

    @property
    def live(self) -> tuple[ServedAddress, ...]:
        return tuple(s for s in self.served if s.live)

    @property
    def silent(self) -> frozenset[str]:
        """Addresses that did not answer the last time: findings about the connection name them."""
        silent = {
            a
            for o in self.known
            if layer_of(o.finding.code) == "transport"
            for a in o.finding.addresses
        }
        return frozenset(silent - {s.address for s in self.live})

    def acted(self, one: Finding) -> Finding:
        codes = {o.finding.code for o in self.known}
        rated = for_port(self.target, [one])[0]
        return with_actor(
            rated,
            self.parties,
            elsewhere="points-elsewhere" in codes,
            ever_had_certificate=True,
            not_theirs="default-certificate" in codes,
        )


def change(
    place: EndpointState, code: str, wanted: Finding | None, changes: FindingChanges
) -> None:
    """``wanted``: what is so now, None where it is not.

    To be called only where that could be told.
    """
    known = next((o for o in place.known if o.finding.code == code), None)
    if known is None:
        if wanted is not None:
            changes.opened.append(place.acted(wanted))
        return
    kept = tuple(a for a in known.finding.addresses if a in place.silent)
    if wanted is None:
        if not kept:
            changes.closed.append(known.id)
            return
        wanted = replace(known.finding, addresses=kept)
    elif kept:
        wanted = replace(wanted, addresses=tuple(dict.fromkeys((*wanted.addresses, *kept))))
    made = place.acted(wanted)
    if made != known.finding:
        changes.updated.append((known.id, made))


def revocations(
    place: EndpointState,
    rows: Mapping[str, Mapping[str, Any]],
    now: datetime,
    grace: float,
    *,
    suspect: bool,
) -> FindingChanges:
    """``rows``: leaf -> what was said of it.

    ``grace``: seconds for which it may stay unknown. ``suspect``: so much failed that nothing is
    opened as unknown.
    """
    changes = FindingChanges()
    if not place.live:
        return changes
    _revoked(place, rows, changes)
    unknown = [
        s
        for s in place.live
        if (row := rows.get(s.leaf)) is not None
        and row["status"] == "unknown"
        and to_epoch(now) - row["checked_at"] > grace
    ]
    if not (suspect and unknown):
        change(place, "revocation-unknown", _unknown(unknown, rows) if unknown else None, changes)
    return changes


def _revoked(
    place: EndpointState, rows: Mapping[str, Mapping[str, Any]], changes: FindingChanges
) -> None:
    bad = [
        s
        for s in place.live
        if (row := rows.get(s.leaf)) is not None and row["status"] == "revoked"
    ]
    known = next((o for o in place.known if o.finding.code == "revoked"), None)
    if not bad and known is not None:
        if known.finding.evidence.get("source") == STAPLE:
            return  # a scan saw it, and a scan will see that it is gone
        if any(
            o.finding.code == "staple-invalid" and o.finding.evidence.get("state") == "revoked"
            for o in place.known
        ):
            said = replace(known.finding, evidence={**known.finding.evidence, "source": STAPLE})
            changes.updated.append(
                (known.id, said)
            )  # the list does not say so any more, the staple does
            return
    wanted = None
    if bad:
        first = min((rows[s.leaf] for s in bad), key=lambda r: (r["revoked_at"] or 0, r["sha256"]))
        reason = first["reason"] or "unspecified"
        wanted = finding(
            "revoked",
            tuple(s.address for s in bad),
            source=first["source"],
            since=_instant(first["revoked_at"]),
            reason=reason,
            why=REASONS.get(reason, REASONS["unspecified"]),
            serial=first["serial"],
            certificates=sorted({s.leaf for s in bad}),
        )
    change(place, "revoked", wanted, changes)


def _unknown(unknown: Sequence[ServedAddress], rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    first = min((rows[s.leaf] for s in unknown), key=lambda r: (r["checked_at"], r["sha256"]))
    return finding(
        "revocation-unknown",
        tuple(s.address for s in unknown),
        source=first["source"],
        since=_instant(first["checked_at"]),
        detail=first["detail"] or "",
        certificates=sorted({s.leaf for s in unknown}),
    )


def _instant(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
