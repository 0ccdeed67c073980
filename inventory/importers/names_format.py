"""A plain list of names: one or several per line, with or without a URL around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inventory.importers.customer_lists import domains_of
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skip_reason
from inventory.importers.table import decode, read_source
from inventory.text import printable


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name. Text after # is a comment.

    Raises:
        UsageError: The file cannot be read.
    """
    seen: set[str] = set()
    for number, line in enumerate(decode(read_source(path)).splitlines(), 1):
        # Lists are often cut out of other files, with comments and quotation marks.
        text = line.partition("#")[0].strip().strip("\"'")
        if not text:
            continue
        for name in domains_of(text):
            # The same name in several lines is one domain.
            if name in seen:
                continue
            seen.add(name)
            where = f"{path}:{number}"
            if (reason := skip_reason(name)) is not None:
                yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
            else:
                yield ImportRow(where, client=client, domain=name)
