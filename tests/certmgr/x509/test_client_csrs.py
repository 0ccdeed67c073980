"""CSRs that clients send, made by the real openssl, in every form of mail and Windows."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.x509.csr import read
from inventory.errors import UsageError
from tests.certmgr.x509.openssl_files import NAMES, csr, openssl


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
    key: Path, issuer: Authority
) -> None:
    pem = csr(key)
    other = csr(key, subject="/CN=other.example.com")
    for data, reason in (
        (issuer.issue(*NAMES).chain_pem, "it is a certificate"),
        (key.read_bytes(), "it is a private key"),
        (pem + other, "contains 2 CSRs"),
        (pem[: len(pem) // 2], "incomplete or damaged"),
        (b"hello", "neither PEM, DER nor base64"),
    ):
        with pytest.raises(UsageError, match=reason):
            read(data, NAMES)
    assert codes(pem + pem) == []
    assert codes(pem + key.read_bytes()) == ["csr-key-sent"]


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
