"""Output of commands: tables for terminals, JSON and CSV for programs.

Every untrusted value passes :func:`printable` or a CSV guard here.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from inventory.dates import in_zone
from inventory.records import Record
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
        writer.writerow([guard_cell(cell(row.get(c), 2000)) for c in columns])
    return buffer.getvalue()


def colours() -> bool:
    """Return whether output is coloured: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    styles: Sequence[str | None] | None = None,
) -> None:
    """Print a table.

    On a terminal it is at most as wide as the terminal. In a pipe, its lines are tab-separated and
    values are not wrapped.

    Args:
        columns: The headings.
        rows: One sequence of values per row.
        styles: The colour of the first cell, one entry per row.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(cell(v) for v in row).rstrip())
        return
    # Imported here because rich is slow to import, and JSON, CSV and pipes do not need it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, emoji=False, highlight=False, no_color=not colours())
    widths = [
        max([len(name), *(len(cell(row[i])) for row in rows)]) + 2 for i, name in enumerate(columns)
    ]
    if sum(widths[:-1]) + min(widths[-1], 26) > console.width:
        # The terminal is too narrow for the table. One value per line keeps all values readable.
        for row in rows:
            pairs([(name.capitalize(), value) for name, value in zip(columns, row, strict=True)])
            click.echo()
        return
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        last = i == len(columns) - 1
        shown.add_column(
            name,
            overflow="fold",
            no_wrap=not last,
            ratio=1 if last else None,
            min_width=24 if last else None,
        )
    for index, row in enumerate(rows):
        style = styles[index] if styles else None
        shown.add_row(
            *[Text(cell(v), style=style or "" if i == 0 else "") for i, v in enumerate(row)]
        )
    console.print(shown)


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
        click.echo(empty or f"There are no {name}.")
    else:
        table(
            [c.replace("_", " ").upper() for c in columns],
            [[row.get(c) for c in columns] for row in values],
        )


def pairs(items: Iterable[tuple[str, Any]]) -> None:
    """Print one labelled line per value. Empty values are omitted."""
    kept = [(label, cell(value, 1000)) for label, value in items if value not in (None, "", [], ())]
    width = max((len(label) for label, _ in kept), default=0)
    for label, value in kept:
        click.echo(f"{label.ljust(width)}  {value}")
