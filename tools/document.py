"""Write docs/commands.md, docs/findings.md and the tables of other pages from the code:
``python tools/document.py``.

A test checks that they are up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from certmgr.cli.guidance.help import topics
from certmgr.cli.main import cli
from certmgr.compliance.milestones import milestones
from inventory.finding_codes import CODES
from tools.doc_tables import TABLES, with_tables

DOCS = Path(__file__).parents[1] / "docs"

COMMANDS_HEAD = """# Commands

Commands that manage records are a noun and a verb; commands that do work are a verb. Commands that
show data have the option `--format table|json|csv`. JSON contains `"schema": "certmgr.<name>/1"`.
New versions may add keys to it and never remove any.

Exit codes:

- 0: no problem.
- 1: `scan`, `status`, `compliance` and `diagnose` have findings of severity high or critical
  (`--exit-zero` overrides this). For `case verify` and `incident show`, something is still missing.
- 2: usage error.
- 3: the command failed, or more than 20% of a scan are undetermined. `doctor` and `audit verify`
  found a fault.

`run`, `notify` and `revocation` return 0 if all work was done, and 3 otherwise. A notice that is
retried later is not a failure. `check` is a monitoring plug-in with its own exit codes (0-3).

Global options are given before the command: `--config FILE`, `--database URL`, `-v` (log more to
standard error; `-vv`: debug), `--log-format text|json`, `--debug`,
`--version`.

A TARGET is `host[:port][/protocol]`. [targets.md](targets.md) lists the protocols and their ports.
A DATE such as 2026-11-30 is the end of that day in the provider's time zone.

`tools/document.py` generates this page from `--help`.
"""

FINDINGS_HEAD = """# Finding codes

Codes are stable: JSON, notices, reports and tests use them. **critical: a current browser shows an
error instead of the page.** `undetermined` is a separate state, neither good nor bad. A failed
check never closes a finding.

## Severity
The table shows the usual severity. Exceptions:

- certificate-expiring is medium below min(30 days, lifetime/4), and high below min(7 days,
  lifetime/10).
- certificate-expiring is no fault while a renewal is planned and in time: ours by its lineage, case
  or purchase, and that of a panel, a CDN or the client's automation until 15 days before the end
  (or a sixth of the lifetime, if that is less).
- certificate-malformed is high if browsers ignore what is malformed, and other clients may not.
- chain-incomplete is critical if browsers cannot download the missing certificate: the certificate
  names no address for it (AIA), or the download failed (`[trust] fetch_issuers`).
- connection-failed is critical for HTTPS.
- key-weak is critical below 1,024 bits (RSA), below 2,048 bits under a public root, and for a key
  of a kind that browsers do not support.
- validity-too-long is critical above the lifetime that browsers enforce.
- chain-disordered and inconsistent-deployment are info if visitors notice nothing.
- handshake-incompatible is undetermined if the server resets a browser's handshake without a known
  cause. For protocols other than https it is low, or high if the size of the ClientHello is the
  cause, because other clients accept more than browsers.
- sct-missing is undetermined if SCTs may have been sent in the TLS extension, which the TLS library
  does not expose.
- Findings about names and trust on SMTP port 25 are info, because mail senders do not check them.
- dane-mismatch is high for SMTP and info otherwise.
- staple-invalid of a certificate that requires a staple, and whose CA has no responder, is fixed
  by another certificate. It is then assigned to the buyer, and not to the host.
- `https-missing` is info for a parked or mail-only name and for a CDN origin, whose pages are not
  checked.

## Who has to act
Each domain records who hosts it, runs its DNS, and buys and renews its certificate (us, client,
panel, cdn). A domain inherits these values from its server and its client. The roles `host`, `dns`
and `holder` (who renews, otherwise who buys) are resolved with them:

- us, and a panel on our server, is the provider.
- client, a panel elsewhere, and a CDN is the client.
- If the role is unknown, staff have to check it.

With `points-elsewhere`, no fault is assigned to the provider. With `default-certificate`, the host
has to fix other problems of that certificate, and not the buyer. `https-missing` is assigned to the
buyer of the certificate until a certificate has been observed, and to the host after that.

`foreign-address` is an address outside [network] provider and the servers of the inventory, at a
name of which other addresses are the provider's. Whatever it serves, the record is the fault: it is
one finding, assigned to the party that runs the DNS, and what it serves is not judged otherwise. It
is critical if browsers show an error there, and medium if each such address serves a valid
certificate of the name: it may be a CDN or a new server, so that its record is deleted only if it
was not set up on purpose. If only some addresses are wrong, the finding names which records are to
be deleted and which may be meant. If an address serves the certificate of the provider's own
server, staff check whether a network is missing in the configuration, and what is wrong there stays
a finding. Names that a client or a CDN hosts are left out.

The outcome is `you-act` if the client has to act. It is `we-act` only if a named person or a
running automation has been assigned, with a date. To assign a fault: `certmgr finding assign`.

## Plain HTTP
A page has only one finding over plain HTTP, the most severe: a password or card field, another
field, or the page itself. `http-unknown` means that it is undetermined what a visitor sees: 403,
429, any 5xx, a challenge page, more than 10 redirects, or a redirect to an address that does not
respond or is not visited.

A Refresh (header or meta element) to another page within 10 seconds is followed if the page has no
fields. Over plain HTTP such a page is `http-served`: it is no redirect of the server.

## Answers and redirects that browsers refuse
Answers are read as Chromium reads them, however odd they are. `answer-invalid` is an answer for
which it shows an error, such as two different Location headers. `redirect-broken` is a redirect to
something that does not open: a name without an address, a port without TLS, or a URL that browsers
refuse. Both are certain, and not a matter of our network.

Chrome also shows an error for an error status without a body, and that is critical for a web host.
An API often answers so at its home page, and works. If the name of the host is one of an API
(api.example.com, shop-api.example.com, rest, graphql, grpc, rpc, soap, webhook, ws), an empty
answer with a status of 400 to 499 is `page-missing`, medium and for staff. If its domain has the
purpose `api`, that is a remark (info), as is a request that is refused with such a status, and
plain HTTP needs no redirect. All else is judged as for a site: TLS, the certificate, server
errors, and what plain HTTP serves.
## Private CAs
Under a root that the administrator added ([trust] ca_files or --ca-file), OpenSSL decides whether a
path is valid. What browsers check of every certificate stays: names, dates, keys, signatures and
purposes. `profile-deviation` lists what public CAs may not do and browsers accept under a private
CA. `verification-disputed` occurs under public roots only. `root-expired` means that the private
root itself has expired. If an issuer was neither sent nor is known, `chain-incomplete` names both
possibilities: its CA is not trusted here, or the chain is incomplete.

## Internal errors
Each check stands alone. If one ends with an internal error, `scanner-error` names it (`parts` in
the evidence), all other findings stay, and no stored finding of that layer is closed. The log
contains the error itself with -vv.

## Addresses and revocation
`address-refused` means that a name of the inventory resolves to a private, loopback or metadata
address. A scan does not connect to it unless `[network] allow` includes it, because a third party
may control the DNS of the name.

`certmgr revocation` opens and closes `revoked`, `revocation-unknown`, `caa-mismatch` and
`dane-mismatch` (docs/revocation.md). A scan changes only `revoked`, if a stapled response reports
it.

`tools/document.py` generates this page.

| code | severity | role | meaning | fix |
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


def _prose(text: str | None) -> str:
    """Return a help text as Markdown: sentences on one line, and what is not folded as code."""
    # Since Python 3.13, docstrings come without their indentation.
    prose, *blocks = cleandoc(text or "").split("\b\n")
    parts = [" ".join(prose.split())]
    for block in blocks:
        shown, _, rest = block.partition("\n\n")
        lines = "\n".join(line.strip() for line in shown.splitlines())
        parts += [f"```\n{lines}\n```", " ".join(rest.split())]
    return "\n\n".join(filter(None, parts))


def commands() -> str:
    """Return docs/commands.md."""
    parts = [COMMANDS_HEAD]
    for name, command in _commands(cli, "certmgr"):
        context = click.Context(command, info_name=name)
        usage = " ".join(
            p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)
        )
        parts.append(f"\n### `{name}{' ' + usage if usage else ''}`\n\n{_prose(command.help)}\n")
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
    """Return docs/findings.md."""
    rows = [
        f"| {c} | {m.severity} | {m.role} | {m.text.sentence} | {m.text.instruction} |\n"
        for c, m in CODES.items()
    ]
    return FINDINGS_HEAD + "".join(rows)


# Metavar or name of a parameter -> what a shell completes for it (inventory/store/completions.py).
KINDS = {
    "--client": "client",
    "--reseller": "client",
    "--server": "server",
    "--tag": "tag",
    "--untag": "tag",
    "--domain": "domain",
    "LINEAGE": "lineage",
    "reference": "case",
}
# Group -> the kind of its first argument.
KINDS_OF_GROUP = {
    "client": "client",
    "domain": "domain",
    "endpoint": "domain",
    "server": "server",
    "lineage": "lineage",
    "case": "case",
}
# Commands of those groups whose argument is a new name.
NEW = ("add", "list")


def _parameter(path: str, parameter: click.Parameter) -> dict[str, Any]:
    if isinstance(parameter.type, click.Choice):
        return {"kind": "choice", "values": [str(c) for c in parameter.type.choices if c]}
    if isinstance(parameter, click.Option):
        if parameter.is_flag or parameter.count:
            return {"kind": "flag"}
        if "--code" in parameter.opts:
            return {"kind": "code", "values": list(CODES)}
        return {"kind": next((KINDS[o] for o in parameter.opts if o in KINDS), "text")}
    group, _, verb = path.partition(" ")
    if parameter.name == "code" or path == "explain":
        rules = [m.name for m in milestones()] if path == "explain" else []
        return {"kind": "code", "values": [*CODES, *rules]}
    if path == "help":
        return {"kind": "topic", "values": [*topics(), *cli.list_commands(click.Context(cli))]}
    if path in ("scan", "diagnose", "issue"):
        return {"kind": "domain"}
    if path in ("case open", "purchase add"):
        return {"kind": "client" if parameter.name == "client" else "domain"}
    metavar = (parameter.metavar or "").strip("[].")
    if metavar in KINDS:
        return {"kind": KINDS[metavar]}
    known = verb not in NEW and parameter.name in ("name", "number", "reference", "target")
    return {"kind": KINDS_OF_GROUP.get(group, "text") if known else "text"}


def _node(path: str, command: click.Command) -> dict[str, Any]:
    context = click.Context(command, info_name=path)
    children = {}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            lazy = cli.commands_by_name[name].summary if command is cli else ""
            children[name] = lazy or (child.help or "").split("\n", 1)[0]
    return {
        "commands": children,
        "options": {
            o: _parameter(path, p) | {"help": (p.help or "").split(". ")[0]}
            for p in command.get_params(context)
            if isinstance(p, click.Option) and not p.hidden
            for o in p.opts
            if o.startswith("--")
        },
        "arguments": [_parameter(path, p) for p in command.params if isinstance(p, click.Argument)],
    }


def command_tree() -> str:
    """Return certmgr/cli/guidance/command_tree.json, a line per command."""
    nodes = {"": cli, **{n.removeprefix("certmgr "): c for n, c in _commands(cli, "certmgr")}}
    lines = [f"{json.dumps(n)}: {json.dumps(_node(n, c))}" for n, c in nodes.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


TREE = Path(__file__).parents[1] / "certmgr" / "cli" / "guidance" / "command_tree.json"
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "findings.md": findings,
    **{page: partial(with_tables, page) for page in TABLES},
}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
    TREE.write_text(command_tree())
