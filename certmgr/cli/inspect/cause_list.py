"""``certmgr status --causes``: findings grouped by what one action would fix."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from certmgr.checks.actors import parties_decide
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
    table,
)
from certmgr.inspection.status import findings_text
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Severity
from notifiers.wording.sentences import instruction, sentence
from notifiers.wording.verdicts import ACTORS

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
MANY_CAUSES = 10
"""From more causes on, the list ends with the numbers per code."""


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
        "assign": assign_commands(cause)[0],
        # A cause with several finding codes needs a command for each.
        "assign_all": assign_commands(cause),
        "targets": [t.key for t in cause.endpoints],
    }


def _instruction(cause: Cause) -> str:
    if cause.down is not None:
        return cause.down.instruction()
    return instruction(cause.example, cause.endpoints[0])


def assign_commands(cause: Cause) -> list[str]:
    """Return the commands that assign all findings of a cause, one per finding code.

    A server that is down is one cause, and its endpoints may have different findings.
    """
    first = cause.endpoints[0]
    # The narrowest scope that covers the cause. Each name is quoted for the shell, since the
    # command is pasted there.
    if len(cause.endpoints) == 1:
        scope = f"--endpoint {shlex.quote(_argument(first))}"
    elif cause.kind == "server" and cause.server is not None:
        scope = f"--server {shlex.quote(cause.server)}"
    else:
        scope = f"--cause {shlex.quote(_argument(first))}"
    codes = dict.fromkeys((cause.code, *(code for code, _ in cause.severities)))
    return [f"certmgr finding assign {code} {scope} --by NAME --until DATE" for code in codes]


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
    _show_numbers(causes)
    _show_unknown_parties(causes)


def _show_numbers(causes: Sequence[Cause]) -> None:
    """Print the numbers of findings and causes, per code and severity if there are many causes."""
    endpoints, origins = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for cause in causes:
        # Counted over all causes, including those beyond the limit.
        endpoints.update(cause.severities)
        origins.update(set(cause.severities))
    # A long list has scrolled off the screen when it ends, so its end states what is in it.
    if len(causes) > MANY_CAUSES:
        # Sorting keeps the order of the causes within a severity.
        found = sorted(endpoints, key=lambda pair: SEVERITY_ORDER[Severity(pair[1])])
        click.echo()
        table(
            ["SEVERITY", "ENDPOINTS", "CAUSES", "CODE"],
            [
                [severity, endpoints[code, severity], origins[code, severity], code]
                for code, severity in found
            ],
            [STYLES.get(severity) for _, severity in found],
        )
    paragraph(f"{findings_text(endpoints)} from {len(causes):,} cause(s).")


def _show_unknown_parties(causes: Sequence[Cause]) -> None:
    """Print how to record who acts, if the inventory does not state it."""
    unknown = [c for c in causes if c.actor == "staff" and parties_decide(c.code, c.severity)]
    if not unknown:
        return
    paragraph(
        f"{len(unknown):,} of them are for staff, because the inventory does not state who buys and"
        " renews the certificates, hosts the sites or runs the DNS. Record it per domain, client"
        " or server:"
    )
    server = next((c.server for c in unknown if c.server is not None), None)
    # A server is edited in one command, which covers the most sites.
    edited = f"server edit {shlex.quote(server)}" if server else f"client edit {unknown[0].client}"
    click.echo(f"  certmgr {edited} --renews us")


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
    for command in assign_commands(cause):
        click.echo(_INDENT + command)
