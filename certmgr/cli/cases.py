"""``certmgr case``: installations that are coordinated with clients."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases import intake
from certmgr.cases.intake import sentences
from certmgr.cases.opening import awaiting, due_cases
from certmgr.cases.opening import run as work
from certmgr.cases.package import fingerprint
from certmgr.cases.package_files import pack
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, waits_for
from certmgr.cli.case_pages import list_, measures, show_
from certmgr.cli.output import cell, echo_json, epoch_text
from certmgr.cli.scan import overrides_of
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.settings import secret
from certmgr.files import write_whole
from certmgr.inspection.verification import VerificationState
from certmgr.purchases.load import leads_of
from certmgr.x509.upload import read_files, unpack
from inventory.errors import Conflict, UsageError
from inventory.names import display
from inventory.store import cases
from notifiers.wording.cases import INSTRUCTIONS, MATERIAL, filled

if TYPE_CHECKING:
    from certmgr.cases.service import CaseService
    from certmgr.inspection.verification import Verification
    from inventory.store.records import Row

seen_option = click.option(
    "--seen",
    type=click.IntRange(1),
    metavar="VERSION",
    help="The version that case show told: nothing is done where the case was changed since.",
)


@click.group()
def case() -> None:
    """Installations, from request to proof: who is waited for, until when, and what was said."""


for _command in (list_, show_, measures):
    case.add_command(_command)


def desk_of(app: CommandContext, seen: int | None = None) -> CaseService:
    return CaseService(app.open(), app.settings, app.now(), seen=seen)


def said(row: Row, text: str = "") -> None:
    due = f", due {epoch_text(row['due_at'])}" if row["due_at"] else ""
    click.echo(
        f"{row['reference']}: {text or row['state']}. It waits for {waits_for(row)}{due}. Version"
        f" {row['version']}."
    )


@case.command("open")
@click.argument("client")
@click.argument("names", nargs=-1)
@click.option(
    "--order",
    "order_key",
    metavar="ORDER",
    help="The order that it is for; its names are taken where none are given.",
)
@click.option(
    "--kind", type=click.Choice(["new", "renewal", "reissue"]), help="Else as it is served now."
)
@click.option("--contact", metavar="CONTACT", help="Of the client.")
@click.option("--staff", metavar="CONTACT", help="The administrator who leads it.")
@click.option("--own-csr", is_flag=True, help="The client makes key and CSR.")
@click.option("--bought-by", type=click.Choice(["client", "us"]), help="Who buys.")
@click.option("--price", metavar="AMOUNT")
@click.option("--fee", metavar="AMOUNT", help="Of the installation.")
@click.option("--currency", metavar="CODE")
@click.option("--reason", metavar="TEXT", default="", help="Why it was opened.")
@pass_app
def open_(
    app: CommandContext,
    /,
    client: str,
    names: tuple[str, ...],
    order_key: str | None,
    reason: str,
    **values: Any,
) -> None:
    """Open a case of CLIENT about NAMES.

    What is not given is filled in from the order and the inventory.
    """
    row = desk_of(app).open(client, names, values | {"order": order_key}, text=reason)
    said(row, f"opened for {', '.join(row['names'][:8])}")


@case.command("take")
@click.argument("reference")
@click.option(
    "--by", "staff", required=True, metavar="CONTACT", help="An administrator of the staff."
)
@seen_option
@pass_app
def take(app: CommandContext, reference: str, staff: str, seen: int | None) -> None:
    """Say who of the staff leads a case: clients are told their name, and they are told what waits
    for them.
    """
    said(desk_of(app, seen).take(reference, staff), f"led by {staff}")


@case.command("note")
@click.argument("reference")
@click.argument("text")
@seen_option
@pass_app
def note(app: CommandContext, reference: str, text: str, seen: int | None) -> None:
    """Add what was said on the telephone."""
    said(desk_of(app, seen).note(reference, text), "noted")


@case.command("csr")
@click.argument("reference")
@click.option(
    "--key-type",
    "key_types",
    multiple=True,
    metavar="TYPE",
    help="ec-p256, ec-p384, rsa-2048, rsa-3072 or rsa-4096; one of each kind may be given.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's own CSR, checked in place of making one.",
)
@click.option("--organisation", metavar="TEXT", default="", help="For OV and EV.")
@click.option("--locality", metavar="TEXT", default="")
@click.option("--region", metavar="TEXT", default="")
@click.option("--country", metavar="CODE", default="")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the CSR there, with instructions beside it; else it is shown.",
)
@click.option("--again", is_flag=True, help="Show or write the CSR that there is.")
@click.option(
    "--drop",
    metavar="TYPE",
    help="Do without a certificate that was asked for and has not come, such as rsa-2048.",
)
@seen_option
@pass_app
def csr(
    app: CommandContext,
    /,
    reference: str,
    key_types: tuple[str, ...],
    source: Path | None,
    output: Path | None,
    again: bool,
    drop: str | None,
    seen: int | None,
    **subject: str,
) -> int:
    """Make key and CSR, or check the client's own CSR.

    The key stays on this machine; the next step is case send.
    """

    desk = desk_of(app, seen)
    if drop is not None:
        said(intake.drop(desk, reference, drop), f"done without {drop}")
        return 0
    if source is not None:
        return _own_csr(desk, reference, source)
    if again:
        made = _known_csrs(desk, reference)
    else:
        made = intake.make_csr(desk, reference, key_types, **subject)
    text = "\n".join(made)
    row = _row(desk, reference)
    if output is None:
        click.echo(text, nl=False)
    else:
        _export(row, text, output)
    if not again:
        click.echo(
            f"{row['reference']}: {row['state']}. To give it to whoever buys: certmgr case send"
            f" {row['reference']}",
            err=True,
        )
    return 0


def _row(desk: CaseService, reference: str) -> Row:
    with desk.database.read() as conn:
        return cases.find(conn, reference)


def _known_csrs(desk: CaseService, reference: str) -> list[str]:
    with desk.database.read() as conn:
        row = cases.find(conn, reference)
        found = [
            i["csr"] for i in cases.issuances(conn, [row["id"]]).get(row["id"], []) if i["csr"]
        ]
    if not found:
        raise Conflict(
            f"The case {row['reference']} has no CSR yet",
            "",
            f"certmgr case csr {row['reference']}",
        )
    return found


def _export(row: Row, text: str, output: Path) -> None:
    words = filled(
        INSTRUCTIONS,
        {"names": ", ".join(display(n) for n in row["names"]), "reference": row["reference"]},
    )
    beside = output.with_name(f"{output.name}.txt")
    if output.exists() and not output.read_bytes()[:11].startswith(b"-----BEGIN "):
        raise Conflict(f"{output} exists already", "and it is no CSR", "Name another file.")
    write_whole(output, text.encode(), 0o644)
    write_whole(beside, f"{words}\n\n{text}".encode(), 0o644)
    click.echo(
        f"Written: {cell(output)}, and with instructions for any vendor {cell(beside)}.", err=True
    )


def _own_csr(desk: CaseService, reference: str, source: Path) -> int:
    request = intake.take_csr(desk, reference, read_files([str(source)])[0])
    refused = any(code != "csr-extra" for code, _ in request.problems)
    for code, values in request.problems:
        click.echo(cell(filled(MATERIAL[code], values), 1000))
    if refused:
        click.echo(
            "The CSR was not taken. The lines above can be forwarded to the client.", err=True
        )
        return 3
    said(_row(desk, reference), f"the client's CSR ({request.key}) was taken")
    return 0


@case.command("send")
@click.argument("reference")
@click.option("--reason", metavar="TEXT", default="", help="How it went to them.")
@seen_option
@pass_app
def send(app: CommandContext, reference: str, reason: str, seen: int | None) -> None:
    """Hand the CSR to whoever buys: the client gets it with the next notice."""

    said(intake.send(desk_of(app, seen), reference, reason))


@case.command("receive")
@click.argument("reference")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--password",
    metavar="SECRET",
    default="",
    help="Of a PKCS#12 or an encrypted key: env:NAME or file:PATH.",
)
@click.option(
    "--use-key",
    is_flag=True,
    help="Use a private key that came with the certificate in place of ours.",
)
@click.option("--dry-run", is_flag=True, help="Only judge it.")
@seen_option
@pass_app
def receive(
    app: CommandContext,
    reference: str,
    files: tuple[str, ...],
    password: str,
    use_key: bool,
    dry_run: bool,
    seen: int | None,
) -> int:
    """Take apart and check what came back: PEM, DER, PKCS#7, PKCS#12 or zip, with or without chain.

    Exit 3 where it cannot be used.
    """

    desk = desk_of(app, seen)
    material = unpack(read_files(list(files)), _secret(password))
    verdict = (
        intake.judge_only(desk, reference, material, use_key=use_key)
        if dry_run
        else intake.receive(desk, reference, material, use_key=use_key)
    )
    for leaf in verdict.leaves[:5]:
        until = f"{leaf.not_after:%Y-%m-%d}" if leaf.not_after else "?"
        click.echo(
            f"serial {leaf.serial}, {leaf.key}, until {until}, for"
            f" {cell(', '.join(leaf.names[:8]))}\nSHA-256 {leaf.sha256}"
        )
    for line in sentences(verdict.said):
        click.echo(f"- {cell(line, 1000)}")
    if dry_run:
        click.echo(
            "It could not be installed."
            if verdict.refused
            else "It is what was asked for. Nothing was recorded."
        )
    else:
        said(_row(desk, reference))
    if verdict.refused:
        click.echo(
            "What is wrong can be forwarded to the client as it stands; the next notice tells"
            " them.",
            err=True,
        )
    return 3 if verdict.refused else 0


def _secret(text: str) -> str:
    if text and not text.startswith(("env:", "file:")):
        raise UsageError(
            "A password is not passed as an option",
            "others on this machine could read it",
            "Write --password env:NAME or file:PATH.",
        )
    return secret(text) if text else ""


@case.command("approve")
@click.argument("reference")
@click.option("--by", required=True, metavar="NAME", help="Who of the client agreed.")
@click.option("--how", required=True, metavar="TEXT", help="telephone, mail of 3 March, ...")
@click.option("--price", metavar="AMOUNT")
@click.option("--fee", metavar="AMOUNT", help="Of the installation.")
@click.option("--currency", metavar="CODE")
@seen_option
@pass_app
def approve(
    app: CommandContext,
    reference: str,
    by: str,
    how: str,
    price: str | None,
    fee: str | None,
    currency: str | None,
    seen: int | None,
) -> None:
    """Record who agreed to price and window, and how."""
    said(
        desk_of(app, seen).approve(reference, by, how, price=price, fee=fee, currency=currency),
        f"{by} agreed",
    )


@case.command("window")
@click.argument("reference")
@click.argument("start", required=False)
@click.option(
    "--minutes", type=click.IntRange(5, 2880), metavar="N", help="How long; [cases] window_minutes."
)
@click.option(
    "--zone",
    metavar="NAME",
    help="The client's time zone, else that of its contact, such as Europe/Berlin.",
)
@click.option("--lift", is_flag=True, help="The agreed window does not hold any more.")
@click.option(
    "--reason", metavar="TEXT", default="", help="Why it is lifted, or agreed without the client."
)
@seen_option
@pass_app
def window(
    app: CommandContext,
    reference: str,
    start: str | None,
    minutes: int | None,
    zone: str | None,
    lift: bool,
    reason: str,
    seen: int | None,
) -> None:
    """Agree on an installation window from START (2026-11-30T10:00, in the client's time), or move
    it. Both sides get it as a calendar entry.
    """

    desk = desk_of(app, seen)
    if lift:
        said(desk.lift(reference, reason), "the window does not hold any more")
        return
    if start is None:
        raise UsageError(
            "When does the window begin?", "", "Write certmgr case window REF 2026-11-30T10:00."
        )
    row, chosen = desk.agree(reference, start, minutes=minutes, zone=zone, text=reason)
    said(row, f"window {chosen.text}")


@case.command("package")
@click.argument("reference")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The zip; it holds the private key.",
)
@click.option(
    "--password",
    metavar="SECRET",
    default="",
    help="Of the PKCS#12: env:NAME or file:PATH; without it none is made.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@pass_app
def package(app: CommandContext, reference: str, output: Path, password: str, force: bool) -> None:
    """Write what an administrator installs: chain, key, combined file, PKCS#12, snippets for nginx,
    Apache, HAProxy, IIS and Java, checksums.
    """

    if output.exists() and not force:
        raise Conflict(
            f"{output} exists already",
            "a package is not overwritten",
            "Name another file, or give --force.",
        )
    data, leaves = pack(desk_of(app), reference, _secret(password))
    write_whole(output, data)
    for leaf in leaves:
        click.echo(f"{leaf.key}: SHA-256 {fingerprint(leaf.sha256)}")
    click.echo(
        f"Written to {cell(output)}, readable for you alone. Delete it when the case is closed.",
        err=True,
    )


@case.command("install")
@click.argument("reference")
@click.option(
    "--reason", metavar="TEXT", default="", help="What was done; why, where no window was agreed."
)
@seen_option
@pass_app
def install(app: CommandContext, reference: str, reason: str, seen: int | None) -> None:
    """Say that it is installed. The proof is case verify, or the next scan."""
    said(desk_of(app, seen).installed(reference, reason))


@case.command("verify")
@click.argument("reference")
@click.option(
    "--resolve",
    "resolve",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help=(
        "Look there in place of the DNS, which proves nothing and records nothing; may be repeated."
    ),
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
@seen_option
@pass_app
def verify(
    app: CommandContext, reference: str, resolve: tuple[str, ...], form: str, seen: int | None
) -> int:
    """Look for the expected certificate at every address, key type and backend.

    Seen on all closes the case; exit 1 where it is not.
    """

    row, proof = desk_of(app, seen).verify(reference, overrides_of(resolve))
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.proof/1",
                "case": row["reference"],
                "case_state": row["state"],
                "state": str(proof.state),
                "seen": list(proof.seen),
                "missing": list(proof.missing),
                "old": list(proof.old),
                "unknown": list(proof.unknown),
            }
        )
    else:
        _proof(proof)
        if not (proof.seen or proof.missing or proof.unknown):
            click.echo(proof.sentence)
        if resolve:
            click.echo("These were addresses of your choice: nothing was recorded.")
        else:
            said(row)
    return (
        0
        if proof.state is VerificationState.LIVE
        else 3
        if proof.state is VerificationState.UNKNOWN
        else 1
    )


def _proof(proof: Verification) -> None:
    for symbol, places in (
        ("✓ live", proof.seen),
        ("✗ not there", proof.missing),
        ("? not known", proof.unknown),
    ):
        for place in places:
            old = " (the old certificate)" if place in proof.old else ""
            click.echo(f"{symbol}  {cell(place, 400)}{old}")


@case.command("close")
@click.argument("reference")
@seen_option
@pass_app
def close(app: CommandContext, reference: str, seen: int | None) -> None:
    """Close a case that was seen live.

    Without that proof there is only case cancel, with its reason.
    """
    said(desk_of(app, seen).close(reference))


def _ending(name: str, text: str) -> None:
    @case.command(name, help=text)
    @click.argument("reference")
    @click.option(
        "--reason", required=True, metavar="TEXT", help="Why; it is kept, and the client is told."
    )
    @seen_option
    @pass_app
    def command(app: CommandContext, reference: str, reason: str, seen: int | None) -> None:
        said(desk_of(app, seen).end(reference, CaseAction(name), reason))


_ending("decline", "The client does not want it.")
_ending("cancel", "Stop a case.")
_ending("reopen", "Take up a case again that ended, or that was installed wrongly.")


@case.command("run")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show which cases would be opened, and which would be looked at.",
)
@pass_app
def run(app: CommandContext, dry_run: bool) -> int:
    """Open the cases that are due, and verify those that are installed (part of certmgr run)."""

    desk = desk_of(app)
    if dry_run:
        for due in due_cases(
            desk.database,
            desk.now,
            leads_of(app.settings),
            timedelta(days=app.settings.cases.open_ahead),
        ):
            click.echo(
                f"would open: client {due.client}, {cell(' '.join(due.names[:8]))}: {due.why}"
            )
        with desk.database.read() as conn:
            for row in awaiting(cases.listing(conn, states=cases.OPEN), desk.now):
                click.echo(
                    f"would look at: {row['reference']}, client {row['client']}, {row['state']}"
                )
        return 0
    done = work(desk)
    for verb, references in (
        ("opened", done.opened),
        ("closed", done.closed),
        ("reopened", done.reopened),
    ):
        for reference in references:
            click.echo(f"{verb} {reference}")
    for problem in done.problems:
        click.echo(f"certmgr case run: {cell(problem, 500)}", err=True)
    return 3 if done.problems else 0
