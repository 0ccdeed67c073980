"""The connection settings of a CA, and the HTTP client that they make."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from certmgr.acme.protocol.problems import AcmeError, AcmeProblem
from certmgr.net.addresses import Network
from certmgr.net.http_client import HttpClient, HttpLimits, anchor_text, public_trust
from certmgr.net.http_stream import AddressPolicy
from inventory.errors import CertmgrError
from inventory.text import printable

# A chain for 100 names has about 20 KB.
MAX_RESPONSE = 1_000_000
# For the whole exchange: a CA that sends a byte at a time must not hold an order and its lock.
TOTAL_SECONDS = 60.0
# A CA that moves its directory or its nonces redirects once, perhaps through a balancer.
MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class CaConnection:
    """The connection settings of a CA.

    Attributes:
        ca_file: PEM file that verifies its TLS certificate; empty for the public roots.
        internal: Whether its URLs may lead to internal addresses.
        allowed: Networks that may be reached although they are internal.
        at_once: The maximum number of parallel connections.
    """

    ca_file: str = ""
    internal: bool = False
    allowed: tuple[Network, ...] = ()
    at_once: int = 16


def http_client(connection: CaConnection) -> HttpClient:
    """Return the client for requests to a CA. It opens no connection.

    Raises:
        AcmeError: The file with the roots of the CA cannot be used.
    """
    return HttpClient(
        # A CA's answer names further URLs: without this it could reach internal hosts.
        policy=AddressPolicy(tuple(connection.allowed), connection.internal),
        limits=HttpLimits(TOTAL_SECONDS, MAX_RESPONSE, MAX_REDIRECTS),
        trust=_trust(connection.ca_file),
        connections=connection.at_once,
    )


def _trust(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context with the roots of a PEM file; with the public ones if there is none."""
    if not ca_file:
        return public_trust()
    try:
        return ssl.create_default_context(cadata=anchor_text(Path(ca_file)))
    except (CertmgrError, ssl.SSLError):
        raise AcmeError(
            "The CA cannot be contacted",
            AcmeProblem(
                "unreachable",
                f"its file {printable(ca_file, 200)} cannot be read, or has no certificate",
            ),
            "Correct ca_file of [acme.ca.NAME].",
        ) from None
