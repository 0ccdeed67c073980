"""One key with its chain, as it is placed: the files that are made of it, and the checks before it
may be. Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from inventory.certificates import PARSE_ERRORS, Certificate, from_pem, issued_by, parse
from inventory.errors import CertmgrError

FILES = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem")
_AGAIN = "Nothing was written; the version before is in use as it was."


@dataclass(frozen=True)
class CertificateBundle:
    """``key_pem``: unencrypted, None where the client has the key.

    ``chain_der``: leaf first. Made by :func:`checked`, so that its parts belong together.
    """

    key_pem: bytes | None = field(repr=False)
    chain_der: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def chain(self) -> tuple[Certificate, ...]:
        return tuple(parse(der) for der in self.chain_der)

    @property
    def leaf(self) -> Certificate:
        return self.chain[0]

    @property
    def sha256(self) -> str:
        """Of the leaf."""
        return self.leaf.sha256

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Name -> content.

        Without a key there are no privkey.pem and combined.pem. combined.pem: key and full chain,
        as HAProxy reads it.
        """
        pem = [_pem(der) for der in self.chain_der]
        full = b"".join(pem)
        made = {"cert.pem": pem[0], "chain.pem": b"".join(pem[1:]), "fullchain.pem": full}
        if self.key_pem is not None:
            key = self.key_pem.rstrip() + b"\n"
            made |= {"privkey.pem": key, "combined.pem": key + full}
        return made


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".encode()


def checked(key_pem: bytes | None, chain_der: Sequence[bytes]) -> CertificateBundle:
    """Raises :class:`CertmgrError` unless the key is the leaf's and each certificate was issued by
    the next one (name and signature).
    """
    made = CertificateBundle(key_pem, tuple(chain_der))
    if not made.chain_der:
        raise CertmgrError("There is no certificate to place", "the chain is empty", _AGAIN)
    for certificate in made.chain:
        if certificate.parsed is None:
            raise CertmgrError(
                "A certificate of the chain cannot be read",
                "; ".join(certificate.problems)[:300],
                _AGAIN,
            )
    for child, issuer in zip(made.chain, made.chain[1:], strict=False):
        if not issued_by(child, issuer):
            raise CertmgrError(
                "The chain does not hold",
                f"'{child.subject}' was not issued by '{issuer.subject}'",
                _AGAIN,
            )
    if key_pem is not None and not _belong(key_pem, made.leaf):
        raise CertmgrError(
            "The private key is not that of the certificate",
            made.leaf.subject or made.sha256,
            _AGAIN,
        )
    return made


def _belong(key_pem: bytes, leaf: Certificate) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        key = load_pem_private_key(key_pem, None)
        assert leaf.parsed is not None
        return key.public_key().public_bytes(*form) == leaf.parsed.public_key().public_bytes(*form)
    except PARSE_ERRORS as error:
        raise CertmgrError(
            "The private key cannot be read",
            type(error).__name__,
            "It has to be unencrypted PEM. " + _AGAIN,
        ) from None


def from_files(files: dict[str, bytes]) -> CertificateBundle:
    """The inverse of ``files``; every file has to say the same. Raises :class:`CertmgrError`."""
    try:
        chain = [c.der for c in from_pem(files["fullchain.pem"])]
    except (KeyError, ValueError):
        raise CertmgrError(
            "fullchain.pem holds no certificate",
            "",
            "It was changed by hand: issue or store it again.",
        ) from None
    made = checked(files.get("privkey.pem"), chain)
    if wrong := sorted(n for n in {*made.files, *files} if made.files.get(n) != files.get(n)):
        raise CertmgrError(
            f"{', '.join(wrong)} and fullchain.pem do not belong together",
            "",
            "They were changed by hand: store the version again.",
        )
    return made
