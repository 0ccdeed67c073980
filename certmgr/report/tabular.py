"""Rendering of a report as JSON (``certmgr.report/1``) and CSV, from the values of the page."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import UTC, datetime
from typing import Any

from certmgr.report.model import ClientReport
from inventory.text import guard_cell, printable

COLUMNS = (
    "site",
    "state",
    "outcome",
    "expires",
    "days_left",
    "measured",
    "what_to_do",
    "by",
    "facts",
    "untested",
)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        # isoformat() pads a year before 1000 with zeros, and strftime() does not.
        utc = value.astimezone(UTC).replace(microsecond=0, tzinfo=None)
        return f"{utc.isoformat()}Z"
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def to_json(report: ClientReport) -> str:
    """Return the whole report as JSON."""
    # The schema comes first, so that a program can check it before it reads the rest.
    values = {"schema": "certmgr.report/1", **_plain(dataclasses.asdict(report))}
    # ASCII output is safe in terminals and logs with any encoding.
    return json.dumps(values, ensure_ascii=True, indent=2) + "\n"


def to_csv(report: ClientReport) -> str:
    """Return one row per site, with its instructions and their last days."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for site in report.sites:
        # The step of a case is about the name, and a finding about one port of it.
        actions = [
            a
            for a in (*report.you_act, *report.we_act, *report.escalated)
            if a.site == site.name and a.target in ("", site.target)
        ]
        row = (
            site.target,
            site.state,
            site.outcome,
            _plain(site.expires) or "",
            "" if site.days_left is None else site.days_left,
            _plain(site.measured) or "",
            " ".join(a.do for a in actions),
            " ".join(dict.fromkeys(a.by_text for a in actions)),
            " ".join(site.facts),
            " ".join(site.untested),
        )
        # Texts of clients and servers must not become formulas of a spreadsheet.
        writer.writerow(
            [cell if isinstance(cell, int) else guard_cell(printable(cell, 4000)) for cell in row]
        )
    return buffer.getvalue()
