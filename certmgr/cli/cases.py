"""``certmgr case``: coordinate installations with clients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases import agreement, assignment, installation, intake, new_case, signing_requests
from certmgr.cases.bulk import of_incident
from certmgr.cases.intake import message_sentences
from certmgr.cases.opening import awaiting_verification, due_cases
from certmgr.cases.opening import run as run_cases
from certmgr.cases.package import fingerprint
from certmgr.cases.package_files import build_case_package
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, waits_for
from certmgr.cli.case_bulk import alone, echo_bulk, incident_option, one_of
from certmgr.cli.case_pages import list_, measures, show_
from certmgr.cli.output import cell, echo_json, local_time
from certmgr.cli.scan import overrides_of
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.settings import secret
from certmgr.files import write_whole
from certmgr.purchases.load import lead_times
from certmgr.x509.csr import REMARKS
from certmgr.x509.upload import read_files, unpack
from inventory.errors import Conflict, UsageError
from inventory.files import read_regular
from inventory.names import certificate_name, display
from inventory.records import CaseRecord
from inventory.store import cases, issuances
from inventory.vocabulary import VerificationState
from notifiers.wording.cases import INSTRUCTIONS, UPLOAD_MESSAGES, filled

if TYPE_CHECKING:
    from certmgr.cases.service import CaseService
    from certmgr.inspection.verification import Verification

ALL_NAMES = "*"  # value of --names without a value
# Two administrators may work on one case: the version detects a change in the meantime.
version_option = click.option(
    "--if-version",
    "expected_version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Do nothing if the case has another version. `case show` prints the version.",
)


@click.group()
def case() -> None:
    """Coordinate installations with clients, from the request to the verification."""


for _command in (list_, show_, measures):
    case.add_command(_command)


def case_service(app: CommandContext, expected_version: int | None = None) -> CaseService:
    """Return the service that changes cases.

    Args:
        app: The context of the command.
        expected_version: The version that the caller has read; the service refuses to change a
            case that has another version.
    """
    return CaseService(app.open(), app.settings, app.now(), expected_version=expected_version)


def echo_result(row: CaseRecord, text: str = "") -> None:
    """Print what a command did to a case, who acts next, and the new version."""
    due = f", due {local_time(row.due_at)}" if row.due_at else ""
    click.echo(
        f"{row.reference}: {text or row.state}. It waits for {waits_for(row)}{due}. Version"
        f" {row.version}."
    )


@case.command("open")
@click.argument("client")
@click.argument("names", nargs=-1)
@click.option(
    "--purchase",
    "purchase_key",
    metavar="PURCHASE",
    help="Purchase that the case is for. Without NAMES, its names are used.",
)
@click.option(
    "--kind",
    type=click.Choice(["new", "renewal", "reissue"]),
    help="Default: derived from the certificate that is served.",
)
@click.option("--contact", metavar="CONTACT", help="Contact of the client.")
@click.option("--staff", metavar="CONTACT", help="Assignee: an administrator of the provider.")
@click.option("--own-csr", is_flag=True, help="The client makes the key and the CSR.")
@click.option("--bought-by", type=click.Choice(["client", "us"]), help="Who buys the certificate.")
@click.option("--price", metavar="AMOUNT", help="Price of the certificate.")
@click.option("--fee", metavar="AMOUNT", help="Fee for the installation.")
@click.option("--currency", metavar="CODE", help="Such as EUR.")
@click.option("--reason", metavar="TEXT", default="", help="Why the case is opened.")
@pass_app
def open_(
    app: CommandContext,
    /,
    client: str,
    names: tuple[str, ...],
    purchase_key: str | None,
    reason: str,
    **values: Any,
) -> None:
    """Open a case of CLIENT for NAMES.

    Options that are omitted are filled in from the purchase and the inventory.
    """
    row = new_case.open_case(
        case_service(app),
        client,
        names,
        new_case.CaseOptions(order=purchase_key, **values),
        text=reason,
    )
    echo_result(row, f"opened for {', '.join(row.names[:8])}")


@case.command("assign")
@click.argument("reference")
@click.option(
    "--by",
    "staff",
    required=True,
    metavar="CONTACT",
    help="Administrator who becomes the assignee.",
)
@version_option
@pass_app
def assign(app: CommandContext, reference: str, staff: str, expected_version: int | None) -> None:
    """Assign a case to an administrator.

    The client reads the assignee's name; the assignee is notified of each step that waits for them.
    """
    echo_result(
        assignment.assign(case_service(app, expected_version), reference, staff),
        f"assigned to {staff}",
    )


@case.command("note")
@click.argument("reference")
@click.argument("text")
@version_option
@pass_app
def note(app: CommandContext, reference: str, text: str, expected_version: int | None) -> None:
    """Add a note, such as the outcome of a telephone call."""
    echo_result(case_service(app, expected_version).note(reference, text), "noted")


@case.command("csr")
@click.argument("reference", required=False)
@incident_option
@click.option(
    "--key-type",
    "key_types",
    multiple=True,
    metavar="TYPE",
    help="ec-p256, ec-p384, rsa-2048, rsa-3072 or rsa-4096. Up to one EC and one RSA key.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's CSR, which is checked instead of making one.",
)
@click.option(
    "--names",
    is_flag=False,
    flag_value=ALL_NAMES,
    metavar="[NAMES]",
    help=(
        "With --from: accept a CSR without these names of the case (default: all), because the"
        " buyer enters them at the vendor."
    ),
)
@click.option("--organisation", metavar="TEXT", default="", help="Organisation, for OV and EV.")
@click.option("--locality", metavar="TEXT", default="", help="City, for OV and EV.")
@click.option("--region", metavar="TEXT", default="", help="State or province.")
@click.option("--country", metavar="CODE", default="", help="Country, such as DE.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the CSR to FILE, and instructions to FILE.txt. Default: print the CSR.",
)
@click.option("--again", is_flag=True, help="Print or write the existing CSR.")
@click.option(
    "--drop",
    metavar="TYPE",
    help="Drop a key type whose certificate has not been received, such as rsa-2048.",
)
@version_option
@pass_app
def csr(
    app: CommandContext,
    /,
    reference: str | None,
    incident: str | None,
    key_types: tuple[str, ...],
    source: Path | None,
    names: str | None,
    output: Path | None,
    again: bool,
    drop: str | None,
    expected_version: int | None,
    **subject: str,
) -> int:
    """Make a key and a CSR, or check the client's CSR.

    The key stays on this machine. The next step is `case send`. With --incident, each case that
    has no CSR yet gets one; `case csr REF --again` prints it.
    """

    if names is not None and source is None:
        raise UsageError(
            "--names needs --from", "it completes the client's CSR", "Add --from FILE."
        )
    # --drop, --from and --again each replace the making of a key: only one of them takes effect.
    service = case_service(app, expected_version)
    one_of(reference, incident)
    if incident is not None:
        alone(**{"from": source, "output": output, "again": again, "drop": drop})
        alone(if_version=expected_version)
        result = of_incident(
            service,
            incident,
            CaseAction.CSR,
            lambda r: signing_requests.make_csr(service, r, key_types, **subject),
        )
        return echo_bulk(result, "with a new CSR")
    assert reference is not None
    if drop is not None:
        echo_result(signing_requests.drop_certificate(service, reference, drop), f"{drop} dropped")
        return 0
    if source is not None:
        return _check_client_csr(service, reference, source, names)
    # Before a CSR is made, so that the same command can be repeated with another file.
    if output is not None:
        _require_replaceable(output, b"-----BEGIN ")
        _require_replaceable(_instructions_file(output), INSTRUCTIONS[:11].encode())
    if again:
        csrs = _existing_csrs(service, reference)
    else:
        csrs = signing_requests.make_csr(service, reference, key_types, **subject)
    # One file holds all CSRs, because a case may have an EC and an RSA certificate.
    text = "\n".join(csrs)
    row = _row(service, reference)
    if output is None:
        click.echo(text, nl=False)
    else:
        _export(row, text, output)
    # --again repeats an export: the state of the case did not change.
    if not again:
        # stdout carries only the PEM text, so that it can be redirected to a file.
        click.echo(
            f"{row.reference}: {row.state}. To hand the CSR to the buyer: certmgr case send"
            f" {row.reference}",
            err=True,
        )
    return 0


def _row(service: CaseService, reference: str) -> CaseRecord:
    with service.database.read() as conn:
        return cases.find(conn, reference)


def _existing_csrs(service: CaseService, reference: str) -> list[str]:
    """Return the CSRs of a case, as PEM; raise Conflict if it has none."""
    with service.database.read() as conn:
        row = cases.find(conn, reference)
        csrs = [i.csr for i in issuances.of_case(conn, row.id) if i.csr]
    if not csrs:
        raise Conflict(
            f"The case {row.reference} has no CSR yet",
            "none was made or received",
            f"Make one: certmgr case csr {row.reference}",
        )
    return csrs


def _export(row: CaseRecord, text: str, output: Path) -> None:
    """Write the CSR, and instructions for the vendor, to two files."""
    instructions = filled(
        INSTRUCTIONS,
        {"names": ", ".join(display(n) for n in row.names), "reference": row.reference},
    )
    instructions_file = _instructions_file(output)
    # A CSR is public (mode 0644), unlike the private key.
    write_whole(output, text.encode(), 0o644)
    write_whole(instructions_file, f"{instructions}\n\n{text}".encode(), 0o644)
    click.echo(
        f"Written: {cell(output)}, and {cell(instructions_file)} with instructions for the vendor.",
        err=True,
    )


def _instructions_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.txt")


def _require_replaceable(path: Path, start: bytes) -> None:
    """Refuse to overwrite a file that is not from an earlier export: the caller may need it."""
    if not os.path.lexists(path):
        return
    # A link leads to a file of unknown purpose.
    if path.is_symlink() or not read_regular(path, len(start)).startswith(start):
        raise Conflict(
            f"{path} exists already", "it was not written by case csr", "Name another file."
        )


def _ordered_names(row: CaseRecord, names: str | None) -> Sequence[str]:
    """Return the names of --names: those that the vendor adds to the names of the CSR."""
    if names is None:
        return ()
    if names == ALL_NAMES:
        return row.names
    given = [certificate_name(n) for n in names.replace(",", " ").split()]
    if foreign := [n for n in given if n not in row.names]:
        raise UsageError(
            f"{display(foreign[0])} is not a name of the case {row.reference}",
            "a CSR is checked for the names of its case",
            f"Its names: certmgr case show {row.reference}.",
        )
    return given


def _check_client_csr(service: CaseService, reference: str, source: Path, names: str | None) -> int:
    """Check the client's CSR, and record it if it can be used; return the exit code."""
    data = read_files([str(source)])[0]
    request = signing_requests.record_client_csr(
        service, reference, data, _ordered_names(_row(service, reference), names)
    )
    for code, values in request.problems:
        click.echo(cell(filled(UPLOAD_MESSAGES[code], values), 1000))
    if request.refused:
        click.echo(
            "The CSR was not accepted. You can forward the lines above to the client.", err=True
        )
        # Vendors add names that are entered in their order form, so a common name can be enough.
        if {code for code, _ in request.problems} - REMARKS == {"csr-names"}:
            click.echo(
                "To accept it, and to enter the missing names at the vendor: add --names.", err=True
            )
        return 3
    if names is not None:
        wanted = ", ".join(display(n) for n in _row(service, reference).names)
        click.echo(f"To be requested at the vendor: {cell(wanted, 1000)}")
    echo_result(_row(service, reference), f"the client's CSR ({request.key}) was accepted")
    return 0


@case.command("send")
@click.argument("reference", required=False)
@incident_option
@click.option("--reason", metavar="TEXT", default="", help="How the CSR was sent.")
@version_option
@pass_app
def send(
    app: CommandContext,
    reference: str | None,
    incident: str | None,
    reason: str,
    expected_version: int | None,
) -> int:
    """Hand the CSR to the buyer.

    If the client buys, they receive the CSR with the next notice.
    """

    service = case_service(app, expected_version)
    one_of(reference, incident)
    if incident is not None:
        alone(if_version=expected_version)
        result = of_incident(
            service,
            incident,
            CaseAction.SEND,
            lambda r: signing_requests.send_csr(service, r, reason),
        )
        return echo_bulk(result, "handed to the buyer")
    assert reference is not None
    echo_result(signing_requests.send_csr(service, reference, reason))
    return 0


@case.command("receive")
@click.argument("reference")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--password",
    metavar="SECRET",
    default="",
    help="Password of a PKCS#12 or an encrypted key: env:NAME or file:PATH.",
)
@click.option(
    "--use-key",
    is_flag=True,
    help="Use a private key that came with the certificate, instead of our key.",
)
@click.option("--dry-run", is_flag=True, help="Only check the files; record nothing.")
@version_option
@pass_app
def receive(
    app: CommandContext,
    reference: str,
    files: tuple[str, ...],
    password: str,
    use_key: bool,
    dry_run: bool,
    expected_version: int | None,
) -> int:
    """Check and store an issued certificate.

    FILES are PEM, DER, PKCS#7, PKCS#12 or zip; the chain may be missing. Exit
    code 3 if the certificate cannot be used.
    """

    service = case_service(app, expected_version)
    upload = unpack(read_files(list(files)), _secret(password))
    review = (
        intake.preview_upload(service, reference, upload, use_key=use_key)
        if dry_run
        else intake.receive(service, reference, upload, use_key=use_key)
    )
    # A vendor's archive may hold many certificates; the first ones are enough to recognise it.
    for leaf in review.leaves[:5]:
        until = f"{leaf.not_after:%Y-%m-%d}" if leaf.not_after else "?"
        click.echo(
            f"serial {leaf.serial}, {leaf.key}, until {until}, for"
            f" {cell(', '.join(leaf.names[:8]))}\nSHA-256 {leaf.sha256}"
        )
    # The text comes from a file of a third party: cell() removes control characters.
    for line in message_sentences(review.messages):
        click.echo(f"- {cell(line, 1000)}")
    for part in upload.ignored:
        click.echo(f"- Not used: {cell(part, 300)}")
    if dry_run:
        click.echo(
            "The certificate cannot be installed. Nothing was recorded."
            if review.refused
            else "The certificate matches the request. Nothing was recorded."
        )
    else:
        echo_result(_row(service, reference))
    if review.refused:
        click.echo(
            "You can forward the lines above to the client; the next notice informs them too.",
            err=True,
        )
    return 3 if review.refused else 0


def _secret(text: str) -> str:
    """Resolve env:NAME or file:PATH; refuse a literal password."""
    # Every user of the machine can read the arguments of a running process.
    if text and not text.startswith(("env:", "file:")):
        raise UsageError(
            "--password does not accept the password itself",
            "other users of this machine could read it in the process list",
            "Write --password env:NAME or file:PATH.",
        )
    return secret(text) if text else ""


@case.command("approve")
@click.argument("reference", required=False)
@incident_option
@click.option("--by", required=True, metavar="NAME", help="Person at the client who approved.")
@click.option(
    "--how",
    required=True,
    metavar="TEXT",
    help="How they approved, such as telephone, or mail of 3 March.",
)
@click.option("--price", metavar="AMOUNT", help="Price of the certificate.")
@click.option("--fee", metavar="AMOUNT", help="Fee for the installation.")
@click.option("--currency", metavar="CODE", help="Such as EUR.")
@version_option
@pass_app
def approve(
    app: CommandContext,
    reference: str | None,
    incident: str | None,
    by: str,
    how: str,
    price: str | None,
    fee: str | None,
    currency: str | None,
    expected_version: int | None,
) -> int:
    """Record who approved price and window, and how.

    With --incident, for each case whose certificate was checked and that was not approved yet.
    """
    service = case_service(app, expected_version)
    one_of(reference, incident)

    def change(one: str) -> CaseRecord:
        return agreement.approve(service, one, by, how, price=price, fee=fee, currency=currency)

    if incident is not None:
        alone(if_version=expected_version)
        return echo_bulk(of_incident(service, incident, None, change), f"approved by {by}")
    assert reference is not None
    echo_result(change(reference), f"{by} approved")
    return 0


@case.command("window")
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
    echo_result(row, f"window {chosen.text}")


@case.command("package")
@click.argument("reference")
@click.option(
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
    if os.path.lexists(output) and not force:
        raise Conflict(
            f"{output} exists already",
            "a package is overwritten only on request",
            "Name another file, or give --force.",
        )
    data, leaves = build_case_package(case_service(app), reference, _secret(password))
    write_whole(output, data, secret=True, overwrite=force)
    # The administrator who installs the package compares these fingerprints.
    for leaf in leaves:
        click.echo(f"{leaf.key}: SHA-256 {fingerprint(leaf.sha256)}")
    click.echo(
        f"Written to {cell(output)}, readable only by you. Delete it when the case is closed.",
        err=True,
    )


@case.command("install")
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


@case.command("verify")
@click.argument("reference")
@click.option(
    "--resolve",
    "resolve",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help="Check ADDRESS instead of asking the DNS; nothing is recorded. May be repeated.",
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
    output_format: str,
    expected_version: int | None,
) -> int:
    """Verify that the expected certificate is live.

    Every address, key type and backend is checked. If the certificate is live
    everywhere, the case is closed. Exit code 1 if it is not, 3 if undetermined.
    """

    row, verification = installation.verify_case(
        case_service(app, expected_version), reference, overrides_of(resolve)
    )
    if output_format == "json":
        echo_json(
            {
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
            old = " (the old certificate)" if place in verification.old else ""
            click.echo(f"{label}  {cell(place, 400)}{old}")


@case.command("close")
@click.argument("reference")
@version_option
@pass_app
def close(app: CommandContext, reference: str, expected_version: int | None) -> None:
    """Close a case that was verified live.

    Without that verification, end the case with `case cancel` and a reason.
    """
    echo_result(case_service(app, expected_version).close(reference))


def _add_final_command(name: str, text: str) -> None:
    """Add a command that ends or reopens a case, with a reason that the client reads."""

    # decline, cancel and reopen differ only in the action, so one function defines all three.
    @case.command(name, help=text)
    @click.argument("reference")
    @click.option(
        "--reason",
        required=True,
        metavar="TEXT",
        help="Why. The reason is stored, and the client is notified.",
    )
    @version_option
    @pass_app
    def command(
        app: CommandContext, reference: str, reason: str, expected_version: int | None
    ) -> None:
        echo_result(case_service(app, expected_version).end(reference, CaseAction(name), reason))


_add_final_command("decline", "Record that the client declined.")
_add_final_command("cancel", "Cancel a case.")
_add_final_command("reopen", "Reopen a case that ended or was installed wrongly.")


@case.command("run")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show which cases would be opened or verified.",
)
@pass_app
def run(app: CommandContext, dry_run: bool) -> int:
    """Open due cases, and verify installed ones.

    certmgr run does this too.
    """

    service = case_service(app)
    if dry_run:
        for due in due_cases(
            service.database,
            service.now,
            lead_times(app.settings),
            timedelta(days=app.settings.cases.open_ahead),
        ):
            click.echo(
                f"would open: client {due.client}, {cell(' '.join(due.names[:8]))}: {due.reason}"
            )
        with service.database.read() as conn:
            for row in awaiting_verification(cases.listing(conn, states=cases.OPEN), service.now):
                click.echo(f"would verify: {row.reference}, client {row.client}, {row.state}")
        return 0
    done = run_cases(service)
    for verb, references in (
        ("opened", done.opened),
        ("closed", done.closed),
        ("reopened", done.reopened),
    ):
        for reference in references:
            click.echo(f"{verb} {reference}")
    # A problem with one case does not stop the others; the exit code reports it.
    for problem in done.problems:
        click.echo(f"certmgr case run: {cell(problem, 500)}", err=True)
    return 3 if done.problems else 0
