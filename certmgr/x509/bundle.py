"""One private key with its chain: its files for a server, and checks before deployment. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certmgr.x509.private_keys import load_pem
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, from_pem, parse
from inventory.errors import CertmgrError

# The names of certbot, which server configurations already have, and HAProxy's combined file.
FILES = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem")
_NOTHING_WRITTEN = "Nothing was written; the previous version stays in use."


@dataclass(frozen=True)
class CertificateBundle:
    """A chain with its key, if the key is on this machine. Create it with :func:`build_bundle`.

    Attributes:
        key_pem: The unencrypted key; None if the client has it.
        chain_der: The certificates, leaf first.
    """

    key_pem: bytes | None = field(repr=False)
    chain_der: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def chain(self) -> tuple[Certificate, ...]:
        """The parsed certificates, leaf first."""
        return tuple(parse(der) for der in self.chain_der)

    @property
    def leaf(self) -> Certificate:
        """The certificate of the key."""
        return self.chain[0]

    @property
    def sha256(self) -> str:
        """The fingerprint of the leaf."""
        return self.leaf.sha256

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The files by name.

        Without a key there are no privkey.pem and combined.pem. combined.pem has the key and the
        full chain, as HAProxy reads it.
        """
        # Lines of 64 characters (RFC 7468 2), which old OpenSSL and Java need.
        pem = [_pem(der) for der in self.chain_der]
        full = b"".join(pem)
        contents = {"cert.pem": pem[0], "chain.pem": b"".join(pem[1:]), "fullchain.pem": full}
        if self.key_pem is not None:
            key = self.key_pem.rstrip() + b"\n"
            contents |= {"privkey.pem": key, "combined.pem": key + full}
        return contents


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".encode()


def build_bundle(key_pem: bytes | None, chain_der: Sequence[bytes]) -> CertificateBundle:
    """Return a bundle whose parts belong together.

    Raises:
        CertmgrError: The key is not that of the leaf, or a certificate was not issued by the next
            one (name and signature).
    """
    bundle = CertificateBundle(key_pem, tuple(chain_der))
    if not bundle.chain_der:
        raise CertmgrError(
            "There is no certificate to deploy", "the chain is empty", _NOTHING_WRITTEN
        )
    for certificate in bundle.chain:
        # A server must not get a certificate that its TLS library may refuse.
        if certificate.parsed is None:
            raise CertmgrError(
                "A certificate of the chain cannot be read",
                "; ".join(certificate.problems)[:300],
                _NOTHING_WRITTEN,
            )
    for child, issuer in zip(bundle.chain, bundle.chain[1:], strict=False):
        # Some clients do not reorder a chain, so each certificate must certify the one before it.
        if not issued_by(child, issuer):
            raise CertmgrError(
                "The chain is not valid",
                f"'{child.subject}' was not issued by '{issuer.subject}'",
                _NOTHING_WRITTEN,
            )
    # With a pair that does not match, nginx refuses the reload, and Apache ends at it.
    if key_pem is not None and not _key_matches(key_pem, bundle.leaf):
        raise CertmgrError(
            "The private key does not belong to the certificate",
            bundle.leaf.subject or bundle.sha256,
            _NOTHING_WRITTEN,
        )
    return bundle


def _key_matches(key_pem: bytes, leaf: Certificate) -> bool:
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        key = load_pem(key_pem)
        assert leaf.parsed is not None
        # The encoded public keys are compared, because keys of one type have no common interface.
        mine: bytes = key.public_key().public_bytes(*encoding)
        return mine == leaf.parsed.public_key().public_bytes(*encoding)
    except PARSE_ERRORS:
        raise CertmgrError(
            "The private key cannot be read",
            "it is damaged, encrypted, or of another format",
            "It must be unencrypted PEM. " + _NOTHING_WRITTEN,
        ) from None


def from_files(files: dict[str, bytes]) -> CertificateBundle:
    """Return the bundle of a set of files, the inverse of :attr:`CertificateBundle.files`.

    Raises:
        CertmgrError: The files do not belong together.
    """
    try:
        chain = [c.der for c in from_pem(files["fullchain.pem"])]
    except (KeyError, ValueError):
        raise CertmgrError(
            "fullchain.pem holds no certificate",
            "",
            "It was changed manually: issue or store the certificate again.",
        ) from None
    bundle = build_bundle(files.get("privkey.pem"), chain)
    # An edited chain.pem would be served without being noticed by a check of fullchain.pem alone.
    if mismatched := sorted(
        n for n in {*bundle.files, *files} if bundle.files.get(n) != files.get(n)
    ):
        raise CertmgrError(
            f"{', '.join(mismatched)} and fullchain.pem do not belong together",
            "",
            "They were changed manually: store the version again.",
        )
    return bundle
