"""TLSA against chains of a real CA.

Usages, selectors, digests, names, dates, and ignored records.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certmgr.checks.tlsa import match
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.net.dns_records import TlsaRecord
from inventory.certificates import Certificate, parse
from tests.clock import clock

HOST = "mx.example.com"


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> IssuedCertificate:
    return issuer.issue(HOST)


def chain_of(issued: IssuedCertificate) -> tuple[Certificate, ...]:
    return tuple(parse(c.public_bytes(Encoding.DER)) for c in issued.chain)


def record_of(certificate: Certificate, usage: int, selector: int, matching: int) -> TlsaRecord:
    assert certificate.parsed is not None
    key = certificate.parsed.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    data = key if selector else certificate.der
    return TlsaRecord(
        usage,
        selector,
        matching,
        {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}[matching],
    )


def state(
    record: TlsaRecord,
    issued: IssuedCertificate,
    *,
    host: str = HOST,
    smtp: bool = True,
    trusted: bool | None = None,
    later: int = 0,
) -> str:
    now = clock() + timedelta(days=later)
    return match([record], chain_of(issued), host, now, smtp=smtp, trusted=trusted).state


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(("usage", "position"), [(3, 0), (2, 1)])
def test_certificate_of_the_record_matches_and_another_does_not(
    issued: IssuedCertificate,
    issuer: Authority,
    usage: int,
    position: int,
    selector: int,
    matching: int,
) -> None:
    record = record_of(chain_of(issued)[position], usage, selector, matching)
    other = Authority("Other", clock=clock).issue(HOST)
    assert state(record, issued) == "matched"
    assert state(record, other) == "mismatch"


def test_dane_ee_ignores_names_and_dates(issued: IssuedCertificate) -> None:
    record = record_of(chain_of(issued)[0], 3, 1, 1)
    assert state(record, issued, host="another.example") == "matched"
    assert state(record, issued, later=5000) == "matched"


def test_dane_ta_checks_names_and_dates(issued: IssuedCertificate) -> None:
    record = record_of(chain_of(issued)[1], 2, 1, 1)
    assert state(record, issued, host="another.example") == "mismatch"
    assert state(record, issued, later=200) == "mismatch"


def test_dane_ta_needs_the_ca_in_the_chain_or_in_the_record(issued: IssuedCertificate) -> None:
    leaf, ca = chain_of(issued)[:2]
    now = clock()
    for matching, selector, expected in ((1, 0, "mismatch"), (0, 0, "matched"), (0, 1, "matched")):
        assert (
            match(
                [record_of(ca, 2, selector, matching)], [leaf], HOST, now, smtp=True, trusted=None
            ).state
            == expected
        )


def test_certificate_outside_the_path_is_no_anchor(issued: IssuedCertificate) -> None:
    """The server sends the CA of the record, which signed no certificate of the path."""
    other = Authority("Other", clock=clock)
    chain = (chain_of(issued)[0], parse(other.der))
    assert (
        match([record_of(chain[1], 2, 0, 1)], chain, HOST, clock(), smtp=True, trusted=True).state
        == "mismatch"
    )


@pytest.mark.parametrize(
    ("usage", "position", "trusted", "expected"),
    [
        (1, 0, True, "matched"),
        (1, 0, False, "mismatch"),
        (1, 0, None, "unknown"),
        (0, 1, True, "matched"),
        (0, 1, False, "mismatch"),
        (0, 0, True, "unknown"),
        (0, 0, False, "mismatch"),
    ],
)
def test_pkix_usages_need_trust_as_well(
    issued: IssuedCertificate, usage: int, position: int, trusted: bool | None, expected: str
) -> None:
    assert (
        state(
            record_of(chain_of(issued)[position], usage, 0, 1), issued, smtp=False, trusted=trusted
        )
        == expected
    )


@pytest.mark.parametrize(
    "record",
    [
        TlsaRecord(1, 0, 1, b"x" * 32),
        TlsaRecord(4, 0, 1, b"x" * 32),
        TlsaRecord(3, 2, 1, b"x" * 32),
        TlsaRecord(3, 1, 3, b"x" * 32),
        TlsaRecord(3, 1, 1, b"x" * 31),
        TlsaRecord(3, 1, 2, b"x" * 32),
        TlsaRecord(3, 1, 0, b""),
    ],
)
def test_unusable_record_is_no_mismatch_and_hides_no_match(
    issued: IssuedCertificate, record: TlsaRecord
) -> None:
    assert state(record, issued) == "unusable"
    good = record_of(chain_of(issued)[0], 3, 1, 1)
    assert (
        match([record, good], chain_of(issued), HOST, clock(), smtp=True, trusted=None).record
        == good
    )


def test_one_matching_record_is_enough(issued: IssuedCertificate) -> None:
    """The next key is published in addition to the current one (RFC 7671 8.1)."""
    records = [TlsaRecord(3, 1, 1, b"n" * 32), record_of(chain_of(issued)[0], 3, 1, 1)]
    assert (
        match(records, chain_of(issued), HOST, clock(), smtp=True, trusted=None).state == "matched"
    )


def test_chain_without_a_readable_certificate_is_unknown() -> None:
    record = TlsaRecord(3, 1, 1, b"x" * 32)
    assert match([record], [], HOST, clock(), smtp=True, trusted=None).state == "unknown"
    assert (
        match([record], [parse(b"no certificate")], HOST, clock(), smtp=True, trusted=None).state
        == "unknown"
    )
