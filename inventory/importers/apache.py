"""Apache configuration, read as Apache reads it: virtual hosts, variables, macros, conditions.

The output of ``apachectl -t -D DUMP_VHOSTS`` is a source too. Apache has one directive per line,
and a backslash continues it. The parsers on PyPI have no line numbers, know no macros, and have had
no release for years.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import is_local, local_reason, skip_reason
from inventory.importers.table import decode, read_source
from inventory.text import printable

# Limits against a configuration that includes a whole file system, or expands without end.
MAX_FILES = 2000
MAX_BYTES = 4_000_000  # per file
MAX_DEPTH = 20
MAX_DIRECTIVES = 200_000
MAX_EXPANDED = 8_000_000  # characters of expanded macros
MAX_LINE = 10_000  # characters of an expanded line
_VARIABLE = re.compile(r"\$\{([^}\s]{1,200})\}")
_DUMP_HEAD = "VirtualHost configuration:"
_DUMP_HOST = re.compile(r"\s*port (\d+|\*) namevhost (\S+) \((.+:\d+)\)")
_DUMP_ALONE = re.compile(r"\S+:(\d+|\*)\s+(\S+) \((.+:\d+)\)")
_DUMP_ALIAS = re.compile(r"\s+(wild )?alias (\S+)")
_CONDITIONS = ("ifdefine", "ifmodule", "iffile", "ifversion")
Line = tuple[str, str]  # file and line, text


@dataclass(slots=True)
class _Host:
    """One VirtualHost block."""

    where: str
    ports: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # name, file and line
    tls: bool = False
    certificate: str = ""
    proxied: bool = False
    local: list[int] = field(default_factory=list)  # ports that only this machine reaches
    variable: str = ""  # an address whose port is a variable without a value


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the VirtualHost blocks; what is left out, once each.

    Include and IncludeOptional are followed, relative to ServerRoot or to the folder of the file.

    Args:
        path: The main configuration file, a file with VirtualHost blocks, or the output of
            ``apachectl -t -D DUMP_VHOSTS``.
        client: Customer number of the names.

    Raises:
        UsageError: The path is not a readable file.
    """
    if not path.exists():
        raise UsageError(
            f"{path} is not a file",
            "",
            "Name apache2.conf, httpd.conf, or a file with VirtualHost blocks.",
        )
    text = decode(read_source(path))
    rows = _dumped(text, client) if _DUMP_HEAD in text else _Reader(path, client).rows()
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = (
            (row.where, row.reason) if isinstance(row, ImportProblem) else (row.domain, row.target)
        )
        # A snippet that is included several times is reported once.
        if key not in seen:
            seen.add(key)
            yield row


def _dumped(text: str, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield the rows of DUMP_VHOSTS, which lists ports and names but not TLS."""
    host: _Host | None = None
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
                yield from _rows(host, client)
            port = _port(match[1])
            # Without the directives, the usual ports of TLS are those that end with 443.
            host = _Host(match[3], [port], [(match[2], match[3])], str(port).endswith("443"))
            if local:
                host.ports, host.local = [], [port]
    if host is not None:
        yield from _rows(host, client)


class _Reader:
    """Reads a configuration with its includes, macros and variables."""

    def __init__(self, path: Path, client: str) -> None:
        self.path, self.client = path, client
        self.root = path.parent
        self.defines: dict[str, str] = {}
        self.macros: dict[str, tuple[list[str], list[Line]]] = {}
        self.files = self.count = self.expanded = 0
        self.host: _Host | None = None
        self.tls = False

    def rows(self) -> Iterator[ImportRow | ImportProblem]:
        for where, words in self._directives(self._lines(self.path), [self.path.resolve()], 0):
            if isinstance(words, str):
                yield ImportProblem(where, words)
                continue
            name, args = words[0].lower(), words[1:]
            if name == "<virtualhost":
                unknown = next((a for a in args if "${" in a), "")
                yield from self._unclosed()
                reached = [_port(a) for a in args if not is_local(a)]
                local = [_port(a) for a in args if is_local(a)]
                self.host = _Host(where, reached, tls=self.tls, local=local, variable=unknown)
            elif name.startswith("</virtualhost") and self.host is not None:
                yield from _rows(self.host, self.client)
                self.host = None
            elif self.host is not None:
                _add_directive(self.host, name, args, where)
            # Outside of a host, it is the default of the hosts that follow.
            elif name == "sslengine":
                self.tls = bool(args) and args[0].lower() != "off"
        yield from self._unclosed()

    def _unclosed(self) -> Iterator[ImportProblem]:
        """Yield the block that is still open where none may be, as Apache refuses it."""
        if self.host is not None:
            yield ImportProblem(
                self.host.where, "this VirtualHost block is not closed: its names were not read"
            )

    def _lines(self, path: Path) -> Iterator[Line]:
        """Yield the lines of a file, joined where a backslash continues them."""
        data = read_source(path, MAX_BYTES)
        pending, first_line = "", 0
        for number, line in enumerate(decode(data).splitlines(), 1):
            # A directive that continues over several lines is reported with its first line.
            first_line = first_line or number
            if line.endswith("\\"):
                pending += line[:-1] + " "
                continue
            text, where = (pending + line).strip(), f"{path}:{first_line}"
            pending, first_line = "", 0
            if text and not text.startswith("#"):
                yield where, text

    def _directives(
        self, lines: Iterator[Line], stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        """Yield (file and line, words) per directive that applies; for a bad line, the reason."""
        for where, raw in lines:
            self.count += 1
            if self.count > MAX_DIRECTIVES:
                raise UsageError(f"{self.path} expands to over {MAX_DIRECTIVES:,} directives")
            text = _VARIABLE.sub(lambda m: self.defines.get(m[1], m[0]), raw)
            words = _words(text)
            if isinstance(words, str):
                yield where, words
                continue
            name = words[0].lower()
            if name == "<macro" and len(words) > 1:
                body = list(_until(lines, "macro"))
                self.macros[words[1].lower()] = (words[2:], body)
            elif name.lstrip("<") in _CONDITIONS and name.startswith("<"):
                if not self._applies(name[1:], words[1:]):
                    list(_until(lines, name[1:]))
            elif name == "use" and len(words) > 1:
                yield from self._use(where, words[1:], stack, depth)
            elif name == "define" and len(words) > 1:
                self.defines[words[1]] = words[2] if len(words) > 2 else ""
            elif name == "undefine" and len(words) > 1:
                self.defines.pop(words[1], None)
            elif name in ("include", "includeoptional") and len(words) == 2:
                yield from self._include(where, name, words[1], stack, depth)
            else:
                # Relative includes after ServerRoot are relative to it.
                if name == "serverroot" and len(words) == 2:
                    self.root = Path(words[1])
                yield where, words

    def _applies(self, condition: str, args: list[str]) -> bool:
        """Return whether the directives of a condition apply."""
        value = " ".join(args)
        negated, value = value.startswith("!"), value.removeprefix("!").strip()
        match condition:
            case "ifdefine":
                # Options -D of the command line are not known, so only "Define" counts.
                found = value in self.defines
            case "iffile":
                found = (self.root / value).exists()
            case _:
                # Which modules are loaded is not known from every file; those of a site are.
                found = True
        return found != negated

    def _use(
        self, where: str, args: list[str], stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        macro = self.macros.get(args[0].lower())
        if macro is None or depth >= MAX_DEPTH:
            reason = "is not defined" if macro is None else "is nested too deeply"
            yield where, f"the macro {printable(args[0], 60)} {reason}"
            return
        parameters, body = macro
        # The longest parameter first, as Apache does: $name before $na.
        values = sorted(
            zip(parameters, args[1:], strict=False), key=lambda p: len(p[0]), reverse=True
        )

        def lines() -> Iterator[Line]:
            for at, text in body:
                self.expanded += len(text)
                if self.expanded > MAX_EXPANDED:
                    raise UsageError(f"{self.path} expands to over {MAX_EXPANDED >> 20} MB")
                for parameter, value in values:
                    text = text.replace(parameter, value)[:MAX_LINE]
                self.expanded += len(text)
                yield at, text

        yield from self._directives(lines(), stack, depth + 1)

    def _include(
        self, where: str, name: str, pattern: str, stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        included = _included(pattern, self.root)
        if isinstance(included, str):
            yield where, included
            return
        if not included and name == "include":
            yield where, f"Include {printable(pattern, 100)}: there is no such file"
        for file in included:
            real = file.resolve()
            # A snippet may be included several times, but not by itself.
            if real in stack or depth >= MAX_DEPTH or self.files >= MAX_FILES:
                yield where, f"{printable(str(file), 100)} includes itself, or too many files"
                continue
            self.files += 1
            try:
                yield from self._directives(self._lines(file), [*stack, real], depth + 1)
            except UsageError as error:
                if self.count > MAX_DIRECTIVES or self.expanded > MAX_EXPANDED:
                    raise
                yield f"{file}:0", printable(str(error), 200)


def _until(lines: Iterator[Line], kind: str) -> Iterator[Line]:
    """Yield the lines of a block until its end, with blocks of the same kind in it."""
    depth = 1
    for where, text in lines:
        lowered = text.lower()
        depth += bool(re.match(rf"<{kind}[\s>]", lowered))
        depth -= bool(re.match(rf"</{kind}\s*>", lowered))
        if not depth:
            return
        yield where, text


def _words(text: str) -> list[str] | str:
    """Return the words of a directive, or why it cannot be read."""
    try:
        # The closing bracket of <VirtualHost *:443> is not part of the address.
        opening = text.startswith("<") and not text.startswith("</")
        bare = text.rstrip(">") if opening else text
        # Most lines have no quotes, and splitting at blanks is a hundred times faster.
        words = shlex.split(bare) if set(bare) & set("\"'\\") else bare.split()
    except ValueError as error:
        return f"cannot be read: {error}"
    return words or "cannot be read: it is empty"


def _add_directive(host: _Host, name: str, args: list[str], where: str) -> None:
    if name == "servername" and args:
        # ServerName may have a scheme and a port: https://shop.example.com:443.
        bare = args[0].rpartition("://")[2]
        host.names.append(
            (bare.rsplit(":", 1)[0] if bare.rpartition(":")[2].isdigit() else bare, where)
        )
    elif name == "serveralias":
        host.names += [(a, where) for a in args]
    elif name == "sslengine":
        # Apache directives are not case sensitive.
        host.tls = bool(args) and args[0].lower() != "off"
    elif name == "sslcertificatefile" and args:
        host.certificate = args[0]
    elif name == "remoteipproxyprotocol":
        host.proxied = bool(args) and args[0].lower() == "on"


def _rows(host: _Host, client: str) -> Iterator[ImportRow | ImportProblem]:
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
        numbers = ", ".join(str(p) for p in sorted({p for p in host.local if p}))
        yield ImportProblem(host.where, local_reason(named, numbers))
    # A host without TLS is imported with port 443, so that the missing HTTPS is found.
    ports = sorted({p for p in host.ports if p}) if host.tls else []
    note = f"Apache certificate: {printable(host.certificate, 300)}" if host.certificate else ""
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
                domain_fields={"note": note} if note else {},
                target=f"{name}:{port}/https",
            )


def _port(address: str) -> int:
    text = address.rstrip(">").rpartition(":")[2]
    # Without a valid port, as in <VirtualHost *>, the port is unknown: 0.
    # isdigit() alone accepts digits such as "³", which int() does not convert.
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else 0


def _included(pattern: str, root: Path) -> list[Path] | str:
    """Return the files that an Include names, or why it cannot be followed.

    For a folder, these are all of its files.
    """
    base = Path("/") if pattern.startswith("/") else root
    relative = pattern.strip("/")
    try:
        matched = sorted(base.glob(relative))[:MAX_FILES] if relative else []
        files = [f for m in matched for f in (sorted(m.iterdir()) if m.is_dir() else [m])]
    except (ValueError, NotImplementedError, OSError) as error:
        return f"Include {printable(pattern, 80)} cannot be followed: {printable(str(error), 80)}"
    return (
        [f for f in files if f.is_file()][:MAX_FILES]
        if relative
        else f"Include {printable(pattern, 80)} would include the whole file system"
    )
