"""Private CAs as companies, test tools and old recipes make them: the shapes that differ from
those of public CAs, and that every browser accepts once the CA is trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.demo.authority import Authority, IssuedCertificate, general_names, name
from tests.certificates import content, sign, tlv
from tests.clock import clock

HOST = "intranet.example.test"
CA_USAGE = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
Extensions = list[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A chain to serve, and the anchors that make it trusted (PEM)."""

    issued: IssuedCertificate
    anchors: bytes
    key: Any = None


def certificate(
    subject: str,
    signer: x509.Certificate | None,
    signing_key: Any,
    key: Any,
    extensions: Extensions,
    *,
    serial: int = 0,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> x509.Certificate:
    """Return a certificate with exactly these extensions; without a signer it signs itself."""
    now = clock().replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(signer.subject if signer is not None else name(subject))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before or now - timedelta(days=100))
        .not_valid_after(not_after or now + timedelta(days=300))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signing_key, hashes.SHA256())


def san(*names: str) -> x509.SubjectAlternativeName:
    """Return subject alternative names."""
    return x509.SubjectAlternativeName(general_names(names))


def pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as PEM."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def root_extensions(key: Any) -> Extensions:
    """Return what ``openssl req -x509`` adds to a root: no key usage."""
    return [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
        (x509.BasicConstraints(True, None), True),
    ]


def two_tiers(
    root: Extensions | None = None,
    leaf: Extensions | None = None,
    *,
    serial: int = 0,
    edit_root: Callable[[bytes], bytes] | None = None,
    edit_leaf: Callable[[bytes], bytes] | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Shape:
    """Return a root and a leaf.

    Args:
        root: The extensions of the root. Default: those of :func:`root_extensions`.
        leaf: The extensions of the leaf. Default: only names, as ``openssl x509 -req`` does.
        serial: The serial number of the leaf.
        edit_root: Changes the body of the root before it is signed again.
        edit_leaf: The same for the leaf.
        not_before: The begin of the root.
        not_after: The end of the root.
    """
    root_key, key = new_key(), new_key()
    anchor = certificate(
        "Company Root",
        None,
        root_key,
        root_key,
        root_extensions(root_key) if root is None else root,
        not_before=not_before,
        not_after=not_after,
    )
    if edit_root is not None:
        anchor = resigned(anchor, root_key, edit_root)
    made = certificate(
        HOST, anchor, root_key, key, [(san(HOST), False)] if leaf is None else leaf, serial=serial
    )
    if edit_leaf is not None:
        made = resigned(made, root_key, edit_leaf)
    return Shape(IssuedCertificate(made, key, (made,)), pem(anchor), root_key)


def resigned(
    original: x509.Certificate, key: Any, edit: Callable[[bytes], bytes]
) -> x509.Certificate:
    """Return a certificate with an edited body, signed again."""
    body = content(original.tbs_certificate_bytes)
    edited = edit(body)
    assert edited != body, "the edit changes nothing"
    return x509.load_der_x509_certificate(sign(tlv(0x30, edited), key))


def with_serial(value: bytes) -> Callable[[bytes], bytes]:
    """Return an edit that sets the serial number, which follows the version."""

    def edit(body: bytes) -> bytes:
        version = bytes.fromhex("a003020102")
        assert body.startswith(version)
        rest = body[len(version) :]
        return version + tlv(2, value) + rest[2 + rest[1] :]

    return edit


def with_dates(not_before: str, not_after: str) -> Callable[[bytes], bytes]:
    """Return an edit that sets both dates as GeneralizedTime, such as 20260101000000Z."""

    def edit(body: bytes) -> bytes:
        # Both dates are UTCTime: a SEQUENCE of two values of 13 characters.
        at = body.index(b"\x30\x1e\x17\x0d")
        dates = tlv(0x18, not_before.encode()) + tlv(0x18, not_after.encode())
        return body[:at] + tlv(0x30, dates) + body[at + 32 :]

    return edit


def without_version_and_extensions(body: bytes) -> bytes:
    """Make a body one of version 1."""
    version = bytes.fromhex("a003020102")
    assert body.startswith(version)
    rest, end = body[len(version) :], 0
    for _ in range(6):  # serial, algorithm, issuer, dates, subject, key
        size = rest[end + 1]
        long = size & 0x7F if size & 0x80 else 0
        length = int.from_bytes(rest[end + 2 : end + 2 + long], "big") if long else size
        end += 2 + long + length
    return rest[:end]


def _generalized() -> Callable[[bytes], bytes]:
    now = clock()
    return with_dates(
        f"{now - timedelta(days=10):%Y%m%d%H%M%S}Z", f"{now + timedelta(days=300):%Y%m%d%H%M%S}Z"
    )


def _trustme() -> Shape:
    ca = trustme.CA()
    issued = ca.issue_cert(HOST)
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    return Shape(IssuedCertificate(leaf, key, (leaf,)), ca.cert_pem.bytes())


def constrained(*names: str, critical: bool = True) -> Shape:
    root = new_key()
    constraints = x509.NameConstraints([x509.DNSName(n) for n in names], None)
    return two_tiers([*root_extensions(root)[2:], (constraints, critical)])


def _pinned(extensions: Extensions) -> Shape:
    key = new_key()
    own = certificate(HOST, None, key, key, extensions)
    return Shape(IssuedCertificate(own, key, (own,)), pem(own))


def _pinned_leaf() -> Shape:
    shape = two_tiers()
    return Shape(shape.issued, pem(shape.issued.certificate))


def _pinned_intermediate() -> Shape:
    middle = Authority("Company Issuer", Authority("Company Root", clock=clock))
    return Shape(middle.issue(HOST), middle.pem)


def _renewed_root() -> Shape:
    """Two roots of one name and two keys, and a leaf that names no key."""
    shape = two_tiers()
    old = new_key()
    other = certificate("Company Root", None, old, old, root_extensions(old))
    return Shape(shape.issued, pem(other) + shape.anchors)


def _same_key_new_dates() -> Shape:
    """A root that was renewed with its key; the expired one is still configured, and sent."""
    shape = two_tiers()
    now = clock().replace(microsecond=0)
    old = certificate(
        "Company Root",
        None,
        shape.key,
        shape.key,
        root_extensions(shape.key),
        not_before=now - timedelta(days=900),
        not_after=now - timedelta(days=5),
    )
    issued = shape.issued
    sent = IssuedCertificate(issued.certificate, issued.key, (issued.certificate, old))
    return Shape(sent, pem(old) + shape.anchors)


def _cross_signed() -> Shape:
    """The served chain leads to an unknown root first; a cross-certificate leads to ours."""
    unknown, known = Authority("Sold Root", clock=clock), Authority("Company Root", clock=clock)
    key = new_key()
    middle = Authority("Company Issuer", unknown, key=key)
    crossed = Authority("Company Issuer", known, key=key)
    issued = middle.issue(HOST)
    chain = (issued.certificate, middle.certificate, crossed.certificate)
    return Shape(IssuedCertificate(issued.certificate, issued.key, chain), known.pem)


def _long_chain() -> Shape:
    authority = root = Authority("Company Root", clock=clock)
    for number in range(12):
        authority = Authority(f"Level {number}", authority)
    return Shape(authority.issue(HOST), root.pem)


def mixed_string_types() -> Shape:
    """The issuer of the leaf is written as PrintableString, the subject of the root as UTF8."""
    shape = two_tiers()
    leaf = resigned(
        shape.issued.certificate,
        shape.key,
        lambda body: body.replace(b"\x0c\x0cCompany Root", b"\x13\x0cCompany Root", 1),
    )
    return Shape(IssuedCertificate(leaf, shape.issued.key, (leaf,)), shape.anchors)


_KEY_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
_SIGNING_USAGE = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
_SERVER = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
_SAN = (san(HOST), False)

SHAPES: dict[str, Callable[[], Shape]] = {
    "openssl recipe": two_tiers,
    "trustme": _trustme,
    "root of version 1": lambda: two_tiers(edit_root=without_version_and_extensions),
    "basic constraints not critical": lambda: two_tiers(
        [(x509.BasicConstraints(True, None), False)]
    ),
    "root with key usage only for CRLs and certificates": lambda: two_tiers(
        [(x509.BasicConstraints(True, None), True), (CA_USAGE, False)]
    ),
    "leaf without AKI": lambda: two_tiers(leaf=[_SAN, (_KEY_USAGE, True), (_SERVER, False)]),
    "leaf without extended key usage": lambda: two_tiers(leaf=[_SAN, (_KEY_USAGE, True)]),
    "critical SAN": lambda: two_tiers(leaf=[(san(HOST), True)]),
    "critical extended key usage": lambda: two_tiers(leaf=[_SAN, (_SERVER, True)]),
    "negative serial": lambda: two_tiers(edit_leaf=with_serial(b"\xff\x12")),
    "serial zero": lambda: two_tiers(edit_leaf=with_serial(b"\0")),
    "long serial": lambda: two_tiers(edit_leaf=with_serial(b"\x11" * 30)),
    "root with a negative serial": lambda: two_tiers(edit_root=with_serial(b"\x80")),
    "GeneralizedTime before 2050": lambda: two_tiers(edit_leaf=_generalized()),
    "root with GeneralizedTime before 2050": lambda: two_tiers(edit_root=_generalized()),
    "GeneralizedTime without end": lambda: two_tiers(
        edit_leaf=with_dates("20200101000000Z", "99991231235959Z")
    ),
    "dotted name constraint": lambda: constrained(".example.test"),
    "several dotted name constraints": lambda: constrained(".other.test", ".example.test"),
    "name constraints not critical": lambda: constrained("example.test", critical=False),
    "self-signed certificate, pinned": lambda: _pinned([_SAN]),
    "self-signed CA certificate, pinned": lambda: _pinned(
        [_SAN, (x509.BasicConstraints(True, None), True)]
    ),
    "leaf of an unknown CA, pinned": _pinned_leaf,
    "intermediate, pinned": _pinned_intermediate,
    "CA certificate as a leaf": lambda: two_tiers(
        leaf=[_SAN, (x509.BasicConstraints(True, None), True)]
    ),
    "leaf with keyCertSign": lambda: two_tiers(leaf=[_SAN, (_SIGNING_USAGE, True)]),
    "root of one name and another key": _renewed_root,
    "renewed root with its key": _same_key_new_dates,
    "cross-signed": _cross_signed,
    "long chain": _long_chain,
}
