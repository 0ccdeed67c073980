"""nginx configuration: names, ports and certificate paths of server blocks (crossplane)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skip_reason
from inventory.text import printable


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the server blocks. Includes are followed.

    Args:
        path: nginx.conf, or a file with server blocks.
        client: Customer number of the names.

    Raises:
        UsageError: The file cannot be read.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is not a file", "", "Name nginx.conf, or a file with server blocks."
        )
    try:
        parsed = crossplane.parse(str(path), check_ctx=False, check_args=False, catch_errors=True)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read", str(error)[:200]) from None
    for file in parsed["config"]:
        # crossplane reports errors per file, so the other files can still be imported.
        for fault in file["errors"]:
            yield ImportProblem(
                f"{file['file']}:{fault.get('line') or 0}", printable(str(fault["error"]), 200)
            )
        yield from _servers(file["file"], file["parsed"], client)


def _servers(
    file: str, block: list[dict[str, Any]], client: str
) -> Iterator[ImportRow | ImportProblem]:
    for directive in block:
        if directive["directive"] == "server" and "block" in directive and not directive["args"]:
            yield from _server(file, directive, client)
        # Server blocks are nested in http blocks and in includes.
        elif "block" in directive:
            yield from _servers(file, directive["block"], client)


def _server(file: str, server: dict[str, Any], client: str) -> Iterator[ImportRow | ImportProblem]:
    names: list[tuple[str, int]] = []
    ports: set[int] = set()
    tls_everywhere, certificate = False, ""
    for directive in server["block"]:
        args = directive["args"]
        match directive["directive"]:
            case "server_name":
                names += [(a, directive["line"]) for a in args]
            case "listen" if args and "ssl" in args[1:]:
                ports.add(_port(args[0], 443))
            case "ssl":
                tls_everywhere = args == ["on"]
            case "ssl_certificate" if args:
                certificate = args[0]
    # "ssl on" enables TLS on all ports of the block, whatever "listen" has.
    if tls_everywhere:
        ports |= {
            _port(d["args"][0], 80)
            for d in server["block"]
            if d["directive"] == "listen" and d["args"]
        }
    for name, line in names:
        where = f"{file}:{line}"
        # ".example.com" is the name and all names below it.
        bare = name[1:] if name.startswith(".") else name
        if (reason := skip_reason(bare)) is not None:
            # Names of default servers are common and are no sites.
            if bare not in ("_", "", "localhost"):
                yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
            continue
        fields = (
            {"note": f"nginx certificate: {printable(certificate, 300)}"} if certificate else {}
        )
        # A block without TLS is imported with port 443, so that the missing HTTPS is found.
        for port in sorted(ports) or [443]:
            yield ImportRow(
                where,
                client=client,
                domain=bare,
                domain_fields=fields,
                target=f"{bare}:{port}/https",
            )


def _port(listen: str, default: int) -> int:
    """Return the port of ``443``, ``192.0.2.1:443`` or ``[::]:443``, or the default."""
    # An IPv6 address without a port contains colons too.
    last = listen.rpartition(":")[2] if not listen.endswith("]") else ""
    text = listen if listen.isdigit() else last
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else default
