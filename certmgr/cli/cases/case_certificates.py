"""``certmgr case csr``, ``send`` and ``receive``: from the CSR to the certificate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from certmgr.cases import intake, signing_requests
from certmgr.cases.bulk import of_incident
from certmgr.cases.intake import message_sentences
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction
from certmgr.cli.cases.case_bulk import alone, echo_bulk, incident_option, one_of
from certmgr.cli.cases.case_shared import (
    case_row,
    case_service,
    echo_result,
    secret_text,
    version_option,
)
from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.files import write_whole
from certmgr.x509.csr import REMARKS
from certmgr.x509.upload import read_files, unpack
from inventory.errors import Conflict, UsageError
from inventory.files import read_regular
from inventory.names import certificate_name, display
from inventory.records import CaseRecord
from inventory.store import cases, issuances
from notifiers.wording.cases import INSTRUCTIONS, UPLOAD_MESSAGES, filled

ALL_NAMES = "*"  # value of --names without a value


@click.command("csr")
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
    # click takes the next word as the value, even if it is meant as the reference. So --names
    # without a value has to be last, or followed by another option.
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
    help="Drop one of several key types, such as rsa-2048, unless it was verified live.",
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
        return _make_csrs_of_incident(service, incident, key_types, subject)
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
    row = case_row(service, reference)
    _hand_out(row, csrs, output)
    # --again repeats an export: the state of the case did not change.
    if not again:
        # stdout carries only the PEM text, so that it can be redirected to a file.
        click.echo(
            f"{row.reference}: {row.state}. To hand the CSR to the buyer: certmgr case send"
            f" {row.reference}",
            err=True,
        )
    return 0


def _make_csrs_of_incident(
    service: CaseService, incident: str, key_types: Sequence[str], subject: Mapping[str, str]
) -> int:
    result = of_incident(
        service,
        incident,
        CaseAction.CSR,
        lambda r: signing_requests.make_csr(service, r, key_types, **subject),
    )
    return echo_bulk(result, "with a new CSR")


def _hand_out(row: CaseRecord, csrs: Sequence[str], output: Path | None) -> None:
    """Print the CSRs of a case, or write them and their instructions to files."""
    # One file holds all CSRs, because a case may have an EC and an RSA certificate.
    text = "\n".join(csrs)
    if output is None:
        click.echo(text, nl=False)
    else:
        _export(row, text, output)


def _existing_csrs(service: CaseService, reference: str) -> list[str]:
    """Return the CSRs of a case, as PEM; raise Conflict if it has none."""
    with service.context.read() as conn:
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
    # The instructions contain the CSR as well, so that one file can be forwarded.
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
    # A link leads to a file of unknown purpose. The first words of a file are the only mark of an
    # earlier export.
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
        service, reference, data, _ordered_names(case_row(service, reference), names)
    )
    # A remark does not refuse a CSR, so an accepted one may have some too.
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
        # The buyer types these names at the vendor. A forgotten one is missing in the certificate.
        wanted = ", ".join(display(n) for n in case_row(service, reference).names)
        click.echo(f"To be requested at the vendor: {cell(wanted, 1000)}")
    echo_result(case_row(service, reference), f"the client's CSR ({request.key}) was accepted")
    return 0


@click.command("send")
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


@click.command("receive")
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
    upload = unpack(read_files(list(files)), secret_text(password))
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
        echo_result(case_row(service, reference))
    if review.refused:
        click.echo(
            "You can forward the lines above to the client; the next notice informs them too.",
            err=True,
        )
    return 3 if review.refused else 0
