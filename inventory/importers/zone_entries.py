"""The records of a zone file as text, and their words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import dns.tokenizer

# Characters of a record: an unclosed parenthesis would join the rest of the file.
MAX_RECORD = 1_000_000
# Unclosed parentheses behind which the lines are read again, each on its own.
MAX_UNCLOSED = 100


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) per record; parentheses continue a record over several lines.

    The text is empty if a parenthesis of the line is not closed. The lines behind it count.
    """
    lines = text.splitlines()
    number = unclosed = 0
    while number < len(lines):
        entry, count = _entry(lines, number, joined=unclosed < MAX_UNCLOSED)
        if count == 0:
            unclosed += 1
            yield number + 1, ""
        elif entry.strip():
            yield number + 1, entry
        number += max(count, 1)


def _entry(lines: list[str], first: int, *, joined: bool) -> tuple[str, int]:
    """Return the record that begins at a line, and its number of lines; 0 if it does not end.

    Args:
        lines: The lines of the file.
        first: The index of its first line.
        joined: Whether a parenthesis may continue it.
    """
    pending: list[str] = []
    depth = size = 0
    for number in range(first, len(lines)):
        bare = _without_comment(lines[number])
        depth += bare.count("(") - bare.count(")") if '"' not in bare else _depth(bare)
        pending.append(bare)
        size += len(bare)
        if depth <= 0:
            return " ".join(pending) if len(pending) > 1 else bare, len(pending)
        if not joined or size >= MAX_RECORD:
            break
    return "", 0


def _without_comment(line: str) -> str:
    if ";" not in line:
        return line
    quoted = escaped = False
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            return line[:position]
    return line


def _depth(line: str) -> int:
    """Return opened minus closed parentheses outside of quotes."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"?', "", line)
    return outside.count("(") - outside.count(")")


def tokens(entry: str) -> list[str]:
    """Return the words of a record; a quoted name is a word without its quotes."""
    tokenizer = dns.tokenizer.Tokenizer(entry.replace("(", " ").replace(")", " "))
    words = []
    while not (token := tokenizer.get()).is_eol_or_eof():
        words.append(token.value)
    return words
