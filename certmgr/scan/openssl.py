"""TLS through pyOpenSSL over memory BIOs.

The only module that reaches into its private ``_lib``.

What pyOpenSSL has no public call for, and is taken from ``_lib``: group and signature-algorithm
lists, numeric error codes (reasons are derived from numbers, never from the text of a message), the
served chain as raw DER (one bad certificate must not lose the others), the request for a client
certificate, and the Certificate message of a handshake that failed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from OpenSSL import SSL

from certmgr.scan.openssl_names import BROWSER_CIPHER_LIST

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

GROUPS = b"X25519:P-256:P-384:P-521"
# A browser's suites. SECLEVEL=0, so that weak keys and signatures are seen rather than refused.
BROWSER_CIPHERS = ":".join((*BROWSER_CIPHER_LIST, "@SECLEVEL=0")).encode()
MAX_FLIGHT = 65_536
MAX_CERTIFICATE_MESSAGE = 262_144

# OpenSSL reason codes of the SSL library (ERR_LIB_SSL, 20). A TLS alert N that was received is
# reason 1000 + N.
_LIB_SSL = 20
_TOO_LARGE = frozenset({152})  # SSL_R_EXCESSIVE_MESSAGE_SIZE
_NOT_TLS = frozenset(
    {155, 156, 252, 267}
)  # proxy request, HTTP request, unknown protocol, wrong version number
_MALFORMED_LIBS = frozenset(
    {4, 6, 8, 11, 13, 16}
)  # RSA, EVP, OBJ, X509, ASN1, EC: raised while a certificate is read

DONE, WANT, FAILED = 0, 1, 2

# Servers without RFC 5746 are still visited by browsers; OpenSSL 3 and later refuse them unless
# told otherwise.
_LEGACY_SERVER_CONNECT = 0x4

_client_certificate_asked: set[int] = set()
_certificate_messages: dict[int, tuple[int, bytes]] = {}


def _address(ssl: Any) -> int:
    return int(_ffi.cast("uintptr_t", ssl))


@_ffi.callback("int(SSL *, void *)")  # type: ignore[untyped-decorator, unused-ignore]
def _on_certificate_request(ssl: Any, _arg: Any) -> int:
    _client_certificate_asked.add(_address(ssl))
    return 1


_MESSAGE = "void(int, int, int, const void *, size_t, SSL *, void *)"


@_ffi.callback(_MESSAGE)  # type: ignore[untyped-decorator, unused-ignore]
def _on_message(
    writing: int, version: int, content: int, data: Any, size: int, ssl: Any, _arg: Any
) -> None:
    if not writing and content == 22 and 4 < size <= MAX_CERTIFICATE_MESSAGE:
        message = bytes(_ffi.buffer(data, size))
        if message[0] == 11:
            _certificate_messages[_address(ssl)] = (version, message)


@lru_cache(maxsize=32)
def context(profile: str, web: bool) -> SSL.Context:
    """One shared context a profile (making one costs 16 ms).

    Profiles: browser (TLS 1.2 and 1.3, a browser's suites), legacy (anything at all), tls1.0 and
    tls1.1 (only that version), rsa and ec (only certificates of that kind), forensic (legacy, and
    keeps the Certificate message of a failed handshake). ``web``: offer h2 and http/1.1 by ALPN.
    """
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    raw = made._context
    made.set_verify(SSL.VERIFY_NONE)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | _LEGACY_SERVER_CONNECT)
    _lib.SSL_CTX_set1_curves_list(raw, GROUPS)
    _lib.SSL_CTX_set_cert_cb(raw, _on_certificate_request, _ffi.NULL)
    low = {
        "tls1.0": SSL.TLS1_VERSION,
        "tls1.1": SSL.TLS1_1_VERSION,
        "legacy": SSL.TLS1_VERSION,
        "forensic": SSL.TLS1_VERSION,
    }
    high = {"tls1.0": SSL.TLS1_VERSION, "tls1.1": SSL.TLS1_1_VERSION}
    made.set_min_proto_version(low.get(profile, SSL.TLS1_2_VERSION))
    if profile in high:
        made.set_max_proto_version(high[profile])
    made.set_cipher_list(
        BROWSER_CIPHERS
        if profile in ("browser", "rsa", "ec")
        else b"ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    )
    if profile == "rsa":
        made.set_cipher_list(b"aRSA:@SECLEVEL=0")
        _lib.SSL_CTX_set1_sigalgs_list(
            raw, b"RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
        )
    elif profile == "ec":
        made.set_cipher_list(b"aECDSA:@SECLEVEL=0")
        _lib.SSL_CTX_set1_sigalgs_list(raw, b"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512")
    elif profile == "forensic":
        _lib.SSL_CTX_set_msg_callback(raw, _on_message)
    if web:
        made.set_alpn_protos([b"h2", b"http/1.1"])
    return made


class Handshake:
    """One TLS handshake over memory: bytes in, bytes out. The caller owns the socket."""

    __slots__ = ("_in", "_key", "_out", "_ssl", "connection", "error", "error_codes")

    def __init__(self, profile: str, web: bool, server_name: str | None) -> None:
        self.connection = SSL.Connection(context(profile, web))
        self._ssl = self.connection._ssl
        self._in, self._out = self.connection._into_ssl, self.connection._from_ssl
        if server_name is not None:
            self.connection.set_tlsext_host_name(server_name.encode("ascii"))
        self.connection.request_ocsp()
        self.connection.set_connect_state()
        self._key = _address(self._ssl)
        self.error_codes: tuple[tuple[int, int], ...] = ()
        self.error = ""

    def feed(self, data: bytes) -> None:
        _lib.BIO_write(self._in, data, len(data))

    def step(self) -> int:
        """Goes on as far as the bytes reach.

        DONE, WANT (more bytes), or FAILED (see :attr:`error_codes`).
        """
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            return DONE
        if _lib.SSL_get_error(self._ssl, result) in (
            2,
            3,
        ):  # SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
            return WANT
        return self._failed()

    def _failed(self) -> int:
        codes, texts = [], []
        while code := _lib.ERR_get_error():
            codes.append(((code >> 23) & 0xFF, code & 0x7FFFFF))
            reason = _lib.ERR_reason_error_string(code)
            texts.append(
                _ffi.string(reason).decode("ascii", "replace")
                if reason != _ffi.NULL
                else f"error {code:#x}"
            )
        self.error_codes, self.error = tuple(codes), "; ".join(texts[:3])
        return FAILED

    def outgoing(self) -> bytes:
        """Bytes to send; empty when there are none."""
        size = _lib.BIO_read(self._out, _buffer, MAX_FLIGHT)
        return bytes(_ffi.buffer(_buffer, size)) if size > 0 else b""

    def read_after(self) -> int:
        """Reads what a TLS 1.3 server says after the handshake: WANT, or FAILED for an alert
        (certificate_required).
        """
        result = _lib.SSL_read(self._ssl, _buffer, 1024)
        if result > 0 or _lib.SSL_get_error(self._ssl, result) in (2, 3):
            return DONE if result > 0 else WANT
        return self._failed()

    def write(self, data: bytes) -> None:
        """Application data to be sent; only after DONE."""
        _lib.SSL_write(self._ssl, data, len(data))

    def read(self) -> tuple[bytes, bool]:
        """(application data, whether the server has ended the connection or broken it) as far as
        the bytes reach.
        """
        parts: list[bytes] = []
        while True:
            size = _lib.SSL_read(self._ssl, _buffer, MAX_FLIGHT)
            if size <= 0:
                ended = _lib.SSL_get_error(self._ssl, size) not in (2, 3)
                if ended:
                    self._failed()
                return b"".join(parts), ended
            parts.append(bytes(_ffi.buffer(_buffer, size)))

    @property
    def alert(self) -> int | None:
        """The alert that the server sent, by number (RFC 8446 6)."""
        for lib, reason in self.error_codes:
            if lib == _LIB_SSL and 1000 <= reason < 1256:
                return reason - 1000
        return None

    @property
    def too_large(self) -> bool:
        return any(lib == _LIB_SSL and reason in _TOO_LARGE for lib, reason in self.error_codes)

    @property
    def not_tls(self) -> bool:
        return any(lib == _LIB_SSL and reason in _NOT_TLS for lib, reason in self.error_codes)

    @property
    def malformed(self) -> bool:
        return any(lib in _MALFORMED_LIBS for lib, _ in self.error_codes)

    def chain(self) -> tuple[bytes, ...]:
        """The served chain as raw DER, leaf first; of a failed handshake too, where its Certificate
        message was read.
        """
        stack = _lib.SSL_get_peer_cert_chain(self._ssl)
        if stack == _ffi.NULL:
            version, message = _certificate_messages.get(self._key, (0, b""))
            return split_certificate_message(message, version == 0x0304) if message else ()
        return tuple(_der(_lib.sk_X509_value(stack, i)) for i in range(_lib.sk_X509_num(stack)))

    def negotiated(self) -> tuple[str, str | None, str | None, str | None]:
        """TLS version, cipher suite, group, ALPN protocol."""
        connection = self.connection
        alpn = connection.get_alpn_proto_negotiated()
        group = connection.get_group_name()
        return (
            connection.get_protocol_version_name(),
            connection.get_cipher_name(),
            _GROUP_NAMES.get(group or "", group),
            (alpn.decode("ascii", "replace") if alpn else None),
        )

    def ocsp(self) -> bytes | None:
        size = _lib.SSL_get_tlsext_status_ocsp_resp(self._ssl, _pointer)
        return bytes(_ffi.buffer(_pointer[0], size)) if 0 < size <= 65_536 else None

    def client_certificate_asked(self) -> bool:
        return self._key in _client_certificate_asked

    def close(self) -> None:
        """Forgets what the callbacks noted; the memory of a later connection may have the same
        address.
        """
        _client_certificate_asked.discard(self._key)
        _certificate_messages.pop(self._key, None)


_GROUP_NAMES = {
    "x25519": "X25519",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}
_buffer = _ffi.new("char[]", MAX_FLIGHT)
_pointer = _ffi.new("unsigned char **")


_der_bio = _lib.BIO_new(_lib.BIO_s_mem())


def _der(certificate: Any) -> bytes:
    _lib.i2d_X509_bio(_der_bio, certificate)
    parts = []
    while (size := _lib.BIO_read(_der_bio, _buffer, MAX_FLIGHT)) > 0:
        parts.append(bytes(_ffi.buffer(_buffer, size)))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def split_certificate_message(message: bytes, tls13: bool) -> tuple[bytes, ...]:
    """The certificates of a Certificate handshake message (RFC 5246 7.4.2, RFC 8446 4.4.2), as far
    as its lengths are right.
    """
    position = 4
    if tls13:
        position += 1 + message[position] if len(message) > position else 1
    end = min(len(message), position + 3 + int.from_bytes(message[position : position + 3], "big"))
    position += 3
    found: list[bytes] = []
    while position + 3 <= end and len(found) < 400:
        size = int.from_bytes(message[position : position + 3], "big")
        if size == 0 or position + 3 + size > end:
            break
        found.append(message[position + 3 : position + 3 + size])
        position += 3 + size
        if tls13:
            position += 2 + int.from_bytes(message[position : position + 2], "big")
    return tuple(found)
