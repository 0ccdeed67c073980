"""Whether a served chain matches TLSA records (RFC 6698, RFC 7671; RFC 7672 for SMTP). Pure.

The records must be validated by DNSSEC; without it they mean nothing (RFC 7671 4.1). The caller
must check that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from certmgr.net.dns_records import TlsaRecord
from certmgr.x509.names import certificate_covers
from certmgr.x509.signatures import verifies
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse

PKIX_TA, PKIX_EE, DANE_TA, DANE_EE = range(4)
_DIGESTS = {1: (hashlib.sha256, 32), 2: (hashlib.sha512, 64)}
# Each record is compared with each certificate, and both come from outside.
MAX_CHAIN = 16


@dataclass(frozen=True, slots=True)
class DaneVerdict:
    """The verdict on all records of a name.

    Attributes:
        state: matched, mismatch, unusable (records exist, but none applies here), unknown.
        record: The record that matched.
    """

    state: str
    reason: str
    record: TlsaRecord | None = None


def usable(record: TlsaRecord, *, smtp: bool) -> bool:
    """Return whether a record applies.

    SMTP has no usages 0 and 1 (RFC 7672 3.1.3). Unknown numbers and digests of a wrong length are
    ignored (RFC 6698 4.1).
    """
    if record.usage not in ((DANE_TA, DANE_EE) if smtp else (PKIX_TA, PKIX_EE, DANE_TA, DANE_EE)):
        return False
    if record.selector not in (0, 1):
        return False
    if record.matching == 0:
        return bool(record.data)
    return record.matching in _DIGESTS and len(record.data) == _DIGESTS[record.matching][1]


def match(
    records: Sequence[TlsaRecord],
    chain: Sequence[Certificate],
    host: str,
    now: datetime,
    *,
    smtp: bool,
    trusted: bool | None,
) -> DaneVerdict:
    """Match records with a chain. One match is enough (RFC 7671 4.1).

    Args:
        chain: The certificates as served, leaf first.
        trusted: Whether the path verifies to a public anchor, which usages 0 and 1 require in
            addition; None if undetermined.
    """
    usable_records = [r for r in records if usable(r, smtp=smtp)]
    if not usable_records:
        return DaneVerdict("unusable", "none of the records has a usage that applies here")
    if not chain or chain[0].parsed is None:
        return DaneVerdict("unknown", "the server sent no certificate that can be read")
    verdicts = [_match_one(r, chain[:MAX_CHAIN], host, now, trusted) for r in usable_records]
    # An undetermined record may match, so it prevents a mismatch.
    for state in ("matched", "unknown"):
        if (verdict := next((f for f in verdicts if f.state == state), None)) is not None:
            return verdict
    return DaneVerdict("mismatch", verdicts[0].reason)


def recommended_record(leaf: Certificate) -> TlsaRecord:
    """Return the record to publish for a certificate: 3 1 1, the digest of its key.

    It stays valid if the certificate is renewed with the same key (RFC 7671 5.1).
    """
    return TlsaRecord(DANE_EE, 1, 1, hashlib.sha256(_selected(1, leaf) or b"").digest())


def _match_one(
    record: TlsaRecord, chain: Sequence[Certificate], host: str, now: datetime, trusted: bool | None
) -> DaneVerdict:
    match record.usage:
        case 3:  # only the key or certificate counts: neither names nor dates (RFC 7671 5.1)
            return _verdict(
                _fits(record, chain[0]), record, "the certificate is not the announced one"
            )
        # Usage 1 restricts the certificate in addition to the normal path (RFC 6698 2.1.1).
        case 1:
            if not _fits(record, chain[0]):
                return DaneVerdict("mismatch", "the certificate is not the announced one")
            return _with_trust(record, trusted)
        case 2:
            return _anchor(record, chain, host, now)
        case _:
            if not any(_fits(record, c) for c in chain[1:]):
                # The CA of the record may be the root, which servers do not send.
                return DaneVerdict(
                    "unknown" if trusted else "mismatch",
                    "the announced CA is not in the chain that was sent",
                )
            return _with_trust(record, trusted)


def _verdict(fits: bool, record: TlsaRecord, otherwise: str) -> DaneVerdict:
    return (
        DaneVerdict("matched", "a record matches", record)
        if fits
        else DaneVerdict("mismatch", otherwise)
    )


def _with_trust(record: TlsaRecord, trusted: bool | None) -> DaneVerdict:
    if trusted is None:
        return DaneVerdict(
            "unknown", "a record matches, but whether its path is trusted is unknown", record
        )
    return _verdict(trusted, record, "a record matches, and its path is not trusted")


def _anchor(
    record: TlsaRecord, chain: Sequence[Certificate], host: str, now: datetime
) -> DaneVerdict:
    """Match DANE-TA: a signed path of valid certificates up to the CA, and the leaf's names.

    See RFC 7671 5.2. The anchor must be in the chain. Only an anchor that is completely in the
    record may be left out (5.2.2); then its signature is checked.
    """
    # Usage 2 trusts a whole CA, so the name has to match (usage 3 trusts one certificate).
    if not certificate_covers(chain[0], host):
        return DaneVerdict(
            "mismatch", "the certificate of the announced CA does not cover the name"
        )
    for position, certificate in enumerate(chain):
        # The rest of the chain is not part of the path.
        if position and not issued_by(chain[position - 1], certificate):
            break
        if not _valid(certificate, now):
            return DaneVerdict("mismatch", "a certificate of the path is not valid at this time")
        if position and _fits(record, certificate):
            return DaneVerdict("matched", "a record matches", record)
        if record.matching == 0 and _signed_by(certificate, record):
            return DaneVerdict("matched", "a record matches", record)
    return DaneVerdict("mismatch", "no signed path leads to the announced CA")


def _valid(certificate: Certificate, now: datetime) -> bool:
    begin, end = certificate.not_before, certificate.not_after
    return begin is not None and end is not None and begin <= now <= end


def _signed_by(certificate: Certificate, record: TlsaRecord) -> bool:
    """Return whether the certificate or key in the record signed this certificate."""
    if record.selector == 0:
        return issued_by(certificate, parse(record.data))

    parsed = certificate.parsed
    if parsed is None:
        return False
    try:
        key = load_der_public_key(record.data)
        return verifies(
            key, parsed.signature, parsed.tbs_certificate_bytes, parsed.signature_hash_algorithm
        )
    except PARSE_ERRORS:
        return False


def _fits(record: TlsaRecord, certificate: Certificate) -> bool:
    data = _selected(record.selector, certificate)
    if data is None:
        return False
    if record.matching:
        data = _DIGESTS[record.matching][0](data).digest()
    return data == record.data


def _selected(selector: int, certificate: Certificate) -> bytes | None:
    if selector == 0:
        return certificate.der

    try:
        assert certificate.parsed is not None
        return certificate.parsed.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except (*PARSE_ERRORS, AssertionError):
        return None
