"""A plain list of names: one or several per line, with or without a URL around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from inventory.importers.customer_lists import domains_of
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.format import Certainty, ImportFormat, SourceSample, of_names
from inventory.importers.hosts import skip_reason
from inventory.importers.table import decode, read_source
from inventory.pasted import QUOTES, bare, plain, without_list_mark
from inventory.text import printable

_LINK = re.compile(r"\[([^\[\]]{0,300})\]\(([^()\s]{1,300})\)")
_PORT = re.compile(r"([^:/\s]+\.[^:/\s]+):(\d{1,5})")
# Signs around a name in a list of a program, a mail or a page; an IPv6 address keeps its brackets.
_AROUND = f"{QUOTES}<>(){{}},;…"


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name. Text after # is a comment.

    Raises:
        UsageError: The file cannot be read.
    """
    seen: set[str] = set()
    for number, line in enumerate(decode(read_source(path)).splitlines(), 1):
        for name, port in names_of(line):
            # The same name in several lines is one domain.
            if name in seen:
                continue
            seen.add(name)
            where = f"{path}:{number}"
            if (reason := skip_reason(name)) is not None:
                yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
            else:
                target = f"{name}:{port}" if port not in ("", "443") else ""
                yield ImportRow(where, client=client, domain=name, target=target)


def names_of(line: str) -> list[tuple[str, str]]:
    """Return the names of a line with the port of each, which is often empty.

    Lists are often cut out of other files, with comments, quotation marks and signs of a list.
    """
    text = bare(without_list_mark(plain(line.partition("#")[0])))
    # A link of Markdown, a list of Python, and the names that openssl prints.
    text = re.sub(r"\bDNS:|[<>]", " ", _LINK.sub(r" \2 ", text)).strip()
    if text.startswith("[") and text.endswith("]") and "." in text:
        text = text[1:-1]
    found = []
    for part in domains_of(text) if text else ():
        name = part.strip(_AROUND)
        match = _PORT.fullmatch(name)
        found.append((match[1], match[2]) if match else (name, ""))
    return [(name, port) for name, port in found if name]


def _begins_with_a_name(sample: SourceSample) -> bool:
    lines = sample.text.splitlines()[:50]
    first = next((found for line in lines if (found := names_of(line))), [])
    return bool(first) and skip_reason(first[0][0].removeprefix("*.")) is None


FORMAT = ImportFormat(
    name="names",
    summary="a plain list of names or URLs",
    read=of_names(read),
    signs={Certainty.WORDS: _begins_with_a_name},
)
