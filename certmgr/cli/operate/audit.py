"""``certmgr audit``: list, export and verify the audit log."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import click

from certmgr.cli.output import audit_words, cell, epoch_text, show, table
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, format_option, pass_app
from certmgr.config.secret_values import secret
from certmgr.files import write_whole
from certmgr.operations import audit_export, audit_heads
from inventory.db import audit_chain
from inventory.errors import CertmgrError, UsageError
from inventory.store import audit_log, jobs

HEAD_HASH = re.compile(r"[0-9A-Fa-f]{64}")


@click.group()
def audit() -> None:
    """List, export and verify the audit log.

    It contains every change, chained, with ids instead of personal data.
    """


@audit.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    metavar="N",
    help="List at most N entries.",
)
@click.option(
    "--kind",
    metavar="KIND",
    help="Only entries about this kind of record: client, notice, run, ...",
)
@format_option
@pass_app
def audit_list(app: CommandContext, limit: int, kind: str | None, output_format: str) -> None:
    """List the last entries, newest first."""

    with app.open().read() as conn:
        rows = audit_log.last(conn, limit, kind)
    shown = [r.as_dict() | {"at": epoch_text(r.at)} for r in rows]
    # The stored detail is JSON with ids, which people cannot read.
    if output_format == "table" and shown:
        table(
            ["AT", "ACTOR", "ACTION", "KIND", "DETAIL"],
            [
                [
                    r["at"],
                    r["actor"],
                    r["action"],
                    r["kind"],
                    audit_words(r["action"], json.loads(r["detail"])),
                ]
                for r in shown
            ],
        )
        return
    show(
        "entries",
        ("id", "at", "actor", "action", "kind", "row_id", "detail"),
        shown,
        output_format,
        # Only programs follow the chain of hashes. In a table, 64 digits would displace the detail.
        keys=("id", "at", "actor", "action", "kind", "row_id", "detail", "hash"),
    )


@audit.command("export")
@click.option(
    "--sign",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Ed25519 private key (PEM) that signs the file.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write. Default: standard output.",
)
@pass_app
def audit_export_(app: CommandContext, key_file: Path | None, output: Path | None) -> None:
    """Export the whole log, one JSON object per line, with a signature.

    "certmgr audit verify FILE --key KEY" verifies the file without the database. So does a short
    program that needs no certmgr: see certmgr help audit-log.
    """

    key = None
    if key_file is not None:
        passphrase = app.settings.audit.passphrase
        key = audit_export.signing_key(key_file, secret(passphrase) if passphrase else "")
        if stat.S_IMODE(key_file.stat().st_mode) & 0o077:
            # A warning and no refusal: the export may be needed now, and the key is already
            # exposed. It goes to stderr, because stdout may be the export.
            click.echo(
                f"certmgr: other users can read {key_file}, and so sign in your name. Run:"
                f" chmod 600 {key_file}",
                err=True,
            )
    with app.open().read() as conn:
        # The lines are made while they are written, so the transaction stays open until the last
        # one.
        lines = audit_export.write_lines(audit_log.entries(conn), app.now(), key)
        if output is None:
            for line in lines:
                click.echo(line, nl=False)
            return
        write_whole(output, lines)
    click.echo(f"Written to {output}.", err=True)


@audit.command("verify")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Ed25519 public key (PEM) that verifies the signature of FILE.",
)
@click.option(
    "--chain-only",
    is_flag=True,
    help="Verify only that the entries of FILE follow each other, and not who wrote them.",
)
@click.option(
    "--expect",
    metavar="HASH",
    help="A hash from an earlier digest: it must still be in the log.",
)
@pass_app
def audit_verify(
    app: CommandContext,
    file: Path | None,
    key_file: Path | None,
    chain_only: bool,
    expect: str | None,
) -> int:
    """Verify the whole chain. Exits 3 if an entry was changed or removed.

    With FILE, verify a file of "certmgr audit export" instead; no database is needed. Exits 3 if
    its signature could not be verified: without a signature, or without --key. Without FILE, also
    compare the log with the head file and its timestamps ([audit] in the configuration).
    """

    # A script whose variable is empty must not believe that it compared something.
    if expect is not None and not HEAD_HASH.fullmatch(expect.strip()):
        raise UsageError(
            f"--expect '{cell(expect, 70)}' is not a hash of the audit log",
            "a hash has 64 hexadecimal digits",
            "Copy it from a digest, or from an earlier certmgr audit verify.",
        )
    if file is not None:
        if expect is not None:
            raise UsageError(
                "--expect is for the log of the database",
                "FILE is verified by its signature",
                "Give --key, or leave out FILE.",
            )
        if chain_only and key_file is not None:
            raise UsageError(
                "--chain-only and --key exclude each other",
                "a key verifies the signature, and --chain-only leaves it out",
                "Give one of them.",
            )
        return _verify_file(file, key_file, chain_only=chain_only)
    if chain_only:
        raise UsageError(
            "--chain-only needs FILE", "the log itself has no signature", "Leave it out."
        )
    # If --key were ignored here, a script would believe that a signature was verified.
    if key_file is not None:
        raise UsageError(
            "--key needs FILE", "the log itself has no signature", "Name an exported file."
        )
    _verify_log(app, expect)
    return 0


def _verify_file(file: Path, key_file: Path | None, *, chain_only: bool) -> int:
    """Verify an exported file, state what was and what was not verified, and return the code."""
    key = audit_export.public_key(key_file) if key_file is not None else None
    with ProgressLine().waiting("audit verify"):
        found = audit_export.verify(file, key)
    click.echo(f"{found.entries} entries follow each other. Head {found.head}")
    if found.verified:
        click.echo(f"The signature is valid. Exported at {found.exported_at}.")
        return 0
    # A person who can write the file can compute a new chain too. Only a signature excludes that,
    # so a script must not take a consistent chain for a verified one.
    if found.signed:
        click.echo(
            "Not verified: the signature, and so who wrote the file. Give --key KEY, or"
            " --chain-only if the chain is enough.",
            err=True,
        )
    else:
        click.echo(
            "Not verified: who wrote the file. It has no signature, so the whole chain may be"
            " forged. Export it with --sign KEY, or give --chain-only if the chain is enough.",
            err=True,
        )
    return 0 if chain_only else 3


def _verify_log(app: CommandContext, expect: str | None) -> None:
    with app.open().read() as conn:
        with ProgressLine().waiting("audit verify"):
            broken_entry, head, count = audit_chain.verify_chain(audit_log.entries(conn))
        # A chain that was cut at its end is still consistent. Only a hash that was recorded
        # elsewhere (a digest, --expect, the head file) shows that entries are missing.
        known_heads = [
            h
            for h in (expect and expect.strip(), jobs.state(conn, "digest").detail.get("head"))
            if h and h != audit_chain.START
        ]
        missing = next((h for h in known_heads if audit_log.has(conn, h.lower()) is None), None)
        # The broken entry is reported first, because it names the place. A missing hash may be its
        # consequence.
        if broken_entry is not None:
            raise CertmgrError(
                f"The audit log was changed: entry {broken_entry} does not follow the entry before"
                " it",
                "",
                "Restore a backup and compare the entries.",
            )
        if missing is not None:
            raise CertmgrError(
                f"The audit log was cut: the hash {cell(missing, 70)} is not in it",
                "entries were removed",
                "Restore a backup and compare the entries.",
            )
        # Stored heads and timestamps are evidence only if the chain itself is intact.
        heads, stamps = audit_heads.verify_stored(conn, app.settings.audit)
    head_file = app.settings.audit.head_file
    if heads:
        click.echo(f"{heads} stored heads are in the log; {stamps} timestamps are valid.")
    elif head_file:
        # A script that reads the exit code alone must not fail before the first run.
        click.echo(
            f"Not compared: {cell(head_file)} has no head yet. certmgr run writes one per day."
        )
    click.echo(f"{count} entries follow each other. Head {head}")
