"""What a stapled OCSP response is worth (RFC 6960 4.2).

Pure: bytes, the leaf, its issuer and ``now`` come in.

It counts where the certificate's issuer signed it, or a responder with a certificate for that
purpose directly from the issuer (4.2.2.2), where it is about this certificate, and in its time.
What was not stapled, and what cannot be checked for want of the issuer, is no fault.
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
from inventory.certificates import PARSE_ERRORS, Certificate, issued_by, parse
from inventory.text import printable

if TYPE_CHECKING:
    from cryptography.x509 import ocsp

MAX_BYTES = 65_536
MAX_RESPONSES = 20
SKEW = timedelta(minutes=10)
# What browsers refuse, or what a must-staple certificate makes of no response at all.
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
    """``state``: good, revoked, unknown (to the responder), expired, not-yet-valid, bad-signature,
    wrong-certificate, unreadable, missing (and the certificate demands one), none, or unchecked
    (nobody can say: no issuer, an unsupported signature).

    ``until``: when the same response begins to mean something else. ``at``, ``reason``: of the
    revocation.
    """

    state: str
    until: datetime | None = None
    at: datetime | None = None
    reason: str = ""
    words: str = ""

    @property
    def invalid(self) -> bool:
        return self.state in INVALID


def check(
    der: bytes | None, leaf: Certificate, issuer: Certificate | None, now: datetime
) -> Staple:
    """``der``: as stapled; None or empty: nothing was. Never raises for its content."""
    if not der:
        return Staple("missing" if leaf.must_staple else "none")
    if len(der) > MAX_BYTES:
        return Staple("unreadable", words=f"it has {len(der)} bytes")

    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            words = response.response_status.name.lower().replace("_", " ")
            return Staple(
                "missing" if leaf.must_staple else "none",
                words=f"the responder's answer is an error ({words})",
            )
        return _checked(response, leaf, issuer, now)
    except PARSE_ERRORS as error:
        return Staple("unreadable", words=printable(str(error), 100))


def _checked(
    response: ocsp.OCSPResponse, leaf: Certificate, issuer: Certificate | None, now: datetime
) -> Staple:
    if (
        issuer is None
        or issuer.parsed is None
        or leaf.parsed is None
        or not issued_by(leaf, issuer)
    ):
        return Staple("unchecked", words="the issuer's certificate is not known")
    single = next((s for s in _singles(response) if _about(s, leaf, issuer)), None)
    if single is None:
        return Staple("wrong-certificate", words="it is about another certificate")
    signer, until = _signer(response, issuer, now)
    if signer != "good":
        return Staple(signer, until)
    begin, end = single.this_update_utc, single.next_update_utc
    ends = [d for d in (end, until) if d is not None]
    if begin > now + SKEW:
        return Staple("not-yet-valid", begin, words=f"it begins {begin:%Y-%m-%d %H:%M} UTC")
    if end is not None and end < now:
        return Staple("expired", words=f"it ended {end:%Y-%m-%d %H:%M} UTC")
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
            return Staple("unknown", until, words="the responder does not know the certificate")


def _singles(response: ocsp.OCSPResponse) -> Iterator[ocsp.OCSPSingleResponse]:
    for count, single in enumerate(response.responses):
        if count == MAX_RESPONSES:
            return
        yield single


def _about(single: ocsp.OCSPSingleResponse, leaf: Certificate, issuer: Certificate) -> bool:
    """certID: the serial number, and hashes of the issuer's name and key (RFC 6960 4.1.1), as a
    request for this certificate has them.
    """

    assert leaf.parsed is not None and issuer.parsed is not None
    if single.serial_number != leaf.parsed.serial_number:
        return False
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(leaf.parsed, issuer.parsed, single.hash_algorithm)
        .build()
    )
    return (asked.issuer_name_hash, asked.issuer_key_hash) == (
        single.issuer_name_hash,
        single.issuer_key_hash,
    )


def _signer(
    response: ocsp.OCSPResponse, issuer: Certificate, now: datetime
) -> tuple[str, datetime | None]:
    """good, bad-signature, or unchecked for an algorithm that is not supported; and until when the
    responder's certificate is valid.
    """

    try:
        digest = response.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unchecked", None
    data, signature = response.tbs_response_bytes, response.signature
    assert issuer.parsed is not None
    if verifies(issuer.parsed.public_key(), signature, data, digest):
        return "good", None
    for one in response.certificates[:8]:
        delegate = parse(one.public_bytes(Encoding.DER))
        if delegate.parsed is None or not _may_respond(delegate) or not issued_by(delegate, issuer):
            continue
        begin, end = delegate.not_before, delegate.not_after
        if begin is None or end is None or not begin <= now <= end:
            continue
        if verifies(delegate.parsed.public_key(), signature, data, digest):
            return "good", end
    return "bad-signature", None


def _may_respond(certificate: Certificate) -> bool:
    """id-kp-OCSPSigning, stated outright (RFC 6960 4.2.2.2)."""

    assert certificate.parsed is not None
    try:
        usages = certificate.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages
