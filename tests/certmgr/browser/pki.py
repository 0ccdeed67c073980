"""Keys, CAs and leaves of the situations, each made once per process."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_address
from ssl import DER_cert_to_PEM_cert
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from inventory.clock import system_clock
from tests.certificates import tlv
from tests.certmgr.browser import der

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
EMAIL = "1.3.6.1.5.5.7.3.4"
ANY_PURPOSE = "2.5.29.37.0"

# Chromium keeps the system's clock, so that certificates and certmgr keep it here too.
NOW = system_clock().replace(microsecond=0)
_serials = itertools.count(int(NOW.timestamp()) << 32)


def days(number: float) -> datetime:
    """Return the time a number of days from now."""
    return NOW + timedelta(days=number)


@cache
def key(kind: str) -> Any:
    """Return the private key of a kind: a curve, ``rsaBITS``, ``ed25519``, ``ed448``, ``dsa``.

    A suffix after a blank gives another key of the same kind.
    """
    kind = kind.split()[0]
    curves: dict[str, Any] = {
        "p256": ec.SECP256R1,
        "p384": ec.SECP384R1,
        "p521": ec.SECP521R1,
        "p224": ec.SECP224R1,
        "secp256k1": ec.SECP256K1,
        "brainpool": ec.BrainpoolP256R1,
    }
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    if kind == "dsa":
        return dsa.generate_private_key(2048)
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def key_identifier(public: bytes) -> bytes:
    """Return a key identifier."""
    return hashlib.sha256(public).digest()[:20]


def subject_key(public: bytes) -> bytes:
    """Return a subjectKeyIdentifier."""
    return der.extension("2.5.29.14", tlv(0x04, key_identifier(public)))


def authority_key(public: bytes) -> bytes:
    """Return an authorityKeyIdentifier."""
    return der.extension("2.5.29.35", der.seq(tlv(0x80, key_identifier(public))))


def general_name(text: str) -> bytes:
    """Return a dNSName, or an iPAddress if the text is an address."""
    try:
        return tlv(0x87, ip_address(text).packed)
    except ValueError:
        return tlv(0x82, text.encode("latin-1"))


def _ordered(defaults: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> list[bytes]:
    """Return the extensions after changes: a new value, a further extension, or None to drop."""
    return [e for e in (dict(defaults) | dict(changes)).values() if e is not None]


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA.

    Attributes:
        name: Its subject as a Name.
        der: Its certificate.
        key: Its private key.
        parent: The CA above it; None for a root.
    """

    name: bytes
    der: bytes
    key: Any
    parent: Ca | None = None

    @property
    def public(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        return der.public_key(self.key)

    def chain(self) -> tuple[bytes, ...]:
        """Return this CA and those above it, without the root."""
        return (self.der, *self.parent.chain()) if self.parent is not None else ()


def ca(
    text: str,
    parent: Ca | None = None,
    *,
    kind: str = "",
    extensions: Mapping[str, bytes | None] | None = None,
    begin: datetime | bytes | None = None,
    end: datetime | bytes | None = None,
    **fields: Any,
) -> Ca:
    """Make a CA.

    Args:
        text: Its common name.
        parent: The CA above it; None makes a root.
        kind: The kind of its key. Default: a P-256 key of its name.
        extensions: Changes to the extensions basic, usage, ski, aki; None drops one.
        begin: Not before.
        end: Not after.
        fields: Further fields of :func:`tests.certmgr.browser.der.certificate`.
    """
    own = key(kind or f"p256 {text}")
    public, subject = der.public_key(own), der.common_name(text)
    signer = parent.key if parent else own
    defaults = {
        "basic": der.basic_constraints(True),
        "usage": der.key_usage(5, 6),
        "ski": subject_key(public),
    }
    if parent is not None:
        defaults["aki"] = authority_key(parent.public)
    built = der.certificate(
        **{
            "subject": subject,
            "issuer": parent.name if parent else subject,
            "key": public,
            "signer": signer,
            "not_before": begin or days(-400),
            "not_after": end or days(3650),
            "extensions": _ordered(defaults, extensions or {}),
            "serial": next(_serials),
        }
        | fields
    )
    return Ca(subject, built, own, parent)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf as a server sends it.

    Attributes:
        chain: The certificates in the order in which they are sent, the leaf first.
        key_pem: The private key as PEM.
    """

    chain: tuple[bytes, ...]
    key_pem: bytes

    @property
    def pem(self) -> bytes:
        """The chain as PEM."""
        return "".join(map(DER_cert_to_PEM_cert, self.chain)).encode()

    def sent_with(self, *above: bytes) -> Leaf:
        """Return the same leaf with other certificates after it."""
        return Leaf((self.chain[0], *above), self.key_pem)


def private_pem(private: Any) -> bytes:
    """Return a private key as PEM."""
    encoded: bytes = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded


def leaf(
    *names: str,
    issuer: Ca | None = None,
    kind: str = "p256 leaf",
    subject: bytes | None = None,
    extensions: Mapping[str, bytes | None] | None = None,
    begin: datetime | bytes | None = None,
    end: datetime | bytes | None = None,
    self_signed: bool = False,
    **fields: Any,
) -> Leaf:
    """Make a leaf.

    Args:
        names: DNS names and addresses.
        issuer: The CA. Default: :data:`ISSUER`.
        kind: The kind of the key.
        subject: A Name. Default: the first name as common name.
        extensions: Changes to the extensions san, usage, eku, basic, ski, aki; None drops one.
        begin: Not before.
        end: Not after.
        self_signed: Whether it signs itself instead.
        fields: Further fields of :func:`tests.certmgr.browser.der.certificate`.
    """
    issuer = issuer or ISSUER
    own = key(kind)
    public = der.public_key(own)
    name = der.common_name(names[0][:64]) if subject is None else subject
    defaults = {
        "san": der.san(*map(general_name, names)),
        "usage": der.key_usage(0, 2) if kind.startswith("rsa") else der.key_usage(0),
        "eku": der.extended_key_usage(SERVER_AUTH),
        "basic": der.basic_constraints(False),
        "ski": subject_key(public),
        "aki": authority_key(public if self_signed else issuer.public),
    }
    built = der.certificate(
        **{
            "subject": name,
            "issuer": name if self_signed else issuer.name,
            "key": public,
            "signer": own if self_signed else issuer.key,
            "not_before": begin or days(-1),
            "not_after": end or days(90),
            "extensions": _ordered(defaults, extensions or {}),
            "serial": next(_serials),
        }
        | fields
    )
    return Leaf((built, *(() if self_signed else issuer.chain())), private_pem(own))


ROOT = ca("Browser Test Root")
ISSUER = ca("Browser Test Issuer", ROOT, extensions={"basic": der.basic_constraints(True, 0)})


@cache
def rsa_root() -> Ca:
    """Return a root with an RSA key, which Chromium trusts like :data:`ROOT`."""
    return ca("Browser Test RSA Root", kind="rsa2048 root")


@cache
def rsa_issuer() -> Ca:
    """Return an intermediate with an RSA key."""
    return ca("Browser Test RSA Issuer", rsa_root(), kind="rsa2048 issuer")


@dataclass(slots=True)
class Trust:
    """A CA that Chromium and certmgr trust in a situation.

    Attributes:
        der: The certificate.
        flags: Its trust in the NSS database: "C,," a CA, "P,," a pinned server.
    """

    der: bytes
    flags: str = "C,,"
    pem: str = field(init=False)

    def __post_init__(self) -> None:
        self.pem = DER_cert_to_PEM_cert(self.der)


def trusts(*cas: Ca) -> Sequence[Trust]:
    """Return trust in these CAs."""
    return [Trust(c.der) for c in cas]
