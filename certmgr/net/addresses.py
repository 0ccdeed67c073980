"""The addresses that a scan may visit if an untrusted party chose them. Pure.

``ipaddress.is_global`` is True for 64:ff9b::a9fe:a9fe, ::127.0.0.1, 2002:7f00:1:: and multicast.
This module therefore has a separate list: the IANA special-purpose address registries (RFC 6890).
The cloud metadata addresses all lie inside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from inventory.errors import ConfigError

Network = IPv4Network | IPv6Network

# RFC 4291, section 2.4, and the registry of IANA: the only IPv6 addresses that are assigned.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_NETWORKS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, with the cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "unspecified, loopback or IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        # A gateway translates these to IPv4. RFC 6052 3.1 excludes internal addresses, but a
        # hostile zone can still name them.
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("2001::/23", "protocol assignments and Teredo"),
        ("2001:db8::/32", "documentation"),
        # The address of an IPv4 gateway is part of these (RFC 3056 2), so they can lead inside too.
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        # RFC 3879 deprecates these, but existing networks may still use them.
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)


def networks(texts: Iterable[str], key: str) -> tuple[Network, ...]:
    """Parse networks from the configuration.

    Args:
        key: The configuration key, for the error message.

    Raises:
        ConfigError: A text is not a network.
    """
    parsed = []
    for text in texts:
        try:
            # Administrators also write an address of the network with its prefix length.
            parsed.append(ip_network(text, strict=False))
        except ValueError:
            raise ConfigError(
                f"'{text}' in {key} is not a network", "", "Write 192.0.2.0/24 or 2001:db8::/32."
            ) from None
    return tuple(parsed)


def within(address: str, allowed: Iterable[Network]) -> bool:
    """Return whether an address lies in one of the networks."""
    parsed = ip_address(address)
    return any(parsed.version == n.version and parsed in n for n in allowed)


def refusal(address: str, allowed: Iterable[Network]) -> str | None:
    """Return why an address from DNS or a server is not visited; None if it may be."""
    # A configured network wins over the list, or an internal server could not be scanned.
    if within(address, allowed):
        return None
    parsed = ip_address(address)
    # A zone selects an interface of this machine, which public DNS cannot know.
    if isinstance(parsed, IPv6Address) and parsed.scope_id:
        return "an address with a zone"
    for network, reason in _REFUSED_NETWORKS:
        if network.version == parsed.version and parsed in network:
            return reason
    # All other addresses are reserved, such as the translated form ::ffff:0:127.0.0.1 (RFC 2765).
    if parsed.version == 6 and parsed not in _GLOBAL_UNICAST:
        return "not a global unicast address"
    return None
