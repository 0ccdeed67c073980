"""Writes docs/commands.md and docs/findings.md from the program itself: ``python
tools/document.py``. A test holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from certmgr.checks.codes import CODES
from certmgr.cli.main import cli
from notifiers.wording.english import FINDINGS

DOCS = Path(__file__).parents[1] / "docs"

COMMANDS_HEAD = """# Commands

Nouns then verbs for records, plain verbs for the work. `--format table|json|csv` wherever something
is shown; JSON carries `"schema": "certmgr.<name>/1"`, and keys are only ever added to it.

Exit codes: 0 fine; 1 (scan, status, compliance, diagnose) there are findings of severity high or
critical (`--exit-zero` to override); 2 the call was wrong; 3 it could not be done, or more than 20%
of a scan stayed undetermined. `run`, `notify` and `revocation`: 0 when the work was done, 3
otherwise; a notice that is tried again later is no failure. `case verify` and `incident show`: 1
while something is missing. `doctor` and `audit verify`: 3 where there is a fault. `check` is a
monitoring plug-in (0-3).

Global options stand before the command: `--config FILE`, `--database URL`, `--debug`, `--version`.

A TARGET is `host[:port][/protocol]`; protocols are https, tls (TLS from the first byte), smtp,
imap, pop3, ftp, ldap and postgres (STARTTLS). A DATE such as 2026-11-30 is the end of that day in
the provider's time zone.

This page is written by `tools/document.py` from `--help`.
"""

FINDINGS_HEAD = """# Finding codes

Codes are a contract: they appear in JSON, in notices, in reports and in tests. **critical: a
current browser shows an error instead of the page.** `undetermined` is a state of its own, neither
good nor bad: nobody can tell. A failed look never closes what was known.

Severity is the usual one. certificate-expiring is medium under min(30 days, life/4) and high under
min(7 days, life/10); chain-disordered and inconsistent-deployment are info where visitors notice
nothing; sct-missing is undetermined while proofs may have come in the TLS extension, which the TLS
library does not hand out; names and trust on SMTP port 25 are info, since senders do not check
them.

**Who acts is computed.** Each domain says who hosts it, runs its DNS, buys and renews its
certificate (us, client, panel, cdn), inherited from its server and its client. `host`, `dns` and
`holder` (who renews, else who buys) are resolved through that: us is the provider, a panel on our
server too; client, a panel elsewhere and a CDN are the client; nobody known means staff must look.
Behind `points-elsewhere` no fault is ours. Beside `default-certificate` what is wrong with that
certificate is the host's matter, not the buyer's. `https-missing` waits for whoever buys the
certificate while none was ever seen, and is the host's matter after that. The outcome is `you-act`
where the client acts; `we-act` only once a named person or a running automation has taken it with a
date.

Over plain HTTP one finding stands for a page, the worst: a password or card field, another field, a
page at all. Where nobody can tell what a visitor sees (403, 429, any 5xx, a challenge page, more
than 10 redirects, a redirect to a place that does not open or is not visited), `http-unknown` says
so, beyond the contract's list. `https-missing` is info for a parked or mail-only name and a CDN
origin, whose pages are not looked at. How a fault becomes taken: `certmgr finding take`.

`address-refused` says that a name of the inventory points to a private, loopback or metadata
address, which is not visited unless `[network] allow` names it: its DNS is somebody else's choice.

`revoked`, `revocation-unknown`, `caa-mismatch` and `dane-mismatch` are opened and closed by
`certmgr revocation` (docs/revocation.md), and no scan changes them, but `revoked` where a stapled
response said it. dane-mismatch is high for SMTP and info elsewhere.

This page is written by `tools/document.py`.

| code | severity | acts | what it says | what mends it |
|---|---|---|---|---|
"""


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")


def commands() -> str:
    parts = [COMMANDS_HEAD]
    for name, command in _commands(cli, "certmgr"):
        context = click.Context(command, info_name=name)
        usage = " ".join(
            p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)
        )
        help_text = " ".join((command.help or "").replace("\b", "").split())
        parts.append(f"\n### `{name}{' ' + usage if usage else ''}`\n\n{help_text}\n")
        records = [
            r
            for p in command.params
            if isinstance(p, click.Option) and (r := p.get_help_record(context)) is not None
        ]
        if records:
            parts.append("\n| option | meaning |\n|---|---|\n")
            parts += [
                f"| `{o.replace('|', chr(92) + '|')}` | {(h or '').replace('|', chr(92) + '|')} |\n"
                for o, h in records
                if o != "--help"
            ]
    return "".join(parts)


def findings() -> str:
    rows = [
        f"| {c} | {m.severity} | {m.role} | {FINDINGS[c].sentence} | {FINDINGS[c].instruction} |\n"
        for c, m in CODES.items()
    ]
    return FINDINGS_HEAD + "".join(rows)


PAGES = {"commands.md": commands, "findings.md": findings}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
