"""The finding codes: a contract (docs/findings.md).

The severity is the usual one. A check may use another if the contract states it.
"""

from __future__ import annotations

from dataclasses import dataclass

from inventory.vocabulary import ZONE_DIFFERENCE, Severity


@dataclass(frozen=True, slots=True)
class FindingCode:
    """The properties of a finding code.

    The layers revocation (a list of the CA) and policy (CAA, TLSA) are not part of a scan:
    certmgr/revocation/job.py opens and closes their findings. Those of the layer zones change when
    a run from several zones ends (certmgr/inspection/zone_results.py).

    Attributes:
        severity: The usual severity.
        role: Who is responsible: host, dns, holder (who buys or renews), holder-or-host, client,
            staff, none.
        layer: What must have been checked to close the finding: dns, transport, tls (a handshake),
            certificate, http (a visit), revocation, policy, zones (a run from several zones).
    """

    severity: Severity
    role: str
    layer: str


_S = Severity
CODES: dict[str, FindingCode] = {
    "name-not-found": FindingCode(_S.HIGH, "dns", "dns"),
    "dns-failure": FindingCode(_S.UNDETERMINED, "staff", "dns"),
    "address-refused": FindingCode(_S.UNDETERMINED, "staff", "dns"),
    # Where a name points is the decision of its owner, and not a fault.
    "points-elsewhere": FindingCode(_S.INFO, "dns", "dns"),
    "foreign-address": FindingCode(_S.HIGH, "dns", "dns"),
    "connection-timeout": FindingCode(_S.UNDETERMINED, "staff", "transport"),
    # Confirmed by several runs (certmgr/checks/transport.py), and so not undetermined.
    "unreachable": FindingCode(_S.HIGH, "host", "transport"),
    "connection-failed": FindingCode(_S.HIGH, "host", "transport"),
    "https-missing": FindingCode(_S.HIGH, "holder-or-host", "transport"),
    "not-tls": FindingCode(_S.CRITICAL, "host", "transport"),
    "starttls-missing": FindingCode(_S.HIGH, "host", "transport"),
    "starttls-unknown": FindingCode(_S.UNDETERMINED, "staff", "transport"),
    "handshake-failed": FindingCode(_S.CRITICAL, "host", "transport"),
    "client-certificate-required": FindingCode(_S.INFO, "none", "tls"),
    "tls-legacy-only": FindingCode(_S.CRITICAL, "host", "tls"),
    "tls-legacy-offered": FindingCode(_S.LOW, "host", "tls"),
    "ciphers-obsolete": FindingCode(_S.CRITICAL, "host", "tls"),
    "handshake-incompatible": FindingCode(_S.CRITICAL, "host", "tls"),
    "post-quantum-missing": FindingCode(_S.INFO, "host", "tls"),
    "certificate-expired": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "certificate-expiring": FindingCode(_S.MEDIUM, "holder", "certificate"),
    "certificate-not-yet-valid": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "name-mismatch": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "default-certificate": FindingCode(_S.CRITICAL, "host", "certificate"),
    "san-missing": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "self-signed": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "chain-incomplete": FindingCode(_S.HIGH, "host", "certificate"),
    "chain-disordered": FindingCode(_S.LOW, "host", "certificate"),
    "intermediate-expired": FindingCode(_S.CRITICAL, "host", "certificate"),
    "issuer-not-yet-valid": FindingCode(_S.CRITICAL, "host", "certificate"),
    "root-expired": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "untrusted-root": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "verification-disputed": FindingCode(_S.UNDETERMINED, "staff", "certificate"),
    "profile-deviation": FindingCode(_S.INFO, "none", "certificate"),
    "ca-distrusted": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "trust-ending": FindingCode(_S.MEDIUM, "holder", "certificate"),
    "certificate-malformed": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "validity-too-long": FindingCode(_S.HIGH, "holder", "certificate"),
    "key-weak": FindingCode(_S.HIGH, "holder", "certificate"),
    "signature-weak": FindingCode(_S.CRITICAL, "holder", "certificate"),
    "revoked": FindingCode(_S.CRITICAL, "holder", "revocation"),
    "revocation-unknown": FindingCode(_S.UNDETERMINED, "staff", "revocation"),
    "staple-invalid": FindingCode(_S.HIGH, "host", "certificate"),
    "sct-missing": FindingCode(_S.HIGH, "holder", "certificate"),
    "caa-mismatch": FindingCode(_S.HIGH, "dns", "policy"),
    "dane-mismatch": FindingCode(_S.HIGH, "dns", "policy"),
    "inconsistent-deployment": FindingCode(_S.HIGH, "host", "certificate"),
    # Staff find out who replaced the certificate before a client is asked.
    "unexpected-certificate": FindingCode(_S.HIGH, "staff", "certificate"),
    "http-collects-secrets": FindingCode(_S.CRITICAL, "host", "http"),
    "http-collects-input": FindingCode(_S.HIGH, "host", "http"),
    "http-served": FindingCode(_S.MEDIUM, "host", "http"),
    "redirect-missing": FindingCode(_S.MEDIUM, "host", "http"),
    "redirect-insecure": FindingCode(_S.HIGH, "host", "http"),
    "redirect-loop": FindingCode(_S.CRITICAL, "host", "http"),
    "redirect-broken": FindingCode(_S.CRITICAL, "host", "http"),
    "answer-invalid": FindingCode(_S.CRITICAL, "host", "http"),
    # Staff know whether only programs use the host.
    "page-missing": FindingCode(_S.MEDIUM, "staff", "http"),
    # The URLs are in the content of the site, which its owner edits.
    "mixed-content": FindingCode(_S.MEDIUM, "client", "http"),
    "hsts-missing": FindingCode(_S.LOW, "host", "http"),
    "http-unknown": FindingCode(_S.UNDETERMINED, "staff", "http"),
    "too-large": FindingCode(_S.UNDETERMINED, "host", "transport"),
    "scanner-error": FindingCode(_S.UNDETERMINED, "staff", "transport"),
    ZONE_DIFFERENCE: FindingCode(_S.HIGH, "staff", "zones"),
}

# A scan neither opens nor closes findings of these layers.
LAYERS_NOT_SCANNED = frozenset({"revocation", "policy", "zones"})
STAPLE = "staple"
"""The ``source`` of a ``revoked`` from a staple: a scan checks it, and may close it."""


def layer_of(code: str, source: object = None) -> str:
    """Return the layer of a finding; ``source`` is that of its evidence.

    A code that this version does not know has the layer certificate.
    """
    if code == "revoked" and source == STAPLE:
        return "certificate"
    return CODES[code].layer if code in CODES else "certificate"
