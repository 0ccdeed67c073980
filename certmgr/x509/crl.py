"""Certificate revocation lists (RFC 5280 5 and 6.3). Pure.

A list answers only if all of these are true:

- The issuer of the certificate signed it.
- It is current.
- It covers this certificate (the CA may split its lists into shards).
- It has no critical extension that this module does not know.

Otherwise the answer is ``unknown``, with the reason. Indirect lists, delta lists and lists by
relative name are not supported, because none of them is used for certificates of web servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from cryptography import x509

from inventory import der
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate
from inventory.distinguished_names import normalised
from inventory.vocabulary import RevocationState

if TYPE_CHECKING:
    from cryptography import x509

# The largest lists of public CAs have some 20 MB; CAs split longer ones into shards.
MAX_BYTES = 32 * 1_048_576
# The library makes an object of each name and extension: for 32 MB of names, 1.1 GB.
MAX_WITHOUT_ENTRIES = 65_536  # bytes of issuer, dates, extensions and signature: CAs need 1,000
MAX_ENTRY = 4_096  # bytes of one entry: CAs need 50
# The tolerance for the clock of the CA: a list that begins later is not valid yet.
SKEW = timedelta(minutes=10)
# Up to this number of serial numbers is looked up one by one, each with a pass over the list in
# Rust. More are collected in one pass in Python.
MAX_SINGLE_LOOKUPS = 8

# Texts of the reasons in RFC 5280 5.3.1 for use in sentences (notifiers/wording/values.py).
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
    """The entry of a certificate in a list.

    Attributes:
        reason: The name in RFC 5280 5.3.1; "unspecified" if none is given.
        problem: Why the entry cannot be used; else empty.
    """

    revoked_at: datetime
    reason: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """The status of a certificate.

    Attributes:
        detail: Why the status is unknown.
    """

    status: RevocationState
    reason: str = ""
    revoked_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Crl:
    """A parsed list.

    Attributes:
        body: The list in DER.
        entries: Where in ``body`` its entries begin and end.
        names: The URLs of its distribution point; empty if it covers all certificates of its
            issuer.
        scope: all, user, ca or attribute.
        partial: The list has only some reasons.
        problem: Why the list cannot be used; else empty.
    """

    parsed: x509.CertificateRevocationList
    body: bytes
    entries: tuple[int, int]
    digest: str
    issuer_der: bytes
    this_update: datetime
    next_update: datetime | None
    names: tuple[str, ...] = ()
    scope: str = "all"
    partial: bool = False
    problem: str = ""


def read(body: bytes) -> Crl | str:
    """Parse a DER list (RFC 5280 4.2.1.13). Never raises for its content.

    Returns:
        The list, or the reason why it cannot be read.
    """

    # The whole list is parsed in memory.
    if len(body) > MAX_BYTES:
        return f"the list is larger than {MAX_BYTES // 1_048_576} MB"
    try:
        entries = _entries(body)
        if len(body) - (entries[1] - entries[0]) > MAX_WITHOUT_ENTRIES:
            return f"it has more than {MAX_WITHOUT_ENTRIES // 1024} KB without its entries"
        parsed = x509.load_der_x509_crl(body)
        extensions = _extensions(parsed)
        return Crl(
            parsed=parsed,
            body=body,
            entries=entries,
            digest=hashlib.sha256(body).hexdigest(),
            issuer_der=parsed.issuer.public_bytes(),
            this_update=parsed.last_update_utc,
            next_update=parsed.next_update_utc,
            **extensions,
        )
    except PARSE_ERRORS:
        return "it is not a revocation list"


def _entries(body: bytes) -> tuple[int, int]:
    """Return where the entries of a list begin and end (RFC 5280 5.1, revokedCertificates).

    Raises:
        ValueError: It is not a list.
    """
    outer = next(der.spans(body), None)
    signed = outer and next(der.spans(body, outer.content, outer.end), None)
    dated = False
    fields = der.spans(body, signed.content, signed.end) if signed else iter(())
    # A version, an algorithm, the issuer and two dates precede them.
    for field in islice(fields, 6):
        # They follow the dates, and the issuer before them is a SEQUENCE as well.
        if dated and field.tag == der.SEQUENCE:
            return field.content, field.end
        dated |= field.tag in (der.UTC_TIME, der.GENERALIZED_TIME)
    if not dated:
        raise ValueError("it has no date")
    return 0, 0


def _extensions(parsed: x509.CertificateRevocationList) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for extension in parsed.extensions:
        value: Any = extension.value
        # Browsers' CAs publish complete lists, so that the effort of merging changes is not
        # justified.
        if isinstance(value, x509.DeltaCRLIndicator):
            fields["problem"] = "it is a delta list, which contains only changes"
        elif isinstance(value, x509.IssuingDistributionPoint):
            fields |= _distribution_point(value)
        elif extension.critical and not isinstance(
            value, (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName)
        ):
            fields["problem"] = (
                "it has a critical extension that certmgr does not support"
                f" ({extension.oid.dotted_string})"
            )
        if fields.get("problem"):
            return fields
    return fields


def _distribution_point(value: x509.IssuingDistributionPoint) -> dict[str, Any]:
    # An indirect list has entries of other issuers, which this module does not match.
    if value.indirect_crl:
        return {"problem": "it is an indirect list, which certmgr does not support"}
    if value.relative_name is not None:
        return {
            "problem": "its distribution point has a relative name, which certmgr does not support"
        }
    names = tuple(
        n.value[:2000]
        for n in list(value.full_name or ())[:32]
        if isinstance(n, x509.UniformResourceIdentifier)
    )
    # Without a URL the scope of the list cannot be compared with the certificate.
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


def signed_by(crl: Crl, issuer: Certificate) -> bool:
    """Return whether the issuer signed the list: name, key usage (RFC 5280 6.3.3 f), signature.

    The cost depends on the size of the list: about a second for 20 MB.
    """

    if issuer.parsed is None or issuer.subject_key != normalised(crl.issuer_der):
        return False
    try:
        usages = [e.value for e in issuer.parsed.extensions if isinstance(e.value, x509.KeyUsage)]
        key: Any = issuer.parsed.public_key()
        # An issuer without a key usage extension may sign lists (RFC 5280 6.3.3 f).
        return all(u.crl_sign for u in usages) and crl.parsed.is_signature_valid(key)
    except PARSE_ERRORS:
        return False


def unusable_reason(crl: Crl, now: datetime) -> str:
    """Return why the list as a whole is not usable now; empty if it is."""
    if crl.problem:
        return crl.problem
    if crl.this_update > now + SKEW:
        return f"it is from the future ({crl.this_update:%Y-%m-%d %H:%M} UTC)"
    # RFC 5280 5.1.2.5 requires nextUpdate; without it an old list would be valid forever.
    if crl.next_update is None:
        return "it does not state a next update"
    # An old list has no information about the certificates that were revoked since.
    if crl.next_update < now:
        return f"it expired at {crl.next_update:%Y-%m-%d %H:%M} UTC"
    return ""


def out_of_scope(crl: Crl, urls: Collection[str], *, is_ca: bool) -> str:
    """Return why the list does not cover a certificate; empty if it does (RFC 5280 6.3.3 b).

    Args:
        urls: The distribution points that the certificate names.
    """
    # RFC 5280 6.3.3 (b) (2): a shard answers only for certificates that name it.
    if crl.names and not set(crl.names) & set(urls):
        return "it is the list of another distribution point"
    if (
        crl.scope == "attribute"
        or (crl.scope == "user" and is_ca)
        or (crl.scope == "ca" and not is_ca)
    ):
        return "it is for another kind of certificate"
    return ""


def find_entries(crl: Crl, serials: Collection[int]) -> dict[int, RevokedEntry] | str:
    """Return the entries of these serial numbers, or the reason why the list cannot be read."""
    # RFC 5280 4.1.2.2: a serial number is positive.
    valid_serials = frozenset(s for s in serials if s > 0)
    try:
        if len(valid_serials) <= MAX_SINGLE_LOOKUPS:
            found = [crl.parsed.get_revoked_certificate_by_serial_number(s) for s in valid_serials]
            revoked = [r for r in found if r is not None]
        else:
            revoked = [r for r in crl.parsed if r.serial_number in valid_serials]
        # Their extensions are read as a whole. The size of an entry shows only in the list.
        if revoked and any(e.end - e.start > MAX_ENTRY for e in der.spans(crl.body, *crl.entries)):
            return f"an entry has more than {MAX_ENTRY // 1024} KB"
        return {r.serial_number: _entry(r) for r in revoked}
    except PARSE_ERRORS:
        return "its entries cannot be read"


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
                    "its entry has a critical extension that certmgr does not support"
                    f" ({extension.oid.dotted_string})"
                )
    except PARSE_ERRORS:
        problem = "its entry cannot be read"
    return RevokedEntry(revoked.revocation_date_utc, reason, problem)


def status_of(crl: Crl, serial: int, entries: Mapping[int, RevokedEntry]) -> RevocationStatus:
    """Return the status of a certificate that the list covers."""
    entry = entries.get(serial)
    if entry is not None and entry.problem:
        return RevocationStatus(RevocationState.UNKNOWN, detail=entry.problem)
    # removeFromCRL ends a hold (RFC 5280 5.3.1), so the certificate is not revoked.
    if entry is not None and entry.reason != "removeFromCRL":
        return RevocationStatus(RevocationState.REVOKED, entry.reason, entry.revoked_at)
    # The certificate may be on the list for the other reasons.
    if crl.partial:
        return RevocationStatus(
            RevocationState.UNKNOWN, detail="the list contains only some reasons for revocation"
        )
    return RevocationStatus(RevocationState.GOOD)
