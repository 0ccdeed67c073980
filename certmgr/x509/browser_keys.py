"""Which keys and signatures of certificates browsers can read. Pure.

Chrome's rules: BoringSSL reads the keys (crypto/evp, crypto/rsa), and its path validation the
signature algorithms (pki/signature_algorithm.cc). ``tests/certmgr/browser/keys.py`` holds them to
the installed Chromium.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import SignatureAlgorithmOID

from inventory import der
from inventory.certificate_fields import ML_DSA, PARSE_ERRORS
from inventory.certificate_signatures import oversized
from inventory.certificates import Certificate

# BoringSSL's path validation knows no other signatures; RSASSA-PSS counts by its hash. ML-DSA
# (RFC 9881) has no separate hash, so its object identifier stands for it.
SIGNATURES = frozenset({"sha256", "sha384", "sha512", *ML_DSA})
KEY_PARAMETERS = "an RSA key lacks the parameters of its algorithm"
KEY_TOO_LARGE = "an RSA key is larger than browsers accept"
EXPLICIT_CURVE = "an EC key describes its curve instead of naming it"
# RFC 4055 3.1: the fields [0] hash, [1] mask and [2] salt length. The default of the field [3] is
# its only value, so that DER leaves it out.
_PSS_FIELDS = [0xA0, 0xA1, 0xA2]
_SALT_LENGTHS = {
    "2.16.840.1.101.3.4.2.1": 32,
    "2.16.840.1.101.3.4.2.2": 48,
    "2.16.840.1.101.3.4.2.3": 64,
}
_OID = 6


# The issuers of a scan are few, and each of their leaves asks again. The keys are weak: an entry
# must not keep a certificate, whose bytes other caches bound.
_known: WeakKeyDictionary[Certificate, str] = WeakKeyDictionary()


def key_problem(certificate: Certificate) -> str:
    """Return why browsers cannot read the public key, as a fixed phrase; empty if they can.

    Keys that no program can read are a problem of the certificate (``key_readable``).
    """
    problem = _known.get(certificate)
    if problem is None:
        problem = _known[certificate] = _key_problem(certificate)
    return problem


def _key_problem(certificate: Certificate) -> str:
    if certificate.parsed is None or certificate.key_type not in ("RSA", "EC"):
        return ""
    try:
        key = der.only(der.outline(certificate.der).key, der.SEQUENCE)
        algorithm = list(der.elements(next(der.elements(key)).content))
        public = certificate.parsed.public_key()
    except (*PARSE_ERRORS, StopIteration):
        return ""
    if certificate.key_type == "RSA":
        # RFC 3279 2.3.1: the parameters are NULL, and not absent.
        if len(algorithm) < 2:
            return KEY_PARAMETERS
        too_large = isinstance(public, RSAPublicKey) and oversized(public)
        return KEY_TOO_LARGE if too_large else ""
    # RFC 5480 2.1.1: only named curves. OpenSSL reads the parameters of a known curve, too.
    return EXPLICIT_CURVE if len(algorithm) < 2 or algorithm[1].tag != _OID else ""


def usual_pss(certificate: Certificate) -> bool:
    """Return whether browsers know the parameters of a signature with RSASSA-PSS.

    They are those of TLS 1.3 (RFC 8446 4.2.3): one hash, also for the mask, and a salt of its
    length. True for a signature of another kind.
    """
    parsed = certificate.parsed
    if parsed is None or parsed.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS:
        return True
    try:
        inside, _ = der.outline(certificate.der).algorithms
        _, parameters = der.elements(der.only(inside, der.SEQUENCE))
        fields = list(der.elements(der.only(parameters.encoded, der.SEQUENCE)))
        if [f.tag for f in fields] != _PSS_FIELDS:
            return False
        (digest,), (generator,), (salt,) = (der.elements(f.content) for f in fields)
        _, mask = der.elements(der.only(generator.encoded, der.SEQUENCE))
        used = _hash(digest)
        length = int.from_bytes(salt.content, "big")
        return used == _hash(mask) and length == _SALT_LENGTHS.get(used)
    except (ValueError, StopIteration):
        return False


def _hash(algorithm: der.Element) -> str:
    """Return the object identifier of an AlgorithmIdentifier."""
    return der.dotted(next(der.elements(der.only(algorithm.encoded, der.SEQUENCE))).content)
