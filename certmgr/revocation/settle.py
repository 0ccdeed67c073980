"""How revocation lists and the DNS change the open findings of an endpoint. Pure.

As for a scan, an undetermined result changes nothing, and a silent address keeps its findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from certmgr.checks.actors import with_actor
from certmgr.checks.adjustments import for_port
from certmgr.checks.transport import finding
from certmgr.inspection.reconcile import FindingChanges, OpenFinding
from certmgr.x509.crl import REASONS
from inventory.db.database import to_epoch
from inventory.finding_codes import STAPLE, Layer, layer_of
from inventory.store.revocation import ServedAddress
from inventory.targets import Target
from inventory.vocabulary import FOREIGN_ADDRESS, Finding, Parties, RevocationState


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint with its open findings, and what its addresses served last."""

    id: int
    target: Target
    parties: Parties
    known: Sequence[OpenFinding]
    served: Sequence[ServedAddress]

    @property
    def live(self) -> tuple[ServedAddress, ...]:
        """The addresses that answered the last scan, without foreign ones.

        A revoked certificate at a foreign address is part of the finding about that address.
        """
        foreign = {
            a for o in self.known if o.finding.code == FOREIGN_ADDRESS for a in o.finding.addresses
        }
        return tuple(s for s in self.served if s.live and s.address not in foreign)

    @property
    def silent(self) -> frozenset[str]:
        """The addresses that did not answer the last scan.

        Open findings about the connection name them.
        """
        # An address that answered is not silent, even if a finding about its connection is open.
        silent = {
            a
            for o in self.known
            if layer_of(o.finding.code) is Layer.TRANSPORT
            for a in o.finding.addresses
        }
        return frozenset(silent - {s.address for s in self.live})

    def assigned(self, finding: Finding) -> Finding:
        """Return the finding with the severity for its port, and with the party that must act."""
        codes = {o.finding.code for o in self.known}
        rated = for_port(self.target, [finding])[0]
        return with_actor(
            rated,
            self.parties,
            elsewhere="points-elsewhere" in codes,
            ever_had_certificate=True,
            serves_default="default-certificate" in codes,
        )


def update_finding(
    endpoint: EndpointState, code: str, current: Finding | None, changes: FindingChanges
) -> None:
    """Open, update or close one finding. Call it only if the result is determined.

    Args:
        endpoint: The endpoint.
        code: The code of the finding.
        current: The finding as it is now; None if there is none.
        changes: Collects the change.
    """
    known = next((o for o in endpoint.known if o.finding.code == code), None)
    if known is None:
        if current is not None:
            changes.opened.append(endpoint.assigned(current))
        return
    # A silent address may still serve what it served before.
    kept = tuple(a for a in known.finding.addresses if a in endpoint.silent)
    if current is None:
        if not kept:
            changes.closed.append(known.id)
            return
        current = replace(known.finding, addresses=kept)
    elif kept:
        current = replace(current, addresses=tuple(dict.fromkeys((*current.addresses, *kept))))
    updated = endpoint.assigned(current)
    if updated != known.finding:
        changes.updated.append((known.id, updated))


def revocation_changes(
    endpoint: EndpointState,
    rows: Mapping[str, Mapping[str, Any]],
    now: datetime,
    grace: float,
    *,
    suspect: bool,
) -> FindingChanges:
    """Return the changes to the findings ``revoked`` and ``revocation-unknown``.

    Args:
        endpoint: The endpoint.
        rows: SHA-256 of a leaf -> its stored revocation status.
        now: The current time.
        grace: The seconds for which a status may stay unknown.
        suspect: Whether most lists failed. Then the cause is probably our own network, so no
            unknown status becomes a finding.
    """
    changes = FindingChanges()
    # If no address answered, nothing is known about what the endpoint serves.
    if not endpoint.live:
        return changes
    _revoked(endpoint, rows, changes)
    # A list that fails for a short time is usual, and needs no action.
    unknown = [
        s
        for s in endpoint.live
        if (row := rows.get(s.leaf)) is not None
        and row["status"] == RevocationState.UNKNOWN
        and to_epoch(now) - row["checked_at"] > grace
    ]
    if not (suspect and unknown):
        update_finding(
            endpoint, "revocation-unknown", _unknown(unknown, rows) if unknown else None, changes
        )
    return changes


def _revoked(
    endpoint: EndpointState, rows: Mapping[str, Mapping[str, Any]], changes: FindingChanges
) -> None:
    revoked = [
        s
        for s in endpoint.live
        if (row := rows.get(s.leaf)) is not None and row["status"] == RevocationState.REVOKED
    ]
    known = next((o for o in endpoint.known if o.finding.code == "revoked"), None)
    if not revoked and known is not None:
        if known.finding.evidence.get("source") == STAPLE:
            return  # a scan opened it for a staple, and a scan will close it
        if any(
            o.finding.code == "staple-invalid" and o.finding.evidence.get("state") == "revoked"
            for o in endpoint.known
        ):
            # The list does not contain the certificate any more, but the staple reports it as
            # revoked. So the finding stays, and from now on scans decide about it.
            stapled = replace(known.finding, evidence={**known.finding.evidence, "source": STAPLE})
            changes.updated.append((known.id, stapled))
            return
    current = None
    if revoked:
        # The evidence describes the certificate that was revoked first.
        first = min(
            (rows[s.leaf] for s in revoked), key=lambda r: (r["revoked_at"] or 0, r["sha256"])
        )
        reason = first["reason"] or "unspecified"
        current = finding(
            "revoked",
            tuple(s.address for s in revoked),
            source=first["source"],
            since=_iso_time(first["revoked_at"]),
            reason=reason,
            why=REASONS.get(reason, REASONS["unspecified"]),
            serial=first["serial"],
            certificates=sorted({s.leaf for s in revoked}),
        )
    update_finding(endpoint, "revoked", current, changes)


def _unknown(unknown: Sequence[ServedAddress], rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    first = min((rows[s.leaf] for s in unknown), key=lambda r: (r["checked_at"], r["sha256"]))
    return finding(
        "revocation-unknown",
        tuple(s.address for s in unknown),
        source=first["source"],
        since=_iso_time(first["checked_at"]),
        detail=first["detail"] or "",
        certificates=sorted({s.leaf for s in unknown}),
    )


def _iso_time(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
