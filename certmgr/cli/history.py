"""The history of a host on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from certmgr.cli.output import cell, instant, paragraph
from certmgr.diagnose.history import HistoryEntry
from inventory.db.database import from_epoch
from notifiers.wording.catalogue import language


def stamp_in(zone: str) -> Callable[[int], str]:
    """Return a function that shows epoch seconds in a time zone."""
    # Commands print English, whatever the language of the reports is.
    english = language("en", zone)

    def stamp(seconds: int) -> str:
        at = from_epoch(seconds)
        # from_epoch() returns None for None only. The type checker cannot know that.
        return "?" if at is None else english.timestamp(at)

    return stamp


def entry_document(entry: HistoryEntry) -> dict[str, Any]:
    """Return one event for the JSON output. ``at`` is in UTC, ``local`` in the provider's zone."""
    return {
        "at": instant(entry.at),
        "local": entry.local,
        "kind": entry.kind,
        "text": entry.text,
    }


def show_history(entries: Sequence[HistoryEntry]) -> None:
    """Print all events, oldest first."""
    for entry in entries:
        # The text may quote a server or a mail, so control characters are replaced.
        paragraph(f"{entry.local}  {entry.kind}: {cell(entry.text)}", "    ", "")
    if not entries:
        click.echo("Nothing happened yet.")
