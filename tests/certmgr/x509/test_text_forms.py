"""CSRs and certificates in the text of mails, web forms, pages, programs and editors."""

from __future__ import annotations

import base64
import html
import json
import quopri
import struct
import textwrap
import urllib.parse
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509.csr import make, read
from inventory.errors import UsageError
from tests.certmgr.x509.openssl_files import openssl
from tests.certmgr.x509.test_unpacking import ders, unpacked, zipped

NAMES = ["shop.example.com", "www.shop.example.com"]


def _lines(text: str, pattern: str) -> bytes:
    return "".join(
        pattern.format(n=n, line=line) for n, line in enumerate(text.splitlines(), 1)
    ).encode()


def _mail(*attachments: tuple[str, bytes], text: str = "Please find it attached.\n") -> bytes:
    message = EmailMessage()
    message["From"] = "Shop <owner@shop.example.com>"
    message["Subject"] = "Your request"
    message.set_content(text)
    for name, content in attachments:
        message.add_attachment(
            content, maintype="application", subtype="octet-stream", filename=name
        )
    return message.as_bytes()


def _dumps(data: bytes) -> dict[str, bytes]:
    """Return the bytes as programs print them, with letters behind that look like bytes."""
    lines = [data[i : i + 16] for i in range(0, len(data), 16)]
    letters = "ab cd 12 30 82 ff"
    forms: dict[str, Callable[[int, bytes], str]] = {
        "xxd": lambda i, b: f"{i:08x}: {b.hex(' ', -2)}  {letters}",
        "hexdump": lambda i, b: f"{i:08x}  {b[:8].hex(' ')}  {b[8:].hex(' '):23}  |{letters}|",
        "od": lambda i, b: f"{i:07x} {b.hex(' ')}",
        "certutil": lambda i, b: f"    {i:04x}  {b.hex(' ')}   {letters}",
    }
    return {
        name: "".join(f"{form(16 * n, b)}\n" for n, b in enumerate(lines)).encode()
        for name, form in forms.items()
    }


def packed(pem: str) -> dict[str, bytes]:
    """Return a PEM text in each packaging."""
    bare = "".join(pem.splitlines()[1:-1])
    wrapped = textwrap.fill(bare, 64)
    word = (
        "<p class=MsoNormal><span style='font-size:10.0pt;"
        + "mso-fareast-language:DE;" * 20
        + "'>{line}<o:p></o:p></span></p>\r\n"
    )
    encoded = base64.b64encode(pem.encode())
    rtf = pem.replace("\n", "\\par\r\n")
    return {
        "web form": urllib.parse.urlencode({"csr": pem, "years": "1"}).encode(),
        "URL": urllib.parse.quote(pem.replace("\n", "\r\n")).encode(),
        "quoted-printable": quopri.encodestring(f"Grüße\n\n{pem}\n".encode()),
        "mail": _mail(text=pem),
        "mail in base64": b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(pem.encode()),
        "attachment": _mail(("request.txt", pem.encode())),
        "encoded file": encoded,
        "YAML of Kubernetes": b"data:\n  a.pem: " + encoded + b"\n",
        "HTML with blanks": pem.replace(" ", "&nbsp;").replace("\n", "<br>").encode(),
        "HTML of Word": _lines(pem, word),
        "HTML references": html.escape(pem)
        .replace("+", "&plus;")
        .replace("/", "&sol;")
        .replace("=", "&equals;")
        .encode(),
        "JSON escapes": json.dumps(pem)
        .replace("+", "\\u002b")
        .replace("=", "\\u003d")
        .replace("/", "\\/")
        .encode(),
        "JavaScript": _lines(pem, '"{line}\\n" +\n'),
        "RTF": ("{\\rtf1\\ansi\\deff0 " + rtf + "}").encode(),
        "quoted with a name": _lines(pem, "KM> {line}\n"),
        "numbered": _lines(pem, "{n}: {line}\n"),
        "cat -n": _lines(pem, "{n:6d}\t{line}\n"),
        "printed": _lines(pem, "{n:4d} {line}\n"),
        "patch": _lines(pem, "+{line}\n"),
        "full width": pem.replace("+", "＋").replace("/", "／").replace("=", "＝").encode(),
        "UTF-32": pem.encode("utf-32"),
        "UTF-32 without a mark": pem.encode("utf-32-le"),
        "no END": "".join(pem.splitlines(True)[:-1]).encode(),
        "no BEGIN": "".join(pem.splitlines(True)[1:]).encode(),
        "base64 after a word": f"CSR:\n{wrapped}\n".encode(),
        "base64 in a letter": f"Hello,\n\nhere:\n\n{wrapped}\n\nRegards\nMax\n".encode(),
        "base64 in JSON": json.dumps({"request": bare}).encode(),
        "base64 quoted": _lines(wrapped, "> {line}\n"),
        "base64 of URLs": bare.replace("+", "-").replace("/", "_").rstrip("=").encode(),
        "XML": f"<Request>\r\n{wrapped}</Request>".encode(),
        "hexadecimal": b"0x" + base64.b64decode(bare).hex().encode(),
        **_dumps(base64.b64decode(bare)),
    }


PACKAGINGS = tuple(packed("-----BEGIN X-----\nMAAA\n-----END X-----\n"))


@pytest.fixture(scope="module")
def request_pem() -> str:
    return make(ec.generate_private_key(ec.SECP256R1()), NAMES).decode()


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> IssuedCertificate:
    return issuer.issue(*NAMES, days=60)


@pytest.mark.parametrize("packaging", PACKAGINGS)
def test_csr_in_each_packaging_is_read(request_pem: str, packaging: str) -> None:
    request = read(packed(request_pem)[packaging], NAMES)
    assert (request.pem, request.problems) == (request_pem, ())


@pytest.mark.parametrize("packaging", PACKAGINGS)
def test_certificate_in_each_packaging_is_found_unchanged(
    issued: IssuedCertificate, packaging: str
) -> None:
    leaf = issued.chain[0]
    pem = leaf.public_bytes(Encoding.PEM).decode()
    result = unpacked([packed(pem)[packaging]])
    assert set(result.certificates) == {leaf.public_bytes(Encoding.DER)}
    assert result.remarks == set()


def test_csr_whose_guessed_form_has_a_wrong_letter_is_refused(request_pem: str) -> None:
    """What is guessed counts only if the signature shows that each letter is the sender's."""
    lines = request_pem.splitlines()
    changed = "A" if lines[-2][3] != "A" else "B"
    lines[-2] = lines[-2][:3] + changed + lines[-2][4:]
    for text in ("\n".join(lines[1:-1]), urllib.parse.quote("\n".join(lines))):
        with pytest.raises(UsageError, match="not a CSR"):
            read(f"CSR:\n{text}".encode(), NAMES)


def test_two_different_csrs_in_another_form_are_not_one(request_pem: str) -> None:
    other = make(ec.generate_private_key(ec.SECP256R1()), ["other.example.com"]).decode()
    with pytest.raises(UsageError, match="contains 2 CSRs"):
        read(urllib.parse.quote(request_pem + other).encode(), NAMES)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x89PNG\r\n", "a picture"),
        (b"-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n", "a public key"),
    ],
)
def test_file_of_another_kind_is_refused_with_what_it_is(data: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read(data, NAMES)


def test_whole_chain_is_found_and_its_repaired_blocks_are_no_damage(
    issued: IssuedCertificate,
) -> None:
    pem = issued.chain_pem
    leaf, issuer = (c.public_bytes(Encoding.DER) for c in issued.chain)
    encoded = [base64.b64encode(c).decode() for c in (leaf, issuer)]
    for form in (
        quopri.encodestring(pem),
        pem.rstrip()[:-25],
        json.dumps({"certificate": encoded[0], "chain": encoded[1:]}).encode(),
        "".join(f"<X509Certificate>{c}</X509Certificate>" for c in encoded).encode(),
        b"\n".join(base64.encodebytes(c) for c in (leaf, issuer)),
        leaf + b"\n" + issued.chain[1].public_bytes(Encoding.PEM),
        issued.chain[0].public_bytes(Encoding.PEM) + issuer,
        _mail(("a.crt", leaf), ("b.zip", zipped({"ca.crt": issuer}))),
    ):
        result = unpacked([form])
        assert set(result.certificates) == ders(issued), form
        assert (result.remarks, result.ignored) == (set(), []), form


def test_key_in_another_form_is_remarked(issued: IssuedCertificate) -> None:
    secret = "".join(
        f"  {name}: {base64.b64encode(data).decode()}\n"
        for name, data in (("tls.crt", issued.chain_pem), ("tls.key", issued.key_pem))
    )
    result = unpacked([f"kind: Secret\ndata:\n{secret}".encode()])
    assert set(result.certificates) == ders(issued)
    assert (len(result.keys), result.remarks) == (1, {"key-sent"})


def test_store_of_windows_is_read_and_a_cut_one_is_damaged(issued: IssuedCertificate) -> None:
    store = b"\0\0\0\0CERT"
    for number, value in (
        (3, b"\x11" * 20),
        *((32, c) for c in ders(issued)),
        (33, b"list"),
    ):
        store += struct.pack("<III", number, 1, len(value)) + value
    whole = unpacked([store + b"\0" * 12])
    assert set(whole.certificates) == ders(issued)
    assert (whole.remarks, whole.ignored) == (set(), ["a revocation list"])
    cut = unpacked([store[:-3]])
    assert set(cut.certificates) == ders(issued)
    assert cut.ignored == ["a Windows store without its end"]
    assert unpacked([store[:8] + b"\xff" * 40]).ignored == ["a Windows store without its end"]


def test_revocation_lists_and_further_keys_of_containers_are_listed(
    issued: IssuedCertificate, tmp_path: Path
) -> None:
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    (tmp_path / "db").write_text("")
    (tmp_path / "number").write_text("01")
    (tmp_path / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={tmp_path}/db\ncrlnumber={tmp_path}/number\n"
        "default_md=sha256\ndefault_crl_days=9\n"
    )
    signer = ("-keyfile", str(tmp_path / "key.pem"), "-cert", str(tmp_path / "chain.pem"))
    revoked = openssl("ca", "-config", str(tmp_path / "ca.cnf"), "-gencrl", *signer)
    with_list = openssl("crl2pkcs7", "-certfile", str(tmp_path / "chain.pem"), data=revoked)
    result = unpacked([with_list])
    assert set(result.certificates) == ders(issued)
    assert result.ignored == ["a revocation list"]


def test_signed_text_of_pgp_is_no_damage(issued: IssuedCertificate) -> None:
    pem = issued.chain_pem.replace(b"-----BEGIN", b"- -----BEGIN")
    signed = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
        + pem.replace(b"-----END", b"- -----END")
        + b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n"
    )
    result = unpacked([signed])
    assert set(result.certificates) == ders(issued)
    assert (result.remarks, result.ignored) == (set(), ["a signature of PGP"])
