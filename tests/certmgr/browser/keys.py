"""Situations of keys and signatures with unusual parameters: sizes, exponents, encodings, PSS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from math import gcd, lcm, prod
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import (
    Ca,
    Leaf,
    ca,
    key,
    leaf,
    private_pem,
    rsa_root,
    trusts,
)
from tests.certmgr.browser.situations import Build, Group, Trusted

GROUP = Group("keys")


def _add(name: str, build: Build, *, test: bool = False) -> None:
    """Add a situation; ``make test`` judges it only if ``test`` is true."""
    GROUP.add(name, build, relative=not test)


# RSA keys of any size and exponent
_PRIME_BITS = 512


@cache
def _primes(exponent: int) -> Sequence[int]:
    """Return primes for the largest key, to which an exponent has an inverse."""
    found: list[int] = []
    while len(found) < 34:
        made = rsa.generate_private_key(65537, 2 * _PRIME_BITS).private_numbers()
        found += [p for p in (made.p, made.q) if gcd(exponent, p - 1) == 1 and p not in found]
    return found


@cache
def rsa_key(bits: int, exponent: int = 65537) -> Any:
    """Return an RSA key of about this size, of many small primes.

    Two primes of 8,192 bits would take minutes. All libraries accept products in their place.
    """
    count = bits // _PRIME_BITS
    parts = _primes(exponent)[: count // 2], _primes(exponent)[count // 2 : count]
    p, q = map(prod, parts)
    orders = [lcm(*(prime - 1 for prime in listed)) for listed in parts]
    private = pow(exponent, -1, lcm(*orders))
    numbers = rsa.RSAPrivateNumbers(
        p,
        q,
        private,
        private % orders[0],
        private % orders[1],
        pow(q, -1, p),
        rsa.RSAPublicNumbers(exponent, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _leaf_with(private: Callable[[], Any], host: str) -> Leaf:
    """Return a leaf with this key."""
    made = private()
    usage = der.key_usage(0, 2) if isinstance(made, rsa.RSAPrivateKey) else der.key_usage(0)
    signed = leaf(host, key=der.public_key(made), extensions={"usage": usage})
    return Leaf(signed.chain, private_pem(made))


def _below(name: str, private: Callable[[], Any], public: Callable[[Any], bytes], host: str) -> Any:
    """Return a leaf under an intermediate with this key."""
    made, root = private(), rsa_root()
    certified = ca(f"Issuer {name}", root, key=public(made))
    issuer = Ca(certified.name, certified.der, made, root)
    return Trusted(leaf(host, issuer=issuer, extensions={"aki": None}), trusts(root))


_MODULI = (1024, 4096, 8192, 16384, 17408)
_EXPONENTS = (3, 17, 2**32 + 1, 2**32 + 15, 2**33 + 17, 2**64 + 13)
_TESTED = {"rsa-17408", "rsa-exponent-8589934609"}
_KEYS: dict[str, Callable[[], Any]] = {f"rsa-{bits}": partial(rsa_key, bits) for bits in _MODULI}
_KEYS |= {f"rsa-exponent-{number}": partial(rsa_key, 2048, number) for number in _EXPONENTS}
_KEYS |= {f"rsa-{bits}": partial(key, f"rsa{bits} leaf") for bits in (1025, 2047, 2049)}
for _name, _private in _KEYS.items():
    _add(_name, partial(_leaf_with, _private), test=_name in _TESTED)
    _add(f"intermediate-{_name}", partial(_below, _name, _private, der.public_key))


# ML-DSA, which Chrome offers in the handshake
_ML_DSA: dict[str, tuple[Callable[[], Any], str]] = {
    "mldsa44": (mldsa.MLDSA44PrivateKey.generate, "2.16.840.1.101.3.4.3.17"),
    "mldsa65": (mldsa.MLDSA65PrivateKey.generate, "2.16.840.1.101.3.4.3.18"),
    "mldsa87": (mldsa.MLDSA87PrivateKey.generate, "2.16.840.1.101.3.4.3.19"),
}


def _below_ml_dsa(kind: str, host: str) -> Trusted:
    make, oid = _ML_DSA[kind]
    private, root = make(), rsa_root()
    issuer = ca(f"Issuer {kind}", root, key=der.public_key(private))
    made = leaf(
        host,
        issuer=issuer,
        extensions={"aki": None},
        used=der.seq(der.oid(oid)),
        sign=private.sign,
    )
    return Trusted(made.sent_with(issuer.der), trusts(root))


for _name, (_private, _) in _ML_DSA.items():
    _add(_name, partial(_leaf_with, _private), test=_name == "mldsa65")
    _add(f"intermediate-{_name}", partial(_below_ml_dsa, _name), test=_name == "mldsa65")


# EC keys
_P256 = der.seq(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"))


def _point(private: Any, form: serialization.PublicFormat) -> bytes:
    encoded: bytes = private.public_key().public_bytes(serialization.Encoding.X962, form)
    return encoded


def compressed(private: Any) -> bytes:
    """Return a P-256 key whose point is compressed."""
    point = _point(private, serialization.PublicFormat.CompressedPoint)
    return der.seq(_P256, tlv(0x03, b"\0" + point))


def _off_curve(private: Any) -> bytes:
    return der.seq(_P256, tlv(0x03, b"\0\4" + b"\1" * 64))


def explicit(private: Any) -> bytes:
    """Return a P-256 key that describes its curve (FIPS 186-4 D.1.2.3) instead of naming it."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    base = (
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    parameters = der.seq(
        der.integer(1),
        der.seq(der.oid("1.2.840.10045.1.1"), der.integer(prime)),
        der.seq(
            tlv(0x04, (prime - 3).to_bytes(32, "big")),
            tlv(
                0x04,
                bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
            ),
        ),
        tlv(0x04, bytes.fromhex(base)),
        der.integer(0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
        der.integer(1),
    )
    point = _point(private, serialization.PublicFormat.UncompressedPoint)
    return der.seq(der.seq(der.oid("1.2.840.10045.2.1"), parameters), tlv(0x03, b"\0" + point))


_add("ec-compressed", lambda host: leaf(host, key=compressed(key("p256 leaf"))))
_add("ec-explicit", lambda host: leaf(host, key=explicit(key("p256 leaf"))), test=True)
for _name, _public in {
    "compressed": compressed,
    "off-curve": _off_curve,
    "explicit": explicit,
}.items():
    _add(
        f"intermediate-ec-{_name}",
        partial(_below, _name, partial(key, "p256 encoded"), _public),
        test=_name == "off-curve",
    )

# RSASSA-PSS
_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


def _pss(
    position: str, digest: str, mask: str, salt: int, host: str, *, null: bool, trailer: bool
) -> Trusted:
    """Sign the leaf, or its issuer, with RSASSA-PSS and these parameters (RFC 4055 3.1)."""
    parameter = (der.NULL,) if null else ()
    generator = der.seq(der.oid(_OIDS[mask]), *parameter)
    fields = (
        # The defaults are left out.
        tlv(0xA0, der.seq(der.oid(_OIDS[digest]), *parameter)) if digest != "sha1" else b"",
        tlv(0xA1, der.seq(der.oid("1.2.840.113549.1.1.8"), generator)) if mask != "sha1" else b"",
        tlv(0xA2, der.integer(salt)) if salt != 20 else b"",
        tlv(0xA3, der.integer(1)) if trailer else b"",
    )
    signed: dict[str, Any] = {
        "used": der.seq(der.oid("1.2.840.113549.1.1.10"), der.seq(*fields)),
        "sign": lambda body: rsa_root().key.sign(
            body, padding.PSS(padding.MGF1(der.HASHES[mask]()), salt), der.HASHES[digest]()
        ),
    }
    if position == "leaf":
        return Trusted(leaf(host, issuer=rsa_root(), **signed), trusts(rsa_root()))
    issuer = ca(f"Issuer {host}", rsa_root(), **signed)
    return Trusted(leaf(host, issuer=issuer), trusts(rsa_root()))


def _add_pss(name: str, digest: str, mask: str, salt: int, **options: bool) -> None:
    used: dict[str, Any] = {"null": False, "trailer": False} | options
    for position in ("leaf", "intermediate"):
        title = f"pss-{name}" if position == "leaf" else f"intermediate-pss-{name}"
        _add(
            title,
            partial(_pss, position, digest, mask, salt, **used),
            test=title in ("pss-sha256-sha1-32", "intermediate-pss-sha256-sha256-20"),
        )


for _digest, _mask, _salt in (
    ("sha256", "sha256", 32),
    ("sha256", "sha256", 20),
    ("sha256", "sha256", 0),
    ("sha256", "sha256", 64),
    ("sha256", "sha1", 32),
    ("sha256", "sha384", 32),
    ("sha384", "sha384", 48),
    ("sha512", "sha512", 64),
    ("sha512", "sha512", 32),
    ("sha1", "sha256", 20),
):
    _add_pss(f"{_digest}-{_mask}-{_salt}", _digest, _mask, _salt)
_add_pss("with-null", "sha256", "sha256", 32, null=True)
_add_pss("with-trailer", "sha256", "sha256", 32, trailer=True)


# Further signatures
def _signed(root: Ca, algorithm: bytes, sign: Callable[[bytes], bytes], host: str) -> Trusted:
    return Trusted(leaf(host, issuer=root, used=algorithm, sign=sign), trusts(root))


_add(
    "signature-ecdsa-sha3",
    lambda host: _signed(
        (root := ca("Root SHA-3")),
        der.seq(der.oid("2.16.840.1.101.3.4.3.10")),
        lambda body: root.key.sign(body, ec.ECDSA(hashes.SHA3_256())),
        host,
    ),
)
_add(
    "signature-rsa-sha512-256",
    lambda host: _signed(
        rsa_root(),
        der.seq(der.oid("1.2.840.113549.1.1.16"), der.NULL),
        lambda body: rsa_root().key.sign(body, padding.PKCS1v15(), hashes.SHA512_256()),
        host,
    ),
)


def _below_root(kind: str, host: str) -> Trusted:
    root = ca(f"Root {kind}", kind=kind)
    return Trusted(leaf(host, issuer=root), trusts(root))


for _kind in ("p384 root", "dsa root"):
    _add(f"root-{_kind.split()[0]}", partial(_below_root, _kind))
