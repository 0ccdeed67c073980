"""Output of commands: tables for terminals, JSON and CSV for programs.

Every untrusted value passes :func:`printable` or a CSV guard here.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from certmgr.cli import tables
from certmgr.cli.shared import WIDTH_KEY, CommandContext, colour_choice
from certmgr.cli.tables import Column
from inventory.dates import in_zone
from inventory.db.audit_chain import REDACTED
from inventory.names import display
from inventory.records import Record
from inventory.targets import Target
from inventory.text import guard_cell, printable

STYLES = {
    "fault": "red",
    "attention": "yellow",
    "unknown": "magenta",
    "ok": "green",
    "critical": "red",
    "high": "red",
}


def instant(timestamp: datetime | None) -> str | None:
    """Return a timestamp as RFC 3339 text in UTC, with whole seconds."""
    if timestamp is None:
        return None
    # isoformat() pads a year before 1000 with zeros, and strftime() does not.
    utc = timestamp.astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return f"{utc.isoformat()}Z"


def day_in(timestamp: str | None, zone: str) -> str:
    """Return the date of an RFC 3339 timestamp in a time zone, or an empty text for None."""

    return (
        ""
        if timestamp is None
        else in_zone(datetime.fromisoformat(timestamp), ZoneInfo(zone)).date().isoformat()
    )


def epoch_text(seconds: int | None) -> str | None:
    """Return seconds since the epoch as RFC 3339 text in UTC."""
    return None if seconds is None else instant(datetime.fromtimestamp(seconds, UTC))


def cell(value: Any, limit: int = 200) -> str:
    """Return a value as printable text of at most ``limit`` characters.

    Terminal control characters in untrusted text are replaced.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    # Each element is limited separately, so one long value does not hide those after it.
    if isinstance(value, (list, tuple)):
        return " ".join(cell(v) for v in value)
    return printable(str(value), limit)


def echo_json(document: Mapping[str, Any]) -> None:
    """Print a document as JSON."""
    # ASCII only: untrusted text cannot put control characters into the terminal.
    click.echo(json.dumps(document, ensure_ascii=True, indent=2, default=str))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header line; the cells are safe for spreadsheets."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        # A cell that begins with a sign such as = is a formula for spreadsheets, also if a
        # certificate or a server supplied it. guard_cell() makes it text.
        writer.writerow([guard_cell(cell(row.get(c), 2000)) for c in columns])
    return buffer.getvalue()


def zone() -> ZoneInfo:
    """Return the time zone of the provider; UTC outside of a command."""
    # Outside of a command there is no context, and click would raise an error for it.
    context = click.get_current_context(silent=True)
    app = context.find_object(CommandContext) if context is not None else None
    return ZoneInfo(app.settings.provider.time_zone if app is not None else "UTC")


def local_time(timestamp: str | int | datetime | None) -> str:
    """Return a timestamp as text for a sentence: date, time and zone of the provider.

    Args:
        timestamp: RFC 3339 text, seconds since the epoch, or an aware datetime. None gives an
            empty text.
    """
    return _local(timestamp, "%Y-%m-%d %H:%M %Z")


def local_day(timestamp: str | int | datetime | None) -> str:
    """Return the date of a timestamp in the time zone of the provider."""
    return _local(timestamp, "%Y-%m-%d")


def _local(timestamp: str | int | datetime | None, pattern: str) -> str:
    if timestamp is None:
        return ""
    if isinstance(timestamp, int):
        timestamp = datetime.fromtimestamp(timestamp, UTC)
    if isinstance(timestamp, str):
        timestamp = datetime.fromisoformat(timestamp)
    local = in_zone(timestamp, zone())
    # strftime() does not pad a year before 1000 with zeros.
    return local.strftime(pattern.replace("%Y", f"{local.year:04}"))


_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def person_cell(value: Any, limit: int = 200) -> str:
    """Return a value for a person: as :func:`cell`, with timestamps in the provider's zone."""
    # Only a complete timestamp is converted: a name may contain something like a date.
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return _local(value, "%Y-%m-%d %H:%M")
    if isinstance(value, (list, tuple)):
        return printable(", ".join(person_cell(v, limit) for v in value), limit)
    return cell(value, limit)


def detail_words(detail: Mapping[str, Any], *, changes: bool = False) -> str:
    """Return the detail of an audit entry, or the evidence of a finding, in words.

    Args:
        changes: Whether a list of two values is a change, which is shown as ``old -> new``. In
            evidence, and in the list of added tags, it is a list.
    """
    # Ids and hashes name nothing for a person. They are in --format json. The log keeps no
    # personal data either: there a value is only known to have been set.
    kept = {
        k: v
        for k, v in detail.items()
        if v not in (None, REDACTED)
        and not k.endswith("id")
        and k not in ("created_at", "hash", "sha256")
    }
    return "; ".join(
        f"{k.replace('_', ' ')} {_change(k, v) if changes else _detail_value(k, v)}"
        for k, v in kept.items()
    )


def _change(key: str, value: Any) -> str:
    if not isinstance(value, list) or len(value) != 2:
        return _detail_value(key, value)
    if REDACTED in value:
        return "changed"
    return " -> ".join(_detail_value(key, v) for v in value)


def _detail_value(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({detail_words(value)})"
    if value in (None, "", []):
        return "none"
    # Times are stored as seconds since the epoch.
    if isinstance(value, int) and (key.endswith("at") or key == "until") and value > 10**8:
        return local_time(value)
    return person_cell(value)


def audit_words(action: str, detail: Mapping[str, Any]) -> str:
    """Return the detail of an audit entry in words, with what changed as ``old -> new``."""
    # A tag entry lists what was added and removed; all other lists of two are changes.
    return detail_words(detail, changes=action != "tag")


def colours() -> bool:
    """Return whether output is coloured.

    ``--color`` decides, then NO_COLOR, TERM=dumb and FORCE_COLOR (``colour_choice``), and then
    whether the output is a terminal.
    """
    context = click.get_current_context(silent=True)
    if context is not None and context.color is not None:
        return context.color
    chosen = colour_choice("auto")
    return sys.stdout.isatty() if chosen is None else chosen


def line_width() -> int | None:
    """Return the cells of a line: ``--width``, COLUMNS, or the width of the terminal.

    None in a pipe without COLUMNS: ``grep`` and ``less -S`` get one whole line per row.
    """
    context = click.get_current_context(silent=True)
    # An explicit --width wins, because COLUMNS may be inherited from another window.
    if context is not None and (given := context.meta.get(WIDTH_KEY)):
        return int(given)
    columns = os.environ.get("COLUMNS", "")
    # isdigit() alone accepts digits such as superscripts, which int() refuses.
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    if not sys.stdout.isatty():
        return None
    try:
        # A pseudo terminal without a size reports 0.
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def host_text(target: Target) -> str:
    """Return a target for a table: without :443, which is meant if no port is given."""
    plain = target.port == 443 and target.protocol == "https"
    return display(target.host) if plain else str(target)


def paragraph(text: str, indent: str = "", first: str | None = None, *, err: bool = False) -> None:
    """Print a sentence, folded at words if it does not fit into the line.

    Args:
        text: The text, without colours.
        indent: What each line begins with.
        first: What the first line begins with instead.
        err: Whether it is printed on standard error.
    """
    width = line_width()
    begin = tables.width_of(click.unstyle(indent if first is None else first))
    # A line of a few cells would show one letter each, so 20 cells are the least.
    room = None if width is None else max(width - max(begin, len(indent)), 20)
    lines = [text] if room is None else tables.fold(text, room)
    for index, line in enumerate(lines):
        click.echo((indent if index or first is None else first) + line, err=err)


def table(
    columns: Sequence[str | Column],
    rows: Sequence[Sequence[Any]],
    styles: Sequence[str | None] | None = None,
) -> None:
    """Print a table, aligned in a pipe too.

    In a line that is too narrow, long texts are folded or cut, and columns that matter least are
    left out (:mod:`certmgr.cli.tables`).

    Args:
        columns: The headings, or columns with their priority.
        rows: One sequence of values per row.
        styles: The colour of the first cell, one entry per row.
    """
    width = line_width()
    specs = tables.columns_of(columns)
    # A pipe has no width, so programs such as grep get longer texts.
    limit = 200 if width is not None else 1000
    cells = [[person_cell(v, limit) for v in row] for row in rows]
    layout = tables.arrange(specs, cells, width)
    # Numbers are aligned at the right, so that their digits can be compared. A bool is an int in
    # Python, but is shown as a word.
    right = frozenset(
        i
        for i in range(len(specs))
        if rows and all(isinstance(r[i], int | None) and not isinstance(r[i], bool) for r in rows)
    )
    coloured = colours()
    titles = [tables.pad(tables.cut(specs[i].title, w), w, i in right) for i, w in layout.columns]
    head = (" " * tables.GAP).join(titles).rstrip()
    click.echo(click.style(head, bold=True) if coloured else head)
    for index, row in enumerate(cells):
        style = styles[index] if styles else None
        for line in tables.row_lines(specs, row, layout, right):
            text = (" " * tables.GAP).join(line).rstrip()
            if coloured and style and line and line[0].strip():
                # The colour is added after the layout, because an escape sequence has no width on
                # the screen.
                first = text[: len(line[0])].rstrip()
                text = click.style(first, fg=style) + text[len(first) :]
            click.echo(text)


def show(
    name: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any] | Record],
    output_format: str,
    empty: str = "",
    keys: Sequence[str] | None = None,
) -> None:
    """Print a listing in the requested output format.

    JSON output is ``{"schema": "certmgr.<name>/1", "<name>": [...]}``.

    Args:
        name: The name of the listing, in the plural.
        columns: The keys of the rows that the table and CSV show.
        rows: One mapping or record per row.
        output_format: table, json or csv.
        empty: The message for an empty table; a default message if empty.
        keys: The keys of the rows in JSON; ``columns`` if None.
    """
    fields = keys or columns
    values = [row.as_dict() if isinstance(row, Record) else row for row in rows]
    if output_format == "json":
        echo_json(
            {
                "schema": f"certmgr.{name}/1",
                name: [{k: row.get(k) for k in fields} for row in values],
            }
        )
    elif output_format == "csv":
        click.echo(csv_text(columns, values), nl=False)
    elif not rows:
        paragraph(empty or f"There are no {name}.")
    else:
        table(
            [c.replace("_", " ").upper() for c in columns],
            [[row.get(c) for c in columns] for row in values],
        )


def pairs(items: Iterable[tuple[str, Any]]) -> None:
    """Print one labelled line per value. Empty values are omitted."""
    kept = [
        (label, person_cell(value, 1000))
        for label, value in items
        if value not in (None, "", [], ())
    ]
    width = max((len(label) for label, _ in kept), default=0)
    room = line_width()
    for label, value in kept:
        lines = [value]
        # Continuation lines begin below the value, so that the labels stay one column.
        if room is not None and tables.width_of(value) > room - width - tables.GAP:
            lines = tables.fold(value, max(room - width - tables.GAP, 8))
        for index, line in enumerate(lines):
            click.echo(f"{'' if index else label:{width}}  {line}")
