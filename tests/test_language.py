"""The words of the project: plain English, and the standard terms of the field."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(
    path
    for folder in ("certmgr", "inventory", "notifiers", "bench", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *(ROOT / "notifiers" / "wording" / "locale").glob("*.po"),
    ]
)

# Word -> what to write instead.
AVOIDED = {
    r"nobody|somebody|whoever|everybody": "name the role: administrator, client, caller",
    r"says?|said": "report, return, state, print; message, reason",
    r"told|tells?": "notified; undetermined, unknown",
    r"mend(s|ed|ing)?": "fix, resolve",
    r"beside": "alongside, in addition to, next to",
    r"in (the )?place of": "instead of",
    r"a fresh look|looks? at|looked at": "recheck, probe, inspect",
    r"of (its|their|our|his) own": "separate, dedicated",
}
# Texts in which a word means something else, with the reason.
ALLOWED = {
    "nobody": "the Unix user",
    "said": "a key of JSON output",
    "told": "a key of JSON output",
}


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Return the strings and comments of a module, or the lines of a text."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def suspects() -> tuple[tuple[Path, int, str], ...]:
    """Return file, line and text of each sentence with any avoided word.

    All files are read once instead of once per word.
    """
    pattern = re.compile(rf"\b({'|'.join(AVOIDED)})\b", re.IGNORECASE)
    return tuple(
        (path, line, text)
        for path in (*CODE, *TEXTS)
        for line, text in sentences(path)
        if text not in ALLOWED and pattern.search(text)
    )


@pytest.mark.parametrize("words", AVOIDED)
def test_private_vocabulary_is_avoided(words: str) -> None:
    pattern = re.compile(rf"\b({words})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match.group()}"
        for path, line, text in suspects()
        if (match := pattern.search(text))
    ]
    assert not found, f"write instead: {AVOIDED[words]}"
