"""``certmgr incident``: many certificates that must be replaced by a time."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import click

from certmgr.cases import incident as work
from certmgr.cases.incident import done, stands
from certmgr.cli.cases import desk_of
from certmgr.cli.output import cell, echo_json, epoch_text, show, table
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import UsageError
from inventory.files import read_regular
from inventory.store import incidents

_WORDS = {
    "replaced": "already replaced",
    "automatic": "renewed by a robot",
    "ours": "ours to buy",
    "client": "the client's to buy",
    "unknown": "not known here",
}


@click.group()
def incident() -> None:
    """A CA that must revoke, a stolen key, a broken machine: sort, open cases in one go, count
    down.
    """


@incident.command("open")
@click.option(
    "--serials",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Serial numbers, one a line, hexadecimal.",
)
@click.option(
    "--issuer", metavar="NAME", help="Every live certificate whose issuer has this in its name."
)
@click.option("--server", metavar="NAME", help="Every live certificate on this server.")
@click.option(
    "--until",
    required=True,
    metavar="TIME",
    help="By when they must be replaced, such as 2026-11-26T12:00.",
)
@click.option(
    "--reason", required=True, metavar="TEXT", help="What happened; it stands in every case."
)
@click.option("--dry-run", is_flag=True, help="Only sort them.")
@format_option
@pass_app
def open_(
    app: CommandContext,
    serials: Path | None,
    issuer: str | None,
    server: str | None,
    until: str,
    reason: str,
    dry_run: bool,
    form: str,
) -> int:
    """Sort the certificates into already replaced, automatic, ours and the client's, and open the
    cases.
    """

    if sum(x is not None for x in (serials, issuer, server)) != 1:
        raise UsageError(
            "Which certificates?",
            "",
            "Give one of --serials FILE, --issuer NAME and --server NAME.",
        )
    if (issuer is not None and not issuer.strip()) or (server is not None and not server.strip()):
        raise UsageError(
            "The name is empty", "it would mean every certificate", "Name the issuer or the server."
        )
    listed: list[str] = []
    wrong: list[str] = []
    if serials is not None:
        raw = read_regular(serials, work.MAX_FILE)
        if len(raw) > work.MAX_FILE:
            raise UsageError(
                f"{serials} is too large",
                f"the limit is {work.MAX_FILE // 1_000_000} MB",
                "Split it.",
            )
        listed, wrong = work.read_serials(raw.decode("utf-8-sig", "replace"))
        if not listed:
            raise UsageError(
                f"{serials} has no serial number",
                wrong[0] if wrong else "it is empty",
                "Write one a line, in hexadecimal.",
            )
    for line in wrong[:20]:
        click.echo(f"left out: {cell(line)} is no serial number", err=True)
    desk, at = desk_of(app), app.moment(until)
    assert at is not None
    if at <= app.now() or at > app.now() + timedelta(days=400):
        raise UsageError(
            "The time by which they must be replaced cannot be so",
            "it lies ahead, within 400 days",
            "Correct --until.",
        )
    items = work.select(desk, serials=listed, issuer=issuer or "", server=server or "")
    kind, what = (
        ("serials", f"{len(listed)} serial numbers")
        if listed
        else ("issuer", issuer or "")
        if issuer
        else ("server", server or "")
    )
    if dry_run:
        counts = Counter(i.sort for i in items)
        rows = [
            {"sort": i.sort, "client": i.client, "serial": i.serial, "names": list(i.hosts)}
            for i in items
        ]
        if form != "table":
            show("items", ("sort", "client", "serial", "names"), rows, form)
        else:
            _counts(counts)
            click.echo("Nothing was opened.")
        return 0
    row, counts = work.open_(desk, items, kind, what, at, reason)
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.incident-opened/1",
                "reference": row["reference"],
                "until": epoch_text(row["until"]),
                "counts": dict(counts),
            }
        )
    else:
        _counts(counts)
        click.echo(
            f"{row['reference']}: {counts['opened']} case(s) opened, {counts['joined']} that were"
            f" open joined it. To count down: certmgr incident show {row['reference']}"
        )
    return 3 if wrong else 0


def _counts(counts: Counter[str]) -> None:
    for sort, words in _WORDS.items():
        if counts[sort]:
            click.echo(f"{counts[sort]:6,}  {words}")


@incident.command("show")
@click.argument("reference")
@click.option("--all", "everything", is_flag=True, help="Also what is done.")
@format_option
@pass_app
def show_(app: CommandContext, reference: str, everything: bool, form: str) -> int:
    """Count down to seen live. Exit 1 while something is left."""

    with app.open().read() as conn:
        row = incidents.find(conn, reference)
        items = incidents.items(conn, row["id"])
    moment = app.now()
    hours = (row["until"] - moment.timestamp()) / 3600
    rows = [
        {
            "sort": i["sort"],
            "client": i["client"],
            "serial": i["serial"],
            "names": i["names"].split(),
            "case": i["reference"],
            "stands": stands(i),
            "served_at": i["served"],
        }
        for i in items
        if everything or not done(i)
    ]
    left = [i for i in items if not done(i) and i["sort"] != "unknown"]
    counts = {
        s: {
            "all": sum(i["sort"] == s for i in items),
            "done": sum(i["sort"] == s and done(i) for i in items),
        }
        for s in _WORDS
    }
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.incident/1",
                "reference": row["reference"],
                "kind": row["kind"],
                "what": row["what"],
                "reason": row["reason"],
                "until": epoch_text(row["until"]),
                "hours_left": round(hours, 1),
                "closed": epoch_text(row["closed_at"]),
                "left": len(left),
                "counts": counts,
                "items": rows,
            }
        )
    elif form == "csv":
        show(
            "items",
            ("sort", "client", "serial", "names", "case", "stands", "served_at"),
            rows,
            form,
        )
    else:
        click.echo(f"{row['reference']} {cell(row['what'])}: {cell(row['reason'])}")
        click.echo(
            f"Until {epoch_text(row['until'])},"
            f" {f'{hours:.1f} hours left' if hours >= 0 else f'{-hours:.1f} hours over'}; opened"
            f" {epoch_text(row['opened_at'])} by {cell(row['by'])}"
        )
        for sort, words in _WORDS.items():
            if counts[sort]["all"]:
                click.echo(f"  {counts[sort]['done']:6,} of {counts[sort]['all']:6,}  {words}")
        if rows:
            table(
                ["SORT", "CLIENT", "CASE", "STANDS", "SERVED AT", "NAMES"],
                [
                    [
                        r["sort"],
                        r["client"],
                        r["case"],
                        r["stands"],
                        r["served_at"],
                        " ".join(r["names"][:3]),
                    ]
                    for r in rows[:200]
                ],
            )
        click.echo("Closed: everything was seen." if row["closed_at"] else f"{len(left)} left.")
    return 1 if left else 0


@incident.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are closed.")
@format_option
@pass_app
def list_(app: CommandContext, everything: bool, form: str) -> None:
    """Show incidents, the next to end first."""

    with app.open().read() as conn:
        found = [
            (r, incidents.items(conn, r["id"])) for r in incidents.listing(conn, ended=everything)
        ]
    rows = [
        {
            "reference": r["reference"],
            "kind": r["kind"],
            "what": r["what"],
            "until": epoch_text(r["until"]),
            "reason": r["reason"],
            "certificates": len(items),
            "left": sum(not done(i) and i["sort"] != "unknown" for i in items),
            "closed": epoch_text(r["closed_at"]),
        }
        for r, items in found
    ]
    show(
        "incidents",
        ("reference", "kind", "what", "until", "certificates", "left", "closed", "reason"),
        rows,
        form,
        "There are no incidents.",
    )
