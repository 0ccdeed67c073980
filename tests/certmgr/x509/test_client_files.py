"""Files that clients and CAs send, made by the real openssl: CSRs, PKCS#7, PKCS#12, bundles."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509.csr import read
from certmgr.x509.unpacking import Unpacker
from certmgr.x509.upload import unpack
from inventory import der
from inventory.certificates import from_pem
from inventory.errors import UsageError
from tests.certmgr.x509.test_unpacking import ders, p12, unpacked, zipped
from tests.servers.real import program

NAMES = ("shop.example.com", "www.shop.example.com")


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    command = [program("openssl", "openssl"), *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key.pem"
    path.write_bytes(openssl("genrsa", "2048"))
    return path


def csr(
    key: Path, *options: str, subject: str = "/CN=shop.example.com", san: str = "both"
) -> bytes:
    if san == "both":
        san = ",".join(f"DNS:{n}" for n in NAMES)
    extension = ["-addext", f"subjectAltName={san}"] if san else []
    return openssl("req", "-new", "-utf8", "-key", str(key), "-subj", subject, *extension, *options)


def codes(data: bytes, *ordered: str) -> list[str]:
    return [code for code, _ in read(data, NAMES, ordered).problems]


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_csr_with_an_old_hash_is_outdated_and_not_changed(key: Path, digest: str) -> None:
    """IIS signs with SHA-1. The signature is verified all the same."""
    data = csr(key, f"-{digest}")
    assert codes(data) == ["csr-outdated"]
    assert not read(data, NAMES).refused
    changed = bytearray(openssl("req", "-outform", "DER", data=data))
    changed[-1] ^= 1
    assert codes(bytes(changed)) == ["csr-signature"]
    assert read(bytes(changed), NAMES).refused


def test_csr_with_a_pss_signature_is_verified(key: Path) -> None:
    assert codes(csr(key, "-sigopt", "rsa_padding_mode:pss")) == []


def test_csr_in_each_form_of_windows_and_mail_is_read(key: Path) -> None:
    pem = csr(key).decode()
    der = openssl("req", "-outform", "DER", data=pem.encode())
    body = "".join(pem.splitlines()[1:-1])
    forms = {
        "new": pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST").encode(),
        "begin new only": pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", 1).encode(),
        "crlf": pem.replace("\n", "\r\n").encode(),
        "cr": pem.replace("\n", "\r").encode(),
        "utf-16": pem.encode("utf-16"),
        "utf-16 big": b"\xfe\xff" + pem.encode("utf-16-be"),
        "utf-16 without mark": pem.encode("utf-16-le"),
        "utf-8 mark": b"\xef\xbb\xbf" + pem.encode(),
        "base64": body.encode(),
        "base64 in lines": base64.encodebytes(der),
        "base64 url": base64.urlsafe_b64encode(der),
        "blanks": "\n\n".join(f"   {line}\t " for line in pem.splitlines()).encode(),
        "no-break spaces": "\n".join(f"\u00a0{line}" for line in body.split("+")).encode()
        if "+" not in body
        else "\u00a0".join([body[:64], body[64:]]).encode(),
        "quoted": "\n".join(f"> {line}" for line in pem.splitlines()).encode(),
        "one line": pem.replace("\n", " ").encode(),
        "literal line ends": pem.replace("\n", "\\n").encode(),
        "typographic": pem.replace("-----", "\u2014\u2013").encode(),
        "text around": f"Hello,\n\nplease: \n{pem}\nRegards".encode(),
        "der": der,
        "der with a line end": der + b"\r\n",
        "text of openssl": openssl("req", "-text", data=pem.encode()),
    }
    for form, data in forms.items():
        assert read(data, NAMES).problems == (), form


def test_csr_with_only_a_common_name_is_taken_when_the_names_are_ordered(key: Path) -> None:
    data = csr(key, san="")
    assert codes(data) == ["csr-names"]
    request = read(data, NAMES, NAMES)
    assert request.problems == (("csr-names-ordered", {"names": "www.shop.example.com"}),)
    assert not request.refused
    # A name that is not ordered is still missing.
    assert codes(data, "shop.example.com") == ["csr-names"]


def test_wildcard_of_a_csr_covers_the_names_below_it_and_no_others(key: Path) -> None:
    wild = csr(key, subject="/CN=*.example.com", san="DNS:*.example.com,DNS:example.com")
    assert read(wild, ["www.example.com", "shop.example.com", "example.com"]).problems == ()
    deeper = read(wild, ["a.b.example.com", "www.example.com"])
    assert [c for c, _ in deeper.problems] == ["csr-names", "csr-extra"]


@pytest.mark.parametrize(
    ("subject", "san"),
    [
        ("/CN=münchen.example", "DNS:xn--mnchen-3ya.example"),
        ("/CN=MÜNCHEN.example", ""),
        ("/CN=münchen.example", "DNS:XN--MNCHEN-3YA.EXAMPLE"),
    ],
)
def test_u_label_and_a_label_are_one_name(key: Path, subject: str, san: str) -> None:
    request = read(csr(key, subject=subject, san=san), ["xn--mnchen-3ya.example"])
    assert request.names == ("xn--mnchen-3ya.example",)
    assert request.problems == ()


def test_u_label_in_the_san_does_not_hide_the_other_names(key: Path) -> None:
    """RFC 5280 allows only ASCII there, and programs write UTF-8."""
    der = bytearray(
        openssl(
            "req",
            "-outform",
            "DER",
            data=csr(key, san="DNS:mXXnchen.example,DNS:www.muenchen.example"),
        )
    )
    at = der.index(b"mXXnchen")
    der[at + 1 : at + 3] = "ü".encode()
    request = read(bytes(der), ["xn--mnchen-3ya.example", "www.muenchen.example"])
    assert {"xn--mnchen-3ya.example", "www.muenchen.example"} <= set(request.names)


def test_file_that_is_something_else_is_refused_with_what_it_is(
    key: Path, issued: IssuedCertificate
) -> None:
    pem = csr(key)
    other = csr(key, subject="/CN=other.example.com")
    for data, reason in (
        (issued.chain_pem, "it is a certificate"),
        (key.read_bytes(), "it is a private key"),
        (pem + other, "contains 2 CSRs"),
        (pem[: len(pem) // 2], "incomplete or damaged"),
        (b"hello", "neither PEM, DER nor base64"),
    ):
        with pytest.raises(UsageError, match=reason):
            read(data, NAMES)
    assert codes(pem + pem) == []
    assert codes(pem + key.read_bytes()) == ["csr-key-sent"]


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


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: f"<pre>{text}</pre>".replace("\n", "<br>\n"),
        lambda text: text.replace("REQUEST-----\n", "REQUEST-----\nComment: from IIS\n\n", 1),
        lambda text: "Certificate Request:\n    Version: 1\n" + text + "\n-----\nRegards",
        lambda text: text.strip() + text.strip(),
        lambda text: text.encode("utf-16-be").decode("latin-1"),
        lambda text: "\n".join("> " + line for line in text.splitlines()),
    ],
)
def test_csr_in_a_mail_or_with_explanations_is_read(
    key: Path, changed: Callable[[str], str]
) -> None:
    data = changed(csr(key).decode()).encode("latin-1")
    assert codes(data) == []


def test_key_that_is_restricted_to_pss_is_refused(tmp_path: Path) -> None:
    """The library shows it as an ordinary RSA key, and a CA refuses it after the purchase."""
    path = tmp_path / "pss.pem"
    path.write_bytes(
        openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    )
    request = read(csr(path), NAMES)
    assert request.refused and request.key == "RSA-PSS 2048"
    assert [code for code, _ in request.problems] == ["csr-key"]


def test_signature_with_pss_by_an_ordinary_key_is_valid(key: Path) -> None:
    assert codes(csr(key, "-sigopt", "rsa_padding_mode:pss")) == []


def _as_url(text: str) -> str:
    return text.replace("+", "-").replace("/", "_").replace("=", "")


def _as_references(text: str) -> str:
    return text.replace("+", "&#43;").replace("/", "&#x2F;").replace("=", "&#61;")


@pytest.mark.parametrize(
    "changed",
    [
        lambda t: "\n".join(_as_url(x) if "--" not in x else x for x in t.splitlines()),
        _as_references,
        lambda t: t.replace("BEGIN CERTIFICATE REQUEST", "begin certificate request").replace(
            "END CERTIFICATE REQUEST", "end certificate request"
        ),
        lambda t: f"Bag Attributes\n    friendlyName: x\nsubject=CN = x\n{t}",
        lambda t: t.replace("REQUEST-----\n", "REQUEST-----\nComment: made by x\nX-Y: z\n\n", 1),
        lambda t: f'{{"csr": "{t}"}}'.replace("\n", "\\n"),
    ],
    ids=["URL alphabet", "character references", "lower case", "attributes", "headers", "JSON"],
)
def test_csr_in_another_text_is_read(key: Path, changed: Callable[[str], str]) -> None:
    assert codes(changed(csr(key).decode()).encode()) == []


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
