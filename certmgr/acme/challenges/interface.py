"""What every way of showing control has in common. Pure."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inventory.errors import CertmgrError
from inventory.text import printable

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")  # RFC 8555 8.1: base64url; it becomes a file name
WELL_KNOWN = "/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class ChallengeProof:
    """One challenge that is to be answered.

    ``name``: the identifier, without ``*.``. ``token``: checked to be base64url.
    ``key_authorization``: RFC 8555 8.1.
    """

    name: str
    token: str
    key_authorization: str

    @property
    def txt(self) -> str:
        """The value of the TXT record (RFC 8555 8.4)."""
        digest = hashlib.sha256(self.key_authorization.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def record(self) -> str:
        return f"_acme-challenge.{self.name}"


def proof(name: str, token: object, thumbprint: str) -> ChallengeProof:
    """Raises :class:`CertmgrError` for a token that is none: it would become a path."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CertmgrError(
            "The CA sent a token that is none",
            f"'{printable(str(token), 80)}' is not base64url",
            "Nothing was written; tell the CA.",
        )
    return ChallengeProof(name, token, f"{token}.{thumbprint}")


class Solver(Protocol):
    """``challenge``: http-01, dns-01 or tls-alpn-01.

    Calls raise :class:`CertmgrError`; several threads call at the same time.
    """

    challenge: str

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Afterwards the CA can look, or as far as anybody can tell."""

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        """Takes back what :meth:`present` did, or as much of it as was done.

        Does not raise for what is not there.
        """
