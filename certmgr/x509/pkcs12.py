"""A private key with its chain as one PKCS#12 file. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from inventory.certificates import Certificate


def build_pkcs12(
    key: Any, chain: Sequence[Certificate], *, alias: str, password: str, legacy: bool = False
) -> bytes:
    """Return a PKCS#12 file with the key, the leaf and the other certificates of the chain.

    Args:
        key: A private key of the cryptography library.
        chain: The leaf first.
        alias: The friendly name of the entry.
        password: Encrypts the file.
        legacy: Use 3DES and SHA-1, which Windows Server 2016 and Java 8 need.
    """
    leaf, *others = [x509.load_der_x509_certificate(c.der) for c in chain]
    encryption: KeySerializationEncryption = BestAvailableEncryption(password.encode())
    if legacy:
        builder = PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(
            PBES.PBESv1SHA1And3KeyTripleDESCBC
        )
        encryption = builder.hmac_hash(SHA1()).build(password.encode())  # noqa: S303
    return serialize_key_and_certificates(alias.encode(), key, leaf, others, encryption)
