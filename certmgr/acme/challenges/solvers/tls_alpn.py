"""tls-alpn-01 by a separate server on port 443 (RFC 8737, and RFC 8738 for addresses).

This module performs I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from certmgr.acme.challenges.interface import (
    TLS_ALPN_01,
    ChallengeProof,
    Leftover,
    Solver,
    SolverKind,
    SolverTools,
)
from certmgr.acme.challenges.listener import MAX_BYTES, ChallengeListener, listening_errors
from certmgr.config.acme import SolverSettings
from certmgr.x509.csr import general_names
from inventory.clock import Clock
from inventory.names import as_ip

_log = logging.getLogger(__name__)

ALPN = b"acme-tls/1"
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"
_READ = 4096


def sni(name: str) -> str:
    """Return the server name that the CA sends (for an address: its reverse name, RFC 8738 6)."""
    address = as_ip(name)
    return name if address is None else address.reverse_pointer


def context_for(proof: ChallengeProof, now: datetime) -> SSL.Context:
    """Return an OpenSSL context with the response certificate (RFC 8737 3).

    It is self-signed and has the digest of the key authorization as a critical extension.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashlib.sha256(proof.key_authorization.encode()).digest()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Dates that the clock of the CA surely accepts. The certificate is never trusted for
        # anything else.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName(general_names([proof.name])), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier(ACME_IDENTIFIER), b"\x04\x20" + digest
            ),
            # RFC 8737 3: critical, so that no other client accepts this certificate for a site.
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    context = _new_context()
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


class _OtherProtocol(Exception):
    """A client does not offer the protocol of the challenge."""


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # A visitor of the site must fail, and not see this certificate. The library's own value for
    # "no overlap" would complete the handshake; an exception sends the alert of RFC 7301 3.2.
    if ALPN not in offered:
        raise _OtherProtocol
    return ALPN


def _new_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    # RFC 8737 4: servers must not negotiate a version below TLS 1.2.
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # The handshake is all: resumption would only keep the state of strangers in memory.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_alpn_select_callback(_select_protocol)
    return context


class TlsAlpn:
    """The tls-alpn-01 solver that listens while there are answers. Parallel orders share it."""

    challenge = "tls-alpn-01"
    persistent = False

    def __init__(self, address: str, port: int, clock: Clock) -> None:
        self._clock = clock
        self.address, self.port = address or "::", port or 443
        self._lock = threading.Lock()
        self._contexts: dict[str, SSL.Context] = {}
        self._names: dict[str, threading.Lock] = {}
        self._held: dict[int, list[threading.Lock]] = {}
        self._listener: ChallengeListener | None = None
        # Without a server name, or with one that has no answer, no certificate is presented.
        self._base = _new_context()
        self._base.set_tlsext_servername_callback(self._choose)

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Add the answers, and start the server with the first one.

        It waits while another order has an answer for the same name.
        """
        _log.info("answering tls-alpn-01 for %s", ", ".join(p.name for p in proofs))
        contexts = {sni(p.name): context_for(p, self._clock()) for p in proofs}
        locks = []
        # A name has one certificate at a time. The names are sorted so that two orders with the
        # same names cannot block each other.
        for name in sorted(contexts):
            with self._lock:
                lock = self._names.setdefault(name, threading.Lock())
            lock.acquire()
            locks.append(lock)
        self._held[threading.get_ident()] = locks
        todo = (
            "tls-alpn-01 needs the port for itself. If a web server uses it, use http-01 or dns-01."
        )
        with self._lock:
            if self._listener is None:
                with listening_errors(self.port, todo):
                    self._listener = ChallengeListener(self.address, self.port, self._serve)
            # A new dictionary: the thread of the listener reads it without the lock.
            self._contexts = {**self._contexts, **contexts}

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove the answers of this thread, and stop the server after the last one."""
        locks = self._held.pop(threading.get_ident(), None)
        # Without locks the answers for these names belong to another order.
        if locks is None:
            return ()
        try:
            self._remove(proofs)
        finally:
            for lock in locks:
                lock.release()
        return ()

    def _remove(self, proofs: Sequence[ChallengeProof]) -> None:
        with self._lock:
            removed = {sni(p.name) for p in proofs}
            self._contexts = {n: c for n, c in self._contexts.items() if n not in removed}
            if not self._contexts and self._listener is not None:
                listener, self._listener = self._listener, None
                listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Complete one handshake, from which the CA reads the certificate, and end."""
        tls = SSL.Connection(self._base, None)
        tls.set_accept_state()
        received = 0
        while True:
            try:
                tls.do_handshake()
                # RFC 8737 3: nothing but the handshake is exchanged.
                tls.shutdown()
                return await _send(tls, writer)
            except SSL.WantReadError:
                await _send(tls, writer)
            except (SSL.Error, _OtherProtocol):
                # Sent as well: the alert gives the reason, such as a name without an answer.
                return await _send(tls, writer)
            data = await reader.read(_READ)
            received += len(data)
            if not data or received > MAX_BYTES:
                return None
            tls.bio_write(data)

    def _choose(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        context = self._contexts.get(name.decode("ascii", "replace").lower()) if name else None
        if context is not None:
            connection.set_context(context)


async def _send(tls: SSL.Connection, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(SSL.WantReadError):
        while True:
            writer.write(tls.bio_read(_READ))
    await writer.drain()


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return TlsAlpn(settings.address, settings.port, tools.clock)


SOLVER = SolverKind(name="tls-alpn", challenges=(TLS_ALPN_01,), make=_make, summary="port 443 free")
