"""Apache configuration: VirtualHost, ServerName, ServerAlias, SSLEngine, SSLCertificateFile,
Include.

The files are read line by line: Apache has one directive per line, and a backslash continues it.
The parsers on PyPI have no line numbers, which the report of an invalid row needs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skip_reason
from inventory.text import printable

# Limits against a configuration that includes a whole file system.
MAX_FILES = 2000
MAX_BYTES = 4_000_000  # per file


@dataclass(slots=True)
class _Host:
    """One VirtualHost block."""

    ports: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # name, file and line
    tls: bool = False
    certificate: str = ""


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the VirtualHost blocks.

    Include and IncludeOptional are followed, relative to ServerRoot or to the folder of the file.

    Args:
        path: The main configuration file, or a file with VirtualHost blocks.
        client: Customer number of the names.

    Raises:
        UsageError: The path is not a file.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is not a file",
            "",
            "Name apache2.conf, httpd.conf, or a file with VirtualHost blocks.",
        )
    current: _Host | None = None
    for where, words in _directives(path, path.parent, set()):
        if isinstance(words, str):
            yield ImportProblem(where, words)
            continue
        name, args = words[0].lower(), words[1:]
        if name == "<virtualhost":
            current = _Host(ports=[_port(a) for a in args])
        elif name == "</virtualhost>" and current is not None:
            yield from _rows(current, client)
            current = None
        elif current is not None:
            _add_directive(current, name, args, where)


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
        host.tls = bool(args) and args[0].lower() == "on"
    elif name == "sslcertificatefile" and args:
        host.certificate = args[0]


def _rows(host: _Host, client: str) -> Iterator[ImportRow | ImportProblem]:
    # A host without TLS is imported with port 443, so that the missing HTTPS is found.
    ports = sorted({p for p in host.ports if p}) if host.tls else []
    fields = (
        {"note": f"Apache certificate: {printable(host.certificate, 300)}"}
        if host.certificate
        else {}
    )
    for name, where in host.names:
        if (reason := skip_reason(name)) is not None:
            yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
            continue
        for port in ports or [443]:
            yield ImportRow(
                where,
                client=client,
                domain=name,
                domain_fields=fields,
                target=f"{name}:{port}/https",
            )


def _port(address: str) -> int:
    text = address.rstrip(">").rpartition(":")[2]
    # Without a valid port, as in <VirtualHost *>, the port is unknown: 0.
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else 0


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


def _directives(path: Path, root: Path, seen: set[Path]) -> Iterator[tuple[str, list[str] | str]]:
    """Yield (file and line, words) per directive; for an unreadable line, the reason as text."""
    # Files may include each other in a circle.
    real = path.resolve()
    if real in seen or len(seen) >= MAX_FILES:
        return
    seen.add(real)
    try:
        data = path.read_bytes()[:MAX_BYTES]
    except OSError as error:
        yield f"{path}:0", f"cannot be read: {error.strerror}"
        return
    # A directive that continues over several lines is reported with its first line.
    pending, first_line = "", 0
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        first_line = first_line or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        text, where = (pending + line).strip(), f"{path}:{first_line}"
        pending, first_line = "", 0
        if not text or text.startswith("#"):
            continue
        try:
            words = shlex.split(
                # The closing bracket of <VirtualHost *:443> is not part of the address.
                text.rstrip(">") if text.startswith("<") and not text.startswith("</") else text
            )
        except ValueError as error:
            yield where, f"cannot be read: {error}"
            continue
        if not words:
            continue
        if words[0].lower() in ("include", "includeoptional") and len(words) == 2:
            included = _included(words[1], root)
            if isinstance(included, str):
                yield where, included
                continue
            for file in included:
                yield from _directives(file, root, seen)
            continue
        # Relative includes after ServerRoot are relative to it.
        if words[0].lower() == "serverroot" and len(words) == 2:
            root = Path(words[1])
        yield where, words
