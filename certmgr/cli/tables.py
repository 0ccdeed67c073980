"""Tables for terminals: how wide each column is, and which columns are left out. Pure.

rich wraps and pads the cells of a table, but it cannot leave a column out. So the layout is
computed here, with the cell widths of rich: a Chinese or Japanese character takes two cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len, chop_cells, set_cell_size

ELLIPSIS = "…"
GAP = 2
NARROWEST = 20
"""A narrower terminal gets a table of this width: less cannot be read."""
MAX_LINES = 4
"""The lines of one row in a table of limited width. CSV and JSON have the whole text."""
MINOR = 100
"""The ``drop`` from which on a column matters little."""
_FREE = 12  # columns up to this width are never shortened


class Overflow(StrEnum):
    """What happens to a text that is longer than its column."""

    CUT = "cut"
    FOLD = "fold"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: The heading.
        drop: The column with the highest number is left out first; 0 always stays.
        overflow: What happens to a long text.
        least: The width in cells below which a column is left out before it gets narrower.
    """

    title: str
    drop: int = 0
    overflow: Overflow = Overflow.CUT
    least: int = 16


# Titles of columns with sentences or lists. All other long texts are cut.
_FOLDED = frozenset(
    {
        *("WHAT IS WRONG", "DETAIL", "WHY", "WHY IT FAILED", "REASON", "WHAT", "TODO", "DO"),
        *("NAMES", "NOTE", "LAST RESULT", "TEXT", "TITLE", "CODES", "ADDRESSES", "STATE", "CAUSE"),
        *(
            "WAYS",
            "NEXT",
            "WHAT TO DO",
            "WHO",
            "FOR",
            "NEXT STEP",
            "TAGS",
            "RULE",
            "ACTION",
            "ABOUT",
            "CERTIFICATES",
        ),
    }
)
# Titles of columns that only another command or a program needs.
_MINOR = frozenset({"ISSUER", "SERIAL", "VENDOR", "LANGUAGE", "TIME ZONE", "SOURCE"})
# Titles of columns with words that are pasted into other commands: a part of one is useless.
_WHOLE = frozenset({"CODE"})
# Titles of columns without which a row means nothing, wherever they stand.
_KEPT = frozenset(
    {"HOST", "TARGET", "DOMAIN", "NAME", "WHAT IS WRONG", "DETAIL", "WHY", "WHAT", "STATUS"}
    | {"REASON", "ACTION", "NAMES", "UNTIL"}
)


def columns_of(titles: Sequence[str | Column]) -> list[Column]:
    """Return the columns of a table, with what their titles imply.

    The first column and the one that states what the row is about always stay. Of the others, minor
    ones are left out first, and then from the right to the left.
    """
    columns = []
    for index, title in enumerate(titles):
        if isinstance(title, Column):
            columns.append(title)
            continue
        # The first column names the record, so it stays in the narrowest terminal.
        drop = 0 if index == 0 or title in _KEPT else index + (MINOR if title in _MINOR else 0)
        fold = title in _FOLDED
        overflow = Overflow.FOLD if fold else Overflow.CUT
        if title in _WHOLE:
            overflow = Overflow.WHOLE
        columns.append(Column(title, drop, overflow, 20 if fold else 16))
    return columns


def width_of(text: str) -> int:
    """Return the cells that a text takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int) -> str:
    """Return a text of at most ``width`` cells, with an ellipsis if it was longer."""
    if width_of(text) <= width:
        return text
    # set_cell_size() fills half of a wide character with a blank, which is removed.
    return set_cell_size(text, max(width - 1, 0)).rstrip() + ELLIPSIS


def fold(text: str, width: int, most: int | None = None) -> list[str]:
    """Return a text as lines of at most ``width`` cells, broken at spaces where it has some.

    Args:
        text: The text, without line breaks.
        width: The cells of a line, at least 2.
        most: The lines at most; the last one then ends with an ellipsis.
    """
    lines: list[str] = []
    line, used = "", 0
    for word in re.findall(r"\S+", text):
        size = width_of(word)
        if used and used + 1 + size <= width:
            line, used = f"{line} {word}", used + 1 + size
            continue
        if used:
            lines.append(line)
        # A word that is longer than the line begins a new one, and is shown in parts.
        *full, line = _parts(word, width)
        lines += full
        used = width_of(line)
    lines.append(line)
    if most is not None and len(lines) > most:
        last = lines[most - 1]
        # The added dots make the text too long, so that cut() ends it with the ellipsis.
        ended = last + ELLIPSIS if width_of(last) < width else cut(last + "..", width)
        return [*lines[: most - 1], ended]
    return lines


def _parts(word: str, width: int) -> list[str]:
    """Return a word in parts of at most ``width`` cells.

    A host name, an address or a URL is broken behind a separator, if its second half has one.
    """
    parts = []
    while width_of(word) > width:
        head = chop_cells(word, width)[0]
        end = max(head.rfind(c) for c in "@./-_,:") + 1
        # A separator near the beginning would leave an almost empty line.
        end = end if end > len(head) // 2 else len(head)
        parts.append(word[:end])
        word = word[end:]
    return [*parts, word]


def pad(text: str, width: int, right: bool = False) -> str:
    """Return a text of exactly ``width`` cells, if it is not longer."""
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


@dataclass(frozen=True, slots=True)
class Layout:
    """What of a table is shown: the index and the width of each column."""

    columns: tuple[tuple[int, int], ...]


def arrange(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Layout:
    """Decide which columns are shown, and how wide each is.

    Empty columns are left out. If the rest is too wide, the widest columns get narrower, each to
    its least width. If that is not enough, the column with the highest ``drop`` is left out.

    Args:
        columns: The columns.
        rows: The cells of each row.
        width: The cells of a line; None: without a limit.
    """
    natural = [
        max([width_of(c.title), *(width_of(row[i]) for row in rows)]) for i, c in enumerate(columns)
    ]
    # An empty column takes room for nothing. A table without rows keeps its headings.
    shown = [i for i in range(len(columns)) if not rows or any(row[i] for row in rows)]
    if width is None:
        return Layout(tuple((i, natural[i]) for i in shown))
    width = max(width, NARROWEST)
    while True:
        least = {i: _least(columns[i], natural[i], width) for i in shown}
        room = width - GAP * (len(shown) - 1)
        droppable = [i for i in shown if columns[i].drop]
        if sum(least.values()) <= room or not droppable:
            break
        shown.remove(max(droppable, key=lambda i: columns[i].drop))
    widths = {i: min(natural[i], width) for i in shown}
    # Folding loses no text and cutting does, so columns that are folded get narrower first,
    # together with those that matter little.
    first = (i for i in shown if columns[i].overflow is Overflow.FOLD or columns[i].drop >= MINOR)
    _shrink(widths, least, room, frozenset(first))
    _shrink(widths, least, room, frozenset(droppable))
    _shrink(widths, least, room, frozenset(shown))
    # Only columns that always stay are left: even they get narrower than they should.
    _shrink(widths, dict.fromkeys(shown, 4), room, frozenset(shown))
    return Layout(tuple((i, widths[i]) for i in shown))


def _least(column: Column, natural: int, width: int) -> int:
    # A short column saves little, and its values are numbers or states that a cut would change.
    if column.overflow is Overflow.WHOLE or natural <= _FREE:
        return natural
    # A host name that is cut cannot be copied, so a column that always stays gets more room.
    wanted = column.least
    if column.overflow is Overflow.CUT and not column.drop:
        wanted = max(wanted, width * 35 // 100)
    return min(natural, max(wanted, width_of(column.title)))


def _shrink(
    widths: dict[int, int], least: dict[int, int], room: int, shrinkable: frozenset[int]
) -> None:
    """Make columns narrower until all fit into ``room`` cells, the widest one first."""
    over = sum(widths.values()) - room
    while over > 0 and (wide := [i for i in shrinkable if widths[i] > least[i]]):
        widths[max(wide, key=lambda i: widths[i])] -= 1
        over -= 1


def row_lines(
    columns: Sequence[Column],
    row: Sequence[str],
    layout: Layout,
    right: frozenset[int] = frozenset(),
    most: int | None = MAX_LINES,
) -> list[list[str]]:
    """Return the lines of one row: on each line, one padded text per shown column.

    Args:
        columns: The columns.
        row: The cells.
        layout: What is shown.
        right: The indexes of the columns that are aligned to the right.
        most: The lines at most.
    """
    cells = [
        fold(row[i], max(width, 2), most)
        if columns[i].overflow is Overflow.FOLD and width_of(row[i]) > width
        else [cut(row[i], width)]
        for i, width in layout.columns
    ]
    height = max((len(c) for c in cells), default=0)
    return [
        [
            pad(texts[n] if n < len(texts) else "", width, i in right)
            for texts, (i, width) in zip(cells, layout.columns, strict=True)
        ]
        for n in range(height)
    ]
