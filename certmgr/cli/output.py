"""Rendering: tables for people, JSON and CSV for programs.

Every value from outside passes :func:`printable` or a CSV guard here.
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

from inventory.text import guard_cell, printable

STYLES = {
    "fault": "red",
    "attention": "yellow",
    "unknown": "magenta",
    "ok": "green",
    "critical": "red",
    "high": "red",
}


def instant(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_in(moment: str | None, zone: str) -> str:
    """The day of an RFC 3339 instant in a time zone; empty for none."""

    return (
        ""
        if moment is None
        else datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d")
    )


def epoch_text(seconds: int | None) -> str | None:
    return None if seconds is None else instant(datetime.fromtimestamp(seconds, UTC))


def cell(value: Any, limit: int = 200) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(cell(v) for v in value)
    return printable(str(value), limit)


def echo_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=True, indent=2, default=str))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guard_cell(cell(row.get(c), 2000)) for c in columns])
    return buffer.getvalue()


def colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    styles: Sequence[str | None] | None = None,
) -> None:
    """On a terminal a table as wide as it; in a pipe the same in plain lines, tab-separated and
    uncut.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(cell(v) for v in row).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, emoji=False, highlight=False, no_color=not colours())
    widths = [
        max([len(name), *(len(cell(row[i])) for row in rows)]) + 2 for i, name in enumerate(columns)
    ]
    if sum(widths[:-1]) + min(widths[-1], 26) > console.width:
        # Too narrow: nothing is cut, one value a line.
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
    rows: Sequence[Mapping[str, Any]],
    form: str,
    empty: str = "",
    keys: Sequence[str] | None = None,
) -> None:
    """One listing in the form asked for.

    JSON: ``{"schema": "certmgr.<name>/1", "<name>": [...]}`` with the keys ``keys`` or ``columns``.
    """
    fields = keys or columns
    if form == "json":
        echo_json(
            {"schema": f"certmgr.{name}/1", name: [{k: row.get(k) for k in fields} for row in rows]}
        )
    elif form == "csv":
        click.echo(csv_text(columns, rows), nl=False)
    elif not rows:
        click.echo(empty or f"There are no {name}.")
    else:
        table(
            [c.replace("_", " ").upper() for c in columns],
            [[row.get(c) for c in columns] for row in rows],
        )


def pairs(items: Iterable[tuple[str, Any]]) -> None:
    """Labelled lines; empty values are left out."""
    kept = [(label, cell(value, 1000)) for label, value in items if value not in (None, "", [], ())]
    width = max((len(label) for label, _ in kept), default=0)
    for label, value in kept:
        click.echo(f"{label.ljust(width)}  {value}")
