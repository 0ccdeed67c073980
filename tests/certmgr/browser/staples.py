"""Situations of stapled OCSP responses (RFC 6960), also of certificates that need one.

Responses that cannot be parsed are in ``flights.py``: OpenSSL does not send them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ISSUER, ROOT, Ca, Leaf, ca, days, leaf
from tests.certmgr.browser.serving import Handler, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("staples")
_ORDINARY = frozenset({"good", "revoked", "expired", "signed-by-another"})
_GOOD, _REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
_MUST_STAPLE = der.extension("1.3.6.1.5.5.7.1.24", der.seq(der.integer(5)))
Make = Callable[[Leaf], bytes]


@cache
def _another() -> Ca:
    return ca("Issuer of another staple", ROOT)


def _loaded(certificate: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate)


def _response(
    made: Leaf,
    *,
    about: bytes = b"",
    issuer: bytes = ISSUER.der,
    status: ocsp.OCSPCertStatus = _GOOD,
    reason: x509.ReasonFlags | None = None,
    revoked: datetime | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    endless: bool = False,
    signer: Ca | Leaf = ISSUER,
    responder: Ca | Leaf | None = None,
    digest: hashes.HashAlgorithm | None = None,
    extension: x509.ExtensionType | None = None,
    critical: bool = False,
) -> bytes:
    """Return a signed response.

    Args:
        made: The leaf.
        about: Another certificate, which the response is about.
        issuer: The certificate of its issuer.
        status: The status.
        reason: The reason for a revocation.
        revoked: When it was revoked. Default: yesterday.
        begin: thisUpdate. Default: an hour ago.
        end: nextUpdate. Default: in six days.
        endless: Whether it has no nextUpdate.
        signer: Who signs, and is named as the responder. Default: the issuer.
        responder: A certificate of the responder, which is sent too.
        digest: The hash of the signature.
        extension: An extension of the response.
        critical: Whether that is critical.
    """
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=_loaded(about or made.chain[0]),
        issuer=_loaded(issuer),
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=begin or days(-1 / 24),
        next_update=None if endless else end or days(6),
        revocation_time=(revoked or days(-1)) if status is _REVOKED else None,
        revocation_reason=reason,
    )
    named = _certificate(responder or signer)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, _loaded(named))
    if responder is not None:
        builder = builder.certificates([_loaded(named)])
    if extension is not None:
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(_key(responder or signer), digest or hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def _certificate(responder: Ca | Leaf) -> bytes:
    return responder.der if isinstance(responder, Ca) else responder.chain[0]


def _key(responder: Ca | Leaf) -> Any:
    if isinstance(responder, Ca):
        return responder.key
    return serialization.load_pem_private_key(responder.key_pem, None)


def _delegate(**changes: Any) -> Leaf:
    """Return a certificate of a responder."""
    fields: dict[str, Any] = {
        "kind": "p256 responder",
        "extensions": {"eku": der.extended_key_usage(_OCSP_SIGNING)},
    }
    return leaf("responder.staples.test", **(fields | changes))


def _error(status: int) -> bytes:
    return der.seq(b"\x0a\1" + bytes([status]))


_Flags = x509.ReasonFlags
_NONCE = x509.OCSPNonce(b"n" * 20)
_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.5"), b"\5\0")
RESPONSES: dict[str, Make] = {
    "good": _response,
    "good-without-end": partial(_response, endless=True),
    "good-for-a-year": partial(_response, end=days(365)),
    "good-old-without-end": partial(_response, begin=days(-400), endless=True),
    "good-with-sha384": partial(_response, digest=hashes.SHA384()),
    "good-with-nonce": partial(_response, extension=_NONCE),
    "good-with-unknown-extension": partial(_response, extension=_UNKNOWN),
    "good-with-critical-extension": partial(_response, extension=_UNKNOWN, critical=True),
    "revoked": partial(_response, status=_REVOKED),
    "revoked-key-compromise": partial(_response, status=_REVOKED, reason=_Flags.key_compromise),
    "revoked-hold": partial(_response, status=_REVOKED, reason=_Flags.certificate_hold),
    "revoked-removed": partial(_response, status=_REVOKED, reason=_Flags.remove_from_crl),
    "revoked-tomorrow": partial(_response, status=_REVOKED, revoked=days(1)),
    "revoked-without-end": partial(_response, status=_REVOKED, endless=True),
    "revoked-expired": partial(_response, status=_REVOKED, begin=days(-20), end=days(-10)),
    "revoked-signed-by-another": lambda made: _response(made, status=_REVOKED, signer=_another()),
    "revoked-by-responder": lambda made: _response(made, status=_REVOKED, responder=_delegate()),
    "unknown": partial(_response, status=ocsp.OCSPCertStatus.UNKNOWN),
    "expired": partial(_response, begin=days(-20), end=days(-10)),
    "expired-an-hour-ago": partial(_response, begin=days(-7), end=days(-1 / 24)),
    "not-yet-valid": partial(_response, begin=days(1), end=days(7)),
    "end-before-begin": partial(_response, begin=days(-2), end=days(-2)),
    "signed-by-another": lambda made: _response(made, signer=_another()),
    "signed-by-leaf": lambda made: _response(made, signer=made),
    "signed-by-root": lambda made: _response(made, signer=ROOT),
    "about-another": lambda made: _response(made, about=leaf("other.staples.test").chain[0]),
    "about-another-issuer": lambda made: _response(made, issuer=_another().der),
    "about-another-revoked": lambda made: _response(
        made, about=leaf("other.staples.test").chain[0], status=_REVOKED
    ),
    "by-responder": lambda made: _response(made, responder=_delegate()),
    "by-responder-without-purpose": lambda made: _response(
        made, responder=_delegate(extensions={})
    ),
    "by-responder-expired": lambda made: _response(
        made, responder=_delegate(begin=days(-90), end=days(-2))
    ),
    "by-responder-of-another": lambda made: _response(made, responder=_delegate(issuer=_another())),
    "by-responder-of-root": lambda made: _response(made, responder=_delegate(issuer=ROOT)),
    "by-responder-self-signed": lambda made: _response(made, responder=_delegate(self_signed=True)),
    "by-issuer-sent-too": lambda made: _response(made, responder=ISSUER),
    "error-malformed-request": lambda made: _error(1),
    "error-internal": lambda made: _error(2),
    "error-try-later": lambda made: _error(3),
    "error-signature-required": lambda made: _error(5),
    "error-unauthorized": lambda made: _error(6),
    "error-unknown": lambda made: _error(9),
    "success-without-content": lambda made: _error(0),
}


def _stapled(make: Make, must: bool, host: str) -> Handler:
    made = leaf(host, extensions={"x": _MUST_STAPLE} if must else {})
    data = make(made)
    return tls(made, configure=lambda c: c.set_ocsp_server_callback(lambda *_: data))


def _leaf_with(extension: bytes, host: str) -> Leaf:
    return leaf(host, extensions={"x": extension})


for _name, _make in RESPONSES.items():
    GROUP.add(_name, partial(_stapled, _make, False), relative=_name not in _ORDINARY)
    GROUP.add(f"{_name}-must-staple", partial(_stapled, _make, True), relative=True)
for _name, _feature in {
    "version-2": der.seq(der.integer(17)),
    "both": der.seq(der.integer(5), der.integer(17)),
    "unknown": der.seq(der.integer(99)),
    "empty": der.seq(),
    "garbage": b"\x30\5",
}.items():
    for _critical in (False, True):
        _extension = der.extension("1.3.6.1.5.5.7.1.24", _feature, _critical)
        GROUP.add(
            f"required-{_name}" + ("-critical" if _critical else ""),
            partial(_leaf_with, _extension),
            relative=True,
        )
