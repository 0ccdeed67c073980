"""Chains that a CA library refuses to create: any extension, signature algorithm and key.

A certificate is built by the library with a temporary key. Then its signature algorithm is
replaced, and it is signed again with the key of its issuer.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from certmgr.demo.authority import general_names, name
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import ConnectionHandler
from inventory.clock import Clock
from inventory.der import elements, encode
from tests.certificates import raw_chain

Extension = tuple[x509.ExtensionType, bool]
Edit = Callable[[bytes], bytes]
DAY = timedelta(days=1)
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
# AlgorithmIdentifier, by the type of the key and the hash (RFC 3279, RFC 4055, RFC 5758, RFC 8410).
_ALGORITHMS = {
    ("rsa", "md5"): "300d06092a864886f70d0101040500",
    ("rsa", "sha1"): "300d06092a864886f70d0101050500",
    ("rsa", "sha224"): "300d06092a864886f70d01010e0500",
    ("rsa", "sha256"): "300d06092a864886f70d01010b0500",
    ("rsa", "sha384"): "300d06092a864886f70d01010c0500",
    ("ec", "sha1"): "300906072a8648ce3d0401",
    ("ec", "sha224"): "300a06082a8648ce3d040301",
    ("ec", "sha256"): "300a06082a8648ce3d040302",
    ("ec", "sha512"): "300a06082a8648ce3d040304",
    ("ed", "sha256"): "300506032b6570",
}
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _sign(key: Any, content: bytes, digest: str) -> bytes:
    signed: bytes
    if isinstance(key, rsa.RSAPrivateKey):
        signed = key.sign(content, padding.PKCS1v15(), _HASHES[digest]())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signed = key.sign(content, ec.ECDSA(_HASHES[digest]()))
    else:
        signed = key.sign(content)
    return signed


def _kind(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa"
    return "ed" if isinstance(key, ed25519.Ed25519PrivateKey) else "ec"


def usage(*uses: str) -> Extension:
    """Return a key usage."""
    return x509.KeyUsage(**{u: u in uses for u in _USES}), True


def purpose(*oids: x509.ObjectIdentifier) -> Extension:
    """Return an extended key usage."""
    return x509.ExtendedKeyUsage(oids), False


def raw(oid: str, value: str, *, critical: bool = False) -> Extension:
    """Return an extension with any value, in hexadecimal."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))
    return extension, critical


def names(*listed: str) -> Extension:
    """Return a SAN. A name "dns:192.0.2.1" is a dNSName, even if it looks like an address."""
    found: list[x509.GeneralName] = []
    for entry in listed:
        literal = entry.startswith("dns:")
        found += [x509.DNSName(entry[4:])] if literal else general_names([entry])
    return x509.SubjectAlternativeName(found), False


def certificate(
    subject: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    extensions: Sequence[Extension],
    *,
    start: datetime,
    end: datetime,
    digest: str = "sha256",
    edit: Edit = lambda body: body,
) -> bytes:
    """Return a certificate as DER.

    Args:
        subject: Its common name; empty for an empty subject.
        digest: The hash of its signature.
        edit: Changes the content of the TBSCertificate before it is signed.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject) if subject else x509.Name([]))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    temporary = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    algorithm = bytes.fromhex(_ALGORITHMS[_kind(issuer_key), digest])
    (outer,) = elements(temporary.tbs_certificate_bytes)
    placeholder = bytes.fromhex(_ALGORITHMS["ec", "sha256"])
    body = encode(0x30, edit(outer.content.replace(placeholder, algorithm, 1)))
    signature = encode(3, b"\0" + _sign(issuer_key, body, digest))
    return encode(0x30, body + algorithm + signature)


@dataclass
class Ca:
    """A CA with its certificate.

    Attributes:
        start: The begin of its validity, in days from now.
        end: The end of its validity, in days from now.
    """

    subject: str
    clock: Clock
    parent: Ca | None = None
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    extensions: Sequence[Extension] | None = None
    start: int = -400
    end: int = 3650
    digest: str = "sha256"
    edit: Edit = lambda body: body

    def __post_init__(self) -> None:
        now = self.clock().replace(microsecond=0)
        above = self.parent or self
        listed = self.extensions
        if listed is None:
            listed = [
                (x509.BasicConstraints(True, None), True),
                usage("key_cert_sign", "crl_sign", "digital_signature"),
            ]
        self.der = certificate(
            self.subject,
            self.key,
            above.subject,
            above.key,
            listed,
            start=now + self.start * DAY,
            end=now + self.end * DAY,
            digest=self.digest,
            edit=self.edit,
        )

    def chain(self) -> list[bytes]:
        """Return this CA and those above it, without the root."""
        return [self.der, *self.parent.chain()] if self.parent is not None else []

    def below(self, subject: str, *more: Extension, **options: Any) -> Ca:
        """Return a CA that this one issued, with further extensions."""
        extensions = [
            (x509.BasicConstraints(True, None), True),
            usage("key_cert_sign", "crl_sign", "digital_signature"),
            *more,
        ]
        return Ca(subject, self.clock, self, extensions=extensions, **options)

    def leaf(
        self,
        san: Extension | None,
        *more: Extension,
        key: Any = None,
        subject: str = "leaf",
        start: int = -10,
        end: int = 60,
        server: bool = True,
        digest: str = "sha256",
        edit: Edit = lambda body: body,
    ) -> tuple[Any, list[bytes]]:
        """Return the key of a leaf, and its chain without the root.

        Args:
            san: Its SAN, or None.
            more: Further extensions.
            server: Whether it has the extended key usage serverAuth.
        """
        now = self.clock().replace(microsecond=0)
        key = key or ec.generate_private_key(ec.SECP256R1())
        extensions = [*([san] if san else []), *more]
        if server:
            extensions.append(purpose(ExtendedKeyUsageOID.SERVER_AUTH))
        der = certificate(
            subject,
            key,
            self.subject,
            self.key,
            extensions,
            start=now + start * DAY,
            end=now + end * DAY,
            digest=digest,
            edit=edit,
        )
        return key, [der, *self.chain()]


def version(number: int) -> Edit:
    """Return an edit that changes the version field: 0 is version 1, which has no field."""

    def edit(body: bytes) -> bytes:
        assert body.startswith(bytes.fromhex("a003020102"))
        return (bytes([0xA0, 3, 2, 1, number]) if number else b"") + body[5:]

    return edit


def site(
    pair: tuple[Any, Sequence[bytes]],
    *,
    highest: int | None = None,
    ciphers: bytes = b"ALL:@SECLEVEL=0",
) -> ConnectionHandler:
    """Serve a page with a chain. A chain that OpenSSL cannot load is sent by hand."""
    key, chain = pair
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(ciphers)
    if highest is not None:
        context.set_max_proto_version(highest)
    with tempfile.NamedTemporaryFile() as file:
        for der in chain:
            body = base64.encodebytes(der)
            file.write(b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n")
        file.flush()
        try:
            # The library's own certificates are stricter than OpenSSL, which reads the file here.
            context.use_certificate_chain_file(file.name)
            context.use_privatekey(key)
        except SSL.Error:
            return raw_chain(*chain)
    return secure(context, lambda _host, _path: page("Open"))


def weak_rsa() -> rsa.RSAPrivateKey:
    """Return an RSA key of 768 bits, which the certificate library does not generate."""
    command = ["openssl", "genrsa", "768"]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    key = load_pem_private_key(made, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def dsa_key() -> dsa.DSAPrivateKey:
    """Return a DSA key."""
    return dsa.generate_private_key(2048)
