"""The tables in pages of the documentation that list what modules declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from certmgr.acme.challenges import solvers
from certmgr.acme.challenges.interface import SolverKind
from inventory.importers.format import formats
from inventory.protocols import STARTTLS
from inventory.registry import declared
from inventory.targets import TLS_NAMES, TLS_PORTS

DOCS = Path(__file__).parents[1] / "docs"


def _names(names: Mapping[str, int]) -> str:
    return ", ".join(f"`{n}` (port {port})" for n, port in names.items())


def _protocols() -> Iterator[str]:
    """Yield the rows of the protocols in docs/targets.md."""
    pages = "with the first byte; pages are visited too"
    yield f"`https` | 443, and ports above 1023 that belong to no other service | {pages} | "
    for protocol in STARTTLS.values():
        ports = ", ".join(map(str, protocol.ports))
        yield f"`{protocol.name}` | {ports} | {protocol.start} | {_names(protocol.other_names)}"
    pages = "with the first byte; no pages are visited"
    yield f"`tls` | 443 and the ports of the next table | {pages} | "


def _tls_services() -> Iterator[str]:
    """Yield the rows of the services with TLS from the first byte in docs/targets.md."""
    shown: dict[int, list[str]] = {}
    for name, port in TLS_NAMES.items():
        shown.setdefault(port, []).append(f"`{name}`")
    for port, service in TLS_PORTS.items():
        shown.setdefault(port, []).append(service)
    yield from (f"{', '.join(shown[port])} | {port}" for port in sorted(shown))


def _formats() -> Iterator[str]:
    """Yield the rows of the formats in docs/import.md."""
    for found in formats().values():
        clients = (
            "in its rows" if found.names_clients else "its owner in the inventory, or `--client`"
        )
        yield f"`{found.name}` | {found.summary} | {clients}"
    yield (
        "`axfr` | `axfr:ZONE@SERVER`, a zone that a name server of the configuration transfers |"
        " its owner in the inventory, or `--client`"
    )


def _solvers() -> Iterator[str]:
    """Yield the rows of the kinds of solvers in docs/acme.md."""
    for kind in declared(solvers, "SOLVER", SolverKind):
        first, *others = kind.challenges
        choice = "".join(f", or {c} with `challenge`" for c in others)
        yield f"`{kind.name}` | {first}{choice} | {kind.summary}"


# Page -> the header of a table in it -> its rows.
TABLES = {
    "acme.md": {"| kind | challenge | what it needs |": _solvers},
    "import.md": {"| format | source | client of a name |": _formats},
    "targets.md": {
        "| protocol | ports | how TLS begins | other names |": _protocols,
        "| name or service | port |": _tls_services,
    },
}


def with_tables(page: str) -> str:
    """Return a page with the tables that the program knows; its prose stays.

    Raises:
        ValueError: The page has no such table.
    """
    text = (DOCS / page).read_text()
    for header, rows in TABLES[page].items():
        before, rule, rest = text.partition(header + "\n")
        if not rule:
            raise ValueError(f"docs/{page} has no table with the header {header}")
        lines = rest.split("\n")
        end = next(n for n, line in enumerate(lines) if not line.startswith("|"))
        table = [lines[0], *(f"| {row} |".replace("|  |", "| |") for row in rows())]
        text = before + rule + "\n".join([*table, *lines[end:]])
    return text
