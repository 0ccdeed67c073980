"""What a module of this package declares to be an import format, and the registry of all.

To add a format, write a module with a reader and declare ``FORMAT``, an :class:`ImportFormat`. The
options of ``certmgr import``, the guess by content and ``docs/import.md`` (``make docs``) find it
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path

from inventory import importers
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.plan import ImportPlan
from inventory.registry import declared

Rows = Iterable[ImportRow | ImportProblem]


class Certainty(IntEnum):
    """How certain a sign of a format is. The most certain sign of a file decides its format.

    Attributes:
        WORDS: Its first line could be of this format, as it could of others.
        COLUMNS: It is a table whose header names known columns.
        RECORDS: Some lines are records in the syntax of the format.
        DIRECTIVES: It has lines that only this kind of configuration has.
        BLOCKS: It has blocks that only this kind of configuration has. A comment in them may have
            the lines of another one.
        HEADING: It is the output of a command that names itself.
        SCHEMA: It is a document that names its schema.
    """

    WORDS = 1
    COLUMNS = 2
    RECORDS = 3
    DIRECTIVES = 4
    BLOCKS = 5
    HEADING = 6
    SCHEMA = 7


@dataclass(frozen=True, slots=True)
class SourceSample:
    """A file whose format is not known.

    Attributes:
        path: The file.
        data: Its content.
        text: The beginning of its text, with enough room for license headers.
    """

    path: Path
    data: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSource:
    """What is imported.

    Attributes:
        path: The file or folder.
        client: Customer number of names without one; empty without ``--client``.
        mapped: ``COLUMN=HEADER`` texts of ``--map``.
        encoding: The encoding of ``--encoding``; empty to find it.
        remark: Shows a sentence about how the source is read.
        hint: Shows a line with an option to copy.
    """

    path: Path
    client: str = ""
    mapped: tuple[str, ...] = ()
    encoding: str = ""
    remark: Callable[[str], None] = lambda text: None
    hint: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFormat:
    """A format of ``certmgr import``.

    Attributes:
        name: The name for ``--from``.
        summary: What the source is, for docs/import.md.
        read: Yields the rows. What does not fit into rows is added to the plan.
        signs: How a file of the format is recognised, by how certain each sign is. Pure.
        is_folder: Returns whether a folder is a source of the format, if folders can be.
        names_clients: Whether its rows name their client. Names of other formats get the client
            who owns them in the inventory, or ``--client``.
        options: The options that only some formats have: ``--map``, ``--encoding``.
    """

    name: str
    summary: str
    read: Callable[[ImportPlan, ImportSource], Rows]
    signs: Mapping[Certainty, Callable[[SourceSample], bool]] = field(default_factory=dict)
    is_folder: Callable[[Path], bool] | None = None
    names_clients: bool = False
    options: frozenset[str] = frozenset()


def of_names(
    read: Callable[[Path, str], Rows],
) -> Callable[[ImportPlan, ImportSource], Rows]:
    """Return the reader of a format from a function of the path and the number of the client."""
    return lambda plan, source: read(source.path, source.client)


@cache
def formats() -> Mapping[str, ImportFormat]:
    """Return the formats by name."""
    return {f.name: f for f in declared(importers, "FORMAT", ImportFormat)}
