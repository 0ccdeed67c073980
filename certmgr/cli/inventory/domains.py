"""``certmgr domain``: add, list, show, edit and retire domains."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

import click

from certmgr.cli.history import entry_document, show_history
from certmgr.cli.inventory.domain_page import load_page
from certmgr.cli.inventory.domain_text import render
from certmgr.cli.known_words import require_known
from certmgr.cli.output import echo_json, show
from certmgr.cli.shared import (
    PARTIES,
    CommandContext,
    change_tags,
    changed,
    client_filter,
    format_option,
    given,
    party_options,
    pass_app,
    retired_option,
    tag_filter,
    tag_option,
    untag_option,
)
from certmgr.diagnose import history
from certmgr.inspection.suggested_names import related, resolving
from inventory.errors import Conflict
from inventory.names import as_ip, display
from inventory.store import clients, domains, search
from inventory.targets import parse
from inventory.vocabulary import HttpsPolicy, Purpose
from notifiers.wording.catalogue import language

_DOMAIN_COLUMNS = (
    "name",
    "client",
    "server",
    "purpose",
    "policy",
    "state",
    "hosts",
    "dns",
    "buys",
    "renews",
    "tags",
)


@click.group()
def domain() -> None:
    """Manage the domains of clients, and who hosts, buys and renews for them."""


def _domain_options(command: Any) -> Any:
    """Add the options that ``add`` and ``edit`` share."""
    # In reverse order: click lists the option that was added last first.
    for option in (
        click.option("--note", metavar="TEXT", help="Free text."),
        click.option(
            "--policy",
            type=click.Choice([*(p.value for p in HttpsPolicy), ""]),
            help="Whether HTTPS is required.",
        ),
        click.option(
            "--purpose",
            type=click.Choice([p.value for p in Purpose]),
            help="What the domain is used for.",
        ),
        click.option(
            "--server", metavar="NAME", help="Server that hosts the domain. Empty: none of ours."
        ),
        click.option(
            "--path",
            "paths",
            multiple=True,
            metavar="PATH",
            help="Page to check in addition to the home page, such as /login; may be repeated."
            " Empty: none.",
        ),
        click.option("--client", metavar="NUMBER", help="Client who owns the domain."),
    ):
        command = option(command)
    return party_options(command)


@domain.command("add")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_domain_options
@tag_option
@click.option(
    "--with-proposed", is_flag=True, help="Also add the apex, www and mail names that resolve."
)
@pass_app
def domain_add(
    app: CommandContext,
    /,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    with_proposed: bool,
    **values: Any,
) -> int:
    """Add domains, each with its endpoint NAME:443/https.

    A NAME may be a URL: its host is added. If the apex, www and mail names of a domain resolve,
    they are proposed too. A name that cannot be added does not stop the others.

    \b
    certmgr domain add shop.example.com blog.example.com --client 1001
    """

    values["paths"] = values["paths"] or None  # not given: leave unchanged
    # A wrong configuration or a wrong name is reported before anything is written.
    resolvers = app.settings.scan.resolvers
    # Two URLs of one site are one domain.
    hosts = list(dict.fromkeys(parse(name).host for name in names))
    database = app.open()
    code, added = 0, []
    for host in hosts:
        try:
            # One transaction per name, so that a name that fails undoes only itself.
            with database.write(app.now()) as tx:
                domains.add(tx, host, given(**values), tags)
        except Conflict as error:
            if len(hosts) == 1:
                # A single name fails like any other command, with one error and its exit code.
                raise
            click.echo(f"certmgr: {error}", err=True)
            code = error.exit_code
            continue
        added.append(host)
        click.echo(f"Domain {display(host)} added, with the endpoint {display(host)}:443.")
    # An IP address has no related names.
    others = [n for host in added if as_ip(host) is None for n in related(host) if n not in hosts]
    proposed = []
    for other in resolving(list(dict.fromkeys(others)), resolvers):
        with database.write(app.now()) as tx:
            # A name that has an owner already is not proposed.
            if domains.active(tx.conn, other) is not None:
                continue
            if with_proposed:
                domains.add(tx, other, given(**values), tags)
                click.echo(f"Domain {display(other)} added too.")
            else:
                # Such a name may be hosted elsewhere, so that adding it is a decision.
                proposed.append(display(other))
    if proposed:
        what = "This name resolves" if len(proposed) == 1 else "These names resolve"
        click.echo(
            # The number is quoted for the shell, because the command is pasted there.
            f"{what} too: certmgr domain add {' '.join(proposed)} --client"
            f" {shlex.quote(values['client'])}"
        )
    return code


@domain.command("list")
@client_filter
@tag_filter
@click.option("--server", metavar="NAME", help="Only domains on this server.")
@retired_option
@format_option
@pass_app
def domain_list(
    app: CommandContext,
    client: str | None,
    tag: str | None,
    server: str | None,
    retired: bool,
    output_format: str,
) -> None:
    """List domains. Who hosts, runs DNS, buys and renews includes inherited values."""

    with app.open().read() as conn:
        # A misspelt tag or server would list nothing, which is read as "no such domains".
        require_known(conn, tag=tag, server=server)
        client_id = clients.find(conn, client).id if client else None
        domain_rows = domains.listing(
            conn, client_id=client_id, tag=tag, server_name=server, retired=retired
        )
    rows = [
        r.as_dict()
        | {p: getattr(r.parties, p) for p in PARTIES}
        # Programs compare names in the ASCII form of the DNS.
        | {"name": display(r.name) if output_format == "table" else r.name}
        for r in domain_rows
    ]
    show(
        "domains",
        _DOMAIN_COLUMNS,
        rows,
        output_format,
        "There are no domains. Add one: certmgr domain add shop.example.com --client NUMBER.",
    )


@domain.command("show")
@click.argument("name")
@click.option(
    "--history",
    "with_history",
    is_flag=True,
    help="Show what happened as one time line, in the time zone of the provider.",
)
@format_option
@pass_app
def domain_show(app: CommandContext, name: str, with_history: bool, output_format: str) -> None:
    """Show a domain: owner, contacts, endpoints, certificates, findings and history.

    NAME may be a URL, or a part of a name if only one domain has it.
    """

    database = app.open()
    with database.read() as conn:
        name = search.domain_name(conn, name)
    if with_history:
        _show_history(app, name, output_format)
        return
    page = load_page(database, name, app.now(), app.settings)
    if output_format == "json":
        echo_json(page.as_document())
    elif output_format == "csv":
        # One row per endpoint and address; an endpoint without observations still has a row.
        columns = ("target", "verdict", "address", "serial", "issuer", "not_after", "last_seen")
        show(
            "endpoints",
            columns,
            [
                asdict(e) | seen
                for e in page.endpoints
                for seen in [asdict(a) for a in e.observations] or [{}]
            ],
            output_format,
        )
    else:
        render(page, app.now())


@domain.command("edit")
@click.argument("name")
@_domain_options
@click.option("--state", type=click.Choice(["active", "leaving"]), help="State of the domain.")
@tag_option
@untag_option
@pass_app
def domain_edit(
    app: CommandContext, /, name: str, tags: tuple[str, ...], untags: tuple[str, ...], **values: Any
) -> None:
    """Change a domain. --client moves it to another client."""

    values["paths"] = values["paths"] or None  # not given: leave unchanged

    # The message is printed after the commit: a wrong tag undoes the whole change.
    with app.open().write(app.now()) as tx:
        row_id = domains.find(tx.conn, name).id
        message = changed(f"Domain {name}", domains.edit(tx, name, given(**values)))
        message += change_tags(tx, "domain", row_id, tags, untags)
    click.echo(message)


@domain.command("retire")
@click.argument("name")
@pass_app
def domain_retire(app: CommandContext, name: str) -> None:
    """Retire a domain with its endpoints."""

    with app.open().write(app.now()) as tx:
        domains.retire(tx, name)
    click.echo(f"Domain {name} retired.")


def _show_history(app: CommandContext, name: str, output_format: str) -> None:
    """Show the time line of a domain."""
    english = language("en", app.settings.provider.time_zone)
    with app.open().read() as conn:
        row = domains.find(conn, name)
        entries = history.load(conn, row.client_id, row.id, row.name, english)
    if output_format == "table":
        show_history(entries)
        return
    rows = [entry_document(e) for e in entries]
    show("history", ("at", "local", "kind", "text"), rows, output_format)
