"""One row of an import, whatever it came from. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ImportRow:
    """``where``: file and line.

    Empty texts and None mean: says nothing. ``target``: ``host[:port][/protocol]``; else NAME:443.
    """

    where: str
    client: str = ""
    client_fields: dict[str, Any] = field(default_factory=dict)
    contact: str = ""
    contact_fields: dict[str, Any] = field(default_factory=dict)
    ways: list[str] = field(default_factory=list)
    server: str = ""
    domain: str = ""
    domain_fields: dict[str, Any] = field(default_factory=dict)
    target: str = ""
    addresses: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A row that was left out: where it stands and why."""

    where: str
    reason: str
