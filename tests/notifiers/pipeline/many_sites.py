"""Steps on an inventory of several clients with one site each."""

from __future__ import annotations

from sqlalchemy import insert, select

from inventory.models import Client, Domain, Endpoint
from inventory.records import ListedNotice, ListedTicket
from inventory.store import clients, contacts, notices, releases, tickets
from tests.notifiers.sites import Site, SiteSimulation, fault


def add_clients(simulation: SiteSimulation, count: int) -> list[Site]:
    """Add clients with one site each."""
    for n in range(count):
        simulation.client(str(n))
    return [simulation.site(f"a{n}.example", str(n)) for n in range(count)]


def break_sites(simulation: SiteSimulation, *numbers: int) -> None:
    for n in numbers:
        simulation.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")


def fix_all(simulation: SiteSimulation) -> None:
    for site in simulation.sites.values():
        site.faults.clear()


def release(simulation: SiteSimulation, cause: str, clients_per_day: int) -> None:
    with simulation.database.write(simulation.now) as tx:
        releases.add(tx, cause, clients_per_day, "Ada")


def held(simulation: SiteSimulation) -> list[ListedTicket]:
    with simulation.database.read() as conn:
        return list(tickets.listing(conn, held=True))


def client_rows(simulation: SiteSimulation) -> list[ListedNotice]:
    with simulation.database.read() as conn:
        return [r for r in notices.listing(conn) if r.client_id]


def add_faulty_sites(simulation: SiteSimulation, count: int, each: int) -> None:
    with simulation.database.write(simulation.now) as tx:
        for n in range(count):
            values = {
                "number": str(n),
                "name": f"Client {n}",
                "renews": "client",
                "buys": "client",
                "hosts": "us",
            }
            clients.add(tx, values)
            address = f"email:owner@client{n}.example"
            contacts.add(tx, str(n), {"name": f"Owner of {n}"}, (address,))
        ids = {n: i for i, n in tx.conn.execute(select(Client.id, Client.number))}
        common = {"purpose": "site", "created_at": tx.at}
        numbers = [(n, k) for n in range(count) for k in range(each)]
        rows = [
            {"name": f"s{k}.client{n}.example", "client_id": ids[str(n)], **common}
            for n, k in numbers
        ]
        tx.conn.execute(insert(Domain), rows)
        known = list(tx.conn.execute(select(Domain.id, Domain.name, Domain.client_id)))
        common = {"port": 443, "protocol": "https", "created_at": tx.at}
        rows = [{"domain_id": i, "host": host} | common for i, host, _ in known]
        tx.conn.execute(insert(Endpoint), rows)
        query = select(Endpoint.domain_id, Endpoint.id)
        endpoints = {row[0]: row[1] for row in tx.conn.execute(query)}
    for domain_id, host, client_id in known:
        site = simulation.sites[host] = Site(endpoints[domain_id], host, client_id, domain_id)
        site.faults["mixed-content"] = fault(
            "mixed-content",
            "medium",
            url=f"https://{host}/",
            example="http://x/",
            urls=["http://x/"],
        )
