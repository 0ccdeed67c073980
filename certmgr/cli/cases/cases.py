"""``certmgr case``: coordinate installations with clients."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Connection

from certmgr.cases import agreement, assignment, new_case
from certmgr.cases.bulk import of_incident
from certmgr.cases.due_cases import due_cases
from certmgr.cases.opening import awaiting_verification
from certmgr.cases.opening import run as run_cases
from certmgr.cases.states import CaseAction
from certmgr.cli.cases.case_bulk import alone, echo_bulk, incident_option, one_of
from certmgr.cli.cases.case_certificates import csr, receive, send
from certmgr.cli.cases.case_installation import install, package, verify, window
from certmgr.cli.cases.case_pages import list_, measures, show_
from certmgr.cli.cases.case_shared import case_service, echo_result, version_option
from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.cli.unmanaged_names import echo_unmanaged
from inventory.db.database import to_epoch
from inventory.records import CaseRecord
from inventory.store import cases, purchases


@click.group()
def case() -> None:
    """Coordinate installations with clients, from the request to the verification."""


# Modules import only downwards, so the group collects the commands of the other modules.
for _command in (list_, show_, measures, csr, send, receive, window, package, install, verify):
    case.add_command(_command)


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
# The private key then stays with the client.
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

    Options that are omitted are filled in from the purchase and the inventory. Without --purchase,
    the case is for the one active purchase that covers NAMES.

    \b
    certmgr case open 1001 shop.example.com www.shop.example.com
    """
    service = case_service(app)
    row = new_case.open_case(
        service,
        client,
        names,
        new_case.CaseOptions(order=purchase_key, **values),
        text=reason,
    )
    with service.context.read() as conn:
        # Read after the case is stored, because the purchase may have been chosen with it.
        payer = _payer(conn, row, to_epoch(app.now()))
        echo_unmanaged(
            conn,
            row.client_id,
            row.names,
            f"Then cancel this case: certmgr case cancel {row.reference} --reason TEXT.",
        )
    # A wildcard may be served at thousands of hosts, which are all names of the case.
    echo_result(row, f"opened for {', '.join(row.names[:8])}; {payer}")


def _payer(conn: Connection, row: CaseRecord, now: int) -> str:
    """Return the purchase of a case in words; without one, why and what would change it."""
    # The payer is printed at once: a wrong one would be noticed only on the invoice.
    if row.order_id is not None:
        bought = purchases.find(conn, purchases.reference(row.order_id))
        # Vendor and number may come from an imported file, with control characters.
        label = cell(purchases.label(bought.vendor, bought.number, bought.id))
        return f"under the purchase {purchases.reference(bought.id)}, {label}"
    covering = new_case.covering_purchases(conn, row.client_id, row.names, now)
    if not covering:
        return "no active purchase covers all its names"
    # A person decides between several purchases, because a wrong choice is billed.
    keys = ", ".join(purchases.reference(p.id) for p in covering)
    return (
        f"{len(covering)} purchases cover its names ({keys}), so none was chosen: cancel this case"
        " and name one with --purchase"
    )


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


@case.command("approve")
@click.argument("reference", required=False)
@incident_option
# If price or interruption are disputed later, this record is the evidence. So person and way are
# both required.
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
        # Each case has a different version, so one value cannot protect all of them.
        alone(if_version=expected_version)
        return echo_bulk(of_incident(service, incident, None, change), f"approved by {by}")
    assert reference is not None
    echo_result(change(reference), f"{by} approved")
    return 0


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
        # The names of these commands are the values of the actions.
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
        # A dry run changes nothing, so it does not wait for the lock of another run.
        for due in due_cases(service.context):
            click.echo(
                f"would open: client {due.client}, {cell(' '.join(due.names[:8]))}: {due.reason}"
            )
        with service.context.read() as conn:
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
