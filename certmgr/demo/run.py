"""Runs the demonstration: sites, inventory, scan, status, causes, and what each client would be
told.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from certmgr.cli.deadlines import shown_date
from certmgr.cli.output import table
from certmgr.cli.status import show_causes, standing_table
from certmgr.compliance.assessment import all_deadlines, judge, subjects
from certmgr.compliance.rules import RULES
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
from certmgr.inspection.scan_run import ScanOptions, ScanRun
from certmgr.inspection.status import causes, load
from certmgr.report.html import render
from certmgr.report.load import material
from certmgr.report.view import build
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.names import display
from inventory.store import clients, contacts, deadlines, domains, endpoints, servers
from inventory.targets import Target
from notifiers.wording.english import OUTCOMES


def _heading(text: str) -> None:
    click.echo(
        "\n"
        + click.style(f"== {text}", bold=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    )


def _build(database: Database, street: DemoSites) -> None:
    """Three clients: one whose certificates we renew, one who buys their own, one of whom nobody
    said.
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
        parties = (
            {"dns": "us", "buys": "us", "renews": "us"},
            {"dns": "client", "buys": "client", "renews": "client"},
            {"dns": "us"},
        )
        for (number, name), who in zip(CLIENTS, parties, strict=True):
            clients.add(tx, {"number": number, "name": name, "account_manager": "Jo"} | who)
            contacts.add(
                tx,
                number,
                {"name": f"Owner of {name}", "role": "owner", "language": "en"},
                (f"owner@client{number}.example",),
            )
        due = {
            "at": database.clock() + timedelta(days=60),
            "rule": "https-only",
            "title": "All sites of our clients on HTTPS",
        }
        leads = {"purchase_days": 10, "validation_days": 7, "installation_days": 5}
        deadlines.add(tx, "all-https", due | leads, tuple(RULES), for_clients=(), tags=())
        for site in street.sites:
            domains.add(
                tx,
                site.host,
                {"client": site.client, "server": site.server, "purpose": site.purpose},
            )
            endpoints.edit(
                tx, Target(site.host), {"port": site.port, "addresses": list(site.addresses)}
            )


def run(keep: bool) -> int:
    """Everything happens in a temporary folder and on loopback, and is gone afterwards."""
    street = open_sites()
    with tempfile.TemporaryDirectory(prefix="certmgr-demo-") as folder:
        try:
            return _run(Path(folder), street, keep)
        finally:
            street.close()


def _run(folder: Path, street: DemoSites, keep: bool) -> int:
    root = folder / "root.pem"
    root.write_bytes(street.root.pem)
    _heading(f"{len(street.sites)} sites on loopback, with certificates of a CA of their own")
    columns = ("CLIENT", "SITE", "WHERE", "WHAT WE MADE OF IT")
    table(
        columns,
        [
            (s.client, display(s.host), f"{', '.join(s.addresses)}:{s.port}", s.matter)
            for s in street.sites
        ],
    )
    database = open_database(str(folder / "demo.db"), actor="demo")
    _build(database, street)
    settings = replace(
        Settings(),
        scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(root),)),
        http=HttpSettings(port=street.http_port, per_address=0, rate=0.0),
        provider=ProviderSettings("Demo Hosting"),
    )
    _heading("certmgr scan: what is really served, judged on every address")
    summary = ScanRun(database, settings, ScanOptions(overrides=street.overrides())).run()
    now = database.clock()
    standings = load(database, now)
    standing_table(standings, now, False)
    click.echo(
        f"{summary.looked} endpoints in {summary.seconds:.1f} s, {summary.opened} findings. One of"
        " them silent for its whole time."
    )
    _heading("certmgr status --causes: what one action each would mend, largest first")
    show_causes(causes(standings), "table", 50)
    _heading(
        "certmgr compliance: every site against the dated rules of browsers, CAs, and the provider"
    )
    _comply(database, now)
    _heading("certmgr report: what each client would read")
    _reports(database, settings, folder, now)
    _heading(
        "certmgr purchase: what a client bought for three years, and each certificate that it takes"
    )
    purchases.order(database, settings, now)
    _heading("certmgr case: one installation, from request to proof")
    street.servers.append(purchases.lead(database, settings, street.root, folder, now))
    _heading(
        "certmgr issue, certmgr renew: a certificate by ACME, put in place, proved, and renewed"
    )
    automation.show(database, settings, street.root, folder)
    if keep:
        click.echo(
            f"\nThe sites run on, and the reports are in {folder}. Try, in another terminal:"
        )
        click.echo(f"  certmgr --database {folder / 'demo.db'} domain show shop.blumen-meier.test")
        site = street.sites[-3]
        click.echo(
            f"  certmgr --database {folder / 'demo.db'} diagnose --ca-file {root} --http-port"
            f" {street.http_port} --resolve {site.host}:{site.port}:127.0.0.1 --resolve"
            f" {site.host}:{street.http_port}:127.0.0.1 http://{site.host}:{street.http_port}/"
        )
        click.prompt("Press Enter to end", default="", show_default=False)
    click.echo("\nThe servers are stopped and the folder is removed. Nothing of yours was touched.")
    missed = sorted(
        {s.host for s in street.sites}
        - {s.target.host for s in standings if s.last_attempt is not None}
    )
    return 3 if missed else 0


def _comply(database: Database, now: datetime) -> None:
    found, _ = subjects(database, now)
    rows = judge(found, all_deadlines(database), now)
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.deadline.name, Counter())[str(row.state)] += 1
    lines = []
    for due in all_deadlines(database):
        if (c := counts.get(due.name)) is not None:
            said = due.title + ("" if due.confirmed else " (announced, not confirmed)")
            lines.append(
                [
                    shown_date(due.at.date().isoformat(), due.precision),
                    c["complies"],
                    c["does-not-comply"] + c["will-not-comply"],
                    c["not-determined"],
                    said,
                ]
            )
    table(["DATE", "COMPLY", "DO NOT", "NOT DETERMINED", "RULE"], lines)


def _reports(database: Database, settings: Settings, folder: Path, now: datetime) -> None:
    """Each client's summary and actions, and the page itself as a file."""
    for number, _ in CLIENTS:
        read = material(
            database,
            number,
            now,
            as_of=None,
            provider=settings.provider.name,
            dues=all_deadlines(database),
            default_language="en",
            default_zone="UTC",
        )
        report = build(read)
        write_whole(folder / f"report-{number}.html", render(report, read.language).encode())
        click.echo(f"\n{report.client_name} (client {number}): {report.summary}")
        for action in (*report.you_act, *report.we_act, *report.escalated):
            click.echo(f"  {read.language(OUTCOMES[action.outcome])} {action.what}")
            if action.outcome == "you-act":
                click.echo(f"    {action.by_text}: {action.do}")
        for text in report.untested:
            click.echo(f"  Could not be told: {text}")
