"""Private keys of others are read at a bounded cost."""

from __future__ import annotations

import re
from math import lcm
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

import certmgr
from certmgr.x509.private_keys import load_der, load_pem

E = 65537


def encoded(numbers: rsa.RSAPrivateNumbers, form: Encoding = Encoding.PEM) -> bytes:
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return key.private_bytes(form, PrivateFormat.PKCS8, NoEncryption())


def with_composite_factor() -> rsa.RSAPrivateNumbers:
    """Return a key that signs correctly, and one of whose factors is no prime."""
    # A Carmichael number of Chernick's form: RSA works with it as with a prime.
    k = 0x8CA6A3A4506513270E269E0D37F2A74DE452E6F883
    p = (6 * k + 1) * (12 * k + 1) * (18 * k + 1)
    q = rsa.generate_private_key(E, 1024).private_numbers().p
    d = pow(E, -1, lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(E, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)


def test_factors_are_not_tested_for_primes() -> None:
    """The test of a key of 8,192 bits takes seconds, and of 16,384 bits most of a minute."""
    numbers = with_composite_factor()
    with pytest.raises(ValueError, match="Invalid private key"):
        load_pem_private_key(encoded(numbers), None)
    assert load_pem(encoded(numbers)).private_numbers() == numbers
    assert load_der(encoded(numbers, Encoding.DER)).private_numbers() == numbers


@pytest.mark.parametrize("field", ["p", "q", "d", "dmp1", "dmq1", "iqmp", "n"])
@pytest.mark.parametrize("by", [2, -2])
def test_parts_that_do_not_belong_together_are_refused(
    rsa_key: rsa.RSAPrivateKey, field: str, by: int
) -> None:
    numbers = rsa_key.private_numbers()
    values = {f: getattr(numbers, f) for f in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    modulus = numbers.public_numbers.n
    if field == "n":
        modulus += by
    else:
        values[field] += by
    public = rsa.RSAPublicNumbers(E, modulus)
    with pytest.raises(ValueError, match=r"."):
        load_pem(encoded(rsa.RSAPrivateNumbers(**values, public_numbers=public)))


def test_modulus_that_is_too_long_is_refused_before_anything_is_computed() -> None:
    p, q = (1 << 8703) | 1, (1 << 8703) | 3
    public = rsa.RSAPublicNumbers(E, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, 3, 3, 3, 3, public)
    with pytest.raises(ValueError, match="the modulus is too long"):
        load_pem(encoded(numbers))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_key_or_a_known_error(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        load_pem(b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n")
    with pytest.raises((ValueError, TypeError)):
        load_der(data)


def test_key_of_an_elliptic_curve_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert load_pem(data).private_numbers() == key.private_numbers()


def test_no_other_module_loads_private_keys_with_the_library() -> None:
    """Each reader of keys from outside has the bound."""
    modules = Path(certmgr.__file__).parent.rglob("*.py")
    loaders = re.compile(r"\bload_(?:pem|der|ssh)_private_key\b")
    found = {p.name for p in modules if loaders.search(p.read_text())}
    assert found == {"private_keys.py"}
