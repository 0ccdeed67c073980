"""CSRs: certmgr reads back those it made, and checks those of clients."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.x509.csr import make, read
from inventory.errors import UsageError

NAMES = ("shop.example.com", "www.shop.example.com")
KEY = ec.generate_private_key(ec.SECP256R1())


def codes(data: bytes) -> list[str]:
    return [code for code, _ in read(data, NAMES).problems]


def test_csr_that_we_made_is_read_back() -> None:
    names = [*NAMES, "192.0.2.1"]
    result = read(make(KEY, names, organisation="Example GmbH", country="de"), names)
    assert result.problems == ()
    assert result.key == "EC P-256"
    assert set(result.names) == set(names)


def test_csr_with_other_names_a_weak_key_or_a_bad_signature_has_problems(
    weak_key: rsa.RSAPrivateKey,
) -> None:
    assert codes(make(KEY, ["shop.example.com", "evil.example.com"])) == ["csr-names", "csr-extra"]
    assert codes(make(weak_key, NAMES)) == ["csr-key"]
    der = bytearray(x509.load_pem_x509_csr(make(KEY, NAMES)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    assert "csr-signature" in codes(bytes(der))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        b"\x30" * 100,
        b"\0" * 70_000,
    ],
)
def test_data_that_is_not_a_csr_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        read(data, NAMES)


def test_invalid_subject_fields_are_refused() -> None:
    with pytest.raises(UsageError, match="not a country"):
        make(KEY, NAMES, country="Germany")
    with pytest.raises(UsageError, match="limit is 64"):
        make(KEY, NAMES, organisation="x" * 65)


def test_name_that_does_not_fit_the_common_name_stands_in_the_san_alone() -> None:
    long = "a" * 60 + ".example.com"
    assert read(make(KEY, [long]), [long]).problems == ()
