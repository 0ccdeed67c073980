"""The demonstration: sites, inventory, scan, status, causes, reports, a case, and ACME."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click

from certmgr.cli.compliance.compliance_tables import show_summary
from certmgr.cli.inspect.cause_list import show_causes
from certmgr.cli.inspect.status_table import status_table
from certmgr.cli.output import table
from certmgr.compliance.assessment import judge
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.compliance.rules import RULES
from certmgr.config.context import Context
from certmgr.config.settings import (
    HttpSettings,
    ProviderSettings,
    ScanSettings,
    Settings,
    TrustSettings,
)
from certmgr.demo import automation, purchases
from certmgr.demo.sites import CLIENTS, DemoSites, open_sites
from certmgr.files import write_whole
from certmgr.inspection.causes import causes
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.status import load
from certmgr.report.html import render
from certmgr.report.load import load_report_input
from certmgr.report.view import build
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.names import display
from inventory.store import clients, contacts, deadlines, domains, endpoints, servers
from inventory.targets import Target
from notifiers.wording.verdicts import OUTCOMES


def _heading(text: str) -> None:
    click.echo(
        "\n"
        + click.style(f"== {text}", bold=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    )


def fill_inventory(database: Database, demo: DemoSites) -> None:
    """Add the clients, servers, sites and a deadline to the inventory.

    We renew the certificates of the first client. The second client buys its own certificates. For
    the third client, it is unknown who does.
    """
    with database.write() as tx:
        for machine in ("web1", "web2", "web3"):
            servers.add(
                tx,
                {
                    "name": machine,
                    "kind": "web",
                    "addresses": ["127.0.0.1", "127.0.0.2"],
                    "keeper": "Ines",
                },
            )
        # Each client has another answer to "who renews?", which decides who is asked to act.
        parties = (
            {"dns": "us", "buys": "us", "renews": "us"},
            {"dns": "client", "buys": "client", "renews": "client"},
            {"dns": "us"},
        )
        for (number, name), responsibilities in zip(CLIENTS, parties, strict=True):
            clients.add(
                tx, {"number": number, "name": name, "account_manager": "Jo"} | responsibilities
            )
            contacts.add(
                tx,
                number,
                {"name": f"Owner of {name}", "role": "owner", "language": "en"},
                (f"owner@client{number}.example",),
            )
        deadline = {
            # Near enough that compliance shows steps, and far enough that none of them is late.
            "at": database.clock() + timedelta(days=60),
            "rule": "https-only",
            "title": "All sites of our clients on HTTPS",
        }
        lead_days = {"purchase_days": 10, "validation_days": 7, "installation_days": 5}
        deadlines.add(tx, "all-https", deadline | lead_days, tuple(RULES), for_clients=(), tags=())
        # Addresses are fixed in the inventory, because the names exist in no DNS.
        for site in demo.sites:
            domains.add(
                tx,
                site.host,
                {"client": site.client, "server": site.server, "purpose": site.purpose},
            )
            endpoints.edit(
                tx, Target(site.host), {"port": site.port, "addresses": list(site.addresses)}
            )


def run(keep: bool) -> int:
    """Run the demonstration in a temporary folder and on loopback.

    Args:
        keep: Whether to keep the servers running until Enter is pressed.

    Returns:
        The exit code: 3 if a site was not scanned, else 0.
    """
    # Opened before the folder, so that a failure to listen leaves nothing behind.
    demo = open_sites()
    with tempfile.TemporaryDirectory(prefix="certmgr-demo-") as folder:
        try:
            return _run(Path(folder), demo, keep)
        finally:
            demo.close()


def _run(folder: Path, demo: DemoSites, keep: bool) -> int:
    root = folder / "root.pem"
    root.write_bytes(demo.root.pem)
    _heading(f"{len(demo.sites)} sites on loopback, with certificates of a local CA")
    columns = ("CLIENT", "SITE", "ADDRESS", "STATE")
    table(
        columns,
        [
            (s.client, display(s.host), f"{', '.join(s.addresses)}:{s.port}", s.problem)
            for s in demo.sites
        ],
    )
    # A separate database: the demonstration never touches that of the configuration.
    database = open_database(str(folder / "demo.db"), actor="demo")
    fill_inventory(database, demo)
    context = Context(database, _settings(demo, root), database.clock)
    _heading("certmgr scan: the served certificates, checked on every address")
    # The same call as certmgr scan: the demonstration shows what the program does.
    summary = ScanRun(context, ScanOptions(overrides=demo.overrides())).run()
    # The following parts show the state right after the scan.
    context = context.frozen()
    now = context.now()
    statuses = load(database, now)
    status_table(statuses, now, False)
    click.echo(
        f"{summary.checked} endpoints in {summary.seconds:.1f} s, {summary.opened} findings. One of"
        " them did not respond within its time limit."
    )
    _heading("certmgr status --causes: findings grouped by common cause, the worst first")
    show_causes(causes(statuses), "table", 50, dict(CLIENTS))
    _heading("certmgr compliance: all sites against dated rules of browsers, CAs and the provider")
    _show_compliance(context)
    _heading("certmgr report: the report for each client")
    _show_reports(context, folder)
    _heading("certmgr purchase: a purchase for three years, and the certificates that it needs")
    purchases.show_purchase(context)
    _heading("certmgr case: one installation, from the request to the verification")
    demo.servers.append(purchases.show_case(context, demo.root, folder))
    _heading(
        "certmgr issue, certmgr renew: a certificate issued by ACME, deployed, verified and renewed"
    )
    # pebble is a separate process, whose clock does not stand still.
    automation.show(replace(context, clock=database.clock), demo.root, folder)
    if keep:
        _wait_for_enter(folder, demo, root)
    click.echo("\nThe servers are stopped and the folder is removed. Your data was not changed.")
    # An endpoint without an attempt means that the scan skipped it, and the demonstration failed.
    missed = sorted(
        {s.host for s in demo.sites}
        - {s.target.host for s in statuses if s.last_attempt is not None}
    )
    return 3 if missed else 0


def _settings(demo: DemoSites, root: Path) -> Settings:
    return replace(
        Settings(),
        # All sites share two addresses, so limits per address would only slow the scan down.
        scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(root),)),
        http=HttpSettings(port=demo.http_port, per_address=0, rate=0.0),
        provider=ProviderSettings("Demo Hosting"),
    )


def _wait_for_enter(folder: Path, demo: DemoSites, root: Path) -> None:
    """Print what to try in another terminal, and wait."""
    click.echo(
        f"\nThe sites keep running, and the reports are in {folder}. Try in another terminal:"
    )
    click.echo(f"  certmgr --database {folder / 'demo.db'} domain show shop.blumen-meier.test")
    # The login form over plain HTTP: a page that opens, and that a browser still warns of.
    site = demo.sites[-3]
    click.echo(
        f"  certmgr --database {folder / 'demo.db'} diagnose --ca-file {root} --http-port"
        f" {demo.http_port} --resolve {site.host}:{site.port}:127.0.0.1 --resolve"
        f" {site.host}:{demo.http_port}:127.0.0.1 http://{site.host}:{demo.http_port}/"
    )
    click.prompt("Press Enter to end", default="", show_default=False)


def _show_compliance(context: Context) -> None:
    """Print how many sites comply with each dated rule."""
    facts, _ = load_domain_facts(context.database, context.now())
    dated_rules = all_deadlines(context.database)
    show_summary(judge(facts, dated_rules, context.now()), dated_rules)


def _show_reports(context: Context, folder: Path) -> None:
    """Print the summary and actions of each client, and write each report as a file."""
    for number, _ in CLIENTS:
        report_input = load_report_input(
            context, number, as_of=None, deadlines=all_deadlines(context.database)
        )
        report = build(report_input)
        write_whole(
            folder / f"report-{number}.html", render(report, report_input.language).encode()
        )
        click.echo(f"\n{report.client_name} (client {number}): {report.summary}")
        for action in (*report.you_act, *report.we_act, *report.escalated):
            click.echo(f"  {report_input.language(OUTCOMES[action.outcome])} {action.what}")
            if action.outcome == "you-act":
                click.echo(f"    {action.by_text}: {action.do}")
        for text in report.untested:
            click.echo(f"  Undetermined: {text}")
