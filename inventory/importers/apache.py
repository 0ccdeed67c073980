"""Apache configuration: VirtualHost, ServerName, ServerAlias, SSLEngine, SSLCertificateFile,
Include.

Read line by line (Apache's own grammar: one directive a line, a backslash continues it): the
parsers on PyPI give no line numbers, and a bad row has to be named by its line.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skipped
from inventory.text import printable

MAX_FILES = 2000
MAX_BYTES = 4_000_000


@dataclass(slots=True)
class _Host:
    ports: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # name, where
    tls: bool = False
    certificate: str = ""


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """``path``: a file; its Include and IncludeOptional are followed, relative to ServerRoot or its
    own directory.
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
            yield from _entries(current, client)
            current = None
        elif current is not None:
            _take(current, name, args, where)


def _take(host: _Host, name: str, args: list[str], where: str) -> None:
    if name == "servername" and args:
        bare = args[0].rpartition("://")[2]
        host.names.append(
            (bare.rsplit(":", 1)[0] if bare.rpartition(":")[2].isdigit() else bare, where)
        )
    elif name == "serveralias":
        host.names += [(a, where) for a in args]
    elif name == "sslengine":
        host.tls = bool(args) and args[0].lower() == "on"
    elif name == "sslcertificatefile" and args:
        host.certificate = args[0]


def _entries(host: _Host, client: str) -> Iterator[ImportRow | ImportProblem]:
    ports = sorted({p for p in host.ports if p}) if host.tls else []
    fields = (
        {"note": f"Apache certificate: {printable(host.certificate, 300)}"}
        if host.certificate
        else {}
    )
    for name, where in host.names:
        if (why := skipped(name)) is not None:
            yield ImportProblem(where, f"'{printable(name, 80)}' {why}")
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
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else 0


def _included(pattern: str, root: Path) -> list[Path] | str:
    """The files that an Include names (a folder: all files in it), or why it cannot be followed."""
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
        else f"Include {printable(pattern, 80)} is too wide"
    )


def _directives(path: Path, root: Path, seen: set[Path]) -> Iterator[tuple[str, list[str] | str]]:
    """(where, words) of each directive; (where, reason) for a line that cannot be read."""
    real = path.resolve()
    if real in seen or len(seen) >= MAX_FILES:
        return
    seen.add(real)
    try:
        data = path.read_bytes()[:MAX_BYTES]
    except OSError as error:
        yield f"{path}:0", f"cannot be read: {error.strerror}"
        return
    pending, begun = "", 0
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        begun = begun or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        text, where = (pending + line).strip(), f"{path}:{begun}"
        pending, begun = "", 0
        if not text or text.startswith("#"):
            continue
        try:
            words = shlex.split(
                text.rstrip(">") if text.startswith("<") and not text.startswith("</") else text
            )
        except ValueError as error:
            yield where, f"cannot be read: {error}"
            continue
        if not words:
            continue
        if words[0].lower() in ("include", "includeoptional") and len(words) == 2:
            found = _included(words[1], root)
            if isinstance(found, str):
                yield where, found
                continue
            for file in found:
                yield from _directives(file, root, seen)
            continue
        if words[0].lower() == "serverroot" and len(words) == 2:
            root = Path(words[1])
        yield where, words
