"""BIND zone files: host names with an address or a CNAME, through dnspython."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.rdatatype
import dns.zone

from inventory.errors import InvalidName, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skipped
from inventory.names import normalise
from inventory.text import printable

MAX_BYTES = 64_000_000


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """The zone is named by $ORIGIN, else by the file (``example.com``, ``db.example.com``,
    ``example.com.zone``). No $INCLUDE is followed.
    """

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", error.strerror or str(error), "Name a zone file."
        ) from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MB", "", "Split it.")
    text = data.decode("utf-8", "replace")
    if any(line.lstrip().upper().startswith("$GENERATE") for line in text.splitlines()):
        raise UsageError(
            f"{path} has a $GENERATE",
            "its size is not bounded",
            "Write the names out: named-compilezone -o - ZONE FILE.",
        )
    try:
        zone = dns.zone.from_text(
            text,
            origin=_origin(path, text),
            relativize=False,
            filename=str(path),
            check_origin=False,
        )
    except (dns.exception.DNSException, ValueError) as error:
        # dnspython's words begin with file and line.
        raise UsageError(
            f"{path} is not a zone file",
            printable(str(error), 200) or type(error).__name__,
            "Correct that line.",
        ) from None
    lines = text.splitlines()
    for name, node in zone.nodes.items():
        kinds = {dataset.rdtype for dataset in node.rdatasets}
        if not kinds & {dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME}:
            continue
        host = name.to_text(omit_final_dot=True)
        if host.startswith("_") or "._" in host:
            continue  # service names are no hosts
        origin = zone.origin.to_text(omit_final_dot=True) if zone.origin else ""
        where = f"{path}:{_line(lines, host, origin)}"
        if (why := skipped(host)) is not None:
            yield ImportProblem(where, f"'{printable(host, 80)}' {why}")
            continue
        yield ImportRow(where, client=client, domain=host)


def _origin(path: Path, text: str) -> str | None:
    if any(line.lstrip().upper().startswith("$ORIGIN") for line in text.splitlines()):
        return None
    name = (
        path.name.removeprefix("db.").removesuffix(".zone").removesuffix(".txt").removesuffix(".db")
    )
    try:
        return normalise(name) + "."
    except InvalidName:
        raise UsageError(
            f"{path} does not say which zone it is",
            "it has no $ORIGIN",
            "Name the file after the zone: db.example.com.",
        ) from None


def _line(lines: list[str], host: str, origin: str) -> int:
    """The first line that begins with the name, whole or relative; 1 where none does."""
    short = host.removesuffix(f".{origin}") if host != origin else "@"
    for number, line in enumerate(lines, 1):
        if line.split(None, 1)[:1] in ([short], [f"{host}."]):
            return number
    return 1
