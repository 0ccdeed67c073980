"""What Chrome would show for the findings of a site. Pure.

That is an error page with its code, "Not secure", or the page without a warning.
"""

from __future__ import annotations

from collections.abc import Iterable

from certmgr.scan.evidence import FailureKind
from inventory.finding_codes import STAPLE
from inventory.vocabulary import SEVERITY_ORDER, Finding

_AUTHORITY = "NET::ERR_CERT_AUTHORITY_INVALID"
_NAME = "NET::ERR_CERT_COMMON_NAME_INVALID"
_DATE = "NET::ERR_CERT_DATE_INVALID"
_INVALID = "NET::ERR_CERT_INVALID"
_WEAK_KEY = "NET::ERR_CERT_WEAK_KEY"
_REVOKED = "NET::ERR_CERT_REVOKED"
_MISMATCH = "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"
_CLIENT_CERTIFICATE = "ERR_BAD_SSL_CLIENT_AUTH_CERT"
_KEY_USAGE = "ERR_SSL_KEY_USAGE_INCOMPATIBLE"

# Finding code -> the error page, as chrome://network-errors names it. Some codes depend on the
# evidence, and have the usual error here: see error_of.
ERRORS = {
    "name-not-found": "DNS_PROBE_FINISHED_NXDOMAIN",
    "dns-failure": "DNS_PROBE_FINISHED_NO_INTERNET or ERR_NAME_NOT_RESOLVED",
    "connection-timeout": "ERR_CONNECTION_TIMED_OUT",
    "unreachable": "ERR_CONNECTION_TIMED_OUT",
    "https-missing": "ERR_CONNECTION_REFUSED",
    "connection-failed": "ERR_CONNECTION_RESET",
    "not-tls": "ERR_SSL_PROTOCOL_ERROR",
    "handshake-failed": "ERR_SSL_PROTOCOL_ERROR",
    "tls-legacy-only": _MISMATCH,
    "ciphers-obsolete": _MISMATCH,
    "handshake-incompatible": "ERR_SSL_PROTOCOL_ERROR",
    "certificate-expired": _DATE,
    "certificate-not-yet-valid": _DATE,
    "name-mismatch": _NAME,
    "default-certificate": _NAME,
    "san-missing": _NAME,
    "self-signed": _AUTHORITY,
    "untrusted-root": _AUTHORITY,
    "ca-distrusted": _AUTHORITY,
    "chain-incomplete": _AUTHORITY,
    "chain-ambiguous": _AUTHORITY,
    "intermediate-expired": _DATE,
    "issuer-not-yet-valid": _DATE,
    "root-expired": _DATE,
    "signature-weak": _INVALID,
    "key-weak": _WEAK_KEY,
    "validity-too-long": "NET::ERR_CERT_VALIDITY_TOO_LONG",
    "certificate-malformed": _INVALID,
    "redirect-loop": "ERR_TOO_MANY_REDIRECTS",
    "redirect-broken": "ERR_INVALID_REDIRECT",
    "answer-invalid": "ERR_INVALID_HTTP_RESPONSE",
    "page-missing": "ERR_HTTP_RESPONSE_CODE_FAILURE",
}
# TLS alert (RFC 8446 6) -> the error page, if it is not ERR_SSL_PROTOCOL_ERROR.
_ALERTS = {
    20: "ERR_SSL_BAD_RECORD_MAC_ALERT",
    30: "ERR_SSL_DECOMPRESSION_FAILURE_ALERT",
    40: _MISMATCH,
    42: _CLIENT_CERTIFICATE,
    43: _CLIENT_CERTIFICATE,
    44: _CLIENT_CERTIFICATE,
    45: _CLIENT_CERTIFICATE,
    46: _CLIENT_CERTIFICATE,
    48: _CLIENT_CERTIFICATE,
    51: "ERR_SSL_DECRYPT_ERROR_ALERT",
    70: _MISMATCH,
    71: _MISMATCH,
    112: "ERR_SSL_UNRECOGNIZED_NAME_ALERT",
    116: _CLIENT_CERTIFICATE,
}
_ENDS = {"reset": "ERR_CONNECTION_RESET", "closed": "ERR_CONNECTION_CLOSED"}
# The kind of rule that a malformed certificate breaks (certmgr/checks/browser_rules.py).
_RULES = {
    "outline": "ERR_SSL_PROTOCOL_ERROR",
    "format": "ERR_SSL_SERVER_CERT_BAD_FORMAT",
    "key-usage": _KEY_USAGE,
    "extension": _INVALID,
    "issuer-format": _AUTHORITY,
    "path": _INVALID,
}
# Chrome opens the page unless the finding is critical.
_IF_CRITICAL = frozenset(
    {
        "certificate-malformed",
        "chain-incomplete",
        "key-weak",
        "signature-weak",
        "validity-too-long",
    }
)
# Findings for which Chrome shows an error page only under further conditions.
SOMETIMES = {
    "ca-distrusted": "the page; Firefox shows an error page, since it no longer trusts the CA",
    "revoked": (
        "an error page if the list of Chrome names the certificate (NET::ERR_CERT_REVOKED), else"
        " the page; Firefox shows an error page"
    ),
    "chain-incomplete": (
        "the page, if Chrome can download the missing certificate from the address that the"
        f" certificate names; else an error page: {_AUTHORITY}"
    ),
}
# What Chrome reports first if a certificate has several faults: the handshake, then the
# certificate (net/base/net_errors.cc, MapCertStatusToNetError).
_ORDER = {
    "before-certificate": 0,
    "extension": 1,
    _REVOKED: 2,
    _AUTHORITY: 3,
    "path": 4,
    _NAME: 5,
    _WEAK_KEY: 6,
    _DATE: 7,
    "NET::ERR_CERT_VALIDITY_TOO_LONG": 8,
    "after-certificate": 9,
}


def error_of(finding: Finding) -> str | None:
    """Return the error page of Chrome for one finding; None if it shows the page."""
    code, evidence = finding.code, finding.evidence
    if finding.severity == "info" or (code in _IF_CRITICAL and finding.severity != "critical"):
        return None
    # The evidence of before the trust rules names no browsers.
    if code == "ca-distrusted" and "Chrome" not in evidence.get("browsers", ("Chrome",)):
        return None
    # The same fault of a page can have several error codes.
    if browser_error := evidence.get("browser_error"):
        return str(browser_error)
    # A list of the CA may not be on that of Chrome, see SOMETIMES. A staple is always read.
    if code == "revoked":
        return _REVOKED if evidence.get("source") == STAPLE else None
    rule = str(evidence.get("rule") or "")
    if code == "handshake-incompatible":
        ends = {**_ENDS, "timeout": "ERR_TIMED_OUT"}
        alert = _ALERTS.get(evidence.get("alert") or 0)
        return alert or ends.get(str(evidence.get("failure") or ""), ERRORS[code])
    if code == "handshake-failed":
        kind = str(evidence.get("kind") or "")
        if kind == FailureKind.EMPTY_RECORD:
            return None
        return _ENDS.get(kind) or _ALERTS.get(evidence.get("alert", -1), ERRORS[code])
    if code == "certificate-malformed":
        return _RULES.get(rule, _INVALID)
    if code == "key-weak" and rule:
        return _MISMATCH if rule == "handshake" else _INVALID
    if code == "signature-weak" and rule == "issuer-unknown":
        return _AUTHORITY
    return ERRORS.get(code)


def _position(finding: Finding, error: str) -> int:
    """Return when Chrome meets a fault, in comparison with others of the same site."""
    rule = str(finding.evidence.get("rule") or "")
    if rule == "key-usage" and finding.evidence.get("version") == "TLSv1.2":
        # TLS 1.2 checks the key usage with the key exchange, after the certificate was verified.
        return _ORDER["after-certificate"]
    if not error.startswith("NET::"):
        return _ORDER["before-certificate"]
    if error == _INVALID:
        return _ORDER[
            "path" if rule == "path" and finding.code != "signature-weak" else "extension"
        ]
    return _ORDER[error]


def first_error(findings: Iterable[Finding]) -> tuple[str, Finding] | None:
    """Return the error page that Chrome shows for all these findings, and the finding behind it.

    Undetermined findings do not count.
    """
    errors = [
        (error, f)
        for f in findings
        if f.severity != "undetermined" and (error := error_of(f)) is not None
    ]
    # A path outside its validity breaks no other constraint for Chrome.
    if any(error == _DATE for error, _ in errors):
        errors = [(e, f) for e, f in errors if _position(f, e) != _ORDER["path"]]
    return min(errors, key=lambda pair: _position(pair[1], pair[0]), default=None)


_NOT_SECURE = frozenset(
    {"http-collects-secrets", "http-collects-input", "http-served", "redirect-insecure"}
)
# Errors that a visitor of http:// never meets.
_HTTPS_ONLY = frozenset(ERRORS) - {
    "name-not-found",
    "dns-failure",
    "redirect-loop",
    "redirect-broken",
    "answer-invalid",
    "page-missing",
}


def browser_view(
    findings: Iterable[Finding],
    addresses: Iterable[str],
    *,
    plain: bool,
    visited: bool = True,
    status: int | None = None,
) -> str:
    """Return in words what Chrome would show, for staff.

    Args:
        findings: All findings of the endpoint.
        addresses: All addresses of the endpoint.
        plain: Whether the visitor opens http://.
        visited: Whether the pages were requested.
        status: The status of a page that answers with an error.
    """
    listed = sorted(findings, key=lambda f: SEVERITY_ORDER[f.severity])
    all_addresses = set(addresses)
    served = any(f.code in _NOT_SECURE for f in listed)
    met = [f for f in listed if not (plain and f.code in _HTTPS_ONLY and served)]
    if (shown := first_error(met)) is not None:
        error, finding = shown
        page = (
            "an error page"
            if not finding.addresses or set(finding.addresses) >= all_addresses
            else f"an error page at {', '.join(finding.addresses)}"
        )
        return f"{page}: {error}"
    for finding in met:
        if finding.severity == "undetermined" and (undetermined := error_of(finding)) is not None:
            # The probe failed, but a visitor from another network may get an answer.
            return (
                "could not be determined from here; if visitors get no answer either, an error"
                f" page: {undetermined}"
            )
    if plain and served:
        return (
            "the page, with 'Not secure' in the address bar (and a warning before it if 'Always"
            " use secure connections' is on)"
        )
    for finding in listed:
        if finding.code in SOMETIMES:
            return SOMETIMES[finding.code]
    if any(f.code == "redirect-insecure" for f in listed):
        return "the page, with 'Not secure' in the address bar"
    if status is not None:
        return f"the error page of the site ({status})"
    # "Without any warning" is only shown if everything was determined.
    if any(f.severity == "undetermined" for f in listed) or not visited:
        return "could not be determined from here"
    if any(f.code == "mixed-content" for f in listed):
        return "the page; parts that are loaded over HTTP are blocked or missing"
    return "the page, without any warning"
