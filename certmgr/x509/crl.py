"""What a certificate revocation list says of a certificate (RFC 5280 5 and 6.3).

Pure: bytes, the issuer and ``now`` come in.

A list answers only where everything holds: it is signed by the certificate's issuer, is in its
time, covers this certificate (the CA may split its lists into shards), and has no critical
extension that is not understood here. Otherwise the answer is ``unknown``, with the reason.
Indirect lists, delta lists and lists by relative name are not supported: none of them is used for
certificates of web servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from inventory.certificates import PARSE_ERRORS, Certificate
from inventory.text import printable

if TYPE_CHECKING:
    from cryptography import x509

MAX_BYTES = 32 * 1_048_576
# How far ahead another clock may be before its list counts as one from the future.
SKEW = timedelta(minutes=10)
# Up to so many serial numbers are asked for one by one, each a walk over the list in Rust; more are
# picked in one walk in Python.
FEW = 8

# What RFC 5280 5.3.1 calls a reason, in words that stand in sentences
# (notifiers/wording/values.py).
REASONS = {
    "unspecified": "no reason was given",
    "keyCompromise": "its key became known to others",
    "cACompromise": "a key of the issuer became known to others",
    "affiliationChanged": "its owner changed",
    "superseded": "it was replaced",
    "cessationOfOperation": "it is no longer used",
    "certificateHold": "it is on hold",
    "privilegeWithdrawn": "the issuer withdrew it",
    "aACompromise": "a key became known to others",
}


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """A certificate that the list names.

    ``reason``: as RFC 5280 5.3.1 calls it, "unspecified" where none is given. ``problem``: why the
    entry cannot be used.
    """

    revoked_at: datetime
    reason: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """``status``: good, revoked, unknown. ``detail``: why it is unknown."""

    status: str
    reason: str = ""
    revoked_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Crl:
    """A list that could be read.

    ``names``: the URLs of its distribution point, empty where it is for all of its issuer's
    certificates. ``scope``: all, user, ca, attribute. ``partial``: it knows only some reasons.
    ``problem``: why nobody can rely on it, whatever it says.
    """

    parsed: x509.CertificateRevocationList
    digest: str
    issuer_der: bytes
    this_update: datetime
    next_update: datetime | None
    names: tuple[str, ...] = ()
    scope: str = "all"
    partial: bool = False
    problem: str = ""


def read(body: bytes) -> Crl | str:
    """DER (RFC 5280 4.2.1.13) -> a list, or why it is none. Never raises for its content."""

    if len(body) > MAX_BYTES:
        return f"the list is larger than {MAX_BYTES // 1_048_576} MB"
    try:
        parsed = x509.load_der_x509_crl(body)
        extensions = _extensions(parsed)
        return Crl(
            parsed,
            hashlib.sha256(body).hexdigest(),
            parsed.issuer.public_bytes(),
            parsed.last_update_utc,
            parsed.next_update_utc,
            **extensions,
        )
    except PARSE_ERRORS as error:
        return f"it is no revocation list: {printable(str(error), 100) or type(error).__name__}"


def _extensions(parsed: x509.CertificateRevocationList) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for extension in parsed.extensions:
        value: Any = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            found["problem"] = "it is a delta list, which says only what changed"
        elif isinstance(value, x509.IssuingDistributionPoint):
            found |= _distribution_point(value)
        elif extension.critical and not isinstance(
            value, (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName)
        ):
            found["problem"] = (
                "it has a critical extension that is not understood here"
                f" ({extension.oid.dotted_string})"
            )
        if found.get("problem"):
            return found
    return found


def _distribution_point(value: x509.IssuingDistributionPoint) -> dict[str, Any]:
    if value.indirect_crl:
        return {"problem": "it is an indirect list, which is not supported here"}
    if value.relative_name is not None:
        return {
            "problem": "its distribution point has a relative name, which is not supported here"
        }
    names = tuple(
        n.value[:2000]
        for n in list(value.full_name or ())[:32]
        if isinstance(n, x509.UniformResourceIdentifier)
    )
    if value.full_name is not None and not names:
        return {"problem": "its distribution point has no URL"}
    scope = (
        "attribute"
        if value.only_contains_attribute_certs
        else (
            "user"
            if value.only_contains_user_certs
            else "ca"
            if value.only_contains_ca_certs
            else "all"
        )
    )
    return {"names": names, "scope": scope, "partial": value.only_some_reasons is not None}


# -- whether it may be relied on


def signed_by(crl: Crl, issuer: Certificate) -> bool:
    """Name, key usage (RFC 5280 6.3.3 f) and signature of the issuer.

    As dear as the list is large: a second for 20 MB.
    """

    if issuer.parsed is None or issuer.subject_der != crl.issuer_der:
        return False
    try:
        usages = [e.value for e in issuer.parsed.extensions if isinstance(e.value, x509.KeyUsage)]
        key: Any = issuer.parsed.public_key()
        return all(u.crl_sign for u in usages) and crl.parsed.is_signature_valid(key)
    except PARSE_ERRORS:
        return False


def objection(crl: Crl, now: datetime) -> str:
    """Why the list as a whole says nothing now; empty where it may."""
    if crl.problem:
        return crl.problem
    if crl.this_update > now + SKEW:
        return f"it is from the future ({crl.this_update:%Y-%m-%d %H:%M} UTC)"
    if crl.next_update is None:
        return "it does not say until when it holds"
    if crl.next_update < now:
        return f"it was to be replaced by {crl.next_update:%Y-%m-%d %H:%M} UTC"
    return ""


def out_of_scope(crl: Crl, urls: Collection[str], *, is_ca: bool) -> str:
    """Why the list does not cover a certificate that names ``urls`` as its distribution point (RFC
    5280 6.3.3 b); empty where it does.
    """
    if crl.names and not set(crl.names) & set(urls):
        return "it is the list of another distribution point"
    if (
        crl.scope == "attribute"
        or (crl.scope == "user" and is_ca)
        or (crl.scope == "ca" and not is_ca)
    ):
        return "it is for another kind of certificates"
    return ""


# -- what it says


def look_up(crl: Crl, serials: Collection[int]) -> dict[int, RevokedEntry] | str:
    """The entries of these serial numbers, or why the list cannot be read to its end."""
    wanted = frozenset(s for s in serials if s > 0)
    try:
        if len(wanted) <= FEW:
            found = [crl.parsed.get_revoked_certificate_by_serial_number(s) for s in wanted]
            return {r.serial_number: _entry(r) for r in found if r is not None}
        return {r.serial_number: _entry(r) for r in crl.parsed if r.serial_number in wanted}
    except PARSE_ERRORS as error:
        return f"its entries cannot be read: {printable(str(error), 100) or type(error).__name__}"


def _entry(revoked: x509.RevokedCertificate) -> RevokedEntry:
    reason, problem = "unspecified", ""
    try:
        for extension in revoked.extensions:
            value: Any = extension.value
            if isinstance(value, x509.CRLReason):
                reason = value.reason.value
            elif isinstance(value, x509.CertificateIssuer):
                problem = "its entry is for a certificate of another issuer"
            elif extension.critical and not isinstance(value, x509.InvalidityDate):
                problem = (
                    "its entry has a critical extension that is not understood here"
                    f" ({extension.oid.dotted_string})"
                )
    except PARSE_ERRORS as error:
        problem = f"its entry cannot be read: {printable(str(error), 100)}"
    return RevokedEntry(revoked.revocation_date_utc, reason, problem)


def status_of(crl: Crl, serial: int, entries: Mapping[int, RevokedEntry]) -> RevocationStatus:
    """Of a certificate that the list covers."""
    entry = entries.get(serial)
    if entry is not None and entry.problem:
        return RevocationStatus("unknown", detail=entry.problem)
    if entry is not None and entry.reason != "removeFromCRL":
        return RevocationStatus("revoked", entry.reason, entry.revoked_at)
    if crl.partial:
        return RevocationStatus("unknown", detail="the list knows only some reasons of revocation")
    return RevocationStatus("good")
