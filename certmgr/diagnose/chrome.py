"""What Chrome would show for the findings of a site. Pure.

That is an error page with its code, "Not secure", or the page without a warning.
"""

from __future__ import annotations

from collections.abc import Iterable

from inventory.vocabulary import SEVERITY_ORDER, Finding

# Finding code -> the error page, as chrome://network-errors names it.
ERRORS = {
    "name-not-found": "DNS_PROBE_FINISHED_NXDOMAIN",
    "dns-failure": "DNS_PROBE_FINISHED_NO_INTERNET or ERR_NAME_NOT_RESOLVED",
    "connection-timeout": "ERR_CONNECTION_TIMED_OUT",
    "unreachable": "ERR_CONNECTION_TIMED_OUT",
    "https-missing": "ERR_CONNECTION_REFUSED",
    "connection-failed": "ERR_CONNECTION_RESET",
    "not-tls": "ERR_SSL_PROTOCOL_ERROR",
    "handshake-failed": "ERR_SSL_PROTOCOL_ERROR",
    "tls-legacy-only": "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
    "ciphers-obsolete": "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
    "handshake-incompatible": "ERR_SSL_PROTOCOL_ERROR",
    "certificate-expired": "NET::ERR_CERT_DATE_INVALID",
    "certificate-not-yet-valid": "NET::ERR_CERT_DATE_INVALID",
    "name-mismatch": "NET::ERR_CERT_COMMON_NAME_INVALID",
    "default-certificate": "NET::ERR_CERT_COMMON_NAME_INVALID",
    "san-missing": "NET::ERR_CERT_COMMON_NAME_INVALID",
    "self-signed": "NET::ERR_CERT_AUTHORITY_INVALID",
    "untrusted-root": "NET::ERR_CERT_AUTHORITY_INVALID",
    "ca-distrusted": "NET::ERR_CERT_AUTHORITY_INVALID",
    "intermediate-expired": "NET::ERR_CERT_DATE_INVALID",
    "signature-weak": "NET::ERR_CERT_WEAK_SIGNATURE_ALGORITHM",
    "key-weak": "NET::ERR_CERT_WEAK_KEY",
    "validity-too-long": "NET::ERR_CERT_VALIDITY_TOO_LONG",
    "certificate-malformed": "NET::ERR_CERT_INVALID",
    "redirect-loop": "ERR_TOO_MANY_REDIRECTS",
    "redirect-broken": "ERR_INVALID_REDIRECT",
    "answer-invalid": "ERR_INVALID_HTTP_RESPONSE",
}
# How the handshake of a browser ends, as the finding's evidence names it -> the error page.
_HANDSHAKE_ERRORS = {
    "reset": "ERR_CONNECTION_RESET",
    "closed": "ERR_CONNECTION_CLOSED",
    "timeout": "ERR_TIMED_OUT",
}
_ALERT_ERRORS = {40: "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"}
# Findings for which Chrome shows an error page only under further conditions.
SOMETIMES = {
    "revoked": (
        "an error page if the list of Chrome names the certificate (NET::ERR_CERT_REVOKED), else"
        " the page; Firefox shows an error page"
    ),
    "chain-incomplete": (
        "mostly the page, since Chrome often has the missing certificate from another site; else an"
        " error page: NET::ERR_CERT_AUTHORITY_INVALID"
    ),
}
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
}


def _error(finding: Finding) -> str | None:
    """Return the code of the error page for a finding; None if there is none."""
    if finding.code == "handshake-incompatible":
        alert, failure = finding.evidence.get("alert"), finding.evidence.get("failure", "")
        specific = _ALERT_ERRORS.get(alert or 0) or _HANDSHAKE_ERRORS.get(failure)
        return specific or ERRORS[finding.code]
    return ERRORS.get(finding.code)


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
    for finding in listed:
        # The same fault can have several error codes.
        error = finding.evidence.get("browser_error") or _error(finding)
        if (
            error is None
            or finding.severity == "info"
            or (plain and finding.code in _HTTPS_ONLY and served)
        ):
            continue
        if finding.severity == "undetermined":
            # The probe failed, but a visitor from another network may get an answer.
            return (
                "could not be determined from here; if visitors get no answer either, an error"
                f" page: {error}"
            )
        page = (
            "an error page"
            if not finding.addresses or set(finding.addresses) >= all_addresses
            else f"an error page at {', '.join(finding.addresses)}"
        )
        return f"{page}: {error}"
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
