"""Runs the demonstration: sites, inventory, scan, status, causes, and what each client would be told."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from certmgr.cli.output import table
from certmgr.cli.status import show_causes, standing_table
from certmgr.config import ScanSettings, Settings, TrustSettings
from certmgr.demo.sites import CLIENTS, Street, open_street
from certmgr.status import Standing, causes, load
from certmgr.survey import Options, Survey
from inventory.database import Database, open_database
from inventory.names import display
from inventory.store import clients, contacts, domains, endpoints, servers
from inventory.targets import Target
from notifiers.wording.english import ACTORS, OUTCOMES
from notifiers.wording.sentences import instruction, sentence


def _heading(text: str) -> None:
    click.echo("\n" + click.style(f"== {text}", bold=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))


def _build(database: Database, street: Street) -> None:
    """Three clients: one whose certificates we renew, one who buys their own, one of whom nobody said."""
    with database.write() as tx:
        for machine in ("web1", "web2", "web3"):
            servers.add(tx, {"name": machine, "kind": "web", "addresses": ["127.0.0.1", "127.0.0.2"], "keeper": "Ines"})
        parties = (
            {"dns": "us", "buys": "us", "renews": "us"},
            {"dns": "client", "buys": "client", "renews": "client"},
            {"dns": "us"},
        )
        for (number, name), who in zip(CLIENTS, parties, strict=True):
            clients.add(tx, {"number": number, "name": name, "account_manager": "Jo"} | who)
            contacts.add(
                tx, number, {"name": f"Owner of {name}", "role": "owner", "language": "en"}, (f"owner@client{number}.example",)
            )
        for site in street.sites:
            domains.add(tx, site.host, {"client": site.client, "server": site.server})
            endpoints.edit(tx, Target(site.host), {"port": site.port, "addresses": list(site.addresses)})


def run(keep: bool) -> int:
    """Everything happens in a temporary folder and on loopback, and is gone afterwards."""
    street = open_street()
    with tempfile.TemporaryDirectory(prefix="certmgr-demo-") as folder:
        try:
            return _run(Path(folder), street, keep)
        finally:
            street.close()


def _run(folder: Path, street: Street, keep: bool) -> int:
    root = folder / "root.pem"
    root.write_bytes(street.root.pem)
    _heading(f"{len(street.sites)} sites on loopback, with certificates of a CA of their own")
    columns = ("CLIENT", "SITE", "WHERE", "WHAT WE MADE OF IT")
    table(columns, [(s.client, display(s.host), f"{', '.join(s.addresses)}:{s.port}", s.matter) for s in street.sites])
    database = open_database(str(folder / "demo.db"), actor="demo")
    _build(database, street)
    settings = replace(
        Settings(), scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0), trust=TrustSettings(ca_files=(str(root),))
    )
    _heading("certmgr scan: what is really served, judged on every address")
    summary = Survey(database, settings, Options()).run()
    now = datetime.now(UTC)
    standings = load(database, now)
    standing_table(standings, now, False)
    click.echo(
        f"{summary.looked} endpoints in {summary.seconds:.1f} s, {summary.opened} findings. One of them silent for its whole time."
    )
    _heading("certmgr status --causes: what one action each would mend, largest first")
    show_causes(causes(standings), "table", 50)
    _heading("What each client would be told")
    for number, name in CLIENTS:
        _tell(number, name, [s for s in standings if s.client == number])
    if keep:
        click.echo(f"\nThe sites run on. Try: certmgr --database {folder / 'demo.db'} domain show shop.blumen-meier.test")
        click.prompt("Press Enter to end", default="", show_default=False)
    click.echo("\nThe servers are stopped and the folder is removed. Nothing of yours was touched.")
    missed = sorted({s.host for s in street.sites} - {s.target.host for s in standings if s.last_attempt is not None})
    return 3 if missed else 0


_NO_ACTION = {
    "provider": "Nothing to do for you: it is ours to mend.",
    "staff": "Nothing to do for you yet: our staff find out first who has to act.",
    "none": "Nothing to do.",
}


def _tell(number: str, name: str, standings: list[Standing]) -> None:
    click.echo(f"\n{name} (client {number})")
    well = [s for s in standings if s.verdict == "ok"]
    if well:
        click.echo(f"  In order: {', '.join(display(s.target.host) for s in well)}.")
    for standing in standings:
        told = [f for f in standing.findings if f.severity not in ("info", "low")]
        if not told:
            continue
        worst = told[0]
        if worst.severity == "undetermined":
            click.echo(f"  {display(standing.target.host)}: could not be told; nothing goes to the client, staff look again.")
            continue
        outcome = OUTCOMES[worst.outcome] if worst.outcome else _NO_ACTION[worst.actor]
        click.echo(
            f"  {display(standing.target.host)}: {outcome}\n    {sentence(worst, standing.target)}\n    {ACTORS[worst.actor]}: {instruction(worst, standing.target)}"
        )
