"""X.509 certificates field by field: each field can be given as any bytes.

CA libraries refuse to make most certificates that browsers refuse, and some that browsers accept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from tests.certificates import tlv

NULL = b"\x05\x00"
TRUE = b"\x01\x01\xff"

HASHES: dict[str, Any] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_RSA = {"md5": 4, "sha1": 5, "sha224": 14, "sha256": 11, "sha384": 12, "sha512": 13}
_ECDSA = {"sha224": 1, "sha256": 2, "sha384": 3, "sha512": 4}
_HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


def seq(*parts: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tlv(0x30, b"".join(parts))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(p) for p in dotted.split("."))
    out = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        out += bytes(reversed(groups))
    return tlv(0x06, out)


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    return tlv(
        0x02, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)
    )


def utc_time(at: datetime) -> bytes:
    """Return a UTCTime."""
    return tlv(0x17, at.strftime("%y%m%d%H%M%SZ").encode())


def generalized_time(at: datetime | str) -> bytes:
    """Return a GeneralizedTime; a string is used as it is."""
    text = at if isinstance(at, str) else f"{at.year:04d}{at.strftime('%m%d%H%M%SZ')}"
    return tlv(0x18, text.encode())


def time(at: datetime | bytes) -> bytes:
    """Return a date as RFC 5280 encodes it (UTCTime before 2050); bytes are used as they are."""
    if isinstance(at, bytes):
        return at
    return utc_time(at) if at.year < 2050 else generalized_time(at)


def common_name(text: str, tag: int = 0x0C) -> bytes:
    """Return a Name with one common name."""
    return seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(tag, text.encode("latin-1")))))


def extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    """Return an Extension around a DER value."""
    return seq(oid(dotted), TRUE if critical else b"", tlv(0x04, value))


def san(*names: bytes | str, critical: bool = False) -> bytes:
    """Return a subjectAltName. A string is a dNSName; bytes are whole GeneralNames."""
    listed = [n if isinstance(n, bytes) else tlv(0x82, n.encode()) for n in names]
    return extension("2.5.29.17", seq(*listed), critical)


def key_usage(*bits: int, critical: bool = True) -> bytes:
    """Return a keyUsage with these bits: 0 digitalSignature, 2 keyEncipherment, 4 keyAgreement,
    5 keyCertSign, 6 cRLSign."""
    value = sum(0x8000 >> b for b in bits)
    data = value.to_bytes(2, "big") if value & 0xFF else bytes([value >> 8])
    unused = next((i for i in range(8) if data[-1] >> i & 1), 0)
    return extension("2.5.29.15", tlv(0x03, bytes([unused]) + data), critical)


def extended_key_usage(*purposes: str, critical: bool = False) -> bytes:
    """Return an extendedKeyUsage."""
    return extension("2.5.29.37", seq(*map(oid, purposes)), critical)


def basic_constraints(ca: bool, path_length: int | None = None, *, critical: bool = True) -> bytes:
    """Return basicConstraints."""
    value = seq(TRUE if ca else b"", b"" if path_length is None else integer(path_length))
    return extension("2.5.29.19", value, critical)


def name_constraints(
    permitted: Sequence[bytes | str] = (),
    excluded: Sequence[bytes | str] = (),
    *,
    critical: bool = True,
) -> bytes:
    """Return nameConstraints. A string is a dNSName; bytes are whole GeneralNames."""

    def subtrees(tag: int, names: Sequence[bytes | str]) -> bytes:
        listed = [seq(n if isinstance(n, bytes) else tlv(0x82, n.encode())) for n in names]
        return tlv(tag, b"".join(listed)) if listed else b""

    return extension(
        "2.5.29.30", seq(subtrees(0xA0, permitted), subtrees(0xA1, excluded)), critical
    )


def public_key(key: Any) -> bytes:
    """Return the SubjectPublicKeyInfo of a private key."""
    encoded: bytes = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def algorithm(key: Any, digest: str, *, pss: bool = False) -> bytes:
    """Return the AlgorithmIdentifier of signatures with this key."""
    if isinstance(key, rsa.RSAPrivateKey):
        if pss:
            used = seq(oid(_HASH_OIDS[digest]))
            salt = HASHES[digest]().digest_size
            mgf = seq(oid("1.2.840.113549.1.1.8"), used)
            parameters = tlv(0xA0, used) + tlv(0xA1, mgf) + tlv(0xA2, integer(salt))
            return seq(oid("1.2.840.113549.1.1.10"), seq(parameters))
        return seq(oid(f"1.2.840.113549.1.1.{_RSA[digest]}"), NULL)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return seq(oid("1.3.101.112"))
    if isinstance(key, ed448.Ed448PrivateKey):
        return seq(oid("1.3.101.113"))
    if isinstance(key, dsa.DSAPrivateKey):
        return seq(oid("2.16.840.1.101.3.4.3.2"))
    if digest == "sha1":
        return seq(oid("1.2.840.10045.4.1"))
    return seq(oid(f"1.2.840.10045.4.3.{_ECDSA[digest]}"))


def signature(key: Any, digest: str, data: bytes, *, pss: bool = False) -> bytes:
    """Sign with an EC, RSA, DSA, Ed25519 or Ed448 key."""
    used = HASHES[digest]()
    if isinstance(key, rsa.RSAPrivateKey):
        scheme: Any = padding.PKCS1v15()
        if pss:
            scheme = padding.PSS(padding.MGF1(used), used.digest_size)
        return key.sign(data, scheme, used)
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return key.sign(data)
    signed: bytes = (
        key.sign(data, ec.ECDSA(used)) if hasattr(key, "curve") else key.sign(data, used)
    )
    return signed


def certificate(
    *,
    subject: bytes,
    issuer: bytes,
    key: bytes,
    signer: Any,
    not_before: datetime | bytes,
    not_after: datetime | bytes,
    extensions: Sequence[bytes],
    serial: int | bytes = 0x1234_5678_9ABC,
    version: int | None = 3,
    digest: str = "sha256",
    pss: bool = False,
    outer_algorithm: bytes | None = None,
    signature_value: bytes | None = None,
    trailing: bytes = b"",
    used: bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Return a certificate.

    Args:
        subject: A Name.
        issuer: A Name.
        key: A SubjectPublicKeyInfo.
        signer: The private key of the issuer.
        not_before: A date, or a whole ASN.1 time.
        not_after: A date, or a whole ASN.1 time.
        extensions: Whole Extensions. None at all leaves the field out.
        serial: A number, or a whole INTEGER.
        version: The number as people count it (1, 2, 3); None leaves the field out (1).
        digest: The hash of the signature.
        pss: Whether an RSA key signs with PSS.
        outer_algorithm: The AlgorithmIdentifier next to the signature, if it differs.
        signature_value: The signature, instead of a valid one.
        trailing: Bytes at the end of the TBSCertificate.
        used: The AlgorithmIdentifier, instead of that of key and hash.
        sign: Signs the TBSCertificate, instead of the key of the issuer.
    """
    used = used or algorithm(signer, digest, pss=pss)
    body = seq(
        b"" if version is None else tlv(0xA0, integer(version - 1)),
        serial if isinstance(serial, bytes) else integer(serial),
        used,
        issuer,
        seq(time(not_before), time(not_after)),
        subject,
        key,
        tlv(0xA3, seq(*extensions)) if extensions else b"",
        trailing,
    )
    if sign is not None:
        signature_value = sign(body)
    if signature_value is None:
        signature_value = signature(signer, digest, body, pss=pss)
    return seq(body, outer_algorithm or used, tlv(0x03, b"\0" + signature_value))


def policies(*dotted: str, critical: bool = False) -> bytes:
    """Return certificatePolicies without qualifiers."""
    return extension("2.5.29.32", seq(*(seq(oid(d)) for d in dotted)), critical)


def require_policy(skip: int = 0, *, critical: bool = True) -> bytes:
    """Return policyConstraints with requireExplicitPolicy."""
    return extension("2.5.29.36", seq(tlv(0x80, bytes([skip]))), critical)
