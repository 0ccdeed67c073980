"""What a scan visits: ``host[:port][/protocol]``. Pure."""

import re
from dataclasses import dataclass

from inventory.errors import InvalidName
from inventory.names import as_ip, display, normalise_host
from inventory.text import printable

# The well-known port of each protocol, and what a port is taken for when no protocol is given.
# "tls" is TLS from the
# first byte without a web page behind it (imaps, pop3s, smtps, ldaps).
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
    """One endpoint: ``host`` is an A-label name or an address, ``protocol`` one of
    :data:`PROTOCOLS`.
    """

    host: str
    port: int = 443
    protocol: str = "https"

    def __reduce__(self) -> tuple[type["Target"], tuple[str, int, str]]:
        # A frozen dataclass with slots is pickled field by field through dataclasses.fields();
        # millions of these cross processes.
        return Target, (self.host, self.port, self.protocol)

    @property
    def is_address(self) -> bool:
        return as_ip(self.host) is not None

    def __str__(self) -> str:
        """As a person reads it, and as :func:`parse` takes it back: the protocol only where the
        port does not say it.
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
    return _PROTOCOL_OF_PORT.get(port, "https")


def parse_port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise InvalidName(
        f"'{printable(text, 40)}' is not a port",
        "a port is a number from 1 to 65535",
        "Write host:443.",
    )


def parse_protocol(text: str) -> str:
    if text in PORTS:
        return text
    raise InvalidName(
        f"'{printable(text, 40)}' is not a protocol",
        f"known are {', '.join(PROTOCOLS)}",
        "Write host:port/protocol.",
    )


def parse(text: str) -> Target:
    """``host``, ``host:port``, ``host/protocol``, ``host:port/protocol``; IPv6 in brackets, or bare
    when no port follows.

    A missing port follows the protocol, a missing protocol follows the port. Raises
    :class:`InvalidName`.
    """
    if "%" in text:
        raise InvalidName(
            f"'{printable(text, 80)}' has a zone",
            "link-local addresses are not visited",
            "Write the address without %.",
        )
    rest, slash, protocol_text = text.strip().partition("/")
    if protocol_text.startswith("/"):
        raise InvalidName(
            f"'{printable(text, 80)}' is a URL",
            "a target is a host",
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
