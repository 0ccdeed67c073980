"""BIND zone files: host names with an address or a CNAME record, parsed by dnspython."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.rdatatype
import dns.zone

from inventory.errors import InvalidName, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skip_reason
from inventory.names import normalise
from inventory.text import printable

# dnspython parses the whole zone in memory.
MAX_BYTES = 64_000_000


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per host name of the zone. $INCLUDE is not followed.

    Args:
        path: The zone file. Without $ORIGIN, the file name must be the name of the zone
            (``example.com``, ``db.example.com`` or ``example.com.zone``).
        client: Customer number of the names.

    Raises:
        UsageError: The file cannot be read or is not a zone file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", error.strerror or str(error), "Name a zone file."
        ) from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MB", "", "Split it.")
    # Comments in zone files may have any encoding.
    text = data.decode("utf-8", "replace")
    # One $GENERATE line can stand for millions of names.
    if any(line.lstrip().upper().startswith("$GENERATE") for line in text.splitlines()):
        raise UsageError(
            f"{path} has a $GENERATE",
            "the number of its names is not limited",
            "Expand the names first: named-compilezone -o - ZONE FILE.",
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
        # The message of dnspython begins with file and line.
        raise UsageError(
            f"{path} is not a zone file",
            printable(str(error), 200) or type(error).__name__,
            "Correct that line.",
        ) from None
    lines = text.splitlines()
    for name, node in zone.nodes.items():
        # Only names with an address can be endpoints.
        kinds = {dataset.rdtype for dataset in node.rdatasets}
        if not kinds & {dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME}:
            continue
        host = name.to_text(omit_final_dot=True)
        if host.startswith("_") or "._" in host:
            continue  # such as _sip._tcp: names of services, not of hosts
        origin = zone.origin.to_text(omit_final_dot=True) if zone.origin else ""
        where = f"{path}:{_line(lines, host, origin)}"
        if (reason := skip_reason(host)) is not None:
            yield ImportProblem(where, f"'{printable(host, 80)}' {reason}")
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
            f"The zone of {path} is unknown",
            "the file has no $ORIGIN, and its name is not the name of a zone",
            "Name the file after the zone: db.example.com.",
        ) from None


def _line(lines: list[str], host: str, origin: str) -> int:
    """Return the first line that begins with the absolute or relative name; 1 if no line does."""
    short = host.removesuffix(f".{origin}") if host != origin else "@"
    for number, line in enumerate(lines, 1):
        if line.split(None, 1)[:1] in ([short], [f"{host}."]):
            return number
    return 1
