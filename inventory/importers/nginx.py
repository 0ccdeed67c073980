"""nginx configuration: names, ports and certificates of server blocks, read as nginx reads them.

Includes are followed wherever they stand, relative to the folder of nginx.conf. The output of
``nginx -T`` is a source too. crossplane parses the blocks.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import crossplane

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import is_local, local_reason, skip_reason
from inventory.importers.table import decode, read_source
from inventory.text import printable

# Limits against files that include each other, and against a configuration that includes a lot.
MAX_FILES = 5000
MAX_DEPTH = 20
MAX_DIRECTIVES = 2_000_000
_MAX_FILE = 16 * 1024 * 1024
_DUMPED = re.compile(r"^# configuration file (.+):\s*$", re.M)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NOT_SITES = ("_", "", "-", "localhost", "$hostname")
_RANGE = re.compile(r"(.*?)(\d{1,5})-(\d{1,5})")
# More ports of one "listen" are no sites that certificates are watched for.
MAX_RANGE = 16
# Protocols of the mail module.
_MAIL = ("smtp", "imap", "pop3")
_MAIL_PORTS = {25: "smtp", 587: "smtp", 465: "smtp", 143: "imap", 993: "imap", 110: "pop3"}


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a block inherits from the blocks around it."""

    kind: str = ""  # http, stream or mail
    ssl: bool = False
    certificate: str = ""
    names: tuple[tuple[str, str], ...] = ()  # name, file and line
    values: dict[str, str] = field(default_factory=dict)


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the server blocks; what is left out is a problem, once.

    Args:
        path: nginx.conf, a file with server blocks, or the output of ``nginx -T``.
        client: Customer number of the names.

    Raises:
        UsageError: The file cannot be read.
    """
    seen: set[tuple[str, str]] = set()
    for row in _Reader(path, client).rows():
        # A snippet that is included several times is reported once.
        key = (
            (row.where, row.reason) if isinstance(row, ImportProblem) else (row.domain, row.target)
        )
        if key not in seen:
            seen.add(key)
            yield row


class _Reader:
    def __init__(self, path: Path, client: str) -> None:
        self.client = client
        self.path = path
        text = decode(read_source(path, 256 << 20))
        parts = _DUMPED.split(text)
        # The dump names each file before its content.
        self.dumped = dict(zip(parts[1::2], parts[2::2], strict=True)) if len(parts) > 2 else None
        self.main = parts[1] if self.dumped is not None else str(path)
        self.root = os.path.dirname(self.main)  # noqa: PTH120
        self.problems: list[ImportProblem] = []
        self.parsed: dict[str, list[dict[str, Any]]] = {}
        self.directives = 0

    def rows(self) -> Iterator[ImportRow | ImportProblem]:
        yield from self._block(self.main, self._parse(self.main), _Scope(), 0)
        yield from self.problems

    def _parse(self, name: str) -> list[dict[str, Any]]:
        """Return the directives of one file, without its includes."""
        if name not in self.parsed:
            if len(self.parsed) >= MAX_FILES:
                raise UsageError(f"{self.path} includes more than {MAX_FILES:,} files")
            try:
                self.parsed[name] = self._parsed(name)
            except UsageError as error:
                # Only the main file must be readable.
                if name == self.main and self.dumped is None:
                    raise
                self.parsed[name] = []
                self.problems.append(ImportProblem(f"{name}:0", printable(str(error), 200)))
        return self.parsed[name]

    def _parsed(self, name: str) -> list[dict[str, Any]]:
        if self.dumped is None:
            text = decode(read_source(Path(name), _MAX_FILE))
        else:
            text = self.dumped[name]
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            try:
                result = crossplane.parse(
                    file.name, check_ctx=False, check_args=False, catch_errors=True, single=True
                )
            except (OSError, RecursionError, RuntimeError) as error:
                raise UsageError(f"{name} cannot be read", type(error).__name__) from None
            for fault in result["errors"]:
                reason = str(fault["error"]).replace(file.name, name).partition(" in ")[0]
                where = f"{name}:{fault.get('line') or 0}"
                self.problems.append(ImportProblem(where, printable(reason, 200)))
        parsed: list[dict[str, Any]] = result["config"][0]["parsed"]
        return parsed

    def _included(self, pattern: str, where: str) -> list[str]:
        full = os.path.join(self.root, pattern)  # noqa: PTH118
        if self.dumped is not None:
            found = sorted(n for n in self.dumped if n == full or fnmatch.fnmatchcase(n, full))
        elif any(c in pattern for c in "*?["):
            base = Path("/") if full.startswith("/") else Path()
            try:
                found = sorted(str(p) for p in base.glob(full.lstrip("/")) if p.is_file())
            except (ValueError, OSError, NotImplementedError):
                found = []
            return found[:MAX_FILES]
        else:
            found = [full] if Path(full).is_file() else []
        if not found and not any(c in pattern for c in "*?["):
            reason = f"include {printable(pattern, 100)}: there is no such file"
            self.problems.append(ImportProblem(where, reason))
        return found

    def _flat(
        self, name: str, block: list[dict[str, Any]], depth: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (file, directive) of a block, with its includes in their place."""
        for directive in block:
            self.directives += 1
            if self.directives > MAX_DIRECTIVES:
                raise UsageError(f"{self.path} has more than {MAX_DIRECTIVES:,} directives")
            if directive["directive"] != "include" or not directive["args"]:
                yield name, directive
                continue
            where = f"{name}:{directive['line']}"
            if depth >= MAX_DEPTH:
                self.problems.append(ImportProblem(where, "includes are nested too deeply"))
                continue
            for file in self._included(directive["args"][0], where):
                yield from self._flat(file, self._parse(file), depth + 1)

    def _block(
        self, name: str, block: list[dict[str, Any]], scope: _Scope, depth: int
    ) -> Iterator[ImportRow | ImportProblem]:
        """Yield the rows of a block and of the blocks in it."""
        if depth > MAX_DEPTH:
            return
        directives = list(self._flat(name, block, 0))
        scope = self._inherited(directives, scope)
        for file, directive in directives:
            kind = directive["directive"]
            if "block" not in directive:
                continue
            # In an upstream, "server" has an argument and is no site.
            if kind == "server" and not directive["args"]:
                at = f"{file}:{directive['line']}"
                yield from self._server(file, directive["block"], scope, at)
            elif kind in ("http", "stream", "mail"):
                yield from self._block(
                    file, directive["block"], replace(scope, kind=kind), depth + 1
                )
            elif kind not in ("upstream", "map", "geo", "types", "split_clients"):
                yield from self._block(file, directive["block"], scope, depth + 1)

    def _inherited(self, directives: list[tuple[str, dict[str, Any]]], scope: _Scope) -> _Scope:
        """Return what applies in a block: its own directives before those around it."""
        names: list[tuple[str, str]] = []
        values = dict(scope.values)
        ssl, certificate = scope.ssl, scope.certificate
        for file, directive in directives:
            args = directive["args"]
            match directive["directive"]:
                case "set" if len(args) == 2:
                    values[args[0].lstrip("$")] = args[1]
                case "server_name":
                    names += [(a, f"{file}:{directive['line']}") for a in args]
                case "ssl":
                    ssl = args == ["on"]
                case "ssl_certificate" if args:
                    certificate = args[0]
                case "protocol" if args:
                    values[" protocol"] = args[0]
                case "starttls" if args:
                    values[" starttls"] = args[0]
        return _Scope(scope.kind, ssl, certificate, tuple(names) or scope.names, values)

    def _server(
        self, file: str, block: list[dict[str, Any]], outer: _Scope, at: str
    ) -> Iterator[ImportRow | ImportProblem]:
        directives = list(self._flat(file, block, 0))
        scope = self._inherited(directives, outer)
        named = printable(", ".join(n for n, _ in scope.names[:3]), 100) or "a server"
        refused = ("ssl_reject_handshake", ["on"])
        if any((d["directive"], d["args"]) == refused for _, d in directives):
            # Names of default servers are common and are no sites.
            if not {n for n, _ in scope.names} <= set(_NOT_SITES):
                reason = f"{named} refuses every handshake (ssl_reject_handshake), so it is no site"
                yield ImportProblem(at, reason)
            return
        targets: set[tuple[int, str]] = set()
        proxied: dict[int, str] = {}
        local: set[tuple[int, str]] = set()
        for where, directive in directives:
            if directive["directive"] != "listen" or not directive["args"]:
                continue
            address, options = directive["args"][0], directive["args"][1:]
            # A socket of the file system serves only this machine.
            if address.startswith("unix:"):
                continue
            tls = "ssl" in options or "quic" in options or scope.ssl
            address = _substituted(address, scope.values)
            ports = _ports(address, 443 if "ssl" in options else 80)
            line = f"{where}:{directive['line']}"
            if not ports:
                yield ImportProblem(line, _unknown_port(address, named))
            for port in ports:
                if "proxy_protocol" in options:
                    # Such a port expects the PROXY header of a balancer, which a client does not
                    # send.
                    proxied[port] = line
                elif (protocol := self._protocol(scope, port, tls)) is not None:
                    # Another machine would find a closed port, which looks like a fault.
                    (local if is_local(address) else targets).add((port, protocol))
        if local and not targets and not proxied:
            numbers = ", ".join(str(p) for p, _ in sorted(local))
            site = scope.kind not in ("stream", "mail")
            yield ImportProblem(at, local_reason(named, numbers, site=site))
        if scope.kind == "stream" and any(
            (d["directive"], d["args"]) == ("ssl_preread", ["on"]) for _, d in directives
        ):
            yield ImportProblem(
                at,
                "a stream server passes TLS on by the name that the client asks for (ssl_preread):"
                " add the names of its map with certmgr domain add",
            )
        yield from self._names(scope, targets, proxied, at)

    def _protocol(self, scope: _Scope, port: int, tls: bool) -> str | None:
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

    def _names(
        self,
        scope: _Scope,
        targets: set[tuple[int, str]],
        proxied: dict[int, str],
        where: str,
    ) -> Iterator[ImportRow | ImportProblem]:
        if scope.kind in ("stream", "mail") and targets and not scope.names:
            ports = ", ".join(f"{p}/{protocol}" for p, protocol in sorted(targets))
            reason = f"a {scope.kind} server on {ports} has no server_name: add its host by hand"
            yield ImportProblem(where, reason)
        for port, at in sorted(proxied.items()):
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
            # For the note only: the file is not read, since its key must not be opened.
            certificate = _substituted(scope.certificate, scope.values)
            note = f"nginx certificate: {printable(certificate, 300)}" if certificate else ""
            # A block without TLS is imported with port 443, so that the missing HTTPS is found.
            default = [] if scope.kind in ("stream", "mail") or proxied else [(443, "https")]
            for port, protocol in sorted(targets) or default:
                yield ImportRow(
                    at,
                    client=self.client,
                    domain=bare,
                    domain_fields={"note": note} if note else {},
                    target=f"{bare}:{port}/{protocol}",
                )


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
