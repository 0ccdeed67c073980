"""When a certificate is renewed, and why.

Pure.

ARI says (RFC 9773); where the CA has none: with a third of its life left, half under ten days
(Let's Encrypt's integration guide). Near its end nothing else counts, and a certificate that is
revoked or whose CA is distrusted is renewed at once.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from certmgr.acme.problems import retry_after
from inventory.text import printable

SHORT = timedelta(days=10)
ASK_AGAIN = timedelta(hours=6)
FARTHEST = timedelta(days=3660)
ASK_LEAST, ASK_MOST = timedelta(minutes=1), timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """A suggested renewal window. ``url``: the page on which the CA explains it."""

    start: datetime
    end: datetime
    url: str = ""

    def instant(self, draw: float) -> datetime:
        """Drawn once and stored; ``draw`` from 0 to 1 (RFC 9773 4.2). To the second."""
        seconds = (self.end - self.start).total_seconds() * draw
        return (self.start + timedelta(seconds=seconds)).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class CertificateLife:
    """What is known of the certificate that is served.

    ``ari_at``: the stored instant. ``bad``: why it must go at once (revoked, distrusted), or empty.
    """

    not_before: datetime
    not_after: datetime
    ari_at: datetime | None = None
    bad: str = ""


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """``at``: from when.

    ``urgent``: neither quarantine approval nor what was put off keeps it back.
    """

    at: datetime
    reason: str
    urgent: bool = False


def due(life: CertificateLife) -> RenewalDue:
    span = life.not_after - life.not_before
    near = life.not_after - (span / 4 if span < SHORT else span / 6)
    left = span / 2 if span < SHORT else span / 3
    usual = life.not_after - left
    if life.bad:
        return RenewalDue(life.not_before, life.bad, urgent=True)
    if life.ari_at is not None and life.ari_at <= near:
        return RenewalDue(life.ari_at, "the CA's renewal information says so (ARI)")
    if life.ari_at is not None:
        return RenewalDue(near, "it is near its end", urgent=True)
    share = "half" if span < SHORT else "a third"
    return RenewalDue(usual, f"{share} of its life is left")


def is_near(life: CertificateLife, now: datetime) -> bool:
    """Whether so little life is left that nothing else counts."""
    span = life.not_after - life.not_before
    return now >= life.not_after - (span / 4 if span < SHORT else span / 6)


def window(document: Any, not_after: datetime) -> RenewalWindow | None:
    """From a RenewalInfo object (RFC 9773 4.2).

    None where it is none: not an object, dates that are no dates, a window that ends before it
    begins, or one that begins after the certificate's end.
    """
    try:
        found = document["suggestedWindow"]
        start, end = (_instant(found[k]) for k in ("start", "end"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if (
        end < start
        or start >= not_after
        or not all(abs(d - not_after) < FARTHEST for d in (start, end))
    ):
        return None
    url = document.get("explanationURL")
    good = isinstance(url, str) and url.startswith(("https://", "http://"))
    return RenewalWindow(start, end, printable(url, 500) if good else "")


def _instant(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a date without a zone")
    return moment.replace(microsecond=0)


def ask_again(header: str | None, now: datetime) -> datetime:
    """When ARI is asked the next time: as Retry-After says, at least twice a day."""
    seconds = retry_after(header, now)
    wait = ASK_AGAIN if seconds is None else timedelta(seconds=seconds)
    return now + min(max(wait, ASK_LEAST), ASK_MOST)


def ari_id(certificate: Any) -> str | None:
    """base64url(keyIdentifier of the AKI) "." base64url(serial) (RFC 9773 4.1).

    None without that extension.
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
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (akid, number))


def failure(text: str | None) -> str:
    """What a stored error says, in words."""
    if not text:
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return str(found.get("sentence") or found) if isinstance(found, dict) else text
