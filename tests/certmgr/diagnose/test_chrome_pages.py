"""What certmgr reports of a site, against what the installed Chromium shows.

Each situation names the error page of Chromium; an empty text means that the page opens. The test
asks Chromium, and then holds certmgr to it: an error page is critical, with the code that
``diagnose`` names, and a page that opens is not critical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from OpenSSL import SSL

from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo.servers import ConnectionHandler, Server, reset, respond_with
from certmgr.diagnose.chrome import browser_view
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.clock import system_clock
from inventory.targets import parse
from tests.campaign import UNREACHED
from tests.certmgr.odd_chains import (
    Ca,
    Extension,
    dsa_key,
    names,
    purpose,
    raw,
    site,
    usage,
    version,
    weak_rsa,
)
from tests.servers.chromium import Browser, trusting_browser

pytestmark = pytest.mark.real_clock(reason="Chromium keeps the clock of the system")

HOST = "shop.example.test"
TLS12 = SSL.TLS1_2_VERSION
SAN = names(HOST)
_KEY_USAGE = "ERR_SSL_KEY_USAGE_INCOMPATIBLE"
_MISMATCH = "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"
_BAD_FORMAT = "ERR_SSL_SERVER_CERT_BAD_FORMAT"
_PROTOCOL = "ERR_SSL_PROTOCOL_ERROR"
_CLIENT = "ERR_BAD_SSL_CLIENT_AUTH_CERT"
_INVALID = "ERR_CERT_INVALID"
_AUTHORITY = "ERR_CERT_AUTHORITY_INVALID"
_NAME = "ERR_CERT_COMMON_NAME_INVALID"
_DATE = "ERR_CERT_DATE_INVALID"
_WEAK_KEY = "ERR_CERT_WEAK_KEY"


class Authorities:
    """The CAs of the situations. Chromium and certmgr trust both roots."""

    def __init__(self) -> None:
        self.rsa_key = rsa.generate_private_key(65537, 2048)
        self.root = Ca("Root EC", system_clock)
        self.rsa_root = Ca("Root RSA", system_clock, key=rsa.generate_private_key(65537, 2048))
        self.issuer = self.root.below("Issuer EC")
        self.rsa_issuer = self.rsa_root.below("Issuer RSA", key=self.rsa_key)
        self.unknown = Ca("Unknown Root", system_clock).below("Unknown Issuer")


Build = Callable[[Authorities], ConnectionHandler]


@dataclass(frozen=True)
class Situation:
    """A site, and the error page of Chromium; an empty text if the page opens."""

    name: str
    error: str
    build: Build
    host: str = HOST


_Value = TypeVar("_Value")


def _with(value: _Value, build: Callable[[Authorities, _Value], ConnectionHandler]) -> Build:
    """Build a server with a value of a loop."""
    return lambda authorities: build(authorities, value)


def _ec(curve: ec.EllipticCurve) -> Any:
    return ec.generate_private_key(curve)


def _alert(number: int) -> ConnectionHandler:
    return respond_with(bytes([21, 3, 3, 0, 2, 2, number]))


def _close(sock: Any) -> None:
    sock.recv(65536)


def _unsent(pair: tuple[Any, list[bytes]]) -> tuple[Any, list[bytes]]:
    return pair[0], pair[1][:1]


def _key_usage() -> Iterator[Situation]:
    for uses, error in (
        ((), _KEY_USAGE),
        (("key_encipherment",), _KEY_USAGE),
        (("key_agreement",), _KEY_USAGE),
        (("key_cert_sign",), _KEY_USAGE),
        (("digital_signature",), ""),
        (("digital_signature", "key_agreement"), ""),
    ):
        label = ", ".join(uses) or "nothing"
        yield Situation(
            f"RSA key for {label}",
            error,
            _with(uses, lambda a, u: site(a.issuer.leaf(SAN, usage(*u), key=a.rsa_key))),
        )
        yield Situation(
            f"EC key for {label}",
            error,
            _with(uses, lambda a, u: site(a.issuer.leaf(SAN, usage(*u)))),
        )
    encipher, sign = usage("key_encipherment"), usage("digital_signature")
    static = b"AES128-GCM-SHA256:@SECLEVEL=0"
    yield Situation(
        "RSA key for encipherment in TLS 1.2 with a signature",
        _KEY_USAGE,
        lambda a: site(a.issuer.leaf(SAN, encipher, key=a.rsa_key), highest=TLS12),
    )
    yield Situation(
        "RSA key for encipherment in TLS 1.2 with encryption",
        "",
        lambda a: site(a.issuer.leaf(SAN, encipher, key=a.rsa_key), highest=TLS12, ciphers=static),
    )
    yield Situation(
        "RSA key for signatures in TLS 1.2 with encryption",
        _KEY_USAGE,
        lambda a: site(a.issuer.leaf(SAN, sign, key=a.rsa_key), highest=TLS12, ciphers=static),
    )
    for highest, error in ((None, _KEY_USAGE), (TLS12, _DATE)):
        yield Situation(
            f"expired, with a key for encipherment, up to {highest or 'TLS 1.3'}",
            error,
            _with(
                highest,
                lambda a, h: site(
                    a.issuer.leaf(SAN, encipher, key=a.rsa_key, start=-90, end=-1), highest=h
                ),
            ),
        )


def _keys() -> Iterator[Situation]:
    leaf_keys: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("P-384", "", lambda: _ec(ec.SECP384R1())),
        ("P-521", _MISMATCH, lambda: _ec(ec.SECP521R1())),
        ("secp256k1", _MISMATCH, lambda: _ec(ec.SECP256K1())),
        ("P-224", _MISMATCH, lambda: _ec(ec.SECP224R1())),
        ("Ed25519", _MISMATCH, ed25519.Ed25519PrivateKey.generate),
        ("DSA", _MISMATCH, dsa_key),
        ("RSA 1024", "", lambda: rsa.generate_private_key(65537, 1024)),
        ("RSA 768", _WEAK_KEY, weak_rsa),
    )
    for label, error, generate in leaf_keys:
        yield Situation(
            f"leaf with {label}",
            error,
            _with(generate, lambda a, g: site(a.issuer.leaf(SAN, key=g()))),
        )
    ca_keys: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("P-521", "", lambda: _ec(ec.SECP521R1())),
        ("secp256k1", _INVALID, lambda: _ec(ec.SECP256K1())),
        ("P-224", _INVALID, lambda: _ec(ec.SECP224R1())),
        ("Ed25519", _INVALID, ed25519.Ed25519PrivateKey.generate),
        ("RSA 768", _WEAK_KEY, weak_rsa),
    )
    for label, error, generate in ca_keys:
        yield Situation(
            f"issuer with {label}",
            error,
            _with(
                (generate, label),
                lambda a, pair: site(a.root.below(f"Issuer {pair[1]}", key=pair[0]()).leaf(SAN)),
            ),
        )


def _signatures() -> Iterator[Situation]:
    for digest, error in (
        ("md5", _INVALID),
        ("sha1", _INVALID),
        ("sha224", _INVALID),
        ("sha384", ""),
    ):
        yield Situation(
            f"leaf signed with RSA and {digest}",
            error,
            _with(digest, lambda a, d: site(a.rsa_issuer.leaf(SAN, digest=d))),
        )
        yield Situation(
            f"issuer signed with RSA and {digest}",
            error,
            _with(digest, lambda a, d: site(a.rsa_root.below(f"Issuer {d}", digest=d).leaf(SAN))),
        )
    for digest, error in (("sha1", _INVALID), ("sha224", _INVALID), ("sha512", "")):
        yield Situation(
            f"leaf signed with ECDSA and {digest}",
            error,
            _with(digest, lambda a, d: site(a.issuer.leaf(SAN, digest=d))),
        )
        yield Situation(
            f"issuer signed with ECDSA and {digest}",
            error,
            _with(digest, lambda a, d: site(a.root.below(f"EC issuer {d}", digest=d).leaf(SAN))),
        )
    yield Situation(
        "SHA-1, and expired",
        _INVALID,
        lambda a: site(a.issuer.leaf(SAN, digest="sha1", start=-90, end=-1)),
    )
    yield Situation(
        "SHA-1, and the issuer is missing",
        _AUTHORITY,
        lambda a: site(_unsent(a.root.below("Unsent").leaf(SAN, digest="sha1"))),
    )


def _purposes() -> Iterator[Situation]:
    client, any_purpose = purpose(Purpose.CLIENT_AUTH), purpose(Purpose.ANY_EXTENDED_KEY_USAGE)
    mail = purpose(Purpose.EMAIL_PROTECTION, Purpose.CODE_SIGNING)
    for label, extension, error in (
        ("clients", client, _INVALID),
        ("mail and code", mail, _INVALID),
        ("any purpose", any_purpose, ""),
    ):
        yield Situation(
            f"leaf for {label}",
            error,
            _with(extension, lambda a, e: site(a.issuer.leaf(SAN, e, server=False))),
        )
        yield Situation(
            f"issuer for {label}",
            error,
            _with(
                (extension, label),
                lambda a, pair: site(a.root.below(f"Issuer for {pair[1]}", pair[0]).leaf(SAN)),
            ),
        )
    yield Situation(
        "leaf for clients, and expired",
        _DATE,
        lambda a: site(a.issuer.leaf(SAN, client, server=False, start=-90, end=-1)),
    )
    yield Situation(
        "leaf for clients, and for another name",
        _INVALID,
        lambda a: site(a.issuer.leaf(names("other.test"), client, server=False)),
    )


def _names() -> Iterator[Situation]:
    for listed, host, error in (
        ("dns:127.0.0.1", "127.0.0.1", _NAME),
        ("dns:*.0.0.1", "127.0.0.1", _NAME),
        ("127.0.0.1", "127.0.0.1", ""),
        ("*.plesk.page", "quick-shop.plesk.page", ""),
        ("*.github.io", "project.github.io", ""),
        ("*.azurewebsites.net", "shop.azurewebsites.net", ""),
        ("*.s3.amazonaws.com", "files.s3.amazonaws.com", ""),
        ("*.co.uk", "shop.co.uk", _NAME),
        ("*.kawasaki.jp", "city.kawasaki.jp", _NAME),
        ("*.ward.kawasaki.jp", "shop.ward.kawasaki.jp", _NAME),
        ("*.city.kawasaki.jp", "shop.city.kawasaki.jp", ""),
        ("*.intranet", "wiki.intranet", _NAME),
        ("*.site.intranet", "wiki.site.intranet", ""),
        ("*.example.test", "a.b.example.test", _NAME),
        ("*.example.test", "example.test", _NAME),
        ("sh*.example.test", HOST, _NAME),
        (f"{HOST}.", HOST, ""),
    ):
        yield Situation(
            f"{listed} for {host}",
            error,
            _with(listed, lambda a, n: site(a.issuer.leaf(names(n)))),
            host,
        )
    yield Situation("no SAN", _NAME, lambda a: site(a.issuer.leaf(None, subject=HOST)))
    yield Situation(
        "another name, and expired",
        _NAME,
        lambda a: site(a.issuer.leaf(names("other.test"), start=-90, end=-1)),
    )


def _malformed() -> Iterator[Situation]:
    garbage = "0500"
    san = x509.ObjectIdentifier("2.5.29.17").dotted_string
    parts: tuple[tuple[str, str, str, str], ...] = (
        ("basic constraints", "2.5.29.19", garbage, _INVALID),
        ("basic constraints with an explicit FALSE", "2.5.29.19", "3003010100", ""),
        ("AIA", "1.3.6.1.5.5.7.1.1", garbage, _INVALID),
        ("authority key identifier", "2.5.29.35", garbage, _INVALID),
        ("policies", "2.5.29.32", garbage, _INVALID),
        ("the same policy twice", "2.5.29.32", "300c300406022903300406022903", _INVALID),
        ("CRL distribution points", "2.5.29.31", garbage, ""),
        ("issuer alternative name", "2.5.29.18", garbage, ""),
        ("key usage", "2.5.29.15", garbage, _PROTOCOL),
    )
    for label, oid, value, error in parts:
        yield Situation(
            f"malformed: {label}",
            error,
            _with(raw(oid, value), lambda a, e: site(a.issuer.leaf(SAN, e))),
        )
    host = HOST.encode().hex()
    dns = f"82{len(HOST):02x}{host}"
    sans: tuple[tuple[str, str, str], ...] = (
        ("garbage", garbage, _INVALID),
        ("empty", "3000", _INVALID),
        ("with an address of 5 bytes", f"30{len(HOST) + 9:02x}{dns}87053132333435", _INVALID),
        ("with an X.400 address", f"30{len(HOST) + 6:02x}{dns}a3023000", ""),
    )
    for label, value, error in sans:
        extension: Extension = raw(san, value)
        yield Situation(
            f"SAN {label}",
            error,
            _with(extension, lambda a, e: site(a.issuer.leaf(e))),
        )
    yield Situation("empty subject", _INVALID, lambda a: site(a.issuer.leaf(SAN, subject="")))
    unknown = raw("1.2.3.4.5", "0500", critical=True)
    yield Situation(
        "unknown critical extension", _INVALID, lambda a: site(a.issuer.leaf(SAN, unknown))
    )
    yield Situation(
        "unknown critical extension of the issuer",
        _INVALID,
        lambda a: site(a.root.below("Issuer critical", unknown).leaf(SAN)),
    )
    points = raw(
        "2.5.29.31",
        "301d301ba019a0178615" + b"http://crl.test/a.crl".hex(),
        critical=True,
    )
    yield Situation(
        "critical CRL distribution points", _INVALID, lambda a: site(a.issuer.leaf(SAN, points))
    )
    yield Situation(
        "extensions of the issuer cannot be read",
        _AUTHORITY,
        lambda a: site(a.root.below("Issuer garbage", raw(san, garbage)).leaf(SAN)),
    )
    for number in (0, 1, 7):
        yield Situation(
            f"extensions in a certificate with version field {number}",
            _BAD_FORMAT,
            _with(number, lambda a, n: site(a.issuer.leaf(SAN, edit=version(n)))),
        )
    yield Situation(
        "no certificate but zeros", _PROTOCOL, lambda a: site((a.rsa_key, [b"\0" * 500]))
    )
    yield Situation(
        "truncated",
        _PROTOCOL,
        lambda a: site((a.rsa_key, [a.issuer.leaf(SAN)[1][0][:-40], a.issuer.der])),
    )


def _chains() -> Iterator[Situation]:
    yield Situation("good", "", lambda a: site(a.issuer.leaf(SAN)))
    yield Situation(
        "issuer not sent", _AUTHORITY, lambda a: site(_unsent(a.root.below("Unsent").leaf(SAN)))
    )
    yield Situation("unknown root", _AUTHORITY, lambda a: site(a.unknown.leaf(SAN)))
    yield Situation(
        "unknown root, and expired",
        _AUTHORITY,
        lambda a: site(a.unknown.leaf(SAN, start=-90, end=-1)),
    )
    yield Situation("expired", _DATE, lambda a: site(a.issuer.leaf(SAN, start=-90, end=-1)))
    yield Situation("not yet valid", _DATE, lambda a: site(a.issuer.leaf(SAN, start=2)))
    yield Situation(
        "issuer expired", _DATE, lambda a: site(a.root.below("Expired", end=-1).leaf(SAN))
    )
    yield Situation(
        "issuer not yet valid", _DATE, lambda a: site(a.root.below("Future", start=1).leaf(SAN))
    )
    yield Situation(
        "issuer not yet valid, and another name",
        _NAME,
        lambda a: site(a.root.below("Future", start=1).leaf(names("other.test"))),
    )
    constraint = (x509.NameConstraints([x509.DNSName("other.test")], None), True)
    yield Situation(
        "outside the name constraints",
        _INVALID,
        lambda a: site(a.root.below("Constrained", constraint).leaf(SAN)),
    )


def _handshakes() -> Iterator[Situation]:
    for number, error in (
        (10, _PROTOCOL),
        (20, "ERR_SSL_BAD_RECORD_MAC_ALERT"),
        (30, "ERR_SSL_DECOMPRESSION_FAILURE_ALERT"),
        (40, _MISMATCH),
        (42, _CLIENT),
        (43, _CLIENT),
        (44, _CLIENT),
        (45, _CLIENT),
        (46, _CLIENT),
        (47, _PROTOCOL),
        (48, _CLIENT),
        (49, _PROTOCOL),
        (51, "ERR_SSL_DECRYPT_ERROR_ALERT"),
        (70, _MISMATCH),
        (71, _MISMATCH),
        (80, _PROTOCOL),
        (112, "ERR_SSL_UNRECOGNIZED_NAME_ALERT"),
        (116, _CLIENT),
    ):
        yield Situation(f"alert {number}", error, _with(number, lambda _, n: _alert(n)))
    yield Situation("reset after the ClientHello", "ERR_CONNECTION_RESET", lambda _: reset)
    yield Situation("closed after the ClientHello", "ERR_CONNECTION_CLOSED", lambda _: _close)
    yield Situation(
        "HTTP instead of TLS",
        _PROTOCOL,
        lambda _: respond_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    )


SITUATIONS = [
    *_key_usage(),
    *_keys(),
    *_signatures(),
    *_purposes(),
    *_names(),
    *_malformed(),
    *_chains(),
    *_handshakes(),
]


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


@pytest.fixture(scope="module")
def chromium(
    authorities: Authorities, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("chromium")
    with trusting_browser(folder, authorities.root.der, authorities.rsa_root.der) as opened:
        yield opened


@pytest.fixture
def anchors(authorities: Authorities, tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    roots = [authorities.root.der, authorities.rsa_root.der]
    path.write_bytes(
        b"".join(x509.load_der_x509_certificate(r).public_bytes(Encoding.PEM) for r in roots)
    )
    return path


def _scan(host: str, port: int, anchors: Path) -> EndpointReport:
    settings = replace(
        Settings(),
        scan=ScanSettings(timeout=UNREACHED, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(anchors),)),
        http=HttpSettings(enabled=False, per_address=0, rate=0.0),
    )
    target = parse(f"{host}:{port}")
    overrides = {} if target.is_address else {(target.host, target.port): ("127.0.0.1",)}
    options = ScanOptions(overrides=overrides)
    (report,) = scan_targets(settings, options, [target], clock=system_clock)
    return report


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
def test_error_pages_of_chromium_are_critical_and_named(
    situation: Situation, authorities: Authorities, chromium: Browser, anchors: Path
) -> None:
    server = Server(situation.build(authorities))
    try:
        shown = chromium.error(f"https://{situation.host}:{server.port}/")
        report = _scan(situation.host, server.port, anchors)
    finally:
        server.close()
    assert shown == situation.error
    critical = {f.code for f in report.findings if f.severity == "critical"}
    assert bool(critical) is bool(shown), report.findings
    named = browser_view(report.findings, ["127.0.0.1"], plain=False)
    if shown:
        assert named.removeprefix("an error page: ").removeprefix("NET::") == shown
    else:
        assert "an error page" not in named


def test_situations_have_different_names() -> None:
    assert len({s.name for s in SITUATIONS}) == len(SITUATIONS)
