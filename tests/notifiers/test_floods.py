"""Too much at once: the first sight, a run that changed too much, a suspect run, a wrong clock."""

from __future__ import annotations

from pathlib import Path

from inventory.store import clients, contacts, domains, matters
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, fault, reasons, said, year


def test_a_first_scan_of_9000_faults_sends_nothing_and_is_released_by_cause(street: Street) -> None:
    street.staff()
    with street.database.write(street.now) as tx:
        for n in range(300):
            clients.add(tx, {"number": str(n), "name": f"Client {n}", "renews": "client", "buys": "client", "hosts": "us"})
            contacts.add(tx, str(n), {"name": f"Owner of {n}"}, (f"email:owner@client{n}.example",))
    _many(street, 300, 30)
    street.scan()
    outcome = street.notify()
    assert outcome.baseline
    assert (len(outcome.drafts), outcome.held) == (0, 9000)
    assert any("first sight of the inventory" in m.text for _, m in outcome.staff)
    for _ in range(3):
        assert said(street.day()) == [], "nothing goes out by itself"
    with street.database.write(street.now) as tx:
        causes = {m["cause"] for m in matters.listing(tx.conn, held=True)}
        assert causes == {"client 0 mixed-content"} | {f"client {n} mixed-content" for n in range(1, 300)}
        for n in range(50):
            matters.release(tx, f"client {n} mixed-content", 20, "Ada")
    outcome = street.notify()
    assert {d.person.name for d, _ in outcome.drafts} == {f"Owner of {n}" for n in range(50)}
    assert all(len(d.items) == 30 for d, _ in outcome.drafts), "one message with all sites"
    street.sent()
    # What is new is spoken of.
    site = street.sites["s0.client200.example"]
    site.faults["not-tls"] = fault("not-tls", "critical")
    assert said(street.day()) == [(site.fault_key("not-tls"), "+0", "owner")]


def _many(street: Street, count: int, each: int) -> None:
    from sqlalchemy import insert, select

    from inventory.tables import client, domain, endpoint
    from tests.notifiers.street import Site

    with street.database.write(street.now) as tx:
        ids = {number: row_id for row_id, number in tx.conn.execute(select(client.c.id, client.c.number))}
        rows = [
            {"name": f"s{k}.client{n}.example", "client_id": ids[str(n)], "purpose": "site", "created_at": tx.at}
            for n in range(count)
            for k in range(each)
        ]
        tx.conn.execute(insert(domain), rows)
        known = list(tx.conn.execute(select(domain.c.id, domain.c.name, domain.c.client_id)))
        tx.conn.execute(
            insert(endpoint),
            [{"domain_id": i, "host": h, "port": 443, "protocol": "https", "created_at": tx.at} for i, h, _ in known],
        )
        places = {d: (e, h) for e, d, h in tx.conn.execute(select(endpoint.c.id, endpoint.c.domain_id, endpoint.c.host))}
    for domain_id, host, client_id in known:
        site = street.sites[host] = Site(places[domain_id][0], host, client_id, domain_id)
        site.faults["mixed-content"] = fault(
            "mixed-content", "medium", url=f"https://{host}/", example="http://x/", urls=["http://x/"]
        )


def test_released_to_so_many_clients_a_day(street: Street) -> None:
    for n in range(10):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    with street.database.write(street.now) as tx:
        from inventory.store import servers

        servers.add(tx, {"name": "web1", "kind": "web"})
    for site in street.sites.values():
        site.faults["redirect-missing"] = fault("redirect-missing", "medium")
        with street.database.write(street.now) as tx:
            domains.edit(tx, site.host, {"server": "web1"})
    street.baseline()
    with street.database.write(street.now) as tx:
        matters.release(tx, "server web1 redirect-missing", 4, "Ada")
    counts = []
    for _ in range(5):
        counts.append(len(street.notify().drafts))
        counts.append(len(street.notify().drafts))
        street.sent()
        street.day(1)
        street.pass_(0)
    assert counts[:2] == [4, 0]
    with street.database.read() as conn:
        assert matters.listing(conn, held=True) == []


def test_every_cause_with_one_finding_can_be_released_together(street: Street) -> None:
    for n in range(6):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 392 * DAY, 398 * DAY)
    street.baseline()
    with street.database.write(street.now) as tx:
        assert len({m["cause"] for m in matters.listing(tx.conn, held=True)}) == 6
        matters.release(tx, "* certificate-expiring", 4, "Ada")
    assert [len(street.notify().drafts), len(street.notify().drafts)] == [4, 0]
    street.sent()
    assert len(street.day().drafts) == 2


def test_one_run_that_changes_too_much_is_held(street: Street) -> None:
    street.staff()
    for n in range(40):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    street.baseline()
    for n in range(6):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    outcome = street.day()
    assert said(outcome) == []
    assert outcome.held == 6
    assert any("changed 6 of 40 clients at once" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [], "and stays so until somebody looks"
    with street.database.write(street.now) as tx:
        for cause in {m["cause"] for m in matters.listing(tx.conn, held=True)}:
            matters.release(tx, cause, 100, "Ada")
    assert len(said(street.notify())) == 6


def test_a_suspect_run_is_silent_towards_clients_and_loud_towards_staff(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan("suspect", reason="the control target failed")
    outcome = street.notify()
    assert said(outcome) == []
    assert "hold: the last run (number 2) is suspect" in reasons(outcome, street, key)[0]
    assert any("Client messages are held" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [(key, "7", "owner")]


def test_a_clock_that_was_set_back_holds_everything(street: Street) -> None:
    street.staff()
    key = year(street, left=9)
    street.day()
    street.pass_(-1)
    outcome = street.notify()
    assert said(outcome) == []
    assert "there are rows of" in outcome.hold
    assert not any(r.startswith("send") for r in reasons(outcome, street, key))
    assert any("the clock says" in m.text for _, m in outcome.staff)


def test_more_clients_at_once_than_usual_needs_their_number(tmp_path: Path) -> None:
    street = Street(open_sqlite(tmp_path / "c.db", "t"), confirm_above=3)
    for n in range(5):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    street.expected = 4
    assert street.notify().unconfirmed == 5
    street.expected = 5
    assert len(street.notify().drafts) == 5
