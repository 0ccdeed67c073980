"""Revocation lists of a real CA."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, IssuedCertificate
from tests.clock import clock

DAY = timedelta(days=1)


def now() -> datetime:
    return clock().replace(microsecond=0)


def points(*urls: str, **given: Any) -> tuple[x509.ExtensionType, bool]:
    """Make CRL distribution points for ``Authority.issue(extensions=...)``.

    There is one point, with each URL as an alternative name.
    """
    names = [x509.UniformResourceIdentifier(u) for u in urls]
    point = x509.DistributionPoint(names, None, given.get("reasons"), given.get("crl_issuer"))
    return x509.CRLDistributionPoints([point]), False


def shard(*urls: str, **given: Any) -> tuple[x509.ExtensionType, bool]:
    """Make an IssuingDistributionPoint, which is critical (RFC 5280 5.2.5)."""
    values: dict[str, Any] = {
        "full_name": [x509.UniformResourceIdentifier(u) for u in urls] or None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**values, **given}), True


def make_list(
    authority: Authority,
    revoked: Sequence[IssuedCertificate | int] = (),
    *,
    at: datetime | None = None,
    days: float = 7,
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    entry_extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    key: Any = None,
    number: int = 1,
) -> bytes:
    """Return a list in DER.

    Args:
        authority: Its issuer.
        revoked: Certificates or serial numbers on it.
        at: Its thisUpdate; an hour ago if it is not given.
        days: From ``at`` to nextUpdate.
        key: Signs instead of the authority's, for a wrong signature.
    """
    begin = at or now() - timedelta(hours=1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(begin)
        .next_update(begin + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for one in revoked:
        serial = one if isinstance(one, int) else one.certificate.serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin - DAY)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        for extension, critical in entry_extensions:
            entry = entry.add_extension(extension, critical=critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
