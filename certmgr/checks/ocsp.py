"""Checks of a stapled OCSP response (RFC 6960 4.2). Pure.

A response counts if it is about this certificate, if it is current, and if the issuer signed it. A
responder with a certificate for that purpose directly from the issuer may sign it too (4.2.2.2). A
missing staple, and one that cannot be checked without the issuer, is not a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from certmgr.x509.signatures import verifies
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse

if TYPE_CHECKING:
    from cryptography.x509 import ocsp

# A response has about 500 bytes, and 2 KB with the certificate of its responder.
MAX_BYTES = 65_536
# A staple has one response. Some responders answer for several certificates at once.
MAX_RESPONSES = 20
SKEW = timedelta(minutes=10)
# States that browsers refuse. "missing" applies to must-staple certificates without a response.
INVALID = frozenset(
    {
        "expired",
        "not-yet-valid",
        "revoked",
        "unknown",
        "bad-signature",
        "wrong-certificate",
        "unreadable",
        "missing",
    }
)


@dataclass(frozen=True, slots=True)
class Staple:
    """The result of a check.

    Attributes:
        state: good, revoked, unknown (to the responder), expired, not-yet-valid, bad-signature,
            wrong-certificate, unreadable, missing (although the certificate requires one), none, or
            unchecked (undetermined: no issuer, an unsupported signature).
        until: When the verdict on the same response changes.
        at: The time of revocation.
        reason: The reason for revocation (RFC 5280 5.3.1).
        detail: A text about the problem.
    """

    state: str
    until: datetime | None = None
    at: datetime | None = None
    reason: str = ""
    detail: str = ""

    @property
    def invalid(self) -> bool:
        """Whether browsers refuse the state."""
        return self.state in INVALID


def check(
    der: bytes | None, leaf: Certificate, issuer: Certificate | None, now: datetime
) -> Staple:
    """Check a stapled response. Never raises for its content.

    Args:
        der: The response; None or empty if none was stapled.
    """
    if not der:
        return Staple("missing" if leaf.must_staple else "none")
    if len(der) > MAX_BYTES:
        return Staple("unreadable", detail=f"it has {len(der)} bytes, the limit is {MAX_BYTES}")

    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            # Error responses are not signed (RFC 6960 2.3), so one counts as no staple.
            detail = response.response_status.name.lower().replace("_", " ")
            return Staple(
                "missing" if leaf.must_staple else "none",
                detail=f"the responder returned an error ({detail})",
            )
        return _checked(response, leaf, issuer, now)
    except PARSE_ERRORS:
        return Staple("unreadable")


def _checked(
    response: ocsp.OCSPResponse, leaf: Certificate, issuer: Certificate | None, now: datetime
) -> Staple:
    if (
        issuer is None
        or issuer.parsed is None
        or leaf.parsed is None
        or not issued_by(leaf, issuer)
    ):
        return Staple("unchecked", detail="the issuer's certificate is not known")
    # A response may be about several certificates (RFC 6960 4.2.1).
    single = next((s for s in _singles(response) if _about(s, leaf, issuer)), None)
    if single is None:
        return Staple("wrong-certificate", detail="it is about another certificate")
    signer, until = _signer(response, issuer, now)
    if signer != "good":
        return Staple(signer, until)
    begin, end = single.this_update_utc, single.next_update_utc
    ends = [d for d in (end, until) if d is not None]
    # The clocks of the responder and of this machine may differ slightly.
    if begin > now + SKEW:
        return Staple("not-yet-valid", begin, detail=f"it begins {begin:%Y-%m-%d %H:%M} UTC")
    # Without nextUpdate newer information is always available (RFC 6960 4.2.2.1).
    if end is not None and end < now:
        return Staple("expired", detail=f"it ended {end:%Y-%m-%d %H:%M} UTC")
    return _status(single, min(ends, default=None))


def _status(single: ocsp.OCSPSingleResponse, until: datetime | None) -> Staple:
    match single.certificate_status:
        case ocsp.OCSPCertStatus.GOOD:
            return Staple("good", until)
        case ocsp.OCSPCertStatus.REVOKED:
            reason = single.revocation_reason
            return Staple(
                "revoked",
                until,
                single.revocation_time_utc,
                reason.value if reason is not None else "unspecified",
            )
        case _:
            return Staple("unknown", until, detail="the responder does not know the certificate")


def _singles(response: ocsp.OCSPResponse) -> Iterator[ocsp.OCSPSingleResponse]:
    for count, single in enumerate(response.responses):
        # A hostile server could send any number of them within the size limit.
        if count == MAX_RESPONSES:
            return
        yield single


def _about(single: ocsp.OCSPSingleResponse, leaf: Certificate, issuer: Certificate) -> bool:
    """Return whether a response is about the certificate (RFC 6960 4.1.1).

    certID has the serial number, and hashes of the issuer's name and key.
    """

    assert leaf.parsed is not None and issuer.parsed is not None
    if single.serial_number != leaf.parsed.serial_number:
        return False
    expected = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(leaf.parsed, issuer.parsed, single.hash_algorithm)
        .build()
    )
    return (expected.issuer_name_hash, expected.issuer_key_hash) == (
        single.issuer_name_hash,
        single.issuer_key_hash,
    )


def _signer(
    response: ocsp.OCSPResponse, issuer: Certificate, now: datetime
) -> tuple[str, datetime | None]:
    """Check the signature.

    Returns:
        good, bad-signature, or unchecked for an unsupported algorithm; and the end of the
            responder's certificate.
    """

    try:
        digest = response.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unchecked", None
    data, signature = response.tbs_response_bytes, response.signature
    assert issuer.parsed is not None
    if verifies(issuer.parsed.public_key(), signature, data, digest):
        return "good", None
    # Bounded: each certificate costs signature checks.
    for candidate in response.certificates[:8]:
        delegate = parse(candidate.public_bytes(Encoding.DER))
        if delegate.parsed is None or not _may_respond(delegate) or not issued_by(delegate, issuer):
            continue
        begin, end = delegate.not_before, delegate.not_after
        if begin is None or end is None or not begin <= now <= end:
            continue
        if verifies(delegate.parsed.public_key(), signature, data, digest):
            return "good", end
    return "bad-signature", None


def _may_respond(certificate: Certificate) -> bool:
    """Return whether a certificate explicitly has id-kp-OCSPSigning (RFC 6960 4.2.2.2)."""

    assert certificate.parsed is not None
    try:
        usages = certificate.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages
