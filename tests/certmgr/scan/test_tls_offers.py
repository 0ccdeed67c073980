"""The TLS offers: the browser's one is that of the installed Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.scan import openssl, tls_offers
from certmgr.scan.openssl_names import SIGNATURE_NAMES
from tests.certmgr.scan import client_hello
from tests.certmgr.scan.client_hello import ClientHello

MLKEM, X25519, P_521 = 0x11EC, 0x1D, 0x19
SHA1 = {0x0201, 0x0202, 0x0203}


def offered(profile: str, alpn: tuple[bytes, ...] = tls_offers.BROWSER_ALPN) -> ClientHello:
    handshake = openssl.Handshake(profile, alpn, "shop.example.test")
    assert handshake.step() == openssl.WANT
    return client_hello.read(handshake.outgoing())


def test_offer_of_a_browser_equals_that_of_the_installed_chromium(tmp_path: Path) -> None:
    ours, chromium = offered("browser"), client_hello.of_chromium(tmp_path)
    assert ours.suites == chromium.suites
    assert ours.groups == chromium.groups
    assert ours.key_shares == chromium.key_shares == (MLKEM, X25519)
    assert ours.signatures == chromium.signatures
    assert ours.versions == chromium.versions
    assert ours.protocols == chromium.protocols == (b"h2", b"http/1.1")
    # The size of Chromium's varies by up to 96 bytes, since its ECH extension has a random size.
    assert abs(ours.size - chromium.size) <= 128


def test_offer_of_a_browser_has_no_p521_and_no_sha1() -> None:
    hello = offered("browser")
    assert 1850 <= hello.size <= 2050
    assert P_521 not in hello.groups
    assert not SHA1 & set(hello.signatures)


def test_compact_offer_differs_only_in_what_makes_a_browsers_offer_large() -> None:
    browser, compact = offered("browser"), offered("compact")
    assert compact.size < 300
    assert compact.groups == tuple(g for g in browser.groups if g != MLKEM)
    assert (compact.suites, compact.signatures, compact.versions) == (
        browser.suites,
        browser.signatures,
        browser.versions,
    )


def test_forensic_offer_contains_what_browsers_refuse_and_is_small() -> None:
    hello = offered("forensic")
    assert hello.size < 1000
    assert {P_521, MLKEM, X25519} <= set(hello.groups)
    assert set(hello.signatures) >= SHA1
    assert set(hello.versions) == {0x0301, 0x0302, 0x0303, 0x0304}


def test_offer_without_alpn_has_none() -> None:
    assert offered("browser", ()).protocols == ()
    assert offered("browser", (b"http/1.1",)).protocols == (b"http/1.1",)


@pytest.mark.parametrize(
    ("message", "version", "scheme"),
    [
        # CertificateVerify of TLS 1.3.
        ("0f00000408040000", 0x0304, "rsa_pss_rsae_sha256"),
        # ServerKeyExchange of TLS 1.2 with a named curve and a public key of two bytes.
        ("0c00000a03001702aabb02010000", 0x0303, "rsa_pkcs1_sha1"),
        # ServerKeyExchange of TLS 1.2 with p, g and a public key.
        ("0c0000110001aa0001020002aabb02030000", 0x0303, "ecdsa_sha1"),
        # TLS 1.1 names no scheme.
        ("0c00000a03001702aabb02010000", 0x0302, None),
        # Messages that end too early, with lengths that lead beyond their end.
        ("0c00000a030017ffaa", 0x0303, None),
        ("0c00000a00ffffffaa", 0x0303, None),
        ("0f00000108", 0x0304, None),
    ],
)
def test_signature_scheme_is_read_from_the_signed_message(
    message: str, version: int, scheme: str | None
) -> None:
    number = tls_offers.signature_scheme(bytes.fromhex(message), version)
    assert (None if number is None else SIGNATURE_NAMES[number]) == scheme
