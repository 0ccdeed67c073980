"""A virtual host of Apache as rows of an import, and the dump in which Apache lists its hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import is_local, local_reason, skip_reason
from inventory.text import printable

DUMP_HEAD = "VirtualHost configuration:"
_DUMP_HOST = re.compile(r"\s*port (\d+|\*) namevhost (\S+) \((.+:\d+)\)")
_DUMP_ALONE = re.compile(r"\S+:(\d+|\*)\s+(\S+) \((.+:\d+)\)")
_DUMP_ALIAS = re.compile(r"\s+(wild )?alias (\S+)")


@dataclass(slots=True)
class Host:
    """One VirtualHost block, or the main server.

    Attributes:
        where: File and line.
        ports: The ports that other machines reach; 0 for an unknown one.
        names: Name, and file and line.
        tls: Whether it speaks TLS.
        certificate: The file of the certificate.
        proxied: Whether it expects the PROXY protocol.
        local: The ports that only this machine reaches.
        variable: An address whose port is a variable without a value.
        managed: What renews its certificate in Apache itself; empty without mod_md.
    """

    where: str
    ports: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    tls: bool = False
    certificate: str = ""
    proxied: bool = False
    local: list[int] = field(default_factory=list)
    variable: str = ""
    managed: str = ""

    def add(self, name: str, args: list[str], where: str) -> None:
        """Apply a directive of the block. Its name is in lower case."""
        if name == "servername" and args:
            self.names.append((without_port(args[0]), where))
        elif name == "serveralias":
            self.names += [(a, where) for a in args]
        elif name == "sslengine":
            # Apache directives are not case sensitive.
            self.tls = bool(args) and args[0].lower() != "off"
        elif name == "sslcertificatefile" and args:
            self.certificate = args[0]
        elif name == "remoteipproxyprotocol":
            self.proxied = bool(args) and args[0].lower() == "on"


def without_port(server_name: str) -> str:
    """Return a ServerName without the scheme and port that it may have."""
    bare = server_name.rpartition("://")[2]
    return bare.rsplit(":", 1)[0] if bare.rpartition(":")[2].isdigit() else bare


def port_of(address: str) -> int:
    """Return the port of an address; 0 if it is unknown, as in ``<VirtualHost *>``."""
    text = address.rstrip(">").rpartition(":")[2]
    # isdigit() alone accepts digits such as "³", which int() does not convert.
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else 0


def dumped(text: str, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield the rows of DUMP_VHOSTS, which lists ports and names but not TLS."""
    host: Host | None = None
    local = False
    for line in text.splitlines():
        # The address stands once, before the hosts that share it.
        if line[:1].strip():
            local = is_local(line.split()[0])
        if alias := _DUMP_ALIAS.fullmatch(line):
            if host is not None:
                host.names.append((alias[2], host.where))
            continue
        if match := _DUMP_HOST.fullmatch(line) or _DUMP_ALONE.fullmatch(line):
            if host is not None:
                yield from rows_of(host, client)
            port = port_of(match[1])
            # Without the directives, the usual ports of TLS are those that end with 443.
            host = Host(match[3], [port], [(match[2], match[3])], str(port).endswith("443"))
            if local:
                host.ports, host.local = [], [port]
    if host is not None:
        yield from rows_of(host, client)


def rows_of(host: Host, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of a host, and what is left out."""
    if host.proxied:
        named = ", ".join(n for n, _ in host.names[:3])
        yield ImportProblem(
            host.where,
            f"{printable(named, 100)} expects the PROXY protocol of a balancer, so it cannot be"
            " asked directly: add the balancer's port",
        )
        return
    if not host.names:
        # Its name is that of the machine, or comes from folders (VirtualDocumentRoot).
        yield ImportProblem(
            host.where,
            "a virtual host without ServerName answers for names that the configuration does not"
            " list: add them with certmgr domain add",
        )
    if host.variable and host.tls:
        yield ImportProblem(
            host.where,
            f"'{printable(host.variable, 80)}' has a variable without a value, so port 443 is"
            " assumed: add another one with certmgr endpoint add",
        )
    if host.tls and host.local and not host.ports:
        named = printable(", ".join(n for n, _ in host.names[:3]), 100) or "a virtual host"
        yield ImportProblem(host.where, local_reason(named, {p for p in host.local if p}))
    # A host without TLS is imported with port 443, so that the missing HTTPS is found.
    ports = sorted({p for p in host.ports if p}) if host.tls else []
    for name, where in host.names:
        if "${" in name:
            yield ImportProblem(where, f"'{printable(name, 80)}' has a variable without a value")
            continue
        if (reason := skip_reason(name)) is not None:
            yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
            continue
        for port in ports or [443]:
            yield ImportRow(
                where,
                client=client,
                domain=name,
                domain_fields=_fields(host),
                target=f"{name}:{port}/https",
            )


def _fields(host: Host) -> dict[str, str]:
    if host.managed:
        # As for a lineage of certbot: it runs on a server of the provider, so the provider renews.
        return {"renews": "us", "note": f"Apache mod_md: {printable(host.managed, 100)}"}
    if host.certificate:
        return {"note": f"Apache certificate: {printable(host.certificate, 300)}"}
    return {}
