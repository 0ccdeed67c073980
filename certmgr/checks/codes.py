"""The finding codes: a contract (docs/findings.md).

Severity is the usual one; a check may state another where the contract says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from inventory.model import Severity


@dataclass(frozen=True, slots=True)
class Code:
    """``role``: whose matter it is: host, dns, holder (whoever buys or renews), holder-or-host,
    client, staff, none.

    ``layer``: what must have been seen to say that it is gone: dns, transport, tls (a handshake),
    certificate, http (a visit). Those of the layers revocation (a list of the CA) and policy (CAA,
    TLSA) no scan can tell: certmgr/revocation/job.py opens and closes them.
    """

    severity: Severity
    role: str
    layer: str


_S = Severity
CODES: dict[str, Code] = {
    "name-not-found": Code(_S.HIGH, "dns", "dns"),
    "dns-failure": Code(_S.UNDETERMINED, "staff", "dns"),
    "address-refused": Code(_S.UNDETERMINED, "staff", "dns"),
    "points-elsewhere": Code(_S.INFO, "dns", "dns"),
    "connection-timeout": Code(_S.UNDETERMINED, "staff", "transport"),
    "unreachable": Code(_S.HIGH, "host", "transport"),
    "connection-failed": Code(_S.HIGH, "host", "transport"),
    "https-missing": Code(_S.HIGH, "holder-or-host", "transport"),
    "not-tls": Code(_S.CRITICAL, "host", "transport"),
    "starttls-missing": Code(_S.HIGH, "host", "transport"),
    "handshake-failed": Code(_S.HIGH, "host", "transport"),
    "client-certificate-required": Code(_S.INFO, "none", "tls"),
    "tls-legacy-only": Code(_S.CRITICAL, "host", "tls"),
    "tls-legacy-offered": Code(_S.LOW, "host", "tls"),
    "ciphers-obsolete": Code(_S.CRITICAL, "host", "tls"),
    "certificate-expired": Code(_S.CRITICAL, "holder", "certificate"),
    "certificate-expiring": Code(_S.MEDIUM, "holder", "certificate"),
    "certificate-not-yet-valid": Code(_S.CRITICAL, "holder", "certificate"),
    "name-mismatch": Code(_S.CRITICAL, "holder", "certificate"),
    "default-certificate": Code(_S.CRITICAL, "host", "certificate"),
    "san-missing": Code(_S.CRITICAL, "holder", "certificate"),
    "self-signed": Code(_S.CRITICAL, "holder", "certificate"),
    "chain-incomplete": Code(_S.HIGH, "host", "certificate"),
    "chain-disordered": Code(_S.LOW, "host", "certificate"),
    "intermediate-expired": Code(_S.CRITICAL, "host", "certificate"),
    "untrusted-root": Code(_S.CRITICAL, "holder", "certificate"),
    "verification-disputed": Code(_S.UNDETERMINED, "staff", "certificate"),
    "ca-distrusted": Code(_S.CRITICAL, "holder", "certificate"),
    "certificate-malformed": Code(_S.HIGH, "holder", "certificate"),
    "validity-too-long": Code(_S.HIGH, "holder", "certificate"),
    "key-weak": Code(_S.HIGH, "holder", "certificate"),
    "signature-weak": Code(_S.CRITICAL, "holder", "certificate"),
    "revoked": Code(_S.CRITICAL, "holder", "revocation"),
    "revocation-unknown": Code(_S.UNDETERMINED, "staff", "revocation"),
    "staple-invalid": Code(_S.HIGH, "host", "certificate"),
    "sct-missing": Code(_S.HIGH, "holder", "certificate"),
    "caa-mismatch": Code(_S.HIGH, "dns", "policy"),
    "dane-mismatch": Code(_S.HIGH, "dns", "policy"),
    "inconsistent-deployment": Code(_S.HIGH, "host", "certificate"),
    "unexpected-certificate": Code(_S.HIGH, "staff", "certificate"),
    "http-collects-secrets": Code(_S.CRITICAL, "host", "http"),
    "http-collects-input": Code(_S.HIGH, "host", "http"),
    "http-served": Code(_S.MEDIUM, "host", "http"),
    "redirect-missing": Code(_S.MEDIUM, "host", "http"),
    "redirect-insecure": Code(_S.HIGH, "host", "http"),
    "redirect-loop": Code(_S.HIGH, "host", "http"),
    "mixed-content": Code(_S.MEDIUM, "client", "http"),
    "hsts-missing": Code(_S.LOW, "host", "http"),
    "http-unknown": Code(_S.UNDETERMINED, "staff", "http"),
    "too-large": Code(_S.UNDETERMINED, "host", "transport"),
    "scanner-error": Code(_S.UNDETERMINED, "staff", "transport"),
}

# Layers that a scan leaves as they are.
ELSEWHERE = frozenset({"revocation", "policy"})
STAPLE = "staple"
"""The ``source`` of ``revoked`` that came from a staple: a scan sees it, and may close it."""


def layer_of(code: str, source: object = None) -> str:
    """The layer of a finding; ``source`` is that of its evidence.

    A code that this version does not know counts as one of the certificate.
    """
    if code == "revoked" and source == STAPLE:
        return "certificate"
    return CODES[code].layer if code in CODES else "certificate"
