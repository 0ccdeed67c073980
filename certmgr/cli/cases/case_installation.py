"""``certmgr case window``, ``package``, ``install`` and ``verify``: to the live certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from certmgr.cases import agreement, installation
from certmgr.cases.package import fingerprint
from certmgr.cases.package_files import build_case_package
from certmgr.cli.cases.case_shared import case_service, echo_result, secret_text, version_option
from certmgr.cli.inspect.scan import overrides_of
from certmgr.cli.output import cell, echo_json
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.files import write_whole
from inventory.errors import Conflict, UsageError
from inventory.vocabulary import VerificationState

if TYPE_CHECKING:
    from certmgr.inspection.verification import Verification


@click.command("window")
@click.argument("reference")
@click.argument("start", required=False)
@click.option(
    "--minutes",
    type=click.IntRange(5, 2880),
    metavar="N",
    help="Length of the window. Default: [cases] window_minutes.",
)
@click.option(
    "--zone",
    metavar="NAME",
    help="Time zone of START, such as Europe/Berlin. Default: that of the contact.",
)
@click.option("--cancel", is_flag=True, help="Cancel the agreed window.")
@click.option(
    "--reason",
    metavar="TEXT",
    default="",
    help="Why it is cancelled, or agreed without the client's approval.",
)
@version_option
@pass_app
def window(
    app: CommandContext,
    reference: str,
    start: str | None,
    minutes: int | None,
    zone: str | None,
    cancel: bool,
    reason: str,
    expected_version: int | None,
) -> None:
    """Set, move or cancel the installation window.

    START is in the client's time zone, such as 2026-11-30T10:00. Client and staff receive the
    window as a calendar entry.
    """

    service = case_service(app, expected_version)
    if cancel:
        # A new window next to --cancel would be lost, and the client would expect it.
        if start is not None or minutes is not None or zone is not None:
            raise UsageError(
                "--cancel excludes START, --minutes and --zone",
                "it ends the agreed window and sets no new one",
                "To move a window, leave out --cancel.",
            )
        echo_result(agreement.cancel_window(service, reference, reason), "window cancelled")
        return
    # START is optional on the command line only because --cancel has none.
    if start is None:
        raise UsageError(
            "START is missing",
            "a window needs the time at which it begins",
            "Write certmgr case window REF 2026-11-30T10:00.",
        )
    row, chosen = agreement.agree_window(
        service, reference, start, minutes=minutes, zone=zone, text=reason
    )
    # The text includes the zone, because client and administrator may be in different ones.
    echo_result(row, f"window {chosen.text}")


@click.command("package")
@click.argument("reference")
@click.option(
    # The package has a private key, so there is no default that prints it to a terminal or a pipe.
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The zip file to write; it contains the private key.",
)
@click.option(
    "--password",
    metavar="SECRET",
    default="",
    help="Password of the PKCS#12: env:NAME or file:PATH. Without it, no PKCS#12 is made.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@pass_app
def package(app: CommandContext, reference: str, output: Path, password: str, force: bool) -> None:
    """Write a package for the installation.

    It contains chain, key, combined file, PKCS#12, checksums, and snippets for nginx, Apache,
    HAProxy, IIS and Java.
    """

    # The file may be a package that was already handed over.
    # lexists() also finds a link whose target is missing. write_whole() repeats the check for a
    # file that is created in the meantime.
    if os.path.lexists(output) and not force:
        raise Conflict(
            f"{output} exists already",
            "a package is overwritten only on request",
            "Name another file, or give --force.",
        )
    data, leaves = build_case_package(case_service(app), reference, secret_text(password))
    # A folder that others may write to is refused, because they could replace the key.
    write_whole(output, data, secret=True, overwrite=force)
    # The administrator who installs the package compares these fingerprints.
    for leaf in leaves:
        click.echo(f"{leaf.key}: SHA-256 {fingerprint(leaf.sha256)}")
    click.echo(
        f"Written to {cell(output)}, readable only by you. Delete it when the case is closed.",
        err=True,
    )


@click.command("install")
@click.argument("reference")
@click.option(
    "--reason",
    metavar="TEXT",
    default="",
    help="What was done. Required without an agreed window: why it was installed.",
)
@version_option
@pass_app
def install(app: CommandContext, reference: str, reason: str, expected_version: int | None) -> None:
    """Record that the certificate is installed.

    `case verify` or the next run verifies that it is live.
    """
    echo_result(installation.mark_installed(case_service(app, expected_version), reference, reason))


@click.command("verify")
@click.argument("reference")
@click.option(
    "--resolve",
    "resolve",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help="Check ADDRESS instead of asking the DNS; nothing is recorded. May be repeated.",
)
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0, 3600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for servers that are reloading, before the result is judged.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@version_option
@pass_app
def verify(
    app: CommandContext,
    reference: str,
    resolve: tuple[str, ...],
    patience: float,
    output_format: str,
    expected_version: int | None,
) -> int:
    """Verify that the expected certificate is live.

    Every address, key type and backend is checked, until all serve the certificate or --wait is
    over. If the certificate is live everywhere, the case is closed. Exit code 1 if it is not, 3 if
    undetermined.
    """

    with ProgressLine().waiting(f"{cell(reference, 40)}: waiting for its servers"):
        row, verification = installation.verify_case(
            case_service(app, expected_version),
            reference,
            overrides_of(resolve),
            patience=patience,
        )
    if output_format == "json":
        echo_json(
            {
                # This name is older than the word "verification". Programs check it, so it stays.
                "schema": "certmgr.proof/1",
                "case": row.reference,
                "case_state": row.state,
                "state": str(verification.state),
                "seen": list(verification.seen),
                "missing": list(verification.missing),
                "old": list(verification.old),
                "unknown": list(verification.unknown),
            }
        )
    else:
        _show_verification(verification)
        # Without any place nothing was listed, and an empty output could be read as success.
        if not (verification.seen or verification.missing or verification.unknown):
            click.echo(verification.sentence)
        # Chosen addresses prove nothing about what the public DNS returns.
        if resolve:
            click.echo("Nothing was recorded, because --resolve chose the addresses.")
        else:
            echo_result(row)
    # A script has to distinguish "not live" from "could not be checked".
    return (
        0
        if verification.state is VerificationState.LIVE
        else 3
        if verification.state is VerificationState.UNKNOWN
        else 1
    )


def _show_verification(verification: Verification) -> None:
    """Print one line per place that was checked."""
    for label, places in (
        ("✓ live", verification.seen),
        ("✗ not live", verification.missing),
        ("? undetermined", verification.unknown),
    ):
        for place in places:
            # The old certificate usually means that the server was not reloaded.
            old = " (the old certificate)" if place in verification.old else ""
            click.echo(f"{label}  {cell(place, 400)}{old}")
