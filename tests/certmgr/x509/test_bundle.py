"""The private keys of bundles."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certmgr.demo.authority import Authority
from certmgr.x509.bundle import build_bundle
from inventory.errors import CertmgrError


@dataclass(frozen=True)
class Pair:
    """A certificate with the numbers of its RSA key."""

    chain: tuple[bytes, ...]
    numbers: rsa.RSAPrivateNumbers


@pytest.fixture
def pair(issuer: Authority, rsa_key: rsa.RSAPrivateKey) -> Pair:
    issued = issuer.issue("shop.test", key=rsa_key)
    chain = tuple(c.public_bytes(Encoding.DER) for c in issued.chain)
    return Pair(chain, rsa_key.private_numbers())


def encoded(numbers: rsa.RSAPrivateNumbers) -> bytes:
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def changed(numbers: rsa.RSAPrivateNumbers, by: int) -> rsa.RSAPrivateNumbers:
    """Return a private part that does not belong to the public part."""
    return rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d + by,
        dmp1=numbers.dmp1 + by,
        dmq1=numbers.dmq1 + by,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    )


def test_private_part_of_another_key_is_refused(pair: Pair) -> None:
    assert build_bundle(encoded(pair.numbers), pair.chain).key_pem is not None
    with pytest.raises(CertmgrError, match="private key cannot be read"):
        build_bundle(encoded(changed(pair.numbers, 2)), pair.chain)
