"""Whether the names of a certificate cover a host. Pure."""

from __future__ import annotations

from inventory.certificates import Certificate
from inventory.names import as_ip, matches


def certificate_covers(certificate: Certificate, host: str) -> bool:
    """Return whether the SAN covers the host: a dNSName by RFC 9525 6.3, an address by equality.

    The common name does not count (RFC 9525).
    """
    # An address that is written as a dNSName covers nothing (RFC 9525 6.5).
    if as_ip(host) is not None:
        return host in certificate.ip_names
    return host in certificate.dns_names or any(matches(n, host) for n in certificate.dns_names)


def name_covers(pattern: str, host: str) -> bool:
    """Return whether a name of a certificate covers a host, by equality or as a wildcard."""
    return pattern == host or matches(pattern, host)
