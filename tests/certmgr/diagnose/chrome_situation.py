"""What a situation is that Chromium and certmgr both judge, and the error pages of Chromium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from certmgr.demo.servers import ConnectionHandler, respond_with
from inventory.clock import system_clock
from tests.certmgr.odd_chains import (
    Ca,
    names,
)

HOST = "shop.example.test"
TLS12 = SSL.TLS1_2_VERSION
SAN = names(HOST)
KEY_USAGE = "ERR_SSL_KEY_USAGE_INCOMPATIBLE"
MISMATCH = "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"
BAD_FORMAT = "ERR_SSL_SERVER_CERT_BAD_FORMAT"
PROTOCOL = "ERR_SSL_PROTOCOL_ERROR"
CLIENT = "ERR_BAD_SSL_CLIENT_AUTH_CERT"
INVALID = "ERR_CERT_INVALID"
AUTHORITY = "ERR_CERT_AUTHORITY_INVALID"
NAME = "ERR_CERT_COMMON_NAME_INVALID"
DATE = "ERR_CERT_DATE_INVALID"
WEAK_KEY = "ERR_CERT_WEAK_KEY"


class Authorities:
    """The CAs of the situations. Chromium and certmgr trust both roots."""

    def __init__(self) -> None:
        self.rsa_key = rsa.generate_private_key(65537, 2048)
        self.root = Ca("Root EC", system_clock)
        self.rsa_root = Ca("Root RSA", system_clock, key=rsa.generate_private_key(65537, 2048))
        self.issuer = self.root.below("Issuer EC")
        self.rsa_issuer = self.rsa_root.below("Issuer RSA", key=self.rsa_key)
        self.unknown = Ca("Unknown Root", system_clock).below("Unknown Issuer")


Build = Callable[[Authorities], ConnectionHandler]


@dataclass(frozen=True)
class Situation:
    """A site, and the error page of Chromium; an empty text if the page opens."""

    name: str
    error: str
    build: Build
    host: str = HOST


Value = TypeVar("Value")


def with_value(value: Value, build: Callable[[Authorities, Value], ConnectionHandler]) -> Build:
    """Build a server with a value of a loop."""
    return lambda authorities: build(authorities, value)


def ec_key(curve: ec.EllipticCurve) -> Any:
    return ec.generate_private_key(curve)


def alert(number: int) -> ConnectionHandler:
    return respond_with(bytes([21, 3, 3, 0, 2, 2, number]))


def close(sock: Any) -> None:
    sock.recv(65536)


def unsent(pair: tuple[Any, list[bytes]]) -> tuple[Any, list[bytes]]:
    return pair[0], pair[1][:1]
