"""Which certificates an incident affects, and which party replaces each of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.cases import (
    incident,
    incident_selection,
)
from certmgr.demo.authority import Authority
from inventory.certificates import parse
from inventory.store import (
    cases,
    domains,
    servers,
)
from inventory.vocabulary import IncidentCategory, IncidentKind
from tests.certmgr.cases.place import (
    HOST,
    SECOND_HOST,
    CaseEnvironment,
    serve,
    with_lineage,
)
from tests.program import run as run_program

HOURS = timedelta(hours=1)


@pytest.fixture
def env(sqlite_env: CaseEnvironment) -> CaseEnvironment:
    return sqlite_env


def test_name_that_the_inventory_lacks_is_that_of_the_client_with_the_nearest_host(
    env: CaseEnvironment, issuer: Authority
) -> None:
    """Both have sites below one registered domain, on which the provider hosts them."""
    sites = {"1002": "deep.shop.first.platform.test", "1003": "moved.platform.test"}
    new = "new.shop.first.platform.test"
    bad = issuer.issue(sites["1002"], new, days=80)
    for number, host in sites.items():
        env.client(number, host)
        serve(env.database, host, bad, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    assert {i.client: i.hosts for i in items} == {
        "1002": (sites["1002"], new),
        "1003": (sites["1003"],),
    }


def test_name_to_which_two_clients_are_equally_near_is_staffs_alone(
    env: CaseEnvironment, issuer: Authority
) -> None:
    sites = {"1002": "first.platform.test", "1003": "second.platform.test"}
    new = ["third.platform.test", "deep.fourth.platform.test"]
    bad = issuer.issue(*sites.values(), *new, "*.platform.test", days=80)
    for number, host in sites.items():
        env.client(number, host)
        serve(env.database, host, bad, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    assert {i.client: i.hosts for i in items} == {
        "1002": (sites["1002"],),
        "1003": (sites["1003"],),
        None: tuple(new),
    }
    until = env.now + 5 * HOURS
    row, _ = incident.open_incident(env.service, items, IncidentKind.SERIALS, "1", until, "x")
    with env.database.read() as conn:
        opened = cases.listing(conn, incident_id=row.id)
    assert {(c.client, *c.names) for c in opened} == set(sites.items())


@pytest.mark.parametrize(
    "new",
    ["new.second.platform.test", "other.platform.test", "deep.new.second.platform.test"],
    ids=["nearer", "equally-near", "nearer-with-more-labels"],
)
def test_name_near_to_a_client_that_serves_another_certificate_is_staffs_alone(
    env: CaseEnvironment, issuer: Authority, new: str
) -> None:
    """The certificate of one client has names of another one, who has replaced the own."""
    sites = {"1002": "shop.first.platform.test", "1003": "shop.second.platform.test"}
    bad = issuer.issue(*sites.values(), new, "new.first.platform.test", days=80)
    for number, host in sites.items():
        env.client(number, host)
    serve(env.database, sites["1002"], bad, env.now)
    serve(env.database, sites["1003"], issuer.issue(sites["1003"], days=80), env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    assert {i.client: i.hosts for i in items} == {
        "1002": (sites["1002"], "new.first.platform.test"),
        None: (new,),
    }


def test_wildcard_of_a_client_is_replaced_though_another_has_a_site_below_it(
    env: CaseEnvironment, issuer: Authority
) -> None:
    sites = {"1002": "first.platform.test", "1003": "second.platform.test"}
    bad = issuer.issue(sites["1002"], "*.platform.test", days=80)
    for number, host in sites.items():
        env.client(number, host)
    serve(env.database, sites["1002"], bad, env.now)
    (item,) = incident_selection.select_affected(env.service, serials=[parse(bad.der).serial])
    assert (item.client, item.hosts) == ("1002", (sites["1002"], "*.platform.test"))


def test_incident_of_a_server_is_about_its_certificates_alone(
    env: CaseEnvironment, issuer: Authority
) -> None:
    with env.database.write(env.now) as tx:
        servers.add(tx, {"name": "web1"})
        domains.edit(tx, HOST, {"server": "web1"})
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, issuer.issue(host, days=80), env.now)
    assert [i.hosts for i in incident_selection.select_affected(env.service, server="web1")] == [
        (HOST,)
    ]


@pytest.mark.parametrize("buys", ["us", "client"])
def test_names_with_a_lineage_are_automatic_whoever_buys(
    env: CaseEnvironment, issuer: Authority, buys: str
) -> None:
    with env.database.write(env.now) as tx:
        domains.edit(tx, HOST, {"buys": buys, "renews": buys})
    with_lineage(env, HOST)
    both = issuer.issue(HOST, days=80), issuer.issue(SECOND_HOST, days=80)
    for host, leaf in zip((HOST, SECOND_HOST), both, strict=True):
        serve(env.database, host, leaf, env.now)
    serials = [parse(leaf.der).serial for leaf in both]
    items = incident_selection.select_affected(env.service, serials=serials)
    assert {i.hosts: i.category for i in items}[(HOST,)] is IncidentCategory.AUTOMATIC
    assert {i.hosts: i.category for i in items}[(SECOND_HOST,)] is not IncidentCategory.AUTOMATIC
    assert "the lineage shop renews it" in items[0].reason
    until = env.now + 24 * HOURS
    _, counts = incident.open_incident(
        env.service, items, IncidentKind.SERIALS, "2", until, "revoked"
    )
    assert counts["opened"] == 1, "no case opens for the name with a lineage"


def test_dry_run_states_the_reason_of_each_category_and_opens_no_case(
    env: CaseEnvironment, issuer: Authority, tmp_path: Path
) -> None:
    with_lineage(env, HOST)
    for host in (HOST, SECOND_HOST):
        serve(env.database, host, issuer.issue(host, days=80), env.now)
    options = ("--until", "2026-11-26T12:00", "--reason", "x", "--dry-run")
    database = str(tmp_path / "cases.db")
    ran = run_program(
        ("--database", database, "incident", "open", "--issuer", "Test Issuer", *options),
        lambda: env.now,
    )
    assert ran.code == 0, ran.err
    words = " ".join(ran.out.split())
    assert "the lineage shop renews it" in words
    assert "and the client buys" in words
    assert "No case was opened." in words
    with env.database.read() as conn:
        assert cases.listing(conn) == []
