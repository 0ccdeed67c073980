"""Which certificates an incident is about: by serial number, key, issuer or server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from certmgr.cases import incident_selection, serial_lists
from certmgr.cases.blocked_keys import depending_on, read_keys
from certmgr.cases.incident_categories import AffectedCertificate
from certmgr.cases.service import CaseService
from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext
from inventory.errors import UsageError
from inventory.files import read_regular
from inventory.importers.encodings import decode_text
from inventory.vocabulary import IncidentKind


@dataclass(frozen=True, slots=True)
class IncidentCriteria:
    """The options by which certificates are selected; exactly one of the first four is given.

    Attributes:
        cause: What happened; None for the cause that the selection suggests.
    """

    serials: Path | None
    spki: Path | None
    issuer: str | None
    server: str | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class IncidentChoice:
    """The certificates of an incident.

    Attributes:
        kind: How they were selected.
        what: The criterion, for people.
        items: The certificates.
        skipped: The lines of the file that could not be read.
    """

    kind: IncidentKind
    what: str
    items: Sequence[AffectedCertificate]
    skipped: Sequence[str] = ()


def require_one(given: IncidentCriteria) -> None:
    """Raise UsageError unless exactly one selection is given, with a name that is not empty."""
    # Two selections could mean "both" or "either". A wrong guess would open cases for clients whose
    # certificates are good, or leave out bad ones.
    if sum(x is not None for x in (given.serials, given.spki, given.issuer, given.server)) != 1:
        raise UsageError(
            "Exactly one selection of certificates is needed",
            "they are selected by serial number, key, issuer or server",
            "Give one of --serials FILE, --spki FILE, --issuer NAME and --server NAME.",
        )
    # An empty name is contained in every name: it would select all certificates.
    if any(name is not None and not name.strip() for name in (given.issuer, given.server)):
        raise UsageError(
            "The name is empty",
            "it would select every certificate",
            "Name the issuer or the server.",
        )
    if given.cause == "server-lost" and given.server is None:
        raise UsageError(
            "--cause server-lost needs a server",
            "the server determines which certificates are installed again",
            "Give --server NAME.",
        )


def choose(app: CommandContext, service: CaseService, given: IncidentCriteria) -> IncidentChoice:
    """Return the certificates of an incident.

    Raises:
        UsageError: The file is too large, or no line of it can be read.
    """
    if given.serials is not None:
        return _by_serials(service, given.serials)
    if given.spki is not None:
        return _by_keys(app, service, given.spki)
    # With server-lost the valid certificates are installed again. For the other causes, the
    # certificates of a server are replaced.
    if given.server is not None and given.cause in (None, "server-lost"):
        items = incident_selection.select_lost(service, given.server)
        return IncidentChoice(IncidentKind.SERVER_LOST, given.server, items)
    issuer, server = given.issuer or "", given.server or ""
    items = incident_selection.select_affected(service, issuer=issuer, server=server)
    kind = IncidentKind.ISSUER if issuer else IncidentKind.SERVER
    return IncidentChoice(kind, issuer or server, items)


def _by_serials(service: CaseService, path: Path) -> IncidentChoice:
    numbers, invalid = serial_lists.read_serials(_text_of(path))
    # An empty selection is an error: an incident without certificates would count as done at once.
    _require_some(path, numbers, invalid, "serial number", "in hexadecimal")
    _report_skipped(invalid, "serial number")
    items = incident_selection.select_affected(service, serials=numbers)
    what = f"{len(numbers)} serial number(s)"
    return IncidentChoice(IncidentKind.SERIALS, what, items, invalid)


def _by_keys(app: CommandContext, service: CaseService, path: Path) -> IncidentChoice:
    keys, invalid = read_keys(_text_of(path))
    _require_some(path, keys, invalid, "public key", "as the SHA-256 of its SPKI")
    _report_skipped(invalid, "public key")
    items = incident_selection.select_affected(service, leaves=_depending(app, keys))
    what = f"{len(keys)} public key(s), {keys[0][:16]}..."
    return IncidentChoice(IncidentKind.SPKI, what, items, invalid)


def _report_skipped(lines: Sequence[str], noun: str) -> None:
    # A file of the wrong format would fill the screen.
    # The skipped lines go to stderr: the output may be CSV that another program reads.
    for line in lines[:20]:
        click.echo(f"skipped: {cell(line)} is not a {noun}", err=True)


def _text_of(path: Path) -> str:
    """Read a list; spreadsheets write UTF-16 or a byte order mark, and CAs write any encoding."""
    raw = read_regular(path, incident_selection.MAX_FILE)
    if len(raw) > incident_selection.MAX_FILE:
        # A cut list would leave certificates out without notice, so the whole file is refused.
        raise UsageError(
            f"{path} is too large",
            f"the limit is {incident_selection.MAX_FILE // 1_000_000} MB",
            "Split the file.",
        )
    return decode_text(raw).text


def _require_some(
    path: Path, values: Sequence[str], invalid: Sequence[str], noun: str, form: str
) -> None:
    # The first bad line shows which format the file has.
    if not values:
        raise UsageError(
            f"{path} has no {noun}",
            invalid[0] if invalid else "it is empty",
            f"Write one per line, {form}.",
        )


def _depending(app: CommandContext, keys: Sequence[str]) -> set[str]:
    """Return the leaves that depend on the keys, and print what is left out."""
    found = depending_on(app.context(), keys)
    for key in [k for k in keys if k not in found.found][:20]:
        click.echo(f"no served certificate depends on the key {key}", err=True)
    # Browsers still accept these certificates by the other path, so they need no replacement.
    if found.spared:
        click.echo(
            f"{len(found.spared):,} certificate(s) have another path without these keys, and are"
            " left out.",
            err=True,
        )
    return found.leaves
