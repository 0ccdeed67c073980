"""Signed timestamps of the head of the audit log (RFC 3161).

A timestamp proves that the head existed at a time, even against an administrator who changes the
log later and writes new heads. The answer of the authority is verified before it is kept.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from certmgr.net.http_client import HttpClient, HttpLimits
from certmgr.net.http_stream import AddressPolicy, HttpError
from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.text import printable

_log = logging.getLogger(__name__)

# An authority signs within a second. Thirty cover a retry of its network.
_SECONDS = 30.0
_MAX_ANSWER = 65_536  # bytes: a token with its certificates has about 6,000
_MAX_CA = 4_000_000
# The clock of the authority and ours may differ a little, and the answer takes a moment.
_TOLERANCE = timedelta(minutes=10)
# How the errors of the library begin, and what they mean. All others are about the certificate.
_REASONS = (
    ("Nonce mismatch", "it answers another request"),
    ("Mismatch between messages", "it is a timestamp of other data"),
    (
        "Error while verifying certificates",
        "its signature does not lead to a certificate of [audit] timestamp_ca",
    ),
)
_GRANTED = 0  # PKIStatus, RFC 3161, section 2.4.2


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A verified timestamp.

    Attributes:
        at: The time that the authority signed.
        answer: Its answer (DER), as ``openssl ts -verify`` reads it.
    """

    at: datetime
    answer: bytes


def authority_certificates(path: Path) -> list[x509.Certificate]:
    """Read the CA certificates of the authority (PEM).

    Raises:
        CertmgrError: The file cannot be read, or it contains no certificate.
    """
    try:
        return x509.load_pem_x509_certificates(read_regular(path, _MAX_CA))
    except ValueError:
        raise CertmgrError(
            f"{path} contains no certificates in PEM",
            "the answers of the timestamp authority are verified with them",
            "Correct [audit] timestamp_ca.",
        ) from None


def request_timestamp(
    url: str, data: bytes, roots: list[x509.Certificate], now: datetime
) -> Timestamp:
    """Let the authority sign the time of ``data``, and verify its answer.

    Args:
        url: The authority; an internal address is permitted, because an administrator named it.
        data: What is signed. The authority gets only its SHA-256.
        roots: The CA certificates of the authority.
        now: Our time, which must be near the signed one.

    Raises:
        CertmgrError: There is no answer, or it is not valid for this request.
    """
    request = (
        TimestampRequestBuilder()
        .data(data)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        # With the certificates in the answer, it can still be verified when the authority has
        # changed them.
        .cert_request(cert_request=True)
        .build()
    )
    answer = _post(url, request.as_bytes())
    # The nonce shows that the answer was made for this request, and is no earlier one.
    timestamp = verify_timestamp(answer, data, roots, nonce=request.nonce)
    # An authority whose clock is wrong signs a time that proves nothing about this day.
    if abs(timestamp.at - now) > _TOLERANCE:
        raise _invalid(f"it states the time {timestamp.at:%Y-%m-%d %H:%M} UTC")
    return timestamp


def verify_timestamp(
    answer: bytes, data: bytes, roots: list[x509.Certificate], *, nonce: int | None = None
) -> Timestamp:
    """Verify an answer of the authority: signature, certificates at its time, purpose, and data.

    Raises:
        CertmgrError: The answer is not valid.
    """
    try:
        response = decode_timestamp_response(answer)
        if response.status != _GRANTED:
            raise _invalid(_refusal(response))
        verifier = VerifierBuilder(roots=list(roots), nonce=nonce).build()
        verifier.verify(response, hashlib.sha256(data).digest())
        at = response.tst_info.gen_time
    except VerificationError as error:
        # The log keeps the words of the library, which are for its developers.
        _log.info("the timestamp is not valid: %s", printable(str(error), 300))
        raise _invalid(_reason(str(error))) from None
    # Errors of the parser name positions in the bytes, which help no administrator.
    except (ValueError, TypeError, OverflowError):
        raise _invalid("it is not a timestamp response") from None
    return Timestamp(at if at.tzinfo else at.replace(tzinfo=UTC), answer)


def _reason(text: str) -> str:
    """Return in words what an error of the library means."""
    found = (reason for start, reason in _REASONS if text.startswith(start))
    return next(found, "it has no certificate of a timestamp authority")


def _refusal(response: TimeStampResponse) -> str:
    texts = " ".join(str(text) for text in response.status_string)
    return f"it refuses the request: {printable(texts, 200) or f'status {response.status}'}"


def _post(url: str, content: bytes) -> bytes:
    client = HttpClient(
        policy=AddressPolicy(internal=True),
        limits=HttpLimits(_SECONDS, _MAX_ANSWER),
        # The roots of the system include those of an internal authority.
        trust=ssl.create_default_context(),
        # The answer is signed and contains no secret; many authorities have no TLS.
        schemes=("https", "http"),
    )
    headers = {"Content-Type": "application/timestamp-query", "User-Agent": "certmgr"}
    try:
        with client:
            answer = client.request("POST", url, headers=headers, content=content)
    except HttpError as error:
        raise CertmgrError(
            "The timestamp authority did not answer", error.message, "The next run asks it again."
        ) from None
    if answer.status != 200:
        raise CertmgrError(
            "The timestamp authority did not answer",
            f"HTTP {answer.status}",
            "Check [audit] timestamp_url; the next run asks it again.",
        )
    return answer.body


def _invalid(why: str) -> CertmgrError:
    return CertmgrError(
        "The answer of the timestamp authority is not valid",
        why,
        "Check [audit] timestamp_url and timestamp_ca.",
    )
