"""``certmgr status --causes``: findings grouped by what one action would fix."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.output import (
    STYLES,
    cell,
    colours,
    echo_json,
    host_text,
    instant,
    local_time,
    paragraph,
    show,
)
from certmgr.inspection.status import findings_text
from inventory.targets import Target
from notifiers.wording.english import ACTORS
from notifiers.wording.sentences import instruction, sentence

if TYPE_CHECKING:
    from certmgr.inspection.causes import Cause

_COLUMNS = (
    "endpoints",
    "clients",
    "kind",
    "where",
    "severity",
    "code",
    "actor",
    "detail",
    "do",
)
_INDENT = " " * 9


def cause_row(cause: Cause) -> dict[str, Any]:
    """Return one cause as a row of ``certmgr.causes/1``, explained by its first endpoint."""
    first = cause.endpoints[0]
    return {
        "endpoints": len(cause.endpoints),
        "clients": len(cause.clients),
        "kind": cause.kind,
        "where": cause.location,
        "severity": cause.severity,
        "code": cause.code,
        "actor": cause.actor,
        "detail": (
            # Each port of a server that is down may have a different finding. One sentence about
            # the server is stated instead.
            sentence(cause.example, first)
            if cause.down is None
            else cause.down.sentence(len(cause.endpoints))
        ),
        "do": _instruction(cause),
        "assigned": [{"by": by, "until": instant(until)} for by, until in cause.assigned],
        "assign": assign_command(cause),
        "targets": [t.key for t in cause.endpoints],
    }


def _instruction(cause: Cause) -> str:
    if cause.down is not None:
        return cause.down.instruction()
    return instruction(cause.example, cause.endpoints[0])


def assign_command(cause: Cause) -> str:
    """Return the command that assigns all findings of a cause."""
    first = cause.endpoints[0]
    # The narrowest scope that covers the cause. Each name is quoted for the shell, since the
    # command is pasted there.
    if len(cause.endpoints) == 1:
        scope = f"--endpoint {shlex.quote(_argument(first))}"
    elif cause.kind == "server" and cause.server is not None:
        scope = f"--server {shlex.quote(cause.server)}"
    else:
        scope = f"--cause {shlex.quote(_argument(first))}"
    return f"certmgr finding assign {cause.code} {scope} --by NAME --until DATE"


def _argument(target: Target) -> str:
    """Return a target as an argument: as :func:`host_text`, in ASCII."""
    # Some terminals and shells damage an internationalised name when it is pasted.
    return target.host if target.port == 443 and target.protocol == "https" else target.key


def show_causes(
    causes: Sequence[Cause], output_format: str, limit: int, names: Mapping[str, str]
) -> None:
    """Print findings grouped by cause.

    Args:
        names: The name of each client by its number.
    """
    if output_format == "json":
        echo_json({"schema": "certmgr.causes/1", "causes": [cause_row(c) for c in causes]})
        return
    if output_format == "csv":
        show("causes", _COLUMNS, [cause_row(c) for c in causes], output_format)
        return
    if not causes:
        click.echo("There is nothing to fix.")
        return
    # The limit keeps a terminal readable. Programs get all causes.
    for cause in causes[:limit]:
        _show_cause(cause, names)
    if len(causes) > limit:
        paragraph(f"... and {len(causes) - limit:,} more causes: --limit, or --format csv.")
    numbers: dict[tuple[str, str], int] = {}
    for cause in causes:
        # Counted over all causes, including those beyond the limit.
        for code, severity in cause.severities:
            numbers[(code, severity)] = numbers.get((code, severity), 0) + 1
    paragraph(f"{findings_text(numbers)} from {len(causes):,} cause(s).")


def _show_cause(cause: Cause, names: Mapping[str, str]) -> None:
    count = len(cause.endpoints)
    place = f", server {cause.server}" if cause.kind == "server" and cause.server else ""
    title = f"{cause.code} ({cause.severity}){place}; who: {ACTORS[cause.actor]}"
    style = STYLES.get(cause.severity) if colours() else None
    number = f"{count:6,} x "
    paragraph(title, _INDENT, click.style(number, fg=style) if style else number)
    hosts = host_text(cause.endpoints[0]) + (f" and {count - 1:,} more" if count > 1 else "")
    others = len(cause.clients) - 1
    owner = f"{cause.client} {cell(names.get(cause.client, ''))}".strip()
    more = f" and {others:,} more client(s)" if others else ""
    paragraph(f"{hosts}, {owner}{more}", _INDENT)
    if cause.down is not None:
        paragraph(f"{cell(cause.down.sentence(count), 400)}.", _INDENT)
    for by, until in cause.assigned:
        paragraph(f"{cell(by)} fixes it until {local_time(until)}.", _INDENT)
    paragraph(cell(_instruction(cause), 400), _INDENT)
    # A command must stay in one piece, so that it can be pasted.
    click.echo(_INDENT + assign_command(cause))
