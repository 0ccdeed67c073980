"""Why a server refuses the TLS offer of a browser and accepts another one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from certmgr.scan.evidence import TRANSIENT, AddressEvidence, Failure, FailureKind
from certmgr.scan.openssl_names import BROWSER_CIPHER_NAMES, BROWSER_GROUPS, BROWSER_SIGNATURES
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate
from inventory.finding_codes import CODES
from inventory.targets import Target
from inventory.vocabulary import Finding, Severity

_OLD_VERSIONS = frozenset({"TLSv1", "TLSv1.1", "SSLv3"})
# The keys that a browser's signature schemes and curves allow.
_BROWSER_KEYS = frozenset({"EC P-256", "EC P-384"})
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_HANDSHAKE_FAILURE = 40
_NO_APPLICATION_PROTOCOL = 120
# Message ids: notifiers/wording/values.py lists them for translation.
TOO_LARGE = "it ends the connection after a ClientHello of the size that browsers send"
REFUSES_LARGE = "it refuses a ClientHello that offers post-quantum key exchange"
NO_PROTOCOL = "it accepts neither HTTP/1.1 nor HTTP/2 (ALPN)"
KEY = "browsers do not accept the key of its certificate"
GROUP = "browsers do not offer its key exchange"
SIGNATURE = "browsers do not accept its handshake signature"
UNKNOWN = "it refused several attempts with the settings of a browser and accepted other settings"


def refused_offer_findings(
    target: Target, address: AddressEvidence, parse: Callable[[bytes], Certificate]
) -> Iterator[Finding]:
    """Yield the finding about an address that a browser cannot complete the handshake with.

    It is critical if the cause is known or the refusal is explicit, since a browser then shows an
    error page. Resets and time-outs without a known cause are undetermined.
    """
    at = (address.address,)
    failure = address.browser_failure
    if failure is None:
        return
    # Browsers refuse these versions, which RFC 8996 deprecates.
    if address.tls_version in _OLD_VERSIONS:
        yield Finding(
            "tls-legacy-only",
            CODES["tls-legacy-only"].severity,
            at,
            {"version": address.tls_version},
        )
        return
    if address.cipher not in BROWSER_CIPHER_NAMES:
        yield Finding(
            "ciphers-obsolete", CODES["ciphers-obsolete"].severity, at, {"cipher": address.cipher}
        )
        return
    cause, detail = _cause(address, parse)
    evidence: dict[str, Any] = {
        "cause": cause,
        "detail": detail,
        "failure": str(failure.kind),
        "reason": failure.reason,
    }
    if failure.alert is not None:
        evidence["alert"] = failure.alert
        evidence |= late_alert(failure)
    yield Finding("handshake-incompatible", _severity(target, address, cause), at, evidence)


def without_repeated_keys(findings: Iterable[Finding]) -> list[Finding]:
    """Drop ``key-weak`` where ``handshake-incompatible`` names the same key.

    Both state that no handshake of a browser completes with it; one finding is enough.
    """
    listed = list(findings)
    named = {
        address
        for f in listed
        if f.code == "handshake-incompatible" and f.evidence.get("cause") == "key-type"
        for address in f.addresses
    }
    return [
        f
        for f in listed
        if not (
            f.code == "key-weak"
            and f.evidence.get("rule") == "handshake"
            and named.issuperset(f.addresses)
        )
    ]


def _severity(target: Target, address: AddressEvidence, cause: str) -> Severity:
    failure = address.browser_failure
    assert failure is not None
    if cause == "unknown" and failure.kind not in (FailureKind.ALERT, FailureKind.TLS):
        return Severity.UNDETERMINED
    if target.protocol == "https":
        return Severity.CRITICAL
    # Mail and directory clients accept more than browsers. But current TLS libraries send a large
    # ClientHello too.
    return Severity.HIGH if cause == "client-hello" else Severity.LOW


def _cause(
    address: AddressEvidence, parse: Callable[[bytes], Certificate]
) -> tuple[str, str | dict[str, str]]:
    """Return the cause as a fixed word, and as a phrase or a pair of a phrase and a value."""
    failure = address.browser_failure
    assert failure is not None
    if address.offer == "compact":
        # Some servers and middleboxes read one packet of a ClientHello, and then reset or stay
        # silent. Any other failure shows that the server has read the whole offer.
        large = failure.kind in TRANSIENT
        return "client-hello", TOO_LARGE if large else REFUSES_LARGE
    # The key of the leaf comes first: its owner has to replace it, whatever else is wrong.
    key = unusable_key(parse(address.chain[0])) if address.chain else ""
    if key:
        return "key-type", {KEY: key}
    if address.group is not None and address.group not in BROWSER_GROUPS:
        return "group", {GROUP: address.group}
    if address.signature is not None and address.signature not in BROWSER_SIGNATURES:
        return "signature", {SIGNATURE: address.signature}
    if failure.alert == _NO_APPLICATION_PROTOCOL:
        return "alpn", NO_PROTOCOL
    return "unknown", UNKNOWN


def unusable_key(leaf: Certificate) -> str:
    """Return the key of a leaf if no browser accepts such keys in a handshake, else an empty text.

    The names of the keys are those of :attr:`inventory.certificates.Certificate.key`.
    """
    try:
        oid = leaf.parsed.public_key_algorithm_oid.dotted_string if leaf.parsed else ""
    except PARSE_ERRORS:
        oid = ""
    if oid == _RSASSA_PSS:
        return "RSASSA-PSS"
    if leaf.key_type == "EC" and leaf.key not in _BROWSER_KEYS:
        return leaf.key
    return leaf.key if leaf.key_type in ("Ed25519", "Ed448", "DSA") else ""


def late_alert(failure: Failure) -> dict[str, str]:
    """Return the error of browsers if it is not that of the alert; else nothing.

    handshake_failure refuses the offer only as an answer to the ClientHello.
    """
    late = failure.alert == _HANDSHAKE_FAILURE and failure.late
    return {"browser_error": "ERR_SSL_PROTOCOL_ERROR"} if late else {}
