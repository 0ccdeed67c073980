"""tls-alpn-01 by a separate server on port 443 (RFC 8737, and RFC 8738 for addresses).

This module performs I/O.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.x509.csr import general_names
from inventory.clock import Clock
from inventory.errors import CertmgrError
from inventory.names import as_ip

_log = logging.getLogger(__name__)

ALPN = b"acme-tls/1"
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"
MAX_CONNECTIONS = 64


def sni(name: str) -> str:
    """Return the server name that the CA sends (for an address: its reverse name, RFC 8738 6)."""
    address = as_ip(name)
    return name if address is None else address.reverse_pointer


def context_for(proof: ChallengeProof, now: datetime) -> Any:
    """Return an OpenSSL context with the response certificate (RFC 8737 3).

    It is self-signed and has the digest of the key authorization as a critical extension.
    """
    from OpenSSL import SSL

    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashlib.sha256(proof.key_authorization.encode()).digest()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName(general_names([proof.name])), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier(ACME_IDENTIFIER), b"\x04\x20" + digest
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_alpn_select_callback(
        lambda _connection, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    return context


class TlsAlpn:
    """The tls-alpn-01 solver that listens while there are answers. Parallel orders share it."""

    challenge = "tls-alpn-01"
    persistent = False

    def __init__(self, address: str, port: int, clock: Clock) -> None:
        self._clock = clock
        self.address, self.port = address or "::", port or 443
        self._lock = threading.Lock()
        self._contexts: dict[str, Any] = {}
        self._names: dict[str, threading.Lock] = {}
        self._held: dict[int, list[threading.Lock]] = {}
        self._socket: socket.socket | None = None
        self._limit = threading.BoundedSemaphore(MAX_CONNECTIONS)

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
        with self._lock:
            if self._socket is None:
                self._socket = self._listen()
                threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()
            self._contexts |= contexts

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        """Remove the answers of this thread, and stop the server after the last one."""
        locks = self._held.pop(threading.get_ident(), None)
        # Without locks the answers for these names belong to another order.
        if locks is None:
            return
        try:
            self._remove(proofs)
        finally:
            for lock in locks:
                lock.release()

    def _remove(self, proofs: Sequence[ChallengeProof]) -> None:
        with self._lock:
            for proof in proofs:
                self._contexts.pop(sni(proof.name), None)
            if not self._contexts and self._socket is not None:
                listening, self._socket = self._socket, None
                with contextlib.suppress(OSError):
                    listening.shutdown(socket.SHUT_RDWR)
                listening.close()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        try:
            return socket.create_server(
                (self.address, self.port),
                family=family,
                backlog=128,
                dualstack_ipv6=self.address == "::" and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            raise CertmgrError(
                f"The solver cannot listen on port {self.port} for the challenge",
                error.strerror or str(error),
                "tls-alpn-01 needs the port for itself. If a web server uses it, use http-01 or"
                " dns-01.",
            ) from None

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if not self._limit.acquire(blocking=False):
                # Too many connections from other clients; the CA retries.
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        from OpenSSL import SSL

        try:
            raw.settimeout(10)
            base = SSL.Context(SSL.TLS_SERVER_METHOD)

            def choose(connection: Any) -> None:
                name = connection.get_servername()
                context = (
                    self._contexts.get(name.decode("ascii", "replace").lower()) if name else None
                )
                if context is not None:
                    connection.set_context(context)

            base.set_tlsext_servername_callback(choose)
            base.set_alpn_select_callback(
                lambda _connection, offered: (
                    ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
                )
            )
            connection = SSL.Connection(base, raw)
            connection.set_accept_state()
            # A blocking handshake, limited to ten seconds by the socket option.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x0a" + b"\0" * 15)
            raw.setblocking(True)
            connection.do_handshake()
            connection.shutdown()
        except (SSL.Error, OSError, ValueError):
            pass  # another client, or the CA closed the connection after the certificate
        finally:
            self._limit.release()
            raw.close()
