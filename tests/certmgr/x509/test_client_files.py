"""Files that clients and CAs send, made by the real openssl: PKCS#7, PKCS#12, bundles."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509.unpacking import Unpacker
from certmgr.x509.upload import unpack
from inventory import der
from inventory.certificates import from_pem
from inventory.errors import UsageError
from tests.certmgr.x509.openssl_files import NAMES, csr, openssl
from tests.certmgr.x509.test_unpacking import ders, p12, unpacked, zipped


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> IssuedCertificate:
    return issuer.issue(*NAMES, days=60)


@pytest.fixture(scope="module")
def chain_file(issued: IssuedCertificate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain") / "chain.pem"
    path.write_bytes(issued.chain_pem)
    return path


def test_trusted_certificate_of_openssl_is_read_with_and_without_trust_settings(
    issued: IssuedCertificate,
) -> None:
    trusted = openssl("x509", "-trustout", "-addtrust", "serverAuth", data=issued.chain_pem)
    assert b"TRUSTED CERTIFICATE" in trusted
    leaf = issued.chain[0]
    result = unpacked([trusted])
    assert from_pem(trusted)[0].parsed == leaf
    assert len(result.certificates) == 1
    assert result.ignored == [
        "data behind a certificate, such as trust settings of OpenSSL",
    ]
    plain = unpacked([openssl("x509", "-trustout", data=issued.chain_pem)])
    assert len(plain.certificates) == 1


@pytest.mark.parametrize(
    "label", ["PKCS7", "CERTIFICATE", "PKCS #7 SIGNED DATA", "CMS", "CERTIFICATE CHAIN", "P7B"]
)
def test_pkcs7_is_read_under_any_label(
    issued: IssuedCertificate, chain_file: Path, label: str
) -> None:
    pem = openssl("crl2pkcs7", "-nocrl", "-certfile", str(chain_file)).decode()
    result = unpacked([pem.replace("PKCS7", label).encode()])
    assert set(result.certificates) == ders(issued)
    assert result.ignored == []


def test_pkcs7_of_indefinite_length_is_read(
    issued: IssuedCertificate, chain_file: Path, tmp_path: Path
) -> None:
    """Windows and Java write BER; openssl does if it streams."""
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(issued.key_pem)
    issuer_file = tmp_path / "issuer.pem"
    issuer_file.write_bytes(issued.chain[1].public_bytes(Encoding.PEM))
    signing = ("cms", "-sign", "-binary", "-nodetach", "-stream", "-outform", "DER")
    signer = ("-signer", str(chain_file), "-inkey", str(key_file), "-certfile", str(issuer_file))
    streamed = openssl(*signing, *signer, data=b"text" * 5000)
    assert streamed[:2] == b"\x30\x80"
    result = unpacked([streamed])
    assert set(result.certificates) == ders(issued)
    # A file that is cut, or nested without end, is named and not followed.
    for damaged in (streamed[:700], b"\x30\x80" * 30_000):
        result = unpacked([damaged])
        assert (result.certificates, len(result.ignored)) == ([], 1)


def test_pkcs12_with_the_algorithms_of_old_windows_is_opened(
    issued: IssuedCertificate, chain_file: Path, tmp_path: Path
) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(issued.key_pem)
    export = ("pkcs12", "-export", "-in", str(chain_file), "-inkey", str(key_file))
    for options in (("-legacy",), ("-nomac",), ("-keypbe", "NONE"), ("-descert",)):
        for password in ("pw", "pässwörd"):
            data = openssl(*export, *options, "-passout", f"pass:{password}")
            result = unpacked([data], password)
            assert set(result.certificates) == ders(issued), (options, password)
            assert result.remarks == {"key-sent"}
    assert set(unpacked([base64.b64encode(p12(issued))], "pw").certificates) == ders(issued)


def test_encrypted_key_in_each_form_is_opened_with_its_password(
    issued: IssuedCertificate, tmp_path: Path
) -> None:
    for arguments in (
        ("pkcs8", "-topk8", "-passout", "pass:pw"),
        ("ec", "-aes128", "-passout", "pass:pw"),
    ):
        encrypted = openssl(*arguments, data=issued.key_pem)
        assert len(unpacked([encrypted, issued.chain_pem], "pw").keys) == 1
        locked = unpacked([encrypted, issued.chain_pem])
        assert locked.remarks == {"key-unreadable"}
        assert locked.ignored == ["a private key that cannot be read"]
    plain = openssl("ec", "-outform", "DER", data=issued.key_pem)
    assert len(unpacked([plain]).keys) == 1


@pytest.mark.parametrize(("blocks", "listed"), [(1999, []), (10_000, ["the blocks behind"])])
def test_blocks_beyond_the_limit_are_listed(
    issued: IssuedCertificate, blocks: int, listed: list[str]
) -> None:
    """They were passed over without a word: 10,000 blocks cost less than a second."""
    junk = b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"
    result = unpacked(
        [issued.chain_pem[: issued.chain_pem.index(b"-----END") + 25] + junk * blocks]
    )
    assert len(result.certificates) == 1
    assert [x[:17] for x in result.ignored if "Diffie" not in x] == listed


def test_everything_that_is_not_used_is_listed_once_with_its_file(
    issued: IssuedCertificate, key: Path
) -> None:
    pem = issued.chain_pem
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    cut = b"-----BEGIN CERTIFICATE-----\nMIIB"
    archive = zipped(
        {
            "order.csr": csr(key),
            "readme.pdf": b"%PDF-1.7",
            "store.jks": b"\xfe\xed\xfe\xed\0\0",
            "empty.txt": b"",
            "params.pem": b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
            "notes.txt": b"call me",
            "\x1b[31mred.bin": b"\0\1",
        }
    )
    result = unpacked([archive])
    assert result.ignored == [
        "order.csr: a CSR",
        "readme.pdf: a PDF document",
        "store.jks: a Java keystore: export it as PKCS#12 with keytool -importkeystore",
        "empty.txt: an empty file",
        "params.pem: Diffie-Hellman parameters",
        "notes.txt: content that is not a certificate",
        "?[31mred.bin: content that is not a certificate",
    ]
    mixed = unpacked([pem + broken + broken + cut])
    assert set(mixed.certificates) == ders(issued)
    assert mixed.remarks == {"damaged-part"}
    assert mixed.ignored == [
        "a block CERTIFICATE that cannot be read",
        "a block CERTIFICATE without its end",
    ]


def test_ignored_parts_come_back_from_the_process(issued: IssuedCertificate) -> None:
    result = unpack([issued.chain_pem, b"%PDF-1.7"])
    assert len(result.certificates) == 2
    assert result.ignored == ("file 2: a PDF document",)
    with pytest.raises(UsageError, match="a PDF document"):
        unpack([b"%PDF-1.7"])


def test_utf16_and_several_certificates_in_one_der_file_are_read(
    issued: IssuedCertificate,
) -> None:
    text = issued.chain_pem.decode()
    for data in (text.encode("utf-16"), text.encode("utf-16-le"), b"".join(ders(issued))):
        assert set(unpacked([data]).certificates) == ders(issued)
    assert isinstance(unpacked([b""]), Unpacker)


def indefinite(der_data: bytes, depth: int) -> bytes:
    """Return DER as BER: indefinite lengths down to a depth, and octet strings in pieces."""
    out = b""
    for element in der.elements(der_data):
        content = element.content
        head = element.encoded[:1]
        if head[0] & 0x20 and depth:
            out += head + b"\x80" + indefinite(content, depth - 1) + b"\0\0"
        elif head == b"\x04" and len(content) > 40:
            pieces = [content[i : i + 100] for i in range(0, len(content), 100)]
            out += b"\x24\x80" + b"".join(b"\x04" + bytes([len(p)]) + p for p in pieces) + b"\0\0"
        else:
            out += element.encoded
    return out


def test_ber_of_windows_and_java_is_read(issuer: Authority, tmp_path: Path) -> None:
    leaf = issuer.issue(*NAMES)
    for file, part in (("leaf", leaf.chain[0]), ("issuer", leaf.chain[1])):
        (tmp_path / file).write_bytes(part.public_bytes(Encoding.PEM))
    (tmp_path / "key").write_bytes(leaf.key_pem)
    (tmp_path / "all").write_bytes(leaf.chain_pem)
    files = {
        "PKCS#7": openssl(
            *("crl2pkcs7", "-nocrl", "-outform", "DER", "-certfile", str(tmp_path / "all"))
        ),
        "signed data": openssl(
            *("cms", "-sign", "-nodetach", "-outform", "DER", "-signer", str(tmp_path / "leaf")),
            *("-inkey", str(tmp_path / "key"), "-certfile", str(tmp_path / "issuer")),
            data=b"x" * 500,
        ),
        "PKCS#12": openssl(
            *("pkcs12", "-export", "-passout", "pass:x", "-inkey", str(tmp_path / "key")),
            *("-in", str(tmp_path / "all")),
        ),
    }
    for name, data in files.items():
        for depth in (1, 3, 4):
            unpacker = Unpacker("x")
            unpacker.add(indefinite(data, depth))
            assert set(unpacker.certificates) == ders(leaf), f"{name}, depth {depth}"
            assert not unpacker.ignored
