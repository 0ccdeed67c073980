"""One row of an import, independent of its format. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ImportRow:
    """One row that was read.

    An empty text or None means that the row has no value for the field. An import then leaves the
    stored value as it is.

    Attributes:
        where: File and line.
        client: Customer number.
        contact_methods: Contact methods as KIND:VALUE.
        target: ``host[:port][/protocol]``. If it is empty, the target is the domain at port 443.
    """

    where: str
    client: str = ""
    client_fields: dict[str, Any] = field(default_factory=dict)
    contact: str = ""
    contact_fields: dict[str, Any] = field(default_factory=dict)
    contact_methods: list[str] = field(default_factory=list)
    server: str = ""
    domain: str = ""
    domain_fields: dict[str, Any] = field(default_factory=dict)
    target: str = ""
    addresses: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A row that was not imported: file and line, and the reason."""

    where: str
    reason: str


def distinct(rows: Iterable[ImportRow | ImportProblem]) -> Iterator[ImportRow | ImportProblem]:
    """Yield each name with a port, and each problem, once.

    A snippet may be included several times, and a name is often in two blocks, such as that of a
    redirect and that of the site. The first one with a note counts.
    """
    kept: dict[tuple[str, str], ImportRow | ImportProblem] = {}
    for row in rows:
        if isinstance(row, ImportProblem):
            kept.setdefault((row.where, row.reason), row)
            continue
        known = kept.setdefault((row.domain, row.target), row)
        if isinstance(known, ImportRow) and row.domain_fields and not known.domain_fields:
            kept[row.domain, row.target] = row
    yield from kept.values()
