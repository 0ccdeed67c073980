"""``domain show`` on a terminal: local times, folded lines, and no ids or raw values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from certmgr.cli.inventory.domain_facts import DomainPage, ShownAddress, ShownChange, ShownEndpoint
from certmgr.cli.output import audit_words, cell, local_day, local_time, pairs, paragraph
from certmgr.inspection.trust_ends import trust_text
from certmgr.x509.trust_rules import BROWSER_NAMES
from inventory.dates import span_text
from inventory.names import display
from inventory.store import purchases
from inventory.targets import parse
from notifiers.wording.verdicts import ACTORS, VERDICTS

_TRUST = {True: "trusted", False: "not trusted", None: "trust undetermined"}
# Labels are padded to one width, so that continued lines stand below their text.
_LABEL = 9


def render(page: DomainPage, now: datetime) -> None:
    """Print the page for a terminal."""
    shown = display(page.name)
    parties = (("hosts", page.hosts), ("dns", page.dns), ("buys", page.buys))
    pairs(
        [
            # People know the name in their script; servers and CSRs have its ASCII form.
            ("domain", shown if shown == page.name else f"{shown} ({page.name})"),
            ("client", f"{page.client} {page.client_name}"),
            ("server", page.server),
            ("purpose", page.purpose),
            ("paths", page.paths),
            ("policy", page.policy),
            ("state", page.state),
            (
                "who",
                # These parties decide who has to act, so an unknown one is shown.
                "; ".join(f"{k} {v or 'unknown'}" for k, v in (*parties, ("renews", page.renews))),
            ),
            ("renewal", page.renewal.text),
            ("tags", page.tags),
            ("note", page.note),
        ]
    )
    _show_records(page)
    for endpoint in page.endpoints:
        _show_endpoint(endpoint, now)
    if page.history:
        click.echo("\nLast changes")
    for change in page.history:
        paragraph(_change_text(change), "    ", "  ")


def _line(label: str, text: str) -> None:
    paragraph(text, " " * _LABEL, label.ljust(_LABEL))


def _show_records(page: DomainPage) -> None:
    """Print contacts, purchases, cases and notices, a line each."""
    for person in page.contacts:
        # A contact without a method gets no notices, so that is stated.
        ways = cell(list(person.ways), 300) or "no contact method"
        _line("contact", f"{cell(person.name)} ({person.role}): {ways}")
    for bought in page.orders:
        vendor = f"{cell(bought.vendor)} {cell(bought.number or '')}".strip()
        key = purchases.reference(bought.id)
        _line("purchase", f"{key} {vendor}, until {local_day(bought.ends)}")
    for case in page.cases:
        due = f", due {local_day(case.due)}" if case.due else ""
        _line("case", f"{case.reference}: {case.state}, waits for {case.waits_for}{due}")
    for notice in page.notices:
        _line("notice", f"{cell(notice.subject)} ({cell(notice.text, 400)})")
    for message in page.held:
        _line("notice", cell(message.text, 400))


def _show_endpoint(endpoint: ShownEndpoint, now: datetime) -> None:
    click.echo(f"\n{parse(endpoint.target)}  {VERDICTS[endpoint.verdict]}")
    # If the last good result is older than the last attempt, what follows may be outdated.
    attempt = local_time(endpoint.last_attempt) or "never"
    good = local_time(endpoint.last_good) or "never"
    error = f"; error: {cell(endpoint.error)}" if endpoint.error else ""
    paragraph(f"last attempt {attempt}, last good {good}{error}", "    ", "  ")
    for seen in endpoint.observations:
        paragraph(address_text(seen, now), "    ", "  ")
        paragraph(_until_text(seen.trusted_until), "      ", "    ")
    for finding in endpoint.findings:
        paragraph(f"{finding.severity}: {finding.detail}", "    ", "  ")
        paragraph(f"{ACTORS[finding.actor]}: {finding.do}", "      ", "    ")
        if (taken := finding.assigned) is not None:
            promise = f"{cell(taken.by)} fixes it until {local_time(taken.until)}"
            paragraph(f"{promise}: {cell(taken.reason)}", "      ", "    ")
    if endpoint.planned is not None:
        paragraph(f"renewal: {cell(endpoint.planned['text'], 300)}", "    ", "  ")
    for accepted in endpoint.accepted:
        paragraph(
            f"accepted: {accepted.code} until {local_time(accepted.until)} by"
            f" {cell(accepted.by)}: {cell(accepted.reason)}",
            "    ",
            "  ",
        )


def address_text(seen: ShownAddress, now: datetime) -> str:
    """Return what an address serves, in one sentence."""
    # A silent address keeps its last certificate, which may be outdated.
    silent = "" if seen.seen_last_time else f" (not seen since {local_time(seen.last_seen)})"
    if seen.not_after is None:
        ends = "no certificate"
    else:
        left = datetime.fromisoformat(seen.not_after) - now
        is_over = left < timedelta(0)
        when = f"{span_text(left)} ago" if is_over else f"in {span_text(left)}"
        ends = f"{'expired' if is_over else 'ends'} {local_time(seen.not_after)} ({when})"
    issuer = cell(seen.issuer) or "issuer not shown"
    return (
        f"{seen.address}: {issuer}, serial {cell(seen.serial)}, {seen.key}, {ends},"
        f" {_TRUST[seen.trusted]}, since {local_time(seen.first_seen)}{silent}"
    )


def _until_text(row: Mapping[str, Any] | None) -> str:
    """Return until when browsers trust a certificate."""
    # Without a known path, a date would be a guess.
    if row is None:
        return "trusted until: not determined, since no path to a public root is known"
    days = ", ".join(
        f"{name} {local_day(row[key]['at']) if row[key]['at'] else 'no longer'}"
        for key, name in BROWSER_NAMES.items()
        if key in row
    )
    early = trust_text(dict(row))
    return f"trusted until: {days} (rules {row['rules']})" + (f"; {cell(early)}" if early else "")


def _change_text(change: ShownChange) -> str:
    """Return one entry of the audit log in words."""
    detail = cell(audit_words(change.action, change.detail), 300)
    what = f": {detail}" if detail else ""
    return f"{local_time(change.at)} {cell(change.actor)}: {change.action}{what}"
