"""All formats in which vendors send certificates, and archives that cannot be read.

test_upload.py tests the process in which this runs, and its limits.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509.archives import UnpackError
from certmgr.x509.unpacking import Unpacker
from certmgr.x509.upload import MAX_ENTRIES


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> IssuedCertificate:
    return issuer.issue("shop.example.com", "www.shop.example.com", days=60)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def p12(issued: IssuedCertificate, password: str = "pw") -> bytes:
    encryption: Any = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return serialize_key_and_certificates(
        b"x", issued.key, issued.certificate, issued.chain[1:], encryption
    )


def file_sets(issued: IssuedCertificate) -> dict[str, list[bytes]]:
    """Return the files of each format by its name. Each set has the leaf and its issuer."""
    pem = issued.chain_pem
    leaf, issuer = (c.public_bytes(Encoding.PEM) for c in issued.chain)
    pkcs7 = {e: serialize_certificates(list(issued.chain), e) for e in (Encoding.DER, Encoding.PEM)}
    letter = b"\0\xff Dear client,\r\n" + leaf + b"\n-----BEGIN JUNK\n" + issuer + b"bye"
    bundle = {"a/leaf.crt": leaf, "a/ca-bundle.crt": issuer, "readme.pdf": b"%PDF", "empty": b""}
    traversing = {"../../etc/passwd": leaf, "/etc/shadow": issuer, "..\\x": b""}
    return {
        "PEM": [pem],
        "PEM, issuer first": [issuer + leaf],
        "two files": [issuer, leaf],
        "garbage between": [letter],
        "Windows line ends": [pem.replace(b"\n", b"\r\n")],
        "DER": [c.public_bytes(Encoding.DER) for c in issued.chain],
        "PKCS#7 in DER": [pkcs7[Encoding.DER]],
        "PKCS#7 in PEM": [pkcs7[Encoding.PEM]],
        "PKCS#12": [p12(issued)],
        "PKCS#12 without a password": [p12(issued, "")],
        "zip": [zipped(bundle)],
        "zip in zip": [zipped({"inner.zip": zipped({"x.p7b": pkcs7[Encoding.DER]})})],
        "bare base64": [b"".join(leaf.splitlines()[1:-1]), issuer],
        "path traversal": [zipped(traversing)],
    }


FORMATS = (
    "PEM",
    "PEM, issuer first",
    "two files",
    "garbage between",
    "Windows line ends",
    "DER",
    "PKCS#7 in DER",
    "PKCS#7 in PEM",
    "PKCS#12",
    "PKCS#12 without a password",
    "zip",
    "zip in zip",
    "bare base64",
    "path traversal",
)


def unpacked(files: list[bytes], password: str = "") -> Unpacker:
    unpacker = Unpacker(password)
    for data in files:
        unpacker.add(data)
    return unpacker


def ders(issued: IssuedCertificate) -> set[bytes]:
    return {c.public_bytes(Encoding.DER) for c in issued.chain}


def test_every_form_is_tested(issued: IssuedCertificate) -> None:
    assert tuple(file_sets(issued)) == FORMATS


@pytest.mark.parametrize("file_format", FORMATS)
def test_certificates_of_each_form_are_found(issued: IssuedCertificate, file_format: str) -> None:
    result = unpacked(file_sets(issued)[file_format], "pw")
    assert set(result.certificates) == ders(issued)
    assert ("key-sent" in result.remarks) == file_format.startswith("PKCS#12")
    assert bool(result.keys) == file_format.startswith("PKCS#12")


def test_pkcs12_without_its_password_is_refused_with_the_reason(issued: IssuedCertificate) -> None:
    with pytest.raises(UnpackError) as wrong:
        unpacked([p12(issued)], "wrong")
    assert "the password is wrong" in wrong.value.args[1]
    with pytest.raises(UnpackError) as missing:
        unpacked([p12(issued)])
    assert "it needs a password" in missing.value.args[1]


def test_key_that_came_with_it_is_recognised_and_remarked(issued: IssuedCertificate) -> None:
    assert unpacked([issued.chain_pem + issued.key_pem]).remarks == {"key-sent"}
    other = BestAvailableEncryption(b"other")
    encrypted = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, other)
    assert unpacked([issued.chain_pem + encrypted], "pw").remarks == {"key-unreadable"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x30\x82\xff\xff" + b"\0" * 100,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"%PDF-1.7",
        b"\x30" * 1000,
    ],
)
def test_data_without_a_certificate_yields_none(data: bytes) -> None:
    assert unpacked([data]).certificates == []


def test_archive_with_too_many_entries_is_refused() -> None:
    data = zipped({str(n): b"" for n in range(MAX_ENTRIES + 1)}, zipfile.ZIP_STORED)
    with pytest.raises(UnpackError, match="too many entries"):
        unpacked([data])


def test_archives_in_archives_are_refused_beyond_a_depth(issued: IssuedCertificate) -> None:
    data = issued.chain_pem
    for _ in range(6):
        data = zipped({"x.zip": data})
    with pytest.raises(UnpackError, match="nested archives"):
        unpacked([data])


@pytest.mark.parametrize("name", [b"a.crt", b"dir/a"])
def test_archive_with_an_entry_without_a_name_is_damaged(
    issued: IssuedCertificate, name: bytes
) -> None:
    """A name ends at its first NUL byte, so that one that begins with it is empty."""
    data = zipped({name.decode(): issued.chain_pem})
    with pytest.raises(UnpackError, match="damaged"):
        unpacked([data.replace(name, b"\0" + name[1:])])


def test_damaged_or_encrypted_archive_is_refused_with_the_reason(issued: IssuedCertificate) -> None:
    data = zipped({"a.crt": issued.chain_pem})
    with pytest.raises(UnpackError, match="damaged"):
        unpacked([data[: len(data) // 2]])
    secret = bytearray(data)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[secret.find(mark) + flags] |= 1
    with pytest.raises(UnpackError, match="encrypted"):
        unpacked([bytes(secret)])
