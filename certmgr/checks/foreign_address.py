"""An address outside the provider's networks among addresses inside them. Pure.

Such a record, usually left over from an earlier host, is the fault, whatever the address serves: an
expired certificate, another site, or nothing. A new certificate on our server does not fix it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from certmgr.checks.deployment import ServedCertificate
from certmgr.checks.transport import finding
from certmgr.net.addresses import Network, within
from certmgr.scan.evidence import Evidence
from inventory.vocabulary import (
    FOREIGN_ADDRESS,
    SAME_CERTIFICATE,
    SEVERITY_ORDER,
    Finding,
    Parties,
    Severity,
)

_VALID = "valid"
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
    of them serves a valid certificate of the name: visitors get a page, but of another server.

    Args:
        findings: The findings before those of one code are merged.
        foreign: The result of :func:`foreign_addresses`.
        served: What all addresses served.
    """
    if not foreign:
        return FoldedFindings(tuple(findings))
    # Only the provider has the key of the certificate on its servers. An address that serves it is
    # probably a server that the configuration does not name, so no record may be deleted unseen,
    # and what is wrong there is not the fault of the record.
    if _serve_our_certificate(foreign, served):
        unknown = finding(
            FOREIGN_ADDRESS,
            foreign,
            Severity.MEDIUM,
            kind=record_kind(foreign),
            explains=[],
            variant=SAME_CERTIFICATE,
        )
        return FoldedFindings((unknown, *findings))
    kept, explained = [], []
    for entry in findings:
        at = [a for a in entry.addresses if a in foreign]
        if not at:
            kept.append(entry)
            continue
        explained.append(replace(entry, addresses=tuple(at)))
        if own := tuple(a for a in entry.addresses if a not in foreign):
            kept.append(replace(entry, addresses=own))
    foreign_finding = _finding(foreign, explained, served)
    return FoldedFindings((foreign_finding, *kept), tuple(explained))


def _serve_our_certificate(foreign: Sequence[str], served: Sequence[ServedCertificate]) -> bool:
    """Return whether each foreign address serves the certificate of an own one."""
    own = {s.leaf.sha256 for s in served if s.address not in foreign}
    leaves = {s.address: s.leaf.sha256 for s in served if s.address in foreign}
    return len(leaves) == len(foreign) and set(leaves.values()) <= own


def _finding(
    foreign: Sequence[str], explained: Sequence[Finding], served: Sequence[ServedCertificate]
) -> Finding:
    seen = [f for f in explained if f.severity not in ("info", "low")]
    answering = [s for s in served if s.address in foreign]
    good = len(answering) == len(foreign) and all(s.trusted for s in answering)
    variant = ""
    severity = str(Severity.HIGH)
    if any(f.severity == Severity.CRITICAL for f in seen):
        severity = str(Severity.CRITICAL)
    elif good and not any(
        SEVERITY_ORDER[f.severity] <= SEVERITY_ORDER[Severity.HIGH] for f in seen
    ):
        severity, variant = str(Severity.MEDIUM), _VALID
    codes = sorted({f.code for f in seen if f.code not in _OF_THIS_MACHINE})
    evidence = {"kind": record_kind(foreign), "explains": codes}
    return finding(
        FOREIGN_ADDRESS, foreign, severity, **evidence, **({"variant": variant} if variant else {})
    )
