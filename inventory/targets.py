"""Targets of a scan: ``host[:port][/protocol]``. Pure."""

import re
from dataclasses import dataclass

from inventory.errors import InvalidName
from inventory.names import as_ip, display, normalise_host
from inventory.text import printable

# The well-known port of each protocol. "tls" is TLS from the first byte, without web pages (imaps,
# pop3s, smtps, ldaps).
PORTS = {
    "https": 443,
    "smtp": 25,
    "imap": 143,
    "pop3": 110,
    "ftp": 21,
    "ldap": 389,
    "postgres": 5432,
    "tls": 443,
}
PROTOCOLS = tuple(PORTS)
# The protocol of a port for which no protocol is given. All other ports are https.
_PROTOCOL_OF_PORT = {
    25: "smtp",
    587: "smtp",
    2525: "smtp",
    143: "imap",
    110: "pop3",
    21: "ftp",
    389: "ldap",
    5432: "postgres",
    465: "tls",
    636: "tls",
    853: "tls",
    989: "tls",
    990: "tls",
    993: "tls",
    995: "tls",
    5061: "tls",
    5223: "tls",
    6697: "tls",
}


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Host, port and protocol of an endpoint.

    Attributes:
        host: A name in A-labels, or an address.
        protocol: One of :data:`PROTOCOLS`.
    """

    host: str
    port: int = 443
    protocol: str = "https"

    def __reduce__(self) -> tuple[type["Target"], tuple[str, int, str]]:
        # Millions of targets are sent between processes. The default pickling of a frozen dataclass
        # with slots is slow, because it iterates over dataclasses.fields().
        return Target, (self.host, self.port, self.protocol)

    @property
    def is_address(self) -> bool:
        return as_ip(self.host) is not None

    def __str__(self) -> str:
        """Return the target for display. :func:`parse` accepts it.

        The protocol is omitted if the port implies it.
        """
        host = f"[{self.host}]" if ":" in self.host else display(self.host)
        protocol = "" if protocol_of_port(self.port) == self.protocol else f"/{self.protocol}"
        return f"{host}:{self.port}{protocol}"

    @property
    def key(self) -> str:
        """The target in A-labels, for JSON and CSV."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        protocol = "" if protocol_of_port(self.port) == self.protocol else f"/{self.protocol}"
        return f"{host}:{self.port}{protocol}"


def protocol_of_port(port: int) -> str:
    """Return the protocol that a port implies."""
    return _PROTOCOL_OF_PORT.get(port, "https")


def parse_port(text: str) -> int:
    """Return a port.

    Raises:
        InvalidName: The text is not a port.
    """
    # int() also accepts spaces, signs and digits of other scripts.
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise InvalidName(
        f"'{printable(text, 40)}' is not a port",
        "a port is a number from 1 to 65535",
        "Write host:443.",
    )


def parse_protocol(text: str) -> str:
    """Return a protocol.

    Raises:
        InvalidName: The protocol is not known.
    """
    if text in PORTS:
        return text
    raise InvalidName(
        f"'{printable(text, 40)}' is not a protocol",
        f"the known protocols are {', '.join(PROTOCOLS)}",
        "Write host:port/protocol.",
    )


def parse(text: str) -> Target:
    """Parse ``host``, ``host:port``, ``host/protocol`` or ``host:port/protocol``.

    An IPv6 address needs brackets if a port follows. The protocol implies a missing port, and the
    port implies a missing protocol.

    Raises:
        InvalidName: A part of the text is invalid.
    """
    # A zone is valid only on this machine.
    if "%" in text:
        raise InvalidName(
            f"'{printable(text, 80)}' has a zone",
            "link-local addresses are not scanned",
            "Write the address without %.",
        )
    rest, slash, protocol_text = text.strip().partition("/")
    # The first slash of "https://" separates "https:" from "/shop.example.com".
    if protocol_text.startswith("/"):
        raise InvalidName(
            f"'{printable(text, 80)}' is a URL",
            "a target is a host, not a URL",
            f"Write {printable(protocol_text[1:].split('/')[0], 80)}.",
        )
    protocol = parse_protocol(protocol_text) if slash else None
    bracketed = re.fullmatch(r"(\[[^\]]*\])(?::(.*))?", rest)
    if bracketed:
        host, port_text = bracketed.group(1), bracketed.group(2)
        if (address := as_ip(host)) is None or address.version != 6:
            raise InvalidName(
                f"'{printable(host, 80)}' is not an IPv6 address", "", "Write [2001:db8::1]:443."
            )
    # An IPv6 address without brackets contains colons, so it has no port.
    elif as_ip(rest) is not None:
        host, port_text = rest, None
    else:
        host, colon, port_text = rest.partition(":")
        port_text = port_text if colon else None
    host = normalise_host(host)
    if port_text is not None:
        port = parse_port(port_text)
        return Target(host, port, protocol or protocol_of_port(port))
    protocol = protocol or "https"
    return Target(host, PORTS[protocol], protocol)
