"""An address outside the provider's networks among addresses inside them. Pure.

Such a record, usually left over from an earlier host, is the fault, whatever the address serves: an
expired certificate, another site, or nothing. A new certificate on our server does not fix it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from certmgr.checks.deployment import ServedCertificate
from certmgr.checks.transport import finding
from certmgr.net.addresses import Network, within
from certmgr.scan.evidence import Evidence
from inventory.vocabulary import (
    FOREIGN_ADDRESS,
    MIXED_ADDRESSES,
    SAME_CERTIFICATE,
    SEVERITY_ORDER,
    VALID_CERTIFICATE,
    Finding,
    Parties,
    Severity,
)

# What a foreign address serves is not judged by these: they describe the machine that scans.
_OF_THIS_MACHINE = frozenset({"scanner-error"})


@dataclass(frozen=True, slots=True)
class FoldedFindings:
    """The findings of an endpoint, apart from those at its foreign addresses.

    Attributes:
        findings: The findings to report.
        explained: The findings at foreign addresses, which ``foreign-address`` stands for.
    """

    findings: tuple[Finding, ...]
    explained: tuple[Finding, ...] = ()


def foreign_addresses(
    evidence: Evidence,
    networks: Sequence[Network],
    servers: frozenset[str],
    parties: Parties | None,
) -> tuple[str, ...]:
    """Return the addresses that are not the provider's, if others of the same name are.

    Args:
        networks: The networks of the provider.
        servers: The addresses of all servers of the inventory.
        parties: The parties of the endpoint; None if it is not in the inventory.
    """
    # A CDN has its own addresses, and a client who hosts the site may use any.
    if parties is not None and (
        parties.hosts in ("cdn", "client")
        or (parties.hosts == "panel" and not parties.on_our_server)
    ):
        return ()
    resolution = evidence.resolution
    if not (networks or servers) or resolution.status not in ("ok", "fixed"):
        return ()
    # An internal address is not visited, but its record is wrong all the same.
    addresses = [*resolution.addresses, *[a for a, _ in resolution.refused]]
    foreign = tuple(a for a in addresses if a not in servers and not within(a, networks))
    # If all are foreign, the name points elsewhere, which is another case.
    return foreign if len(foreign) < len(addresses) else ()


def record_kind(addresses: Iterable[str]) -> str:
    """Return the type of the DNS records of addresses: A, AAAA, or both."""
    kinds = {"AAAA" if ":" in a else "A" for a in addresses}
    return "/".join(sorted(kinds))


def folded(
    findings: Sequence[Finding],
    foreign: Sequence[str],
    served: Sequence[ServedCertificate],
) -> FoldedFindings:
    """Return the findings with one about the foreign addresses instead of what these serve.

    The finding is critical if browsers show an error at one of the addresses. It is medium if each
    of them serves a valid certificate of the name: it may be a CDN or a server that the
    configuration does not name, so that its record is not to be deleted unseen. If only some do,
    the finding names which records are wrong (``delete``) and which may be meant (``keep``).

    Args:
        findings: The findings before those of one code are merged.
        foreign: The result of :func:`foreign_addresses`.
        served: What all addresses served.
    """
    if not foreign:
        return FoldedFindings(tuple(findings))
    at = _Kinds.of(foreign, findings, served)
    kept, explained = [], []
    for entry in findings:
        # What is wrong at a server that is probably ours is not the fault of a record.
        strange = tuple(a for a in entry.addresses if a in foreign and a not in at.ours)
        if not strange:
            kept.append(entry)
            continue
        explained.append(replace(entry, addresses=strange))
        if own := tuple(a for a in entry.addresses if a not in strange):
            kept.append(replace(entry, addresses=own))
    return FoldedFindings((_finding(foreign, at, explained), *kept), tuple(explained))


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The foreign addresses by what has to be done about the record of each.

    Attributes:
        wrong: The record is to be deleted.
        valid: It serves another valid certificate of the name, as a CDN or a new server does.
        ours: It serves the certificate of the provider's server. Only the provider has its key, so
            it is probably a server that the configuration does not name.
    """

    wrong: tuple[str, ...]
    valid: tuple[str, ...]
    ours: tuple[str, ...]

    @classmethod
    def of(
        cls,
        foreign: Sequence[str],
        findings: Sequence[Finding],
        served: Sequence[ServedCertificate],
    ) -> Self:
        own = {s.leaf.sha256 for s in served if s.address not in foreign}
        leaves: dict[str, set[str]] = {}
        trusted: dict[str, bool] = {}
        # An address may serve one certificate per key type.
        for s in served:
            leaves.setdefault(s.address, set()).add(s.leaf.sha256)
            trusted[s.address] = trusted.get(s.address, True) and bool(s.trusted)
        severe = {
            a
            for f in findings
            if SEVERITY_ORDER[f.severity] <= SEVERITY_ORDER[Severity.HIGH]
            for a in f.addresses
        }
        ours = tuple(a for a in foreign if a in leaves and leaves[a] <= own)
        others = [a for a in foreign if a not in ours]
        valid = tuple(a for a in others if trusted.get(a, False) and a not in severe)
        return cls(tuple(a for a in others if a not in valid), valid, ours)


def _finding(foreign: Sequence[str], at: _Kinds, explained: Sequence[Finding]) -> Finding:
    seen = [f for f in explained if f.severity not in ("info", "low")]
    codes = sorted({f.code for f in seen if f.code not in _OF_THIS_MACHINE})
    evidence: dict[str, Any] = {"kind": record_kind(at.wrong or foreign), "explains": codes}
    severity = Severity.MEDIUM
    if at.wrong:
        critical = any(f.severity == Severity.CRITICAL for f in seen)
        severity = Severity.CRITICAL if critical else Severity.HIGH
        # A record that may be meant is not deleted together with one that is wrong.
        if keep := [a for a in foreign if a not in at.wrong]:
            evidence |= {"variant": MIXED_ADDRESSES, "delete": list(at.wrong), "keep": keep}
    else:
        evidence["variant"] = VALID_CERTIFICATE if at.valid else SAME_CERTIFICATE
    return finding(FOREIGN_ADDRESS, foreign, str(severity), **evidence)
