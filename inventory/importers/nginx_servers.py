"""The server blocks of nginx as rows of an import. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import is_local, local_reason, skip_reason
from inventory.text import printable

# A directive with the file in which it stands.
Directive = tuple[str, dict[str, Any]]
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NOT_SITES = ("_", "", "-", "localhost", "$hostname")
_RANGE = re.compile(r"(.*?)(\d{1,5})-(\d{1,5})")
# More ports of one "listen" are no sites that certificates are watched for.
MAX_RANGE = 16
# Protocols of the mail module.
_MAIL = ("smtp", "imap", "pop3")
_MAIL_PORTS = {25: "smtp", 587: "smtp", 465: "smtp", 143: "imap", 993: "imap", 110: "pop3"}
# Answers of a default server to names that it does not know.
_NO_SITE = ("400", "403", "404", "410", "421", "444")
# What stands in a map and is no name.
_NO_NAMES = ("default", "hostnames", "volatile", "include")


_IN_PLACE = "written in the configuration (data:)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a block inherits from the blocks around it.

    Attributes:
        kind: http, stream or mail.
        ssl: Whether "ssl on" applies.
        certificates: The files of the certificates, or variables.
        names: Name, and file and line.
        values: Variable -> value.
        passed_on: The names of a map by which a stream server passes TLS on, with file and line.
    """

    kind: str = ""
    ssl: bool = False
    certificates: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    passed_on: tuple[tuple[str, str], ...] = ()


def inherited(directives: Sequence[Directive], scope: Scope) -> Scope:
    """Return what applies in a block: its own directives before those around it."""
    names: list[tuple[str, str]] = []
    passed_on = list(scope.passed_on)
    values = dict(scope.values)
    ssl = scope.ssl
    certificates: list[str] = []
    for file, directive in directives:
        args, where = directive["args"], f"{file}:{directive['line']}"
        match directive["directive"]:
            case "set" if len(args) == 2:
                values[args[0].lstrip("$")] = args[1]
            case "server_name":
                names += [(a, where) for a in args]
            case "ssl":
                ssl = args == ["on"]
            case "ssl_certificate" if args:
                # One per key type.
                certificates.append(args[0])
            case "protocol" if args:
                values[" protocol"] = args[0]
            case "starttls" if args:
                values[" starttls"] = args[0]
            case "map" if args[:1] == ["$ssl_preread_server_name"]:
                keys = (d["directive"] for d in directive.get("block", ()))
                passed_on += [(k, where) for k in keys if k not in _NO_NAMES]
    return Scope(
        kind=scope.kind,
        ssl=ssl,
        certificates=tuple(certificates) or scope.certificates,
        names=tuple(names) or scope.names,
        values=values,
        passed_on=tuple(passed_on),
    )


@dataclass(slots=True)
class _Listens:
    """The ports of a server block.

    Attributes:
        targets: Port and protocol with TLS.
        plain: Ports without TLS.
        proxied: Port -> file and line, of those that expect the PROXY protocol.
        local: Port and protocol that only this machine reaches.
        socket: Whether it listens with TLS at a socket of the file system.
    """

    targets: set[tuple[int, str]] = field(default_factory=set)
    plain: set[int] = field(default_factory=set)
    proxied: dict[int, str] = field(default_factory=dict)
    local: set[tuple[int, str]] = field(default_factory=set)
    socket: bool = False


def server_rows(
    directives: Sequence[Directive], scope: Scope, at: str, client: str
) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of a server block, and what is left out.

    Args:
        directives: The directives of the block.
        scope: What applies in it.
        at: File and line of the block.
        client: Customer number of the names.
    """
    named = printable(", ".join(n for n, _ in scope.names[:3]), 100) or "a server"
    found = [(d["directive"], d["args"]) for _, d in directives]
    if ("ssl_reject_handshake", ["on"]) in found:
        # Names of default servers are common and are no sites.
        if not {n for n, _ in scope.names} <= set(_NOT_SITES):
            reason = f"{named} refuses every handshake (ssl_reject_handshake), so it is no site"
            yield ImportProblem(at, reason)
        return
    listens = _Listens()
    yield from _read_listens(listens, directives, scope, named)
    site = scope.kind not in ("stream", "mail")
    if (listens.local or listens.socket) and not listens.targets and not listens.proxied:
        numbers = {p for p, _ in listens.local}
        yield ImportProblem(at, local_reason(named, numbers, socket=listens.socket, site=site))
    if scope.kind == "stream" and ("ssl_preread", ["on"]) in found:
        yield from _passed_on(scope, listens, at, client)
    refuses = any(d == "return" and a[:1] and a[0] in _NO_SITE for d, a in found)
    if listens.targets and not scope.names and not refuses:
        ports = ", ".join(f"{p}/{protocol}" for p, protocol in sorted(listens.targets))
        yield ImportProblem(at, _nameless(scope.kind, ports))
    yield from _names(scope, listens, client)


def _read_listens(
    listens: _Listens, directives: Sequence[Directive], scope: Scope, named: str
) -> Iterator[ImportProblem]:
    """Add the ports of the block, and yield those that are not known."""
    for where, directive in directives:
        if directive["directive"] != "listen" or not directive["args"]:
            continue
        address, options = directive["args"][0], directive["args"][1:]
        tls = "ssl" in options or "quic" in options or scope.ssl
        # A socket of the file system serves only this machine.
        if address.startswith("unix:"):
            listens.socket |= tls
            continue
        address = _substituted(address, scope.values)
        ports = _ports(address, 443 if "ssl" in options else 80)
        line = f"{where}:{directive['line']}"
        if not ports:
            yield ImportProblem(line, _unknown_port(address, named))
        for port in ports:
            if "proxy_protocol" in options:
                # Such a port expects the PROXY header of a balancer, which a client does not send.
                listens.proxied[port] = line
            elif (protocol := _protocol(scope, port, tls)) is None:
                listens.plain.add(port)
            # Another machine would find a closed port, which looks like a fault.
            elif is_local(address):
                listens.local.add((port, protocol))
            else:
                listens.targets.add((port, protocol))


def _nameless(kind: str, ports: str) -> str:
    if kind in ("stream", "mail"):
        return f"a {kind} server on {ports} has no server_name: add its host by hand"
    return (
        f"a server on {ports} has no server_name: if it is a site, add its names with certmgr"
        " domain add"
    )


def _passed_on(
    scope: Scope, listens: _Listens, at: str, client: str
) -> Iterator[ImportRow | ImportProblem]:
    """Yield the names by which a stream server passes TLS on to others (ssl_preread)."""
    if not scope.passed_on:
        yield ImportProblem(
            at,
            "a stream server passes TLS on by the name that the client asks for (ssl_preread):"
            " add the names of its map with certmgr domain add",
        )
    ports = {(p, "https" if str(p).endswith("443") else "tls") for p in listens.plain}
    passed = Scope(kind="http", names=scope.passed_on, values=scope.values)
    yield from _names(passed, _Listens(targets=ports, proxied=listens.proxied), client)


def _protocol(scope: Scope, port: int, tls: bool) -> str | None:
    """Return the protocol of a port; None if it has no TLS."""
    if scope.kind == "mail":
        protocol = scope.values.get(" protocol") or _MAIL_PORTS.get(port, "")
        if tls:
            return "tls"
        starttls = scope.values.get(" starttls") in ("on", "only")
        return protocol if starttls and protocol in _MAIL else None
    if not tls:
        return None
    return "tls" if scope.kind == "stream" else "https"


def _names(scope: Scope, listens: _Listens, client: str) -> Iterator[ImportRow | ImportProblem]:
    for port, at in sorted(listens.proxied.items()):
        named = ", ".join(n for n, _ in scope.names[:3])
        yield ImportProblem(
            at,
            f"port {port} of {printable(named, 100)} expects the PROXY protocol of a balancer,"
            " so it cannot be asked directly: add the balancer's port",
        )
    for raw, at in scope.names:
        name = _substituted(raw, scope.values)
        # ".example.com" is the name and all names below it.
        bare = name.removeprefix(".")
        if "$" in name and not name.startswith("~"):
            yield ImportProblem(at, f"'{printable(name, 80)}' has a variable without a value")
            continue
        if (reason_ := skip_reason(bare)) is not None:
            # Names of default servers are common and are no sites.
            if bare not in _NOT_SITES:
                yield ImportProblem(at, f"'{printable(name, 80)}' {reason_}")
            continue
        if name.startswith("."):
            reason = f"'{printable(name, 80)}' also stands for the names below it: add those"
            yield ImportProblem(at, f"{reason} with certmgr domain add")
        # A block without TLS is imported with port 443, so that the missing HTTPS is found.
        mail = scope.kind in ("stream", "mail")
        default = [] if mail or listens.proxied else [(443, "https")]
        for port, protocol in sorted(listens.targets) or default:
            yield ImportRow(
                at,
                client=client,
                domain=bare,
                domain_fields=_fields(scope),
                target=f"{bare}:{port}/{protocol}",
            )


def _fields(scope: Scope) -> dict[str, str]:
    # For the note only: the file is not read, since its key must not be opened.
    certificates = [_substituted(c, scope.values) for c in scope.certificates]
    if not certificates:
        return {}
    # A literal certificate may be followed by its key.
    shown = [_IN_PLACE if c.startswith("data:") and "$" not in c else c for c in certificates]
    note = {"note": f"nginx certificate: {printable(', '.join(shown), 300)}"}
    # The ACME modules of nginx and Angie give their certificates in a variable. They run on a
    # server of the provider, so the provider renews.
    by_module = any(c.startswith("$acme_cert") for c in certificates)
    return {"renews": "us", **note} if by_module else note


def _substituted(text: str, values: dict[str, str]) -> str:
    """Return a text with the variables that "set" gives a fixed value."""

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1] or match[2])
        return found if found is not None and "$" not in found else match[0]

    return text if text.startswith("~") else _VARIABLE.sub(value, text)


def _ports(listen: str, default: int) -> list[int]:
    """Return the ports of a "listen": one, or those of a range such as ``8443-8446``.

    Returns:
        An empty list if the port is a variable, or the range is larger than :data:`MAX_RANGE`.
    """
    if "$" in listen:
        return []
    found = _RANGE.fullmatch(listen)
    # A host name may end in a range of digits, such as web1-2.
    if found is None or (found[1] not in ("", "*:") and not found[1].endswith(":")):
        return [_port(listen, default)]
    first, last = int(found[2]), int(found[3])
    return list(range(first, last + 1)) if 0 < first <= last < min(65536, first + MAX_RANGE) else []


def _unknown_port(listen: str, named: str) -> str:
    return (
        f"listen {printable(listen, 80)} of {named} has a variable without a value, or more than"
        f" {MAX_RANGE} ports: add those that are used with certmgr endpoint add"
    )


def _port(listen: str, default: int) -> int:
    """Return the port of ``443``, ``192.0.2.1:443`` or ``[::]:443``, or the default."""
    # An IPv6 address without a port contains colons too.
    last = listen.rpartition(":")[2] if not listen.endswith("]") else ""
    text = listen if listen.isdigit() else last
    # isdigit() alone accepts digits such as "³", which int() does not convert.
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else default
