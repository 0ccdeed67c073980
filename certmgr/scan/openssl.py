"""TLS through pyOpenSSL over memory BIOs.

Only this module and tls_offers.py use pyOpenSSL's private ``_lib``. pyOpenSSL has no public call
for these:

- group and signature-algorithm lists
- numeric error codes: reasons are derived from numbers, never from the text of a message
- the served chain as raw DER: one malformed certificate must not hide the others
- the request for a client certificate
- the Certificate message of a failed handshake
"""

from __future__ import annotations

import threading
from typing import Any

from OpenSSL import SSL

from certmgr.scan import tls_offers
from certmgr.scan.openssl_names import GROUP_NAMES
from certmgr.scan.record_headers import RecordHeaders
from certmgr.scan.server_hello import ServerHelloReader

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

MAX_FLIGHT = 65_536

# OpenSSL reason codes of the SSL library (ERR_LIB_SSL, 20). A received TLS alert N is reason
# 1000 + N.
_LIB_SSL = 20
_TOO_LARGE = frozenset({152})  # SSL_R_EXCESSIVE_MESSAGE_SIZE
_NOT_TLS = frozenset(
    {155, 156, 252, 267}
)  # proxy request, HTTP request, unknown protocol, wrong version number
_MALFORMED_LIBS = frozenset(
    {4, 6, 8, 11, 13, 16}
)  # RSA, EVP, OBJ, X509, ASN1, EC: raised while a certificate is read
# The same libraries verify the key exchange. Bad DH value, bad key share, bad signature (the key of
# the server does not belong to its certificate, for example), bad EC point.
_BAD_KEY_EXCHANGE = frozenset({102, 108, 123, 306})
_UNSOLICITED_EXTENSION = 217
_UNEXPECTED_RECORD = 245
# It parses a stapled OCSP response. A failure of that has the number of the alert that it sends,
# which is also the number of the alert when a server sends it.
_BAD_STAPLE = 1113
# An empty record of a handshake or an alert in TLS 1.3 (RFC 8446 5.1).
_BAD_LENGTH = 271

DONE, WANT, FAILED = 0, 1, 2


class Handshake:
    """One TLS handshake over memory: bytes in, bytes out. The caller owns the socket."""

    __slots__ = (
        "_headers",
        "_hello",
        "_in",
        "_key",
        "_out",
        "_ssl",
        "connection",
        "error",
        "error_codes",
        "flights",
        "late",
    )

    def __init__(
        self,
        profile: str,
        alpn: tuple[bytes, ...],
        server_name: str | None,
        *,
        staple: bool = True,
        as_browser: bool = False,
    ) -> None:
        """Prepare a handshake.

        Args:
            profile: The offer; see :func:`certmgr.scan.tls_offers.context`.
            alpn: The protocols to offer.
            server_name: The name for SNI; None sends no SNI.
            staple: Whether to ask for a stapled OCSP response.
            as_browser: Whether to refuse a ServerHello and records that browsers refuse.
        """
        self.connection = SSL.Connection(tls_offers.context(profile, alpn))
        self._ssl = self.connection._ssl
        self._in, self._out = self.connection._into_ssl, self.connection._from_ssl
        if server_name is not None:
            self.connection.set_tlsext_host_name(server_name.encode("ascii"))
        # Browsers ask for a staple, and a server sends none without that (RFC 6066 8).
        if staple:
            self.connection.request_ocsp()
        self.connection.set_connect_state()
        self._key = tls_offers.address(self._ssl)
        self.error_codes: tuple[tuple[int, int], ...] = ()
        self.error = ""
        self.flights = 0
        # Whether the server had accepted the offer before the handshake failed: with a
        # HelloRetryRequest, or with its certificate.
        self.late = False
        self._hello = ServerHelloReader()
        self._hello.done = not as_browser
        self._headers = RecordHeaders() if as_browser else None

    def feed(self, data: bytes) -> None:
        """Pass received bytes to OpenSSL."""
        if not self._hello.done:
            data = self._hello.feed(data)
        if self._headers is not None:
            data = b"" if self._headers.problem else self._headers.feed(data)
        if data:
            _lib.BIO_write(self._in, data, len(data))

    def step(self) -> int:
        """Continue as far as the received bytes allow.

        Returns:
            DONE, WANT (more bytes are needed), or FAILED (see :attr:`error_codes`).
        """
        if self._hello.problem:
            self.error_codes = ((_LIB_SSL, _UNSOLICITED_EXTENSION),)
            self.error = self._hello.problem
            return FAILED
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            if self._headers is not None:
                self._headers.established = _lib.SSL_version(self._ssl)
            return DONE
        if _lib.SSL_get_error(self._ssl, result) in (
            2,
            3,
        ):  # SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
            return FAILED if self._refused_record() else WANT
        return self._failed()

    def _refused_record(self) -> bool:
        """Return whether a browser refuses the next record, and record that as the error."""
        if self._headers is None or not self._headers.problem:
            return False
        self.error_codes = ((_LIB_SSL, _UNEXPECTED_RECORD),)
        self.error = self._headers.problem
        return True

    def _failed(self) -> int:
        codes, texts = [], []
        # The queue belongs to the thread. An error that stays in it would count for the next
        # handshake.
        while code := _lib.ERR_get_error():
            codes.append(((code >> 23) & 0xFF, code & 0x7FFFFF))
            reason = _lib.ERR_reason_error_string(code)
            texts.append(
                _ffi.string(reason).decode("ascii", "replace")
                if reason != _ffi.NULL
                else f"error {code:#x}"
            )
        self.error_codes, self.error = tuple(codes), "; ".join(texts[:3])
        # The own alert about the failure is not sent yet, so it is not counted.
        self.late = self.flights > 1 or bool(self.chain())
        return FAILED

    def outgoing(self) -> bytes:
        """Return the bytes to send; empty if there are none."""
        buffer = _scratch.buffer
        size = _lib.BIO_read(self._out, buffer, MAX_FLIGHT)
        if size <= 0:
            return b""
        data = bytes(_ffi.buffer(buffer, size))
        if not self.flights:
            self._hello.session = data[44 : 44 + data[43]]
        self.flights += 1
        return data

    def read_after(self) -> int:
        """Read what a TLS 1.3 server sends after the handshake.

        Returns:
            DONE for application data, WANT for nothing yet, FAILED for an alert
                (certificate_required).
        """
        result = _lib.SSL_read(self._ssl, _scratch.buffer, 1024)
        if result > 0 or _lib.SSL_get_error(self._ssl, result) in (2, 3):
            return DONE if result > 0 else WANT
        return self._failed()

    def write(self, data: bytes) -> None:
        """Encrypt application data to send. Call it only after DONE."""
        _lib.SSL_write(self._ssl, data, len(data))

    def read(self) -> tuple[bytes, bool]:
        """Return the received application data, and whether the connection has ended or failed."""
        parts: list[bytes] = []
        buffer = _scratch.buffer
        while True:
            size = _lib.SSL_read(self._ssl, buffer, MAX_FLIGHT)
            if size <= 0:
                ended = _lib.SSL_get_error(self._ssl, size) not in (2, 3)
                if ended:
                    self._failed()
                return b"".join(parts), ended or self._refused_record()
            parts.append(bytes(_ffi.buffer(buffer, size)))

    @property
    def alert(self) -> int | None:
        """The number of the alert that the server sent (RFC 8446 6)."""
        if self.unreadable_staple:
            return None
        for lib, reason in self.error_codes:
            if lib == _LIB_SSL and 1000 <= reason < 1256:
                return reason - 1000
        return None

    @property
    def unreadable_staple(self) -> bool:
        """Whether OpenSSL refused the stapled OCSP response, which browsers ignore."""
        return len(self.error_codes) > 1 and (_LIB_SSL, _BAD_STAPLE) in self.error_codes

    @property
    def empty_record(self) -> bool:
        """Whether OpenSSL refused an empty record, which Chrome ignores in a handshake."""
        return (_LIB_SSL, _BAD_LENGTH) in self.error_codes

    @property
    def too_large(self) -> bool:
        """Whether OpenSSL refused a message because of its size."""
        return any(lib == _LIB_SSL and reason in _TOO_LARGE for lib, reason in self.error_codes)

    @property
    def not_tls(self) -> bool:
        """Whether the server answered in another protocol."""
        return any(lib == _LIB_SSL and reason in _NOT_TLS for lib, reason in self.error_codes)

    @property
    def malformed(self) -> bool:
        """Whether OpenSSL could not parse a certificate."""
        exchange = any(c == _LIB_SSL and r in _BAD_KEY_EXCHANGE for c, r in self.error_codes)
        return not exchange and any(lib in _MALFORMED_LIBS for lib, _ in self.error_codes)

    def chain(self) -> tuple[bytes, ...]:
        """Return the served chain as raw DER, leaf first.

        A failed handshake also has a chain if its Certificate message was read.
        """
        stack = _lib.SSL_get_peer_cert_chain(self._ssl)
        if stack == _ffi.NULL:
            version, message = tls_offers.certificate_messages.get(self._key, (0, b""))
            return split_certificate_message(message, version == 0x0304) if message else ()
        return tuple(_der(_lib.sk_X509_value(stack, i)) for i in range(_lib.sk_X509_num(stack)))

    def negotiated(self) -> tuple[str, str | None, str | None, str | None]:
        """Return the TLS version, cipher suite, group and ALPN protocol."""
        connection = self.connection
        alpn = connection.get_alpn_proto_negotiated()
        group = connection.get_group_name()
        return (
            connection.get_protocol_version_name(),
            connection.get_cipher_name(),
            GROUP_NAMES.get(group or "", group),
            (alpn.decode("ascii", "replace") if alpn else None),
        )

    def ocsp(self) -> bytes | None:
        """Return the stapled OCSP response; None if there is none or if it is larger than 64 KB."""
        pointer = _scratch.pointer
        size = _lib.SSL_get_tlsext_status_ocsp_resp(self._ssl, pointer)
        return bytes(_ffi.buffer(pointer[0], size)) if 0 < size <= 65_536 else None

    def client_certificate_asked(self) -> bool:
        """Return whether the server requested a client certificate."""
        return self._key in tls_offers.client_certificate_asked

    def signature(self) -> str | None:
        """Return the signature scheme of the server; None unless the profile records it."""
        return tls_offers.signatures.get(self._key)

    def close(self) -> None:
        """Forget what the callbacks recorded."""
        tls_offers.forget(self._key)


class _Scratch(threading.local):
    """Memory that calls of OpenSSL write to, before the bytes are copied out.

    Each thread has its own: a call releases the GIL, so with shared memory the bytes of one
    handshake would be sent to the server of another, or be read as its certificate.
    """

    def __init__(self) -> None:
        self.buffer = _ffi.new("char[]", MAX_FLIGHT)
        self.pointer = _ffi.new("unsigned char **")
        self.bio = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)


_scratch = _Scratch()


def _der(certificate: Any) -> bytes:
    bio, buffer = _scratch.bio, _scratch.buffer
    _lib.i2d_X509_bio(bio, certificate)
    parts = []
    while (size := _lib.BIO_read(bio, buffer, MAX_FLIGHT)) > 0:
        parts.append(bytes(_ffi.buffer(buffer, size)))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def split_certificate_message(message: bytes, tls13: bool) -> tuple[bytes, ...]:
    """Return the certificates of a Certificate handshake message, as far as its lengths are valid.

    See RFC 5246 7.4.2 and, for ``tls13``, RFC 8446 4.4.2.
    """
    position = 4
    if tls13:
        # TLS 1.3 puts the certificate request context before the list.
        position += 1 + message[position] if len(message) > position else 1
    end = min(len(message), position + 3 + int.from_bytes(message[position : position + 3], "big"))
    position += 3
    certificates: list[bytes] = []
    # The lengths come from the server. A browser needs a few certificates, so 400 are more than any
    # path has.
    while position + 3 <= end and len(certificates) < 400:
        size = int.from_bytes(message[position : position + 3], "big")
        if size == 0 or position + 3 + size > end:
            break
        certificates.append(message[position + 3 : position + 3 + size])
        position += 3 + size
        if tls13:
            # In TLS 1.3 extensions follow each certificate.
            position += 2 + int.from_bytes(message[position : position + 2], "big")
    return tuple(certificates)
