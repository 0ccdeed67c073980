"""Findings that compare: addresses with one another, and what is served with and without SNI.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from certmgr.checks.transport import finding
from certmgr.x509.names import certificate_covers
from inventory.certificates import Certificate
from inventory.names import as_ip, registered_domain
from inventory.vocabulary import Finding, Severity


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """One certificate of one address, judged."""

    address: str
    leaf: Certificate
    trusted: bool | None


def consistency_findings(served: Sequence[ServedCertificate]) -> Iterator[Finding]:
    """Addresses that serve the same key type with other names, expiry or trust: high.

    Other differences: info.
    """
    by_type: dict[str, list[ServedCertificate]] = {}
    for one in served:
        by_type.setdefault(one.leaf.key_type, []).append(one)
    addresses = tuple(dict.fromkeys(s.address for s in served))
    if len(addresses) < 2:
        return
    for group in by_type.values():
        if len({(frozenset(s.leaf.names), s.leaf.not_after, s.trusted) for s in group}) > 1:
            yield finding(
                "inconsistent-deployment",
                addresses,
                serials={s.address: s.leaf.serial for s in group[:16]},
                expires={
                    s.address: s.leaf.not_after.isoformat() if s.leaf.not_after else ""
                    for s in group[:16]
                },
            )
            return
    if len({s.leaf.sha256 for s in served}) > 1:
        yield finding(
            "inconsistent-deployment",
            addresses,
            Severity.INFO,
            serials={s.address: s.leaf.serial for s in served[:16]},
        )


def default_certificate(
    certificate: Certificate, host: str, client_names: Callable[[], frozenset[str]]
) -> bool:
    """Whether a certificate that is served without SNI too is the server's default one: the virtual
    host is missing.

    It covers no name of the client and none in the host's registered domain.
    """
    if as_ip(host) is None:
        domain = registered_domain(host)
        if any(n == domain or n.endswith("." + domain) for n in certificate.dns_names):
            return False
    return not any(certificate_covers(certificate, name) for name in client_names())


def unexpected(served: Sequence[ServedCertificate], expected: frozenset[str]) -> Iterator[Finding]:
    """A leaf that is none of those that we installed and proved; nothing where none is expected."""
    strange = [s for s in served if s.leaf.sha256 not in expected] if expected else []
    if strange:
        leaves = {s.leaf.sha256: s.leaf for s in strange}
        first = strange[0].leaf
        yield finding(
            "unexpected-certificate",
            tuple(dict.fromkeys(s.address for s in strange)),
            serial=first.serial,
            issuer=first.issuer,
            sha256=sorted(leaves),
            expected=sorted(expected)[:5],
        )
