"""``certmgr lineage show``: one lineage, with its certificate, names, targets and orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from certmgr.acme.protocol.session import base_directory
from certmgr.acme.renewal.planning import plan_one
from certmgr.acme.renewal.renewal import RenewalDue
from certmgr.cli import output
from certmgr.cli.acme.lineage_rows import STATES, rows_of
from certmgr.cli.shared import CommandContext, format_option, pass_app
from certmgr.deploy.lineage import Lineage
from inventory.records import DeploymentRecord, LineageNameRecord, ListedLineage, OrderRecord
from inventory.store import acme_orders, certificates, deployments, lineages


@dataclass(frozen=True, slots=True)
class _LineagePage:
    """What is shown of a lineage.

    Attributes:
        row: The lineage, with its names.
        view: Its row of ``certmgr.lineages/1``.
        orders: Its last orders, the newest first.
        deliveries: The deployments to its targets.
        due: When and why it is renewed.
        replace_reason: Why its certificate must be replaced at once; empty if it need not.
        live: The folder that servers read.
    """

    row: ListedLineage
    view: Mapping[str, Any]
    orders: list[OrderRecord]
    deliveries: list[DeploymentRecord]
    due: RenewalDue
    replace_reason: str
    live: Path


@click.command("show")
@click.argument("name")
@format_option
@pass_app
def show(app: CommandContext, name: str, output_format: str) -> None:
    """Show one lineage: certificate, names, targets, and when and why it is renewed."""
    page = _load(app, name)
    if output_format != "table":
        output.echo_json(
            {
                "schema": "certmgr.lineage/1",
                **page.view,
                "renew_from": output.instant(page.due.at),
                "renew_because": page.due.reason,
                "folder": str(page.live),
            }
        )
        return
    _show_facts(page)
    for name_row in page.row.names:
        _show_name(name_row)
    for delivery in page.deliveries:
        # Deliveries of earlier certificates are history; only the current one matters here.
        if delivery.sha256 == page.row.sha256:
            symbol = "✓" if delivery.state == "done" else "✗"
            result = output.cell(delivery.error or delivery.state, 400)
            click.echo(f"{symbol} target {delivery.target}: {result}")
    # Orders are history, so they follow what is true now.
    for order in page.orders:
        click.echo(
            f"order {order.id} of {output.local_time(order.created_at)}: {order.state}"
            f" ({output.cell(order.reason, 100)})"
        )


def _load(app: CommandContext, name: str) -> _LineagePage:
    # One transaction: a run at the same time must not mix two states on the page.
    with app.open().read() as conn:
        row = lineages.with_names(conn, lineages.find(conn, name).id)
        # A retired lineage has a page too, so its present state is the filter.
        view = next(
            r for r in rows_of(conn, row.client_id, (row.state,)) if r["lineage"] == row.name
        )
        orders = acme_orders.last_of(conn, row.id, 10)
        deliveries = deployments.listing(conn, lineage_id=row.id, states=("pending", "done"))
        # Without a certificate, there are no served names to compare with.
        served = certificates.names_of(conn, [row.sha256]) if row.sha256 else {}
        replace_reason = lineages.must_replace(conn).get(row.sha256 or "", "")
    return _LineagePage(
        row=row,
        view=view,
        orders=orders,
        deliveries=deliveries,
        due=plan_one(row, app.now(), replace_reason, served.get(row.sha256 or "")).due,
        replace_reason=replace_reason,
        live=Lineage(base_directory(app.settings), row.name).live,
    )


def _show_facts(page: _LineagePage) -> None:
    row, view, due = page.row, page.view, page.due
    # A lineage without a certificate is due at once, so its date would only confuse.
    renewal = f"{output.local_time(due.at)}: {due.reason}" if row.sha256 else due.reason
    output.pairs(
        [
            ("Lineage", row.name),
            ("Must be replaced", page.replace_reason or None),
            ("Client", row.client),
            ("State", STATES.get(view["state"], view["state"])),
            ("Ends", view["ends"]),
            ("Renewal due", renewal),
            # A CA that asks for an early renewal may explain it on this page (RFC 9773).
            ("Explanation of the CA", row.ari_url),
            ("Next attempt not before", view["next_at"]),
            ("Account", row.account),
            ("Solver", row.solver),
            ("Targets", row.targets),
            ("Key", row.key_type),
            ("Profile", row.profile),
            ("Chain", row.preferred_chain),
            ("On failed name", row.shrink),
            ("Folder", page.live),
            ("Verification", row.proof),
            ("Last error", view["error"]),
        ]
    )


def _show_name(name: LineageNameRecord) -> None:
    # A working name needs no explanation, so only a quarantined one has a date and a reason.
    if name.state == "active":
        click.echo(f"✓ {output.cell(name.name)}")
        return
    click.echo(
        f"! {output.cell(name.name)}: quarantined since {output.local_time(name.since)}:"
        f" {output.cell(name.reason, 400)}"
    )
