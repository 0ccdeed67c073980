"""The interface of the solvers for domain control validation. Pure."""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from certmgr.config.acme import SolverSettings
from inventory.clock import Clock
from inventory.errors import CertmgrError
from inventory.text import printable

# Types only: every command that reads the configuration loads this module.
if TYPE_CHECKING:
    from certmgr.acme.challenges.persist import PersistRecord
    from certmgr.net.dns import DnsClient

# RFC 8555 8.1: base64url. The token becomes a file name.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
HTTP_01, TLS_ALPN_01 = "http-01", "tls-alpn-01"
# The challenges of which a solver answers both: the CA decides which of the two it offers.
DNS_01, DNS_ACCOUNT_01 = "dns-01", "dns-account-01"
WELL_KNOWN = "/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class ChallengeProof:
    """The answer to one challenge.

    Attributes:
        name: The identifier, without ``*.``.
        token: The token, verified to be base64url.
        key_authorization: The key authorization (RFC 8555 8.1).
        persist: The expected record of dns-persist-01, which has neither token nor authorization.
        location: Where a dns-01 record is set, after CNAMEs; empty before it is determined.
        account_label: The label of the account in the name of the record, of dns-account-01; empty
            for dns-01.
    """

    name: str
    token: str
    key_authorization: str
    persist: PersistRecord | None = None
    location: str = ""
    account_label: str = ""

    @property
    def txt(self) -> str:
        """The value of the TXT record (RFC 8555 8.4)."""
        # RFC 8555 8.4: the record has the digest, so that its length does not depend on the token.
        digest = hashlib.sha256(self.key_authorization.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def record(self) -> str:
        """The name of the TXT record."""
        # RFC 8555 8.4. A wildcard is validated at its bare name, next to the record of that name.
        name = f"_acme-challenge.{self.name}"
        return f"{self.account_label}.{name}" if self.account_label else name


def account_label(account_url: str) -> str:
    """Return the label of an account in the record of dns-account-01.

    It is "_" and the first ten bytes of the SHA-256 of the account's URL in base32
    (draft-ietf-acme-dns-account-label, section 3).
    """
    digest = hashlib.sha256(account_url.encode()).digest()[:10]
    return f"_{b32encode(digest).decode().lower()}"


@dataclass(frozen=True, slots=True)
class Leftover:
    """An answer that may still be published, because it could not be removed.

    Attributes:
        proof: The answer.
        what: What is left, such as the record with its value.
        reason: Why it could not be removed.
        remedy: How an administrator removes it.
    """

    proof: ChallengeProof
    what: str
    reason: str
    remedy: str


def challenge_proof(name: str, token: object, thumbprint: str) -> ChallengeProof:
    """Return the answer to a challenge.

    Args:
        name: The identifier, without ``*.``.
        token: The token of the CA.
        thumbprint: The thumbprint of the account key (RFC 7638).

    Raises:
        CertmgrError: The token is not base64url. It would become part of a path.
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CertmgrError(
            "The CA sent an invalid token",
            f"'{printable(str(token), 80)}' is not base64url",
            "Nothing was written. Report this fault to the CA.",
        )
    return ChallengeProof(name, token, f"{token}.{thumbprint}")


class NotPublished(CertmgrError):
    """The answers are set, and a server that the CA may ask does not have them yet.

    They stay set: a later run finds them published.
    """


class Solver(Protocol):
    """Answers challenges. Several threads may call it at the same time.

    Attributes:
        challenge: The challenge type: http-01, dns-01, tls-alpn-01 or dns-persist-01.
        persistent: Whether the answers stay published after the process ends.
    """

    challenge: str
    persistent: bool

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        """Return the answers with the place at which :meth:`present` will publish them.

        The caller records it first: a CNAME that changes before :meth:`clean` would hide it.

        Raises:
            CertmgrError: The place cannot be determined.
        """

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Publish the answers, so that the CA can validate them.

        Raises:
            NotPublished: The answers are set, and are not published everywhere within the time.
            CertmgrError: An answer cannot be published.
        """

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove the answers, also those of an incomplete :meth:`present`.

        Missing answers are not an error.

        Returns:
            The answers that may still be published.
        """


@dataclass(frozen=True, slots=True)
class SolverTools:
    """What a solver may need besides its settings.

    Attributes:
        create_dns_client: Return a new DNS client with an empty cache.
        clock: The current time, for the certificates of tls-alpn-01 and for persistUntil.
    """

    create_dns_client: Callable[[], DnsClient]
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverKind:
    """A kind of [acme.solver.NAME].

    Attributes:
        name: The value of ``kind``.
        challenges: The challenge types that it can answer. If there are several, ``challenge`` of
            the settings selects one.
        make: Creates a solver.
        needs: The keys of the settings that it requires.
        snippet: Returns the configuration for a web server, nginx or apache, that exposes the
            answers; empty if these settings need none. Pure.
        summary: What it needs, for docs/acme.md.
    """

    name: str
    challenges: tuple[str, ...]
    make: Callable[[SolverSettings, SolverTools], Solver]
    summary: str
    needs: tuple[str, ...] = ()
    snippet: Callable[[SolverSettings, str], str] | None = None
