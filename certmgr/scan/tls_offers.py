"""The TLS offers (ClientHello) of a scan, as OpenSSL contexts, and what their callbacks record.

The offer ``browser`` is that of current Chrome. All others serve to find out more about a server
that a browser would not reach, or about further properties (``--deep``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from OpenSSL import SSL

from certmgr.scan.openssl_names import (
    BROWSER_CIPHER_LIST,
    BROWSER_SIGNATURES,
    BROWSER_TLS13_SUITES,
    POST_QUANTUM_GROUP,
    SIGNATURE_NAMES,
)

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

BROWSER_ALPN: tuple[bytes, ...] = (b"h2", b"http/1.1")
MAX_CERTIFICATE_MESSAGE = 262_144
# The largest group of RFC 7919. OpenSSL computes with up to 10,000 bits, for 0.8 s of CPU.
MAX_DH_BYTES = 8192 // 8

# "*" sends a key share. Chrome sends one for each of the first two groups.
_BROWSER_GROUPS = b"*X25519MLKEM768 / *X25519:P-256:P-384"
_COMPACT_GROUPS = b"X25519:P-256:P-384"
# All groups that OpenSSL knows. "?" skips a group that its build lacks.
_ALL_GROUPS = (
    b"*X25519:P-256:P-384:P-521:?X448:?X25519MLKEM768:?SecP256r1MLKEM768:?SecP384r1MLKEM1024"
    b":?brainpoolP256r1tls13:?brainpoolP384r1tls13:?brainpoolP512r1tls13:?ffdhe2048:?ffdhe3072"
    b":?ffdhe4096:?secp256k1:?secp224r1:?secp192r1:?brainpoolP256r1:?brainpoolP384r1"
)
# SECLEVEL=0: weak keys are reported instead of refused. Suites and signatures stay a browser's.
_BROWSER_CIPHERS = ":".join((*BROWSER_CIPHER_LIST, "@SECLEVEL=0")).encode()
_ALL_CIPHERS = b"ALL:COMPLEMENTOFALL:@SECLEVEL=0"
_ALL_TLS13_SUITES = ":".join(
    (*BROWSER_TLS13_SUITES, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256")
).encode()
_RSA_SIGNATURES = ":".join(s for s in BROWSER_SIGNATURES if s.startswith("rsa")).encode()
_EC_SIGNATURES = ":".join(s for s in BROWSER_SIGNATURES if s.startswith("ecdsa")).encode()

# Browsers still connect to servers without RFC 5746 (secure renegotiation). OpenSSL 3 and later
# refuse them unless this option is set.
_LEGACY_SERVER_CONNECT = 1 << 2
# Chrome offers no encrypt-then-MAC (RFC 7366).
_NO_ENCRYPT_THEN_MAC = 1 << 19
# Extension types for private use (RFC 8446 11), instead of the two of GREASE (RFC 8701) that
# browsers send so that servers learn to ignore unknown ones. Servers send types of GREASE too, and
# OpenSSL refuses those that the offer has, such as one in a ticket.
_EMPTY_PRIVATE, _LARGE_PRIVATE = 0xFF2A, 0xFF5A
# OpenSSL lacks some extensions of Chrome (certificate compression, ALPS, trust anchors), and its
# ECH extension costs a further key generation per handshake. Servers ignore all of these. The
# content of one private extension makes up for their size: the ClientHello has about 1,900 bytes.
_PRIVATE_CONTENT = bytes(414)

_HANDSHAKE = 22  # the content type of TLS records
_CERTIFICATE, _SERVER_KEY_EXCHANGE, _CERTIFICATE_VERIFY = 11, 12, 15  # RFC 8446 4, RFC 5246 7.4
_TLS12, _TLS13 = 0x0303, 0x0304

# Filled by callbacks, by the address of the SSL object: a callback gets no Python object.
client_certificate_asked: set[int] = set()
certificate_messages: dict[int, tuple[int, bytes]] = {}
signatures: dict[int, str] = {}


def address(ssl: Any) -> int:
    """Return the key of an SSL object in the records of the callbacks."""
    return int(_ffi.cast("uintptr_t", ssl))


def forget(key: int) -> None:
    """Forget what the callbacks recorded. A later SSL object may get the same memory address."""
    client_certificate_asked.discard(key)
    certificate_messages.pop(key, None)
    signatures.pop(key, None)


@_ffi.callback("int(SSL *, void *)")  # type: ignore[untyped-decorator, unused-ignore]
def _on_certificate_request(ssl: Any, _arg: Any) -> int:
    client_certificate_asked.add(address(ssl))
    return 1


_MESSAGE = "void(int, int, int, const void *, size_t, SSL *, void *)"


@_ffi.callback(_MESSAGE)  # type: ignore[untyped-decorator, unused-ignore]
def _on_message(
    writing: int, version: int, content: int, data: Any, size: int, ssl: Any, _arg: Any
) -> None:
    if writing or content != _HANDSHAKE or not 4 < size <= MAX_CERTIFICATE_MESSAGE:
        return
    message = bytes(_ffi.buffer(data, size))
    if large_dh(message):
        # OpenSSL computes the key after this call, unless it cannot parse the message. pyOpenSSL
        # offers no call that refuses it, so its first length is made invalid.
        _ffi.cast("unsigned char *", data)[4:6] = b"\xff\xff"
    elif message[0] == _CERTIFICATE:
        certificate_messages[address(ssl)] = (version, message)
    elif (scheme := signature_scheme(message, version)) is not None:
        signatures[address(ssl)] = SIGNATURE_NAMES.get(scheme, f"{scheme:#06x}")


def large_dh(message: bytes) -> bool:
    """Return whether a handshake message has a DHE prime that costs too much time.

    A longer one begins with a byte above 3, which is the mark of a named curve (RFC 8422 5.4).
    """
    length = int.from_bytes(message[4:6], "big")
    return message[0] == _SERVER_KEY_EXCHANGE and MAX_DH_BYTES < length <= len(message)


def signature_scheme(message: bytes, version: int) -> int | None:
    """Return the signature scheme of a handshake message; None if it has none.

    TLS 1.3 signs in CertificateVerify (RFC 8446 4.4.3), and TLS 1.2 in ServerKeyExchange
    (RFC 5246 7.4.3 and RFC 8422 5.4). Older versions name no scheme.
    """
    if message[0] == _CERTIFICATE_VERIFY and version == _TLS13:
        position = 4
    elif message[0] == _SERVER_KEY_EXCHANGE and version == _TLS12 and len(message) > 8:
        position = 4
        if message[4] == 3:  # a named curve, and the public key with one byte for its length
            position += 4 + message[7]
        else:  # p, g and the public key of DHE
            for _ in range(3):
                position += 2 + int.from_bytes(message[position : position + 2], "big")
    else:
        return None
    scheme = message[position : position + 2]
    return int.from_bytes(scheme, "big") if len(scheme) == 2 else None


_private_content = _ffi.new("unsigned char[]", _PRIVATE_CONTENT)


@_ffi.callback(  # type: ignore[untyped-decorator, unused-ignore]
    "int(SSL *, unsigned int, unsigned char **, size_t *, int *, void *)"
)
def _add_content(_ssl: Any, _type: int, out: Any, size: Any, _alert: Any, _arg: Any) -> int:
    out[0], size[0] = _private_content, len(_PRIVATE_CONTENT)
    return 1


@lru_cache(maxsize=64)
def context(profile: str, alpn: tuple[bytes, ...] = ()) -> SSL.Context:
    """Return the shared context of an offer. Creating one costs 16 ms, so each is cached.

    Args:
        profile: One of

            - browser: the offer of current Chrome,
            - compact: the same without what makes it large (post-quantum key exchange and private
              extensions); the ClientHello has about 250 bytes,
            - forensic: any version, suite, group and signature; records the Certificate message of
              a failed handshake, and the signature scheme,
            - tls1.0 and tls1.1: only that version,
            - rsa and ec: only certificates of that key type,
            - post-quantum: only X25519MLKEM768.
        alpn: The protocols to offer by ALPN (RFC 7301), most preferred first.
    """
    ssl_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    raw = ssl_context._context
    # certmgr/x509/trust.py verifies: a scan must see certificates that do not verify.
    ssl_context.set_verify(SSL.VERIFY_NONE)
    # A resumed handshake has no Certificate message (RFC 8446 2.2), so sessions and tickets are
    # off. Compression leaks secrets (CRIME), and no browser offers it.
    ssl_context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    ssl_context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | _LEGACY_SERVER_CONNECT | _NO_ENCRYPT_THEN_MAC
    )
    _lib.SSL_CTX_set_cert_cb(raw, _on_certificate_request, _ffi.NULL)
    if profile in ("forensic", "tls1.0", "tls1.1"):
        _offer_everything(ssl_context, profile)
    else:
        _offer_as_a_browser(ssl_context, profile)
    if alpn:
        ssl_context.set_alpn_protos(list(alpn))
    return ssl_context


def _offer_as_a_browser(ssl_context: SSL.Context, profile: str) -> None:
    raw = ssl_context._context
    ssl_context.set_min_proto_version(SSL.TLS1_2_VERSION)
    ssl_context.set_tls13_ciphersuites(":".join(BROWSER_TLS13_SUITES).encode())
    ciphers, signature_list = _BROWSER_CIPHERS, ":".join(BROWSER_SIGNATURES).encode()
    if profile == "rsa":
        ciphers, signature_list = b"aRSA:!kDHE:@SECLEVEL=0", _RSA_SIGNATURES
    elif profile == "ec":
        ciphers, signature_list = b"aECDSA:@SECLEVEL=0", _EC_SIGNATURES
    ssl_context.set_cipher_list(ciphers)
    groups = {"compact": _COMPACT_GROUPS, "post-quantum": POST_QUANTUM_GROUP.encode()}.get(
        profile, _BROWSER_GROUPS
    )
    _require(_lib.SSL_CTX_set1_curves_list(raw, groups), "groups")
    _require(_lib.SSL_CTX_set1_sigalgs_list(raw, signature_list), "signatures")
    if profile == "compact":
        return
    # Without a callback, OpenSSL sends an empty extension.
    for kind, callback in ((_EMPTY_PRIVATE, _ffi.NULL), (_LARGE_PRIVATE, _add_content)):
        added = _lib.SSL_CTX_add_client_custom_ext(
            raw, kind, callback, _ffi.NULL, _ffi.NULL, _ffi.NULL, _ffi.NULL
        )
        _require(added, "extensions")


def _offer_everything(ssl_context: SSL.Context, profile: str) -> None:
    raw = ssl_context._context
    only = {"tls1.0": SSL.TLS1_VERSION, "tls1.1": SSL.TLS1_1_VERSION}.get(profile)
    ssl_context.set_min_proto_version(only or SSL.TLS1_VERSION)
    if only is not None:
        ssl_context.set_max_proto_version(only)
    ssl_context.set_cipher_list(_ALL_CIPHERS)
    ssl_context.set_tls13_ciphersuites(_ALL_TLS13_SUITES)
    _require(_lib.SSL_CTX_set1_curves_list(raw, _ALL_GROUPS), "groups")
    _lib.SSL_CTX_set_msg_callback(raw, _on_message)


def _require(result: int, what: str) -> None:
    # Without this check, an offer that OpenSSL does not accept would silently be its default one.
    if result != 1:
        raise RuntimeError(f"OpenSSL refuses the {what} of a TLS offer")
