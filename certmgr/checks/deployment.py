"""Findings from comparisons: of addresses with one another, and of responses with and without SNI.

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
    """Compare the certificates of the addresses.

    If certificates of the same key type differ in names, expiry or trust, the severity is high. For
    other differences it is info.
    """
    by_type: dict[str, list[ServedCertificate]] = {}
    for certificate in served:
        by_type.setdefault(certificate.leaf.key_type, []).append(certificate)
    addresses = tuple(dict.fromkeys(s.address for s in served))
    # One address may serve an RSA and an EC certificate, which is not a difference.
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
    """Return whether a certificate that is also served without SNI is the server's default one.

    The virtual host is then missing. A default certificate covers no name of the client, and none
    in the registered domain of the host.
    """
    # A certificate for a sibling name is a wrong certificate, not the server's default.
    if as_ip(host) is None:
        registered = registered_domain(host)
        if any(n == registered or n.endswith("." + registered) for n in certificate.dns_names):
            return False
    return not any(certificate_covers(certificate, name) for name in client_names())


def unexpected_findings(
    served: Sequence[ServedCertificate], expected: frozenset[str]
) -> Iterator[Finding]:
    """Yield a finding for a leaf that is not one of those that were installed and verified.

    If none is expected, there is no finding.
    """
    unexpected = [s for s in served if s.leaf.sha256 not in expected] if expected else []
    if unexpected:
        leaves = {s.leaf.sha256: s.leaf for s in unexpected}
        first = unexpected[0].leaf
        yield finding(
            "unexpected-certificate",
            tuple(dict.fromkeys(s.address for s in unexpected)),
            serial=first.serial,
            issuer=first.issuer,
            sha256=sorted(leaves),
            expected=sorted(expected)[:5],
        )
