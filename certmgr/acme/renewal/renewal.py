"""The time and the reason of a renewal.

Pure.

The CA's renewal information (ARI, RFC 9773) decides. Without ARI a certificate is renewed when a
third of its lifetime is left, or half if it lives less than ten days (Let's Encrypt's integration
guide). Close to expiry it is renewed in any case. A certificate that is revoked, or whose CA is
distrusted, is renewed at once.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from certmgr.acme.protocol.problems import retry_after
from inventory.dates import SHORT_LIVED, usual_renewal_lead
from inventory.text import printable

ARI_INTERVAL = timedelta(hours=6)
ARI_REASON = "the CA's renewal information (ARI) suggests it"
# Far beyond any certificate; it keeps arithmetic with hostile dates within the range of datetime.
MAX_WINDOW_OFFSET = timedelta(days=3660)
ARI_INTERVAL_MIN, ARI_INTERVAL_MAX = timedelta(minutes=1), timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """A suggested renewal window (RFC 9773 4.2).

    Attributes:
        start: Its start.
        end: Its end.
        url: The page on which the CA explains it.
    """

    start: datetime
    end: datetime
    url: str = ""

    def select_time(self, fraction: float) -> datetime:
        """Return the time at a random fraction of the window, to the second (RFC 9773 4.2).

        Callers store it: a new random time on each run would shift the renewal.
        """
        seconds = (self.end - self.start).total_seconds() * fraction
        return (self.start + timedelta(seconds=seconds)).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class CertificateLife:
    """The dates of a certificate.

    Attributes:
        not_before: The start of its validity.
        not_after: The end of its validity.
        ari_at: The stored renewal time from ARI; None without ARI.
        must_replace: Why it must be replaced at once (revoked, distrusted); empty if it need not.
    """

    not_before: datetime
    not_after: datetime
    ari_at: datetime | None = None
    must_replace: str = ""


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """When and why a certificate is renewed.

    Attributes:
        at: The time from which it is due.
        reason: The reason in words.
        urgent: Whether it is renewed without approval of a quarantine and before a postponed time.
    """

    at: datetime
    reason: str
    urgent: bool = False


def due(life: CertificateLife) -> RenewalDue:
    """Return when and why a certificate is renewed."""
    span = life.not_after - life.not_before
    near = life.not_after - (span / 4 if span < SHORT_LIVED else span / 6)
    usual = life.not_after - usual_renewal_lead(span)
    # A revoked or distrusted certificate is worth nothing, whatever its dates and the CA's window
    # are.
    if life.must_replace:
        return RenewalDue(life.not_before, life.must_replace, urgent=True)
    if life.ari_at is not None and life.ari_at <= near:
        return RenewalDue(life.ari_at, ARI_REASON)
    # A CA that suggests a time close to expiry would leave no time for retries.
    if life.ari_at is not None:
        return RenewalDue(near, "it expires soon", urgent=True)
    share = "half" if span < SHORT_LIVED else "a third"
    return RenewalDue(usual, f"{share} of its life is left")


def is_near(life: CertificateLife, now: datetime) -> bool:
    """Return whether the certificate expires so soon that its renewal is urgent."""
    span = life.not_after - life.not_before
    return now >= life.not_after - (span / 4 if span < SHORT_LIVED else span / 6)


def contradicts(
    window: RenewalWindow, life: CertificateLife, now: datetime, renewed_because: str
) -> bool:
    """Return whether a window cannot be meant for this certificate.

    A window in the past asks for a renewal at once, for example before a mass revocation. If it
    ended before the certificate began, and the certificate itself was ordered because of such a
    window, then the CA's answers do not depend on the certificate: each run would order another
    one. Until a third of its life is over, the window is not followed again.

    Args:
        window: The suggested window.
        life: The dates of the certificate.
        now: The current time.
        renewed_because: The reason of the order that gave the certificate.
    """
    return (
        window.end <= life.not_before
        and renewed_because == ARI_REASON
        and now < life.not_before + (life.not_after - life.not_before) / 3
    )


def parse_window(document: Any, not_after: datetime) -> RenewalWindow | None:
    """Parse a RenewalInfo object (RFC 9773 4.2).

    Args:
        document: The decoded JSON.
        not_after: The expiry of the certificate.

    Returns:
        None if it is invalid: not an object, invalid dates, an end before the start, or a start
        after the certificate's expiry.
    """
    try:
        suggested = document["suggestedWindow"]
        start, end = (_parse_timestamp(suggested[k]) for k in ("start", "end"))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None
    if (
        end < start
        or start >= not_after
        or not all(abs(d - not_after) < MAX_WINDOW_OFFSET for d in (start, end))
    ):
        return None
    url = document.get("explanationURL")
    # The URL is shown as a link, so a scheme such as javascript: is dropped.
    valid = isinstance(url, str) and url.startswith(("https://", "http://"))
    return RenewalWindow(start, end, printable(url, 500) if valid else "")


def _parse_timestamp(text: Any) -> datetime:
    # RFC 3339 5.6 allows "t" and "z" in lower case.
    timestamp = datetime.fromisoformat(text.upper())
    if timestamp.tzinfo is None:
        raise ValueError("a date without a time zone")
    return timestamp.replace(microsecond=0)


def next_ari_request(header: str | None, now: datetime) -> datetime:
    """Return the time of the next ARI request: after Retry-After, and at least twice a day."""
    seconds = retry_after(header, now)
    # RFC 9773 4.3.2: the client follows Retry-After within reasonable bounds, such as one minute to
    # a day. The upper bound keeps two requests a day, so that a revocation event is noticed in
    # time.
    wait = ARI_INTERVAL if seconds is None else timedelta(seconds=seconds)
    return now + min(max(wait, ARI_INTERVAL_MIN), ARI_INTERVAL_MAX)


def ari_id(certificate: Any) -> str | None:
    """Return the ARI id of a certificate (RFC 9773 4.1).

    It is base64url(keyIdentifier of the AKI) "." base64url(serial).

    Returns:
        None if the certificate has no authority key identifier.
    """

    try:
        akid = certificate.extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        ).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        return None
    if not akid:
        return None
    serial = certificate.serial_number
    # RFC 9773 4.1: the DER content of the serial, with a leading zero byte if its first bit is set.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (akid, number))


def error_sentence(text: str | None) -> str:
    """Return a stored error in words."""
    if not text:
        return ""
    # A note, such as that of a missing preferred chain, is stored as plain text.
    try:
        document = json.loads(text)
    except ValueError:
        return text
    return str(document.get("sentence") or document) if isinstance(document, dict) else text
