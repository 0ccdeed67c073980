"""Targets of a scan: ``host[:port][/protocol]``. Pure.

The protocols are https, tls, and those of ``inventory/protocols/``, which begin with a dialogue.
"""

import re
from dataclasses import dataclass

from inventory.errors import InvalidName
from inventory.names import as_ip, display, normalise_host
from inventory.protocols import STARTTLS
from inventory.text import printable

# Names of services without STARTTLS whose TLS begins with the first byte -> their port.
TLS_NAMES = {
    "ircs": 6697,
    "sips": 5061,
    "mqtts": 8883,
    "amqps": 5671,
} | {name: port for p in STARTTLS.values() for name, port in p.tls_names.items()}
# Ports of such services without a name -> what they are; web pages at port 443 are not visited.
TLS_PORTS = {
    443: "websites",
    853: "DNS over TLS",
    992: "telnet",
    994: "IRC",
    5349: "TURN",
    6514: "syslog",
} | {port: what for p in STARTTLS.values() for port, what in p.tls_ports.items()}
# Protocol -> its ports; a target without a port gets the first one. "tls" is TLS from the first
# byte, without web pages.
_PORTS_OF_PROTOCOL: dict[str, tuple[int, ...]] = {
    "https": (443,),
    **{name: protocol.ports for name, protocol in STARTTLS.items()},
    "tls": (*TLS_PORTS, *TLS_NAMES.values()),
}
PORTS = {protocol: ports[0] for protocol, ports in _PORTS_OF_PROTOCOL.items()}
PROTOCOLS = tuple(PORTS)
# A port for which no protocol is given has the first protocol that names it.
_PROTOCOL_OF_PORT = {
    port: protocol for protocol, ports in reversed(_PORTS_OF_PROTOCOL.items()) for port in ports
}
# Other names of a protocol -> the protocol and its port.
_OTHER_NAMES = {
    name: (protocol.name, port)
    for protocol in STARTTLS.values()
    for name, port in protocol.other_names.items()
} | {name: ("tls", port) for name, port in TLS_NAMES.items()}
# Services that begin without TLS, or with a dialogue that certmgr does not know. The list ends
# below the dynamic ports of common systems (32768), where anything may listen.
_OTHER_SERVICES = {
    22: "SSH",
    23: "telnet",
    53: "DNS",
    80: "plain HTTP, which a scan of the website at port 443 checks too",
    88: "Kerberos",
    135: "Windows RPC",
    139: "Windows file sharing",
    194: "IRC",
    445: "Windows file sharing",
    514: "syslog",
    631: "a printer",
    873: "rsync",
    1080: "SOCKS",
    1194: "OpenVPN",
    1352: "HCL Notes",
    1433: "Microsoft SQL Server",
    1434: "Microsoft SQL Server",
    1521: "Oracle Database",
    1701: "L2TP",
    1723: "PPTP",
    1883: "MQTT",
    2000: "the older port of ManageSieve, or SCCP",
    2049: "NFS",
    2181: "ZooKeeper",
    2628: "DICT",
    3050: "Firebird",
    3128: "a proxy",
    3260: "iSCSI",
    3389: "Remote Desktop",
    3478: "STUN",
    3690: "Subversion",
    4369: "Erlang's port mapper",
    5060: "SIP",
    5280: "XMPP over HTTP",
    5672: "AMQP",
    5900: "VNC",
    5901: "VNC",
    6000: "X11",
    6379: "Redis",
    6432: "PgBouncer",
    **dict.fromkeys(range(6660, 6670), "IRC"),
    7000: "IRC or Cassandra",
    9042: "Cassandra",
    9092: "Kafka",
    9418: "Git",
    10050: "Zabbix",
    10051: "Zabbix",
    11211: "memcached",
    26379: "Redis Sentinel",
    27017: "MongoDB",
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
        """Whether the host is an IP address."""
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


def protocol_of_port(port: int) -> str | None:
    """Return the protocol that a port implies, or None if the dialogue at that port is not known.

    Web servers use any port above 1023, so such a port is https unless it belongs to a service.
    """
    protocol = _PROTOCOL_OF_PORT.get(port)
    if protocol is None and port > 1023 and port not in _OTHER_SERVICES:
        return "https"
    return protocol


def _unknown_dialogue(host: str, port: int) -> InvalidName:
    """Return the error for a port without a protocol whose dialogue is not known."""
    shown = f"[{host}]" if ":" in host else display(host)
    service = _OTHER_SERVICES.get(port)
    why = f"it is the port of {service}" if service else "no protocol that certmgr knows uses it"
    return InvalidName(
        f"How TLS begins at port {port} is not known",
        why,
        f"Write {shown}:{port}/tls if TLS begins with the first byte, {shown}:{port}/https for a"
        f" website, or another protocol: {', '.join(PROTOCOLS)}.",
    )


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
    """Return a protocol. Other names, such as imaps or mariadb, are accepted.

    Raises:
        InvalidName: The protocol is not known.
    """
    return _protocol_and_port(text)[0]


def _is_known(text: str) -> bool:
    return text.lower() in PORTS or text.lower() in _OTHER_NAMES


def _protocol_and_port(text: str) -> tuple[str, int]:
    """Return a protocol, and the port that its name implies."""
    name = text.strip().lower()
    if name in PORTS:
        return name, PORTS[name]
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    raise InvalidName(
        f"'{printable(text, 40)}' is not a protocol",
        f"the known protocols are {', '.join(PROTOCOLS)}",
        "Write host:port/protocol.",
    )


def parse_backend(text: str) -> Target:
    """Parse ``host[:port]`` of a backend, whose protocol is that of the endpoint in front of it.

    Raises:
        InvalidName: A part of the text is invalid.
    """
    return _parse(text, any_port=True)


def parse(text: str) -> Target:
    """Parse ``host``, ``host:port``, ``host/protocol``, ``host:port/protocol``, or a URL.

    An IPv6 address needs brackets if a port follows. The protocol implies a missing port, and the
    port implies a missing protocol. Of a URL, as people copy it from a browser, the path is
    dropped: the whole host is inspected. ``http://host`` means the host at its HTTPS port, because
    its plain HTTP is inspected with it.

    Raises:
        InvalidName: A part of the text is invalid, or the port does not imply a protocol.
    """
    return _parse(text, any_port=False)


_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(?:[^/?#@]*@)?([^/?#]*)")


def _without_url(text: str) -> str:
    """Return a target without the parts of a URL: scheme, user, path, query and fragment."""
    text = text.strip("<>\"'").rstrip(",;")
    match = _URL.match(text)
    if match is None:
        return text.partition("?")[0].partition("#")[0]
    scheme, host = match.group(1).lower(), match.group(2)
    if scheme == "http":
        if re.search(r":(?!80$)[0-9]+$", host):
            raise InvalidName(
                f"'{printable(text, 80)}' has a port of plain HTTP",
                "a target is the port of a TLS service",
                f"Write {printable(host.rpartition(':')[0], 80)}, and give the port with"
                " --http-port.",
            )
        return host.removesuffix(":80")
    if scheme == "https":
        # Its port needs a protocol, if it is not that of one.
        return f"{host}/https"
    return f"{host}/{scheme}"


def _parse(text: str, *, any_port: bool) -> Target:
    """Parse a target. With ``any_port``, https is assumed where a port implies no protocol."""
    # A zone is valid only on this machine.
    if "%" in text:
        raise InvalidName(
            f"'{printable(text, 80)}' has a zone",
            "link-local addresses are not scanned",
            "Write the address without %.",
        )
    rest, slash, protocol_text = _without_url(text.strip()).partition("/")
    # A final slash, and whatever no protocol can contain, is the path of a web address.
    if _is_known(protocol_text.removesuffix("/")):
        protocol_text = protocol_text.removesuffix("/")
    if not protocol_text or set(protocol_text) & set("/?#."):
        slash = ""
    protocol, port = _protocol_and_port(protocol_text) if slash else (None, PORTS["https"])
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
    if port_text is None:
        return Target(host, port, protocol or "https")
    port = parse_port(port_text)
    protocol = protocol or protocol_of_port(port) or ("https" if any_port else None)
    if protocol is None:
        raise _unknown_dialogue(host, port)
    return Target(host, port, protocol)
