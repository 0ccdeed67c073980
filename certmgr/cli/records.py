"""The records: client, contact, server, domain, endpoint; each add, list, show, edit, retire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from certmgr.cli.output import echo_json, epoch_text, pairs, show
from certmgr.cli.shared import (
    App,
    changed,
    client_filter,
    format_option,
    given,
    now,
    party_options,
    pass_app,
    retired_option,
    tag_filter,
)

tag_option = click.option("--tag", "tags", multiple=True, metavar="TAG", help="Add a tag; may be repeated.")
untag_option = click.option("--untag", "untags", multiple=True, metavar="TAG", help="Remove a tag; may be repeated.")
PARTIES = ("hosts", "dns", "buys", "renews")


def _tags(tx: Any, kind: str, row_id: int, tags: Sequence[str], untags: Sequence[str]) -> str:
    """Changes tags; what was done in words, to be shown once it is committed."""
    from inventory.store.records import change_tags

    if not (tags or untags):
        return ""
    change_tags(tx, kind, row_id, tags, untags)
    return " Tags changed."


# -- client ---------------------------------------------------------------------------------------------------------


@click.group()
def client() -> None:
    """Customers: who owns domains, and the border that no data crosses."""


@client.command("add")
@click.argument("number")
@click.argument("name")
@click.option("--account-manager", metavar="NAME", help="Who of us looks after them.")
@click.option("--reseller", metavar="NUMBER", help="The client in whose place they are our client's client.")
@click.option("--note", metavar="TEXT", help="Anything worth knowing.")
@party_options
@tag_option
@pass_app
def client_add(app: App, /, number: str, name: str, tags: tuple[str, ...], **values: Any) -> None:
    """Add the client NUMBER called NAME."""
    from inventory.store import clients

    with app.open().write(now()) as tx:
        clients.add(tx, given(number=number, name=name, **values), tags)
    click.echo(f"Client {number} added.")


@client.command("list")
@tag_filter
@retired_option
@format_option
@pass_app
def client_list(app: App, tag: str | None, retired: bool, form: str) -> None:
    """Show clients."""
    from inventory.store import clients

    with app.open().read() as conn:
        rows = clients.listing(conn, retired=retired, tag=tag)
    columns = ("number", "name", "account_manager", "reseller", "domains", "state", "tags")
    show("clients", columns, rows, form, "There are no clients. Add one: certmgr client add 1001 'Example Ltd'.")


@client.command("show")
@click.argument("number")
@format_option
@pass_app
def client_show(app: App, number: str, form: str) -> None:
    """Show one client with its contacts and domains."""
    from inventory.names import display
    from inventory.store import clients, contacts, domains, records

    with app.open().read() as conn:
        row = clients.find(conn, number)
        people = contacts.listing(conn, client_id=row["id"])
        names = domains.listing(conn, client_id=row["id"])
        tags = records.tags_of(conn, "client", [row["id"]]).get(row["id"], ())
    document = {k: row[k] for k in ("number", "name", "account_manager", "note", "state", *PARTIES)} | {
        "tags": list(tags), "contacts": [{k: p[k] for k in _CONTACT_COLUMNS} for p in people],
        "domains": [{k: d[k] for k in ("name", "purpose", "state", "server")} for d in names],
    }  # fmt: skip
    if form == "json":
        echo_json({"schema": "certmgr.client/1"} | document)
        return
    if form == "csv":
        show("clients", ("number", "name", "account_manager", "state"), [row], form)
        return
    pairs([(k.replace("_", " "), document[k]) for k in ("number", "name", "account_manager", "state", *PARTIES, "tags", "note")])
    for person in people:
        click.echo(f"contact  {person['name']} ({person['role']}): {', '.join(person['ways']) or 'no way to reach them'}")
    for found in names:
        click.echo(f"domain   {display(found['name'])} ({found['purpose']}, {found['state']})")


@client.command("edit")
@click.argument("number")
@click.option("--number", "new_number", metavar="NUMBER", help="A new customer number.")
@click.option("--name", metavar="NAME")
@click.option("--account-manager", metavar="NAME")
@click.option("--reseller", metavar="NUMBER", help="Empty: none.")
@click.option("--note", metavar="TEXT")
@party_options
@tag_option
@untag_option
@pass_app
def client_edit(
    app: App, /, number: str, new_number: str | None, tags: tuple[str, ...], untags: tuple[str, ...], **values: Any
) -> None:
    """Change what is known of a client."""
    from inventory.store import clients

    with app.open().write(now()) as tx:
        row_id = clients.find(tx.conn, number)["id"]
        said = changed(f"Client {number}", clients.edit(tx, number, given(number=new_number, **values)))
        said += _tags(tx, "client", row_id, tags, untags)
    click.echo(said)


@client.command("retire")
@click.argument("number")
@pass_app
def client_retire(app: App, number: str) -> None:
    """Retire a client with its domains: kept for the record, and silent."""
    from inventory.store import clients

    with app.open().write(now()) as tx:
        count = clients.retire(tx, number)
    click.echo(f"Client {number} retired, with {count} domain(s).")


# -- contact --------------------------------------------------------------------------------------------------------

_CONTACT_COLUMNS = ("id", "client", "name", "role", "ways", "language", "time_zone", "fallback", "state")
role_option = click.option("--role", type=click.Choice(["owner", "technical", "billing", "administrator", "level2"]))
way_option = click.option(
    "--way",
    "ways",
    multiple=True,
    metavar="WAY",
    help="email:a@b.c, phone:+49..., channel:NAME; in order of preference, may be repeated.",
)


@click.group()
def contact() -> None:
    """People and mailboxes of clients, and the provider's own staff."""


def _contact_options(command: Any) -> Any:
    for option in (
        click.option("--fallback", metavar="CONTACT", help="Who is asked when this one does not answer."),
        click.option("--time-zone", metavar="ZONE", help="Such as Europe/Berlin."),
        click.option("--language", metavar="CODE", help="Such as en or de."),
        way_option,
        role_option,
    ):
        command = option(command)
    return command


@contact.command("add")
@click.argument("name")
@click.option("--client", metavar="NUMBER", help="Whose contact it is; without it, one of the provider's staff.")
@_contact_options
@pass_app
def contact_add(app: App, /, name: str, client: str | None, ways: tuple[str, ...], **values: Any) -> None:
    """Add a contact."""
    from inventory.store import contacts

    with app.open().write(now()) as tx:
        row_id = contacts.add(tx, client, given(name=name, **values), ways)
    click.echo(f"Contact {row_id} {name} added.")


@contact.command("list")
@client_filter
@retired_option
@format_option
@pass_app
def contact_list(app: App, client: str | None, retired: bool, form: str) -> None:
    """Show contacts."""
    from inventory.store import clients, contacts

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows = contacts.listing(conn, client_id=client_id, retired=retired)
    show("contacts", _CONTACT_COLUMNS, rows, form)


@contact.command("show")
@click.argument("contact")
@format_option
@pass_app
def contact_show(app: App, contact: str, form: str) -> None:
    """Show one contact, by id, name or address."""
    from inventory.store import contacts

    with app.open().read() as conn:
        row_id = contacts.find(conn, contact)["id"]
        row = next(r for r in contacts.listing(conn, retired=True) if r["id"] == row_id)
    if form == "table":
        pairs([(k.replace("_", " "), row[k]) for k in _CONTACT_COLUMNS])
    else:
        show("contacts", _CONTACT_COLUMNS, [row], form)


@contact.command("edit")
@click.argument("contact")
@click.option("--name", metavar="NAME")
@_contact_options
@pass_app
def contact_edit(app: App, /, contact: str, ways: tuple[str, ...], **values: Any) -> None:
    """Change a contact. --way replaces all ways."""
    from inventory.store import contacts

    with app.open().write(now()) as tx:
        said = changed(f"Contact {contact}", contacts.edit(tx, contact, given(**values), ways))
    click.echo(said)


@contact.command("retire")
@click.argument("contact")
@pass_app
def contact_retire(app: App, contact: str) -> None:
    """Retire a contact."""
    from inventory.store import contacts

    with app.open().write(now()) as tx:
        contacts.retire(tx, contact)
    click.echo(f"Contact {contact} retired.")


# -- server ---------------------------------------------------------------------------------------------------------

_SERVER_COLUMNS = ("name", "kind", "keeper", "addresses", "backends", "domains", "state")


@click.group()
def server() -> None:
    """Our machines and balancers; their addresses tell whether a name points to us."""


def _server_options(command: Any) -> Any:
    for option in (
        click.option("--note", metavar="TEXT"),
        click.option("--backend", "backends", multiple=True, metavar="HOST[:PORT]", help="An inside address behind a balancer."),
        click.option("--address", "addresses", multiple=True, metavar="IP", help="May be repeated."),
        click.option("--keeper", metavar="NAME", help="Who looks after it."),
        click.option("--kind", type=click.Choice(["web", "mail", "balancer", "panel", "cdn", "other"])),
    ):
        command = option(command)
    return party_options(command)


def _lists(values: dict[str, Any], addresses: tuple[str, ...], backends: tuple[str, ...]) -> dict[str, Any]:
    return given(**values, addresses=list(addresses) or None, backends=list(backends) or None)


@server.command("add")
@click.argument("name")
@_server_options
@tag_option
@pass_app
def server_add(
    app: App, /, name: str, addresses: tuple[str, ...], backends: tuple[str, ...], tags: tuple[str, ...], **values: Any
) -> None:
    """Add a server."""
    from inventory.store import servers

    with app.open().write(now()) as tx:
        servers.add(tx, _lists({"name": name, **values}, addresses, backends), tags)
    click.echo(f"Server {name} added.")


@server.command("list")
@retired_option
@format_option
@pass_app
def server_list(app: App, retired: bool, form: str) -> None:
    """Show servers."""
    from inventory.store import servers

    with app.open().read() as conn:
        rows = servers.listing(conn, retired=retired)
    show("servers", _SERVER_COLUMNS, rows, form)


@server.command("show")
@click.argument("name")
@format_option
@pass_app
def server_show(app: App, name: str, form: str) -> None:
    """Show one server with its domains."""
    from inventory.names import display
    from inventory.store import domains, servers

    with app.open().read() as conn:
        servers.find(conn, name)
        row = next(r for r in servers.listing(conn, retired=True) if r["name"] == name)
        names = domains.listing(conn, server_name=name)
    if form != "table":
        show("servers", _SERVER_COLUMNS, [row], form)
        return
    pairs([(k, row[k]) for k in (*_SERVER_COLUMNS, *PARTIES, "note")])
    for found in names:
        click.echo(f"domain  {display(found['name'])} (client {found['client']})")


@server.command("edit")
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME")
@_server_options
@tag_option
@untag_option
@pass_app
def server_edit(
    app: App, /, name: str, new_name: str | None, addresses: tuple[str, ...], backends: tuple[str, ...], tags: tuple[str, ...],
    untags: tuple[str, ...], **values: Any,
) -> None:  # fmt: skip
    """Change a server. --address and --backend replace them all."""
    from inventory.store import servers

    with app.open().write(now()) as tx:
        row_id = servers.find(tx.conn, name)["id"]
        said = changed(f"Server {name}", servers.edit(tx, name, _lists({"name": new_name, **values}, addresses, backends)))
        said += _tags(tx, "server", row_id, tags, untags)
    click.echo(said)


@server.command("retire")
@click.argument("name")
@pass_app
def server_retire(app: App, name: str) -> None:
    """Retire a server that has no domains any more."""
    from inventory.store import servers

    with app.open().write(now()) as tx:
        servers.retire(tx, name)
    click.echo(f"Server {name} retired.")


# -- domain ---------------------------------------------------------------------------------------------------------

_DOMAIN_COLUMNS = ("name", "client", "server", "purpose", "policy", "state", "hosts", "dns", "buys", "renews", "tags")


@click.group()
def domain() -> None:
    """Names that clients own, and who does what for them."""


def _domain_options(command: Any) -> Any:
    for option in (
        click.option("--note", metavar="TEXT"),
        click.option("--policy", type=click.Choice(["required", "optional", ""]), help="Whether HTTPS is required."),
        click.option("--purpose", type=click.Choice(["site", "redirect", "parked", "mail", "staging", "cdn"])),
        click.option("--server", metavar="NAME", help="On which server it is. Empty: none of ours."),
        click.option("--client", metavar="NUMBER", help="Whose it is."),
    ):
        command = option(command)
    return party_options(command)


@domain.command("add")
@click.argument("name")
@_domain_options
@tag_option
@click.option("--with-proposed", is_flag=True, help="Also add the apex, www and mail names that resolve.")
@pass_app
def domain_add(app: App, /, name: str, tags: tuple[str, ...], with_proposed: bool, **values: Any) -> None:
    """Add a domain and its endpoint NAME:443/https; apex, www and mail names that resolve are proposed."""
    from certmgr.scan.propose import related, resolving
    from inventory.names import as_ip, display, normalise_host
    from inventory.store import domains

    host = normalise_host(name)
    resolvers = app.settings.scan.resolvers  # what is wrong with the configuration is said before anything is written
    database = app.open()
    with database.write(now()) as tx:
        domains.add(tx, host, given(**values), tags)
    click.echo(f"Domain {display(host)} added, with the endpoint {display(host)}:443.")
    if as_ip(host) is not None:
        return
    proposed = []
    for other in resolving(related(host), resolvers):
        with database.write(now()) as tx:
            if domains.active(tx.conn, other) is not None:
                continue
            if with_proposed:
                domains.add(tx, other, given(**values), tags)
                click.echo(f"Domain {display(other)} added too.")
            else:
                proposed.append(other)
    for other in proposed:
        click.echo(f"It resolves too: certmgr domain add {display(other)} --client {values['client']}")


@domain.command("list")
@client_filter
@tag_filter
@click.option("--server", metavar="NAME", help="Only those on this server.")
@retired_option
@format_option
@pass_app
def domain_list(app: App, client: str | None, tag: str | None, server: str | None, retired: bool, form: str) -> None:
    """Show domains. Who hosts, runs DNS, buys and renews is shown with what is inherited."""
    from inventory.names import display
    from inventory.store import clients, domains

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        found = domains.listing(conn, client_id=client_id, tag=tag, server_name=server, retired=retired)
    rows = [
        {**r, **{p: getattr(r["parties"], p) for p in PARTIES}, "name": display(r["name"]) if form == "table" else r["name"]}
        for r in found
    ]
    show(
        "domains",
        _DOMAIN_COLUMNS,
        rows,
        form,
        "There are no domains. Add one: certmgr domain add shop.example.com --client NUMBER.",
    )


@domain.command("show")
@click.argument("name")
@format_option
@pass_app
def domain_show(app: App, name: str, form: str) -> None:
    """Show everything known about a name: owner, contacts, endpoints, certificates, findings, history."""
    from certmgr.cli.domain_page import document, render

    page = document(app.open(), name, now())
    if form == "json":
        echo_json(page)
    elif form == "csv":
        columns = ("target", "verdict", "address", "serial", "issuer", "not_after", "last_seen")
        show("endpoints", columns, [{**e, **a} for e in page["endpoints"] for a in e["observations"] or [{}]], form)
    else:
        render(page)


@domain.command("edit")
@click.argument("name")
@_domain_options
@click.option("--state", type=click.Choice(["active", "leaving"]))
@tag_option
@untag_option
@pass_app
def domain_edit(app: App, /, name: str, tags: tuple[str, ...], untags: tuple[str, ...], **values: Any) -> None:
    """Change a domain. --client moves it to another client."""
    from inventory.store import domains

    with app.open().write(now()) as tx:
        row_id = domains.find(tx.conn, name)["id"]
        said = changed(f"Domain {name}", domains.edit(tx, name, given(**values)))
        said += _tags(tx, "domain", row_id, tags, untags)
    click.echo(said)


@domain.command("retire")
@click.argument("name")
@pass_app
def domain_retire(app: App, name: str) -> None:
    """Retire a domain with its endpoints."""
    from inventory.store import domains

    with app.open().write(now()) as tx:
        domains.retire(tx, name)
    click.echo(f"Domain {name} retired.")


# -- endpoint -------------------------------------------------------------------------------------------------------

_ENDPOINT_COLUMNS = ("target", "client", "domain", "addresses", "state", "created_at", "tags")
fixed_option = click.option(
    "--address", "addresses", multiple=True, metavar="IP", help="Visit this address in place of what DNS says; may be repeated."
)


@click.group()
def endpoint() -> None:
    """What a scan visits: host, port and protocol."""


@endpoint.command("add")
@click.argument("target")
@click.option(
    "--domain", "domain_name", metavar="NAME", help="The domain it belongs to; else the one that the host stands under."
)
@fixed_option
@tag_option
@pass_app
def endpoint_add(app: App, /, target: str, domain_name: str | None, addresses: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """Add an endpoint: host[:port][/protocol]."""
    from inventory.store import endpoints
    from inventory.targets import parse

    parsed = parse(target)
    with app.open().write(now()) as tx:
        endpoints.add(tx, parsed, domain_name, addresses, tags)
    click.echo(f"Endpoint {parsed} ({parsed.protocol}) added.")


def _endpoint_row(row: dict[str, Any]) -> dict[str, Any]:
    from inventory.targets import Target

    return row | {
        "target": Target(row["host"], row["port"], row["protocol"]).key, "created_at": epoch_text(row["created_at"]),
        "addresses": (row["addresses"] or "").split(),
    }  # fmt: skip


@endpoint.command("list")
@client_filter
@tag_filter
@retired_option
@format_option
@pass_app
def endpoint_list(app: App, client: str | None, tag: str | None, retired: bool, form: str) -> None:
    """Show endpoints."""
    from inventory.store import clients, endpoints

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows = endpoints.listing(conn, client_id=client_id, tag_name=tag, retired=retired)
    show("endpoints", _ENDPOINT_COLUMNS, [_endpoint_row(dict(r)) for r in rows], form)


@endpoint.command("show")
@click.argument("target")
@format_option
@pass_app
def endpoint_show(app: App, target: str, form: str) -> None:
    """Show one endpoint."""
    from inventory.store import endpoints
    from inventory.targets import parse

    with app.open().read() as conn:
        row_id = endpoints.find(conn, parse(target))["id"]
        row = next(r for r in endpoints.listing(conn) if r["id"] == row_id)
    if form == "table":
        pairs(_endpoint_row(dict(row)).items())
    else:
        show("endpoints", _ENDPOINT_COLUMNS, [_endpoint_row(dict(row))], form)


@endpoint.command("edit")
@click.argument("target")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("--protocol", type=click.Choice(["https", "smtp", "imap", "pop3", "ftp", "ldap", "postgres", "tls"]))
@fixed_option
@click.option("--by-dns", is_flag=True, help="Visit what DNS says again.")
@tag_option
@untag_option
@pass_app
def endpoint_edit(
    app: App, /, target: str, port: int | None, protocol: str | None, addresses: tuple[str, ...], by_dns: bool, tags: tuple[str, ...],
    untags: tuple[str, ...],
) -> None:  # fmt: skip
    """Change an endpoint."""
    from inventory.store import endpoints
    from inventory.targets import parse

    parsed = parse(target)
    fixed = list(addresses) if addresses else ([] if by_dns else None)
    with app.open().write(now()) as tx:
        row_id = endpoints.find(tx.conn, parsed)["id"]
        said = changed(f"Endpoint {parsed}", endpoints.edit(tx, parsed, given(port=port, protocol=protocol, addresses=fixed)))
        said += _tags(tx, "endpoint", row_id, tags, untags)
    click.echo(said)


@endpoint.command("retire")
@click.argument("target")
@pass_app
def endpoint_retire(app: App, target: str) -> None:
    """Retire an endpoint."""
    from inventory.store import endpoints
    from inventory.targets import parse

    with app.open().write(now()) as tx:
        endpoints.retire(tx, parse(target))
    click.echo(f"Endpoint {target} retired.")
