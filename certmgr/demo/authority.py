"""A certificate authority in memory for the demonstration and the tests.

Keys and signatures are real; dates can be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inventory.clock import Clock, system_clock
from inventory.names import as_ip

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A leaf certificate with its key.

    Attributes:
        certificate: The leaf.
        key: The private key.
        chain: The chain that a server should send: the leaf first, without the root.
    """

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...]

    @property
    def der(self) -> bytes:
        """The leaf as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain_pem(self) -> bytes:
        """The chain as PEM."""
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM (PKCS#8, not encrypted)."""
        key_format = serialization.PrivateFormat.PKCS8
        encoded: bytes = self.key.private_bytes(
            serialization.Encoding.PEM, key_format, serialization.NoEncryption()
        )
        return encoded


def name(text: str, organisation: str = "") -> x509.Name:
    """Return a distinguished name with a common name and, if given, an organisation."""
    attributes = (
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    )
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Return IP addresses and DNS names as subject alternative names."""
    return [
        x509.IPAddress(ip_address(n)) if as_ip(n) is not None else x509.DNSName(n) for n in names
    ]


class Authority:
    """A CA certificate with its key.

    A CA without a parent is a root. ``clock`` sets the dates that are not given; a CA without a
    clock uses that of its parent.
    """

    def __init__(
        self,
        subject: str,
        parent: Authority | None = None,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: Any = None,
        path_length: int | None = None,
        digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        organisation: str = "",
        clock: Clock | None = None,
    ) -> None:
        # A chain of CAs on two clocks would not be valid at any one time.
        self.clock: Clock = clock or (parent.clock if parent else system_clock)
        now = self.clock().replace(microsecond=0)
        self.parent = parent
        # EC, because an RSA key takes a hundred times as long, and a test suite makes thousands.
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.subject = name(subject, organisation)
        # A root signs itself.
        signer = parent.key if parent else self.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(parent.subject if parent else self.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            # Older than any leaf that a test dates back, so that the path is valid at the date of
            # the leaf.
            .not_valid_before(not_before or now - timedelta(days=400))
            .not_valid_after(not_after or now + timedelta(days=3650))
            # Critical, as RFC 5280 4.2.1.9 requires of a CA.
            .add_extension(x509.BasicConstraints(True, path_length), critical=True)
            .add_extension(
                # digitalSignature, keyCertSign and cRLSign: what a CA needs that also signs
                # revocation lists.
                x509.KeyUsage(True, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        self.certificate = builder.sign(signer, digest or hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The CA certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The CA certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return this CA and those above it, without the root."""
        # A server does not send the root: clients have it, or do not trust it at all.
        return (self.certificate, *self.parent.chain()) if self.parent is not None else ()

    def issue(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        days: float = 90,
        key: Any = None,
        common_name: str | None = None,
        san: bool = True,
        digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        server_auth: bool = True,
        subject: x509.Name | None = None,
    ) -> IssuedCertificate:
        """Issue a leaf certificate.

        Args:
            names: DNS names and IP addresses.
            not_before: The begin. Default: one day before now, or before the end if that is past.
            not_after: The end. Default: ``days`` from now.
            days: The remaining lifetime in days; negative for an expired certificate.
            key: The key pair. A public key is enough, such as that of a CSR. Default: a new key.
            common_name: The common name. Default: the first name.
            san: Whether to add the names as subject alternative names.
            digest: The hash of the signature.
            extensions: Further extensions as (extension, critical).
            server_auth: Whether to add the extended key usage serverAuth.
            subject: The whole subject, instead of a common name.
        """
        now = self.clock().replace(microsecond=0)
        key = key or ec.generate_private_key(ec.SECP256R1())
        end = not_after or now + timedelta(days=days)
        # RFC 5280 limits a common name to 64 characters.
        subject = subject or name(common_name if common_name is not None else names[0][:64])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or min(now, end) - timedelta(days=1))
            .not_valid_after(end)
            # Stated although it is the default, so that no client takes the leaf for a CA.
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        further: list[tuple[x509.ExtensionType, bool]] = [(usage, False)] if server_auth else []
        if san:
            further.append((x509.SubjectAlternativeName(general_names(names)), False))
        for extension, critical in (*further, *extensions):
            builder = builder.add_extension(extension, critical=critical)
        leaf = builder.sign(self.key, digest or hashes.SHA256())
        return IssuedCertificate(leaf, key, (leaf, *self.chain()))


def self_signed(*names: str, days: float = 365, clock: Clock = system_clock) -> IssuedCertificate:
    """Return a self-signed leaf certificate."""
    now = clock().replace(microsecond=0)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name(names[0]))
        .issuer_name(name(names[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(general_names(names)), critical=False)
        .sign(key, hashes.SHA256())
    )
    return IssuedCertificate(leaf, key, (leaf,))
