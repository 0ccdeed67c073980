"""The answers of a revocation list, and its limits (RFC 5280 6.3.3), with lists of a real CA."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ObjectIdentifier

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509 import crl as crls
from certmgr.x509.crl import (
    Crl,
    RevocationStatus,
    find_entries,
    out_of_scope,
    read,
    signed_by,
    status_of,
    unusable_reason,
)
from inventory import der
from inventory.certificates import parse
from inventory.vocabulary import RevocationState
from tests.certmgr.revocation.lists import DAY, make_list, now, points, shard
from tests.clock import START, clock
from tests.servers.real import program

URL = "http://c.example/1.crl"


@pytest.fixture(scope="module")
def leaf(issuer: Authority) -> IssuedCertificate:
    return issuer.issue("shop.example", extensions=[points(URL)])


def readable(body: bytes) -> Crl:
    crl = read(body)
    assert isinstance(crl, Crl), crl
    return crl


def status(crl: Crl, leaf: IssuedCertificate) -> RevocationStatus:
    serial = leaf.certificate.serial_number
    return status_of(crl, serial, entries(crl, serial))


def entries(crl: Crl, *serials: int) -> dict[int, crls.RevokedEntry]:
    result = find_entries(crl, serials)
    assert not isinstance(result, str)
    return result


def test_listed_serial_is_revoked_and_another_is_good(
    issuer: Authority, leaf: IssuedCertificate
) -> None:
    other = issuer.issue("other.example")
    crl = readable(make_list(issuer, [leaf]))
    assert status(crl, leaf).status == "revoked"
    assert status(crl, leaf).reason == "keyCompromise"
    assert status(crl, leaf).revoked_at is not None
    assert status(crl, other) == RevocationStatus(RevocationState.GOOD)
    assert signed_by(crl, parse(issuer.der))
    assert unusable_reason(crl, now()) == ""


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, "revoked"),
        (x509.ReasonFlags.certificate_hold, "revoked"),
        (x509.ReasonFlags.superseded, "revoked"),
        (x509.ReasonFlags.remove_from_crl, "good"),
    ],
)
def test_reason_decides_whether_a_listed_certificate_is_revoked(
    issuer: Authority, leaf: IssuedCertificate, reason: x509.ReasonFlags | None, expected: str
) -> None:
    assert status(readable(make_list(issuer, [leaf], reason=reason)), leaf).status == expected


@pytest.mark.parametrize("count", [1, crls.MAX_SINGLE_LOOKUPS, crls.MAX_SINGLE_LOOKUPS + 5])
def test_lookup_finds_many_serials_as_well_as_few(issuer: Authority, count: int) -> None:
    listed = list(range(1000, 1000 + count))
    crl = readable(make_list(issuer, listed))
    assert sorted(entries(crl, *listed, 5, 6, -1)) == listed


@pytest.mark.parametrize(
    ("given", "reason_part"),
    [
        ({"at": START - 10 * DAY, "days": 7}, "it expired at"),
        ({"at": START + DAY}, "from the future"),
        ({"extensions": [(x509.DeltaCRLIndicator(1), True)]}, "delta list"),
        ({"extensions": [shard(URL, indirect_crl=True)]}, "indirect"),
        (
            {
                "extensions": [
                    (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
                ]
            },
            "critical extension",
        ),
        (
            {
                "extensions": [
                    (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)
                ]
            },
            "",
        ),
    ],
)
def test_unusable_list_is_refused_with_its_reason(
    issuer: Authority, given: dict[str, Any], reason_part: str
) -> None:
    result = unusable_reason(readable(make_list(issuer, **given)), now())
    assert (reason_part in result) if reason_part else result == ""


def test_list_holds_until_the_second_of_its_next_update(issuer: Authority) -> None:
    crl = readable(make_list(issuer))
    assert crl.next_update is not None
    assert unusable_reason(crl, crl.next_update) == ""
    assert unusable_reason(crl, crl.next_update + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("extensions", "is_ca", "reason_part"),
    [
        ([], False, ""),
        ([shard(URL)], False, ""),
        ([shard("http://c.example/2.crl", URL)], False, ""),
        ([shard("http://c.example/2.crl")], False, "another distribution point"),
        ([shard(URL, only_contains_user_certs=True)], False, ""),
        ([shard(only_contains_user_certs=True)], True, "another kind"),
        ([shard(URL, only_contains_ca_certs=True)], False, "another kind"),
        ([shard(only_contains_attribute_certs=True)], False, "another kind"),
    ],
)
def test_list_covers_the_certificates_in_its_scope(
    issuer: Authority,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    is_ca: bool,
    reason_part: str,
) -> None:
    result = out_of_scope(readable(make_list(issuer, extensions=extensions)), (URL,), is_ca=is_ca)
    assert (reason_part in result) if reason_part else result == ""


def test_list_of_some_reasons_can_revoke_but_not_clear(
    issuer: Authority, leaf: IssuedCertificate
) -> None:
    some = shard(URL, only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))
    assert status(readable(make_list(issuer, [leaf], extensions=[some])), leaf).status == "revoked"
    assert status(readable(make_list(issuer, extensions=[some])), leaf).status == "unknown"


@pytest.mark.parametrize(
    "entry",
    [
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
        (x509.CertificateIssuer([x509.DirectoryName(x509.Name([]))]), True),
    ],
)
def test_entry_with_an_unknown_critical_extension_gives_unknown(
    issuer: Authority, leaf: IssuedCertificate, entry: tuple[x509.ExtensionType, bool]
) -> None:
    assert (
        status(readable(make_list(issuer, [leaf], entry_extensions=[entry])), leaf).status
        == "unknown"
    )


def test_list_must_be_signed_by_the_issuer(issuer: Authority, root: Authority) -> None:
    stranger = Authority("Stranger", clock=clock)
    assert not signed_by(readable(make_list(issuer, key=stranger.key)), parse(issuer.der))
    assert not signed_by(readable(make_list(stranger)), parse(issuer.der))
    assert not signed_by(readable(make_list(root)), parse(issuer.der))
    namesake = Authority("Test Issuer", root)
    assert not signed_by(readable(make_list(namesake)), parse(issuer.der))


def test_issuer_without_the_crl_sign_usage_may_not_sign_lists() -> None:
    """The issuer has keyCertSign and not cRLSign."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(Authority("No Lists", clock=clock).subject)
        .issuer_name(Authority("No Lists", clock=clock).subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + DAY)
        .add_extension(
            x509.KeyUsage(False, False, False, False, False, True, False, False, False),
            critical=True,
        )
    )
    certificate = builder.sign(key, hashes.SHA256())
    same = Authority("No Lists", key=key, clock=clock)
    crl = readable(make_list(same))
    assert signed_by(crl, parse(same.der))
    assert not signed_by(crl, parse(certificate.public_bytes(Encoding.DER)))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>404</html>", b"-----BEGIN X509 CRL-----", b"0" * 100, bytes(range(256)) * 10],
)
def test_invalid_list_is_refused_in_words(body: bytes) -> None:
    assert isinstance(read(body), str)


def test_truncated_extended_or_oversized_list_is_refused(
    issuer: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = make_list(issuer)
    assert isinstance(read(body[:-1]), str)
    assert isinstance(read(body + b"\0"), str)
    monkeypatch.setattr(crls, "MAX_BYTES", len(body) - 1)
    assert "larger" in str(read(body))


def _names(count: int) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier("a")] * count


@pytest.mark.parametrize(
    "extension",
    [
        x509.IssuerAlternativeName(_names(22_000)),
        x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"x" * 66_000),
        shard(*["a"] * 22_000)[0],
    ],
    ids=["names", "unknown", "points"],
)
def test_list_with_much_besides_its_entries_is_refused_before_it_is_read(
    issuer: Authority, extension: x509.ExtensionType
) -> None:
    # A list of 32 MB took 1 GB and 15 seconds of CPU with three bytes per name.
    body = make_list(issuer, extensions=[(extension, False)])
    assert crls.read(body) == "it has more than 64 KB without its entries"


def test_list_with_many_fields_before_its_dates_is_refused() -> None:
    body = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, b"\x05\x00" * 50_000))
    assert crls.read(body) == "it is not a revocation list"


@pytest.mark.parametrize("count", [1, 20])
def test_list_with_an_entry_of_many_names_is_unusable_for_its_certificate(
    issuer: Authority, leaf: IssuedCertificate, count: int
) -> None:
    crl = readable(
        make_list(issuer, [leaf], entry_extensions=[(x509.CertificateIssuer(_names(2_000)), False)])
    )
    serials = [leaf.certificate.serial_number, *range(1, count)]
    assert crls.find_entries(crl, serials) == "an entry has more than 4 KB"
    # Certificates that it does not list are not concerned.
    assert crls.find_entries(crl, [5]) == {}


def test_list_made_by_openssl_is_read(tmp_path: Path) -> None:
    """``openssl ca`` revokes a certificate with an RSA key and creates the list.

    It uses the clock of the tests.
    """
    authority = Authority("OpenSSL CA", key=rsa.generate_private_key(65537, 2048), clock=clock)
    good, bad = authority.issue("good.example"), authority.issue("bad.example")
    key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content in (
        ("ca.key", key),
        ("ca.pem", authority.pem),
        ("bad.pem", bad.chain_pem),
        ("index.txt", b""),
        ("number", b"01\n"),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ca.conf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncertificate=ca.pem\nprivate_key=ca.key\n"
        "crlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\n"
    )
    openssl = [program("openssl", "openssl"), "ca", "-config", "ca.conf", "-batch"]
    begin, end = (f"{d:%Y%m%d%H%M%SZ}" for d in (now() - DAY, now() + 6 * DAY))
    for arguments in (
        ["-revoke", "bad.pem", "-crl_reason", "superseded"],
        ["-gencrl", "-crl_lastupdate", begin, "-crl_nextupdate", end, "-out", "list.pem"],
    ):
        subprocess.run([*openssl, *arguments], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(
        [openssl[0], "crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der"],
        cwd=tmp_path,
        check=True,
    )
    crl = readable((tmp_path / "list.der").read_bytes())
    assert signed_by(crl, parse(authority.der))
    assert unusable_reason(crl, now()) == ""
    assert status(crl, bad).reason == "superseded"
    assert status(crl, good).status == "good"


def test_certificate_has_at_most_four_http_urls_of_lists(issuer: Authority) -> None:
    urls = [
        "http://c.example/1.crl",
        "ldap://c.example/x",
        "https://c.example/1.crl",
        "HTTP://c.example/2.crl",
        f"http://c.example/{'x' * 600}",
    ]
    result = parse(issuer.issue("a.example", extensions=[points(*urls)]).der)
    assert result.crl_urls == ("http://c.example/1.crl", "HTTP://c.example/2.crl")
    many = parse(
        issuer.issue(
            "a.example", extensions=[points(*[f"http://c.example/{i}" for i in range(20)])]
        ).der
    )
    assert len(many.crl_urls) == 4
    indirect = points("http://c.example/1.crl", crl_issuer=[x509.DirectoryName(issuer.subject)])
    assert parse(issuer.issue("a.example", extensions=[indirect]).der).crl_urls == ()
    some = points("http://c.example/1.crl", reasons=frozenset({x509.ReasonFlags.key_compromise}))
    assert parse(issuer.issue("a.example", extensions=[some]).der).crl_urls == ()
