"""``certmgr trust``: the dated rules of browsers about CAs, and which certificates they end."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Any

import certifi
import click

from certmgr.cli.output import cell, echo_json, instant, pairs, paragraph, show
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.config.settings import Settings
from certmgr.inspection.trust_ends import StoredTrust, trust_text
from certmgr.inspection.trust_ends import trust_row as ends_row
from certmgr.net.addresses import networks
from certmgr.net.downloads import download_verified
from certmgr.net.http_client import HttpLimits
from certmgr.x509 import trust_data
from certmgr.x509.ca_files import read_anchors
from certmgr.x509.trust_rules import BROWSERS, TrustRule, TrustRules, document_of, rule_row
from inventory.store import clients
from inventory.store.suggestions import missing_word

_LIST = ("name", "browsers", "kind", "ca", "at", "certificates", "confidence", "source")
_SECONDS = 60.0
_MAX_REDIRECTS = 3
_ENDS = ("target", "client", "not_after", "chrome", "mozilla", "detail")


@click.group()
def trust() -> None:
    """Show and update what browsers do with CAs, with dates.

    The list of trusted roots is that of certifi. These rules add removals, dates from which
    new certificates of a CA are refused, blocked keys, and announced removals.
    """


def _load(app: CommandContext) -> TrustRules:
    return trust_data.load_rules(trust_data.rules_path(app.settings.trust.rules))


@trust.command("show")
@click.argument("rule", required=False)
@format_option
@pass_app
def show_(app: CommandContext, rule: str | None, output_format: str) -> None:
    """Show version and age of the rules, or one RULE in full.

    JSON is a complete file of trust rules, which certmgr trust update accepts.
    """
    rules = _load(app)
    if rule is not None:
        _show_rule(_find(rules, rule), output_format)
        return
    if output_format == "json":
        # Rules of reports come back with the next report, and have no place in such a file.
        own = [r for r in rules.rules if not r.origin]
        # The version of a report is added to that of the rules. The exported file has only the
        # rules.
        version = rules.version.partition("+ccadb")[0]
        echo_json(document_of(TrustRules(version, rules.day, own)))
        return
    row = {
        "version": rules.version,
        "date": rules.day.isoformat(),
        "age_days": trust_data.age(rules, app.now()).days,
        "source": rules.source,
        "updated": instant(rules.updated),
        "rules": len(rules.rules),
        "from_reports": sum(bool(r.origin) for r in rules.rules),
        # The version of certifi matters as much: it decides which roots exist at all.
        "certifi": certifi.__version__,
    }
    if output_format == "csv":
        show("trust", tuple(row), [row], output_format)
        return
    pairs((k.replace("_", " "), v) for k, v in row.items())
    # Rules in force are the larger part. What is coming is what an administrator must plan.
    coming = [r for r in rules.rules if r.at is not None and r.at > app.now()]
    for entry in sorted(coming, key=lambda r: (r.at or app.now(), r.name))[:10]:
        about = " (approximate)" if entry.approximate else ""
        paragraph(
            f"{', '.join(entry.browsers)}: {entry.kind}, {cell(entry.ca)} [{entry.name}]",
            indent="  ",
            first=f"{entry.at:%Y-%m-%d}{about}  ",
        )


def _find(rules: TrustRules, name: str) -> TrustRule:
    found = next((r for r in rules.rules if r.name == name), None)
    if found is None:
        known = [r.name for r in rules.rules]
        # A misspelt name gets suggestions: the names are long.
        raise missing_word("trust rule", name, known, "certmgr trust list")
    return found


def _show_rule(rule: TrustRule, output_format: str) -> None:
    row = rule_row(rule)
    if output_format == "json":
        echo_json({"schema": "certmgr.trust-rule/1", **row})
    elif output_format == "csv":
        show("rules", tuple(row), [row], output_format)
    else:
        pairs((k.replace("_", " "), v) for k, v in row.items())


@trust.command("list")
@click.option("--browser", type=click.Choice(BROWSERS), help="Only rules of this browser.")
@click.option("--ca", metavar="TEXT", help="Only rules whose CA contains TEXT.")
@click.option(
    "--certificate", metavar="SHA256", help="Only rules that name this root or intermediate."
)
@format_option
@pass_app
def list_(
    app: CommandContext,
    browser: str | None,
    ca: str | None,
    certificate: str | None,
    output_format: str,
) -> None:
    """List the rules, the earliest date first."""
    # SHA-256 is often copied with colons and capitals, as openssl prints it.
    wanted = (certificate or "").replace(":", "").lower()
    rows = [
        {
            **rule_row(r),
            "at": instant(r.at),
            "certificates": len(r.certificates) + len(r.spki),
            "approximate": r.approximate,
        }
        for r in sorted(_load(app).rules, key=_order)
        if (browser is None or browser in r.browsers)
        and (ca is None or ca.casefold() in r.ca.casefold())
        and (not wanted or wanted in r.certificates)
    ]
    keys = (*_LIST, "approximate", "basis", "origin")
    show("rules", _LIST, rows, output_format, "No rule matches.", keys)


def _order(rule: TrustRule) -> tuple[bool, str, str]:
    # Rules without a date are in force now, so they come before the dated ones.
    return rule.at is not None, instant(rule.at) or "", rule.name


def _read(source: str, settings: Settings) -> bytes:
    """Read a file, or download a URL."""
    # Only a download needs limits of time and redirects.
    if "://" not in source:
        return trust_data.read_rules(Path(source))
    # A redirect could lead to an internal address, which only [network] allow permits.
    allowed = networks(settings.network.allow, "[network] allow")
    limits = HttpLimits(_SECONDS, trust_data.MAX_BYTES, _MAX_REDIRECTS)
    anchors = "".join(
        DER_cert_to_PEM_cert(c.der)
        for name in settings.trust.ca_files
        for c in read_anchors(name)
        if c.parsed is not None
    )
    return download_verified(source, anchors, allowed, limits)


@trust.command("update")
@click.argument("source", metavar="FILE|URL")
@click.option("--dry-run", is_flag=True, help="Validate and compare; replace nothing.")
@click.option("--force", is_flag=True, help="Accept rules that are older than those in force.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@pass_app
def update_(
    app: CommandContext, source: str, dry_run: bool, force: bool, output_format: str
) -> None:
    """Replace the rules by newer ones, without a new release.

    FILE|URL is a file of trust rules (TOML or JSON), or a report of the CCADB:
    AllIncludedRootCertsCSV, or Mozilla's IncludedCACertificateReportPEMCSV. It is validated
    completely before it replaces anything. The next scan judges every endpoint again.
    """
    path = trust_data.rules_path(app.settings.trust.rules)
    with ProgressLine().waiting("trust update: reading the rules"):
        data = _read(source, app.settings)
    update, content = trust_data.prepare(data, source, path, app.now(), force=force)
    # prepare() has validated the whole file, so a bad file never replaces a good one.
    if not dry_run:
        trust_data.install(path, content)
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.trust-update/1",
                "installed": not dry_run,
                "kind": update.kind,
                "before": update.before.version,
                "after": update.after.version,
                "roots": update.roots or None,
                "added": [rule_row(r) for r in update.added],
                "dropped": [rule_row(r) for r in update.dropped],
            }
        )
        return
    # The changes are shown in both cases: after a dry run they are the reason to install.
    for sign, changed in (("+", update.added), ("-", update.dropped)):
        for rule in changed[:20]:
            day = f" {rule.at:%Y-%m-%d}" if rule.at else ""
            who = ", ".join(rule.browsers)
            paragraph(f"{who}: {rule.kind}{day}, {cell(rule.ca)} [{rule.name}]", "  ", f"{sign} ")
        if len(changed) > 20:
            click.echo(f"{sign} and {len(changed) - 20:,} more: --format json.")
    named = f" {update.roots:,} root(s) were compared." if update.roots else ""
    done = "would be replaced by" if dry_run else "was replaced by"
    click.echo(f"Version {update.before.version} {done} {update.after.version}.{named}")


@trust.command("reset")
@pass_app
def reset_(app: CommandContext) -> None:
    """Return to the rules that ship with certmgr."""
    trust_data.uninstall(trust_data.rules_path(app.settings.trust.rules))
    click.echo(f"Version {trust_data.built_in().version}, which ships with certmgr, is in force.")


@trust.command("ends")
@click.option(
    "--within",
    type=click.IntRange(0, 36_500),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="Only certificates that lose trust within this time.",
)
@client_filter
@format_option
@pass_app
def ends_(app: CommandContext, within: int, client: str | None, output_format: str) -> None:
    """List certificates that a browser stops trusting before they expire, soonest first."""
    now = app.now()
    with ProgressLine().waiting("trust ends"), app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        stored = StoredTrust.of(conn, app.settings)
        rows = early_rows(stored, now, now + timedelta(days=within), client_id)
    show(
        "ends",
        _ENDS,
        rows,
        output_format,
        f"No certificate loses the trust of a browser within {within} days before it expires.",
        (*_ENDS, "sha256", "trusted_until"),
    )


def early_rows(
    stored: StoredTrust, now: datetime, until: datetime, client_id: int | None = None
) -> list[dict[str, Any]]:
    """Return the endpoints whose certificate loses trust early, and by ``until``."""
    found = []
    for entry in stored.endpoints(client_id=client_id).values():
        # Only what happens by the date is asked for; a later end is no action yet.
        early = [e for e in entry.early() if e.at <= until]
        # An expired certificate has lost everything already.
        if not early or entry.ends[0].not_after < now:
            continue
        row = ends_row(entry.ends, now, stored.rules.version)
        found.append((min(e.at for e in early), entry, row))
    return [
        {
            "target": entry.target.key,
            "client": entry.client,
            "not_after": instant(entry.ends[0].not_after),
            **{b: _day(row, b) for b in BROWSERS},
            "detail": trust_text(row),
            "sha256": entry.leaf,
            "trusted_until": row,
        }
        # The target decides between equal dates, so that the order is stable.
        for _, entry, row in sorted(found, key=lambda f: (f[0], f[1].target.key))
    ]


def _day(row: dict[str, Any] | None, browser: str) -> str | None:
    end = (row or {}).get(browser)
    # Without a date, the browser trusts the certificate until it expires.
    return None if end is None or end["at"] is None else str(end["at"])[:10]
