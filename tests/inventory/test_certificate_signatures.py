"""Which certificate issued which, and what a hostile issuer's key may cost."""

from __future__ import annotations

from math import gcd, lcm

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.demo.authority import Authority
from inventory import certificate_signatures
from inventory.certificate_signatures import issued_by, library_verifies
from inventory.certificates import parse


@pytest.fixture(scope="module")
def primes() -> tuple[int, int]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return numbers.p, numbers.q


def key_with_exponent(primes: tuple[int, int], bits: int) -> rsa.RSAPrivateKey:
    """Return a valid RSA key whose public exponent has this many bits."""
    p, q = primes
    order = lcm(p - 1, q - 1)
    e = (1 << (bits - 1)) + 1
    while gcd(e, order) != 1:
        e += 2
    d = pow(e, -1, order)
    dmp1, dmq1, iqmp = d % (p - 1), d % (q - 1), pow(q, -1, p)
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public).private_key()


@pytest.mark.parametrize(("bits", "verified"), [(17, True), (33, True), (34, False), (2040, False)])
def test_signature_of_a_key_that_browsers_refuse_for_its_size_is_not_verified(
    primes: tuple[int, int], bits: int, verified: bool
) -> None:
    authority = Authority("Large Exponent", key=key_with_exponent(primes, bits))
    issuer, leaf = parse(authority.der), parse(authority.issue("a.example.test").der)
    # The signature itself is valid: without the limit, each verification would take as long as a
    # private operation.
    assert issued_by(leaf, issuer) is verified
    assert library_verifies(leaf, issuer) is verified


def test_each_pair_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    authority, other = Authority("Asked Twice"), Authority("Asked Twice")
    leaf = parse(authority.issue("a.example.test").der)
    issuers = [parse(authority.der), parse(other.der)]
    checked: list[x509.Certificate] = []
    is_oversized = certificate_signatures._is_oversized

    def counted(certificate: x509.Certificate) -> bool:
        checked.append(certificate)
        return is_oversized(certificate)

    monkeypatch.setattr(certificate_signatures, "_is_oversized", counted)
    for _ in range(3):
        assert [issued_by(leaf, i) for i in issuers] == [True, False]
    assert len(checked) == 2


def test_number_of_remembered_results_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_signatures, "MAX_RESULTS", 4)
    authority = Authority("Many Children")
    issuer = parse(authority.der)
    leaves = [parse(authority.issue(f"a{n}.example.test").der) for n in range(9)]
    for _ in range(2):
        assert all(issued_by(leaf, issuer) for leaf in leaves)
