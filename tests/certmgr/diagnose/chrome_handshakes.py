"""Keys, their usage, signatures and handshakes, with the error page of Chromium for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certmgr.demo.servers import reset, respond_with
from tests.certmgr.diagnose.chrome_situation import (
    AUTHORITY,
    CLIENT,
    DATE,
    INVALID,
    KEY_USAGE,
    MISMATCH,
    PROTOCOL,
    SAN,
    TLS12,
    WEAK_KEY,
    Situation,
    alert,
    close,
    ec_key,
    unsent,
    with_value,
)
from tests.certmgr.odd_chains import (
    dsa_key,
    site,
    usage,
    weak_rsa,
)


def key_usage() -> Iterator[Situation]:
    for uses, error in (
        ((), KEY_USAGE),
        (("key_encipherment",), KEY_USAGE),
        (("key_agreement",), KEY_USAGE),
        (("key_cert_sign",), KEY_USAGE),
        (("digital_signature",), ""),
        (("digital_signature", "key_agreement"), ""),
    ):
        label = ", ".join(uses) or "nothing"
        yield Situation(
            f"RSA key for {label}",
            error,
            with_value(uses, lambda a, u: site(a.issuer.leaf(SAN, usage(*u), key=a.rsa_key))),
        )
        yield Situation(
            f"EC key for {label}",
            error,
            with_value(uses, lambda a, u: site(a.issuer.leaf(SAN, usage(*u)))),
        )
    encipher, sign = usage("key_encipherment"), usage("digital_signature")
    static = b"AES128-GCM-SHA256:@SECLEVEL=0"
    yield Situation(
        "RSA key for encipherment in TLS 1.2 with a signature",
        KEY_USAGE,
        lambda a: site(a.issuer.leaf(SAN, encipher, key=a.rsa_key), highest=TLS12),
    )
    yield Situation(
        "RSA key for encipherment in TLS 1.2 with encryption",
        "",
        lambda a: site(a.issuer.leaf(SAN, encipher, key=a.rsa_key), highest=TLS12, ciphers=static),
    )
    yield Situation(
        "RSA key for signatures in TLS 1.2 with encryption",
        KEY_USAGE,
        lambda a: site(a.issuer.leaf(SAN, sign, key=a.rsa_key), highest=TLS12, ciphers=static),
    )
    for highest, error in ((None, KEY_USAGE), (TLS12, DATE)):
        yield Situation(
            f"expired, with a key for encipherment, up to {highest or 'TLS 1.3'}",
            error,
            with_value(
                highest,
                lambda a, h: site(
                    a.issuer.leaf(SAN, encipher, key=a.rsa_key, start=-90, end=-1), highest=h
                ),
            ),
        )


def keys() -> Iterator[Situation]:
    leaf_keys: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("P-384", "", lambda: ec_key(ec.SECP384R1())),
        ("P-521", MISMATCH, lambda: ec_key(ec.SECP521R1())),
        ("secp256k1", MISMATCH, lambda: ec_key(ec.SECP256K1())),
        ("P-224", MISMATCH, lambda: ec_key(ec.SECP224R1())),
        ("Ed25519", MISMATCH, ed25519.Ed25519PrivateKey.generate),
        ("DSA", MISMATCH, dsa_key),
        ("RSA 1024", "", lambda: rsa.generate_private_key(65537, 1024)),
        ("RSA 768", WEAK_KEY, weak_rsa),
    )
    for label, error, generate in leaf_keys:
        yield Situation(
            f"leaf with {label}",
            error,
            with_value(generate, lambda a, g: site(a.issuer.leaf(SAN, key=g()))),
        )
    ca_keys: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("P-521", "", lambda: ec_key(ec.SECP521R1())),
        ("secp256k1", INVALID, lambda: ec_key(ec.SECP256K1())),
        ("P-224", INVALID, lambda: ec_key(ec.SECP224R1())),
        ("Ed25519", INVALID, ed25519.Ed25519PrivateKey.generate),
        ("RSA 768", WEAK_KEY, weak_rsa),
    )
    for label, error, generate in ca_keys:
        yield Situation(
            f"issuer with {label}",
            error,
            with_value(
                (generate, label),
                lambda a, pair: site(a.root.below(f"Issuer {pair[1]}", key=pair[0]()).leaf(SAN)),
            ),
        )


def signatures() -> Iterator[Situation]:
    for digest, error in (
        ("md5", INVALID),
        ("sha1", INVALID),
        ("sha224", INVALID),
        ("sha384", ""),
    ):
        yield Situation(
            f"leaf signed with RSA and {digest}",
            error,
            with_value(digest, lambda a, d: site(a.rsa_issuer.leaf(SAN, digest=d))),
        )
        yield Situation(
            f"issuer signed with RSA and {digest}",
            error,
            with_value(
                digest, lambda a, d: site(a.rsa_root.below(f"Issuer {d}", digest=d).leaf(SAN))
            ),
        )
    for digest, error in (("sha1", INVALID), ("sha224", INVALID), ("sha512", "")):
        yield Situation(
            f"leaf signed with ECDSA and {digest}",
            error,
            with_value(digest, lambda a, d: site(a.issuer.leaf(SAN, digest=d))),
        )
        yield Situation(
            f"issuer signed with ECDSA and {digest}",
            error,
            with_value(
                digest, lambda a, d: site(a.root.below(f"EC issuer {d}", digest=d).leaf(SAN))
            ),
        )
    yield Situation(
        "SHA-1, and expired",
        INVALID,
        lambda a: site(a.issuer.leaf(SAN, digest="sha1", start=-90, end=-1)),
    )
    yield Situation(
        "SHA-1, and the issuer is missing",
        AUTHORITY,
        lambda a: site(unsent(a.root.below("Unsent").leaf(SAN, digest="sha1"))),
    )


def handshakes() -> Iterator[Situation]:
    for number, error in (
        (10, PROTOCOL),
        (20, "ERR_SSL_BAD_RECORD_MAC_ALERT"),
        (30, "ERR_SSL_DECOMPRESSION_FAILURE_ALERT"),
        (40, MISMATCH),
        (42, CLIENT),
        (43, CLIENT),
        (44, CLIENT),
        (45, CLIENT),
        (46, CLIENT),
        (47, PROTOCOL),
        (48, CLIENT),
        (49, PROTOCOL),
        (51, "ERR_SSL_DECRYPT_ERROR_ALERT"),
        (70, MISMATCH),
        (71, MISMATCH),
        (80, PROTOCOL),
        (112, "ERR_SSL_UNRECOGNIZED_NAME_ALERT"),
        (116, CLIENT),
    ):
        yield Situation(f"alert {number}", error, with_value(number, lambda _, n: alert(n)))
    yield Situation("reset after the ClientHello", "ERR_CONNECTION_RESET", lambda _: reset)
    yield Situation("closed after the ClientHello", "ERR_CONNECTION_CLOSED", lambda _: close)
    yield Situation(
        "HTTP instead of TLS",
        PROTOCOL,
        lambda _: respond_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    )
