"""Situations of the leaf: keys, signatures, key usage, purposes, and malformed fields."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import (
    ANY_PURPOSE,
    CLIENT_AUTH,
    EMAIL,
    SERVER_AUTH,
    Leaf,
    ca,
    days,
    key,
    leaf,
    rsa_issuer,
    rsa_root,
    trusts,
)
from tests.certmgr.browser.serving import tls
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("certificates")


def _add(name: str, *, relative: bool = False, **fields: Any) -> None:
    GROUP.add(name, lambda host: leaf(host, **fields), relative=relative)


def _add_rsa(name: str, kind: str = "rsa2048 leaf", **fields: Any) -> None:
    def build(host: str) -> Trusted:
        made = leaf(host, issuer=rsa_issuer(), kind=kind, **fields)
        return Trusted(made, trusts(rsa_root()))

    GROUP.add(name, build)


# Keys
_add("good")
_add("key-p384", kind="p384")
_add("key-p521", kind="p521")
_add("key-p224", kind="p224")
_add("key-secp256k1", kind="secp256k1")
_add("key-brainpool", kind="brainpool")
_add("key-ed25519", kind="ed25519")
_add("key-ed448", kind="ed448")
_add("key-rsa2048", kind="rsa2048 leaf")
_add("key-rsa1536", kind="rsa1536")
_add("key-rsa1024", kind="rsa1024")
_add("key-rsa3072", kind="rsa3072")


def _pss_key(host: str) -> Leaf:
    """Return a leaf whose key may sign with RSA-PSS only (id-RSASSA-PSS)."""
    private = key("rsa2048 leaf")
    kind = der.seq(der.oid("1.2.840.113549.1.1.10"))
    public = der.public_key(private)
    usual = der.seq(der.oid("1.2.840.113549.1.1.1"), der.NULL)
    made = leaf(host, kind="rsa2048 leaf", key=tlv(0x30, kind + public.split(usual, 1)[1]))
    return Leaf(made.chain, _pss_pem(private))


def _pss_pem(private: Any) -> bytes:
    traditional = private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    kind = der.seq(der.oid("1.2.840.113549.1.1.10"))
    encoded = base64.encodebytes(der.seq(der.integer(0), kind, tlv(0x04, traditional)))
    return b"-----BEGIN PRIVATE KEY-----\n" + encoded + b"-----END PRIVATE KEY-----\n"


GROUP.add("key-rsa-pss", _pss_key)
GROUP.add(
    "keys-rsa-and-ec",
    lambda host: tls(leaf(host), extra=(leaf(host, kind="rsa2048 leaf"),)),
)

# Signatures
for _digest in ("sha1", "sha224", "sha384", "sha512"):
    _add(f"signature-ecdsa-{_digest}", digest=_digest)
for _digest in ("md5", "sha1", "sha224", "sha384", "sha512"):
    _add_rsa(f"signature-rsa-{_digest}", digest=_digest)
_add_rsa("signature-pss-sha256", digest="sha256", pss=True)
_add_rsa("signature-pss-sha1", digest="sha1", pss=True)
_add("signature-wrong", signature_value=der.seq(der.integer(1), der.integer(1)))
_add(
    "signature-algorithms-differ",
    outer_algorithm=der.seq(der.oid("1.2.840.10045.4.3.3")),
)

# Key usage and purposes
_add("usage-none", extensions={"usage": None})
_add("usage-ec-key-agreement-only", extensions={"usage": der.key_usage(4)})
_add("usage-ec-key-encipherment-only", extensions={"usage": der.key_usage(2)})
_add("usage-ec-non-repudiation-only", extensions={"usage": der.key_usage(1)})
_add("usage-ec-signature-and-agreement", extensions={"usage": der.key_usage(0, 4)})
_add("usage-ec-certificate-signing-only", extensions={"usage": der.key_usage(5)})
_add("usage-not-critical", extensions={"usage": der.key_usage(0, critical=False)})
_add("usage-not-critical-wrong", extensions={"usage": der.key_usage(4, critical=False)})
_add_rsa("usage-rsa-encipherment-only", extensions={"usage": der.key_usage(2)})
_add_rsa("usage-rsa-data-encipherment-only", extensions={"usage": der.key_usage(3)})
_add_rsa("usage-rsa-signature-only", extensions={"usage": der.key_usage(0)})
_add("purpose-none", extensions={"eku": None})
_add("purpose-client", extensions={"eku": der.extended_key_usage(CLIENT_AUTH)})
_add("purpose-email", extensions={"eku": der.extended_key_usage(EMAIL)})
_add("purpose-any", extensions={"eku": der.extended_key_usage(ANY_PURPOSE)})
_add(
    "purpose-server-and-client",
    extensions={"eku": der.extended_key_usage(SERVER_AUTH, CLIENT_AUTH)},
)
_add("purpose-critical", extensions={"eku": der.extended_key_usage(SERVER_AUTH, critical=True)})
_add("purpose-netscape-gated", extensions={"eku": der.extended_key_usage("2.16.840.1.113730.4.1")})

_extension = der.extension
_PRIVATE = "1.3.6.1.4.1.99999.1"
# Extensions
_add("extension-unknown", extensions={"x": _extension(_PRIVATE, der.NULL)})
_add("extension-unknown-critical", extensions={"x": _extension(_PRIVATE, der.NULL, True)})
_add(
    "extension-precertificate-poison",
    extensions={"x": _extension("1.3.6.1.4.1.11129.2.4.3", der.NULL, True)},
)
_add("extension-twice", extensions={"x": _extension(_PRIVATE, b""), "y": _extension(_PRIVATE, b"")})
_add("extension-usage-twice", extensions={"x": der.key_usage(0)})
_add("basic-ca", extensions={"basic": der.basic_constraints(True)})
_add("basic-none", extensions={"basic": None})
_add("basic-path-length-without-ca", extensions={"basic": der.basic_constraints(False, 0)})
_add("name-constraints-in-leaf", extensions={"x": der.name_constraints(["example.com"])})
_add("must-staple", extensions={"x": _extension("1.3.6.1.5.5.7.1.24", der.seq(der.integer(5)))})
_add("no-key-identifiers", extensions={"ski": None, "aki": None})
_add(
    "authority-key-of-another",
    extensions={"aki": _extension("2.5.29.35", der.seq(tlv(0x80, b"\x11" * 20)))},
)

# Versions and numbers
_add(
    "version-1",
    version=None,
    extensions=dict.fromkeys(("san", "usage", "eku", "basic", "ski", "aki")),
)
_add("version-1-with-extensions", version=None)
_add("version-1-encoded", version=1)
_add("version-2-with-extensions", version=2)
_add("version-4", version=4)
_add("serial-zero", serial=0)
_add("serial-negative", serial=-5)
_add("serial-20-bytes", serial=int.from_bytes(b"\x7f" * 20, "big"))
_add("serial-21-bytes", serial=int.from_bytes(b"\x7f" * 21, "big"))
_add("serial-40-bytes", serial=int.from_bytes(b"\x7f" * 40, "big"))

# Malformed fields
_GARBAGE = b"\x30\x03\x02\x01"
for _name, _oid in {
    "san": "2.5.29.17",
    "usage": "2.5.29.15",
    "basic": "2.5.29.19",
    "eku": "2.5.29.37",
    "ski": "2.5.29.14",
    "aki": "2.5.29.35",
}.items():
    _add(f"malformed-{_name}", extensions={_name: _extension(_oid, _GARBAGE)})
for _name, _oid in {
    "policies": "2.5.29.32",
    "crl-points": "2.5.29.31",
    "authority-information": "1.3.6.1.5.5.7.1.1",
    "name-constraints": "2.5.29.30",
    "signed-timestamps": "1.3.6.1.4.1.11129.2.4.2",
    "unknown": _PRIVATE,
}.items():
    _add(f"malformed-{_name}", extensions={"x": _extension(_oid, _GARBAGE)})
_add(
    "malformed-critical-false-encoded",
    extensions={"x": der.seq(der.oid(_PRIVATE), b"\x01\x01\x00", tlv(0x04, der.NULL))},
)
_add(
    "malformed-boolean-one",
    extensions={"x": der.seq(der.oid(_PRIVATE), b"\x01\x01\x01", tlv(0x04, der.NULL))},
)
_add("usage-empty", extensions={"usage": _extension("2.5.29.15", b"\x03\x01\x00", True)})
_add("eku-empty", extensions={"eku": _extension("2.5.29.37", der.seq())})
_TWO = der.seq(der.seq(der.oid("2.23.140.1.2.1")), der.seq(der.oid("2.23.140.1.2.1")))
_add("policies-twice-the-same", extensions={"x": _extension("2.5.29.32", _TWO)})
_add_rsa(
    "malformed-rsa-signature-without-null",
    outer_algorithm=der.seq(der.oid("1.2.840.113549.1.1.11")),
)

# Subjects
_san_critical = partial(der.san, critical=True)
GROUP.add(
    "subject-empty",
    lambda host: leaf(host, subject=der.seq(), extensions={"san": _san_critical(host)}),
)
_add("subject-empty-san-not-critical", subject=der.seq())
_add("subject-long", subject=der.common_name("x" * 300))
_add("subject-bmp-string", subject=der.common_name("\0h\0o\0s\0t", 0x1E))
_add("subject-t61-string", subject=der.common_name("Gärten", 0x14))
_add("subject-control-characters", subject=der.common_name("a\0b\nc\x1b[31m"))
_add("subject-printable-string-with-at", subject=der.common_name("a@b", 0x13))


def _heavy(host: str, size: int) -> Leaf:
    """Return a leaf of about this many bytes."""
    return leaf(host, extensions={"x": _extension(_PRIVATE, tlv(0x04, b"x" * size))})


GROUP.add("size-20-kilobytes", lambda host: _heavy(host, 20_000))
GROUP.add("size-60-kilobytes", lambda host: _heavy(host, 60_000))
GROUP.add(
    "tls-1.2-usage-rsa-encipherment-only",
    lambda host: Trusted(
        tls(
            leaf(
                host,
                issuer=rsa_issuer(),
                kind="rsa2048 leaf",
                extensions={"usage": der.key_usage(2)},
            ),
            highest=SSL.TLS1_2_VERSION,
            ciphers=b"AES128-GCM-SHA256",
        ),
        trusts(rsa_root()),
    ),
    host="rsa-encipherment.certificates.test",
)

# Relatives of what browsers and libraries read differently
GROUP.add("extension-san-twice", lambda host: leaf(host, extensions={"x": der.san(host)}))
_add("extension-eku-twice", extensions={"x": der.extended_key_usage(SERVER_AUTH)})
GROUP.add(
    "malformed-flag-of-san",
    lambda host: leaf(
        host,
        extensions={
            "san": der.seq(
                der.oid("2.5.29.17"), b"\x01\x01\x07", tlv(0x04, der.seq(tlv(0x82, host.encode())))
            )
        },
    ),
)
_add_rsa(
    "signature-algorithms-differ-rsa", outer_algorithm=der.seq(der.oid("1.2.840.113549.1.1.12"))
)
_add(
    "signature-ecdsa-with-null",
    outer_algorithm=der.seq(der.oid("1.2.840.10045.4.3.2"), der.NULL),
)
_add_rsa(
    "malformed-rsa-signature-without-null-expired",
    begin=days(-90),
    end=days(-2),
    outer_algorithm=der.seq(der.oid("1.2.840.113549.1.1.11")),
)
_add("subject-t61-ascii", subject=der.common_name("Garden", 0x14))
_add("subject-universal-string", subject=der.common_name("\0\0\0h\0\0\0i", 0x1C))
_add("subject-empty-set", subject=der.seq(tlv(0x31, b"")))
_add(
    "subject-two-values-in-a-set",
    subject=der.seq(
        tlv(
            0x31,
            der.seq(der.oid("2.5.4.3"), tlv(0x0C, b"a"))
            + der.seq(der.oid("2.5.4.10"), tlv(0x0C, b"b")),
        )
    ),
)
_add("policy-constraints-in-leaf", extensions={"x": der.require_policy()})
_add("policy-any", extensions={"x": der.policies("2.5.29.32.0")})
_add("eku-ocsp-signing", extensions={"eku": der.extended_key_usage("1.3.6.1.5.5.7.3.9")})

# Fields that browsers read and the certificate library does not, or the other way round
_policy = der.oid("1.2.3.4")
for _name, _value in {
    "usage-nine-bits": der.key_usage(0, 8),
    "policies-empty": _extension("2.5.29.32", der.seq()),
    "policies-unknown-qualifier": _extension(
        "2.5.29.32", der.seq(der.seq(_policy, der.seq(der.seq(der.oid("1.2.9"), der.NULL))))
    ),
    "policies-without-qualifiers": _extension("2.5.29.32", der.seq(der.seq(_policy, der.seq()))),
    "malformed-authority-information-empty": _extension("1.3.6.1.5.5.7.1.1", der.seq()),
    "basic-false-encoded": _extension("2.5.29.19", der.seq(b"\x01\x01\x00"), True),
    "basic-path-length-negative": _extension("2.5.29.19", der.seq(der.TRUE, b"\x02\x01\xff"), True),
}.items():
    _field = _name.split("-")[0]
    _add(_name, relative=True, extensions={_field if _field in ("usage", "basic") else "x": _value})
_add("subject-numeric-string", relative=True, subject=der.common_name("12 3", 0x12))
_add(
    "subject-serial-number-numeric",
    relative=True,
    subject=der.seq(tlv(0x31, der.seq(der.oid("2.5.4.5"), tlv(0x12, b"12")))),
)
_add(
    "subject-value-is-a-sequence",
    relative=True,
    subject=der.seq(tlv(0x31, der.seq(der.oid("2.5.4.3"), der.seq()))),
)


def _without_parameters(public: bytes) -> bytes:
    """Return an RSA key (SubjectPublicKeyInfo) without the NULL of its algorithm."""
    algorithm = der.oid("1.2.840.113549.1.1.1")
    rest = public.split(der.seq(algorithm, der.NULL), 1)[1]
    return tlv(0x30, der.seq(algorithm) + rest)


def _rsa_key_of(position: str, host: str) -> Trusted:
    kinds = {name: f"rsa2048 {name} without parameters" for name in ("root", "issuer", "leaf")}
    changed = {"key": _without_parameters(der.public_key(key(kinds[position])))}
    fields: dict[str, Any] = {name: changed if name == position else {} for name in kinds}
    root = ca(f"RSA of {position}", kind=kinds["root"], **fields["root"])
    issuer = ca(f"RSA below {position}", root, kind=kinds["issuer"], **fields["issuer"])
    made = leaf(host, issuer=issuer, kind=kinds["leaf"], **fields["leaf"])
    return Trusted(made, trusts(root))


for _name in ("root", "issuer", "leaf"):
    GROUP.add(f"key-rsa-without-parameters-{_name}", partial(_rsa_key_of, _name), relative=True)
