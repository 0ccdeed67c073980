"""Files with CAs that the administrator trusts, in the forms in which tools save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certmgr.x509.ca_files import read_anchors
from inventory.errors import UsageError
from tests.certmgr.browser.pki import ca, private_pem

ONE, TWO = ca("File root one"), ca("File root two")
PEM = DER_cert_to_PEM_cert(ONE.der) + DER_cert_to_PEM_cert(TWO.der)
BOTH = [x509.load_der_x509_certificate(c.der) for c in (ONE, TWO)]


def _pkcs7(encoding: Encoding) -> bytes:
    return pkcs7.serialize_certificates(BOTH, encoding)


@pytest.mark.parametrize(
    "content",
    [
        PEM.encode,
        PEM.replace("\n", "\r\n").encode,
        ("# \u00c4nderung\n" + PEM + private_pem(ONE.key).decode()).encode,
        lambda: PEM.encode("utf-16"),
        lambda: PEM.encode("utf-16-le"),
        lambda: b"\xef\xbb\xbf" + PEM.encode(),
        lambda: _pkcs7(Encoding.DER),
        lambda: _pkcs7(Encoding.PEM),
        lambda: PEM.encode()[: PEM.rfind("-----BEGIN")] + _pkcs7(Encoding.PEM),
    ],
    ids=[
        "pem",
        "crlf",
        "key-too",
        "utf-16",
        "utf-16-without-mark",
        "utf-8-mark",
        "p7b",
        "p7b-pem",
        "mixed",
    ],
)
def test_each_certificate_of_a_file_is_read(content: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(content())
    assert {c.der for c in read_anchors(str(tmp_path / "ca"))} == {ONE.der, TWO.der}


def test_one_certificate_in_der_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(ONE.der)
    assert [c.der for c in read_anchors(str(tmp_path / "ca"))] == [ONE.der]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        private_pem(ONE.key),
        PEM[:300].encode(),
        b"\x30\x03\x02\x01\x05",
        ONE.der[:-1],
    ],
    ids=["empty", "text", "key", "cut", "other-der", "cut-der"],
)
def test_file_without_a_certificate_is_refused_with_the_accepted_forms(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "ca").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_anchors(str(tmp_path / "ca"))
    assert "PKCS#7" in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(UsageError, match=path.name):
            read_anchors(str(path))
