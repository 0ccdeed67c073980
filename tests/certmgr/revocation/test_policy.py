"""CAA and DANE for an inventory of two clients: findings opened and closed by what the DNS says, and not by what it fails to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.demo.authority import Authority, Issued
from inventory.store import endpoints
from inventory.tables import endpoint
from inventory.targets import Target
from tests.certmgr.revocation.street import ROSE, START, TULIP, Street

OURS = ("letsencrypt.org",)


def by_host(**said: Any) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: said.get(row["host"].partition(".")[0])


def test_caa_that_forbids_our_ca(street: Street, rose: Issued) -> None:
    street.names.records[ROSE, "CAA"] = ['0 issue "other.example"']
    street.identities = by_host(rose=(OURS, None, "http-01"))
    street.run()
    found = street.found(ROSE)["caa-mismatch"]
    assert (found["severity"], found["actor"], found["outcome"]) == ("high", "client", "you-act")
    assert found["evidence"]["ca"] == "letsencrypt.org"
    assert found["evidence"]["record"] == f'{ROSE} CAA 0 issue "other.example"'
    assert (TULIP, "CAA", "udp") not in street.names.asked, "no certificate of ours is got for it"
    street.names.records[ROSE, "CAA"] = "SERVFAIL"
    street.pass_(days=1)
    street.run()
    assert set(street.found(ROSE)) == {"caa-mismatch"}, "the question failed: it stands"
    street.names.records[ROSE, "CAA"] = ['0 issue "letsencrypt.org"']
    street.pass_(days=1)
    street.run()
    assert street.found() == {}


def test_caa_is_over_where_we_get_no_certificate_any_more(street: Street, rose: Issued) -> None:
    street.names.records[ROSE, "CAA"] = ['0 issue ";"']
    street.identities = by_host(rose=(OURS, None, None))
    street.run()
    assert set(street.found(ROSE)) == {"caa-mismatch"}
    street.identities = None
    street.run(every=True)
    assert set(street.found(ROSE)) == {"caa-mismatch"}, "nobody was asked"
    street.identities = by_host()
    street.run(every=True)
    assert street.found() == {}


def smtp(street: Street, host: str) -> None:
    with street.database.write() as tx:
        endpoints.retire(tx, Target(host))
        endpoints.add(tx, Target(host, 25, "smtp"))
        tx.conn.execute(update(endpoint).where(endpoint.c.state == "retired", endpoint.c.host == host).values(host=f"old-{host}"))


@pytest.mark.parametrize(("mail", "severity"), [(True, "high"), (False, "info")])
def test_tlsa_that_is_not_matched(street: Street, issuer: Authority, mail: bool, severity: str) -> None:
    if mail:
        smtp(street, ROSE)
    name = f"_{25 if mail else 443}._tcp.{ROSE}"
    street.shows(ROSE, issuer.issue(ROSE), "192.0.2.1", "192.0.2.2")
    street.names.records[name, "TLSA"] = ["3 1 1 " + "ab" * 32]
    street.run()
    found = street.found(ROSE)["dane-mismatch"]
    assert (found["severity"], found["addresses"]) == (severity, ["192.0.2.1", "192.0.2.2"])
    assert found["evidence"]["name"] == name
    street.names.records[name, "TLSA"] = ["3 1 1 " + "ab" * 32, found["evidence"]["needed"]]
    street.run()
    assert set(street.found(ROSE)) == {"dane-mismatch"}, "once a day"
    street.pass_(days=1)
    street.run()
    assert street.found() == {}, "the record that was named mends it"


@pytest.mark.parametrize(
    ("records", "authentic", "expected"),
    [
        (["3 1 1 " + "ab" * 32], (), set()),  # not validated: it says nothing
        (["3 1 9 abab"], ("example.test",), set()),  # unusable
        ("SERVFAIL", ("example.test",), set()),
        (["3 1 1 " + "ab" * 32], ("example.test",), {"dane-mismatch"}),
    ],
)
def test_only_validated_records_count(
    street: Street, rose: Issued, records: Any, authentic: tuple[str, ...], expected: set[str]
) -> None:
    street.names.authentic = authentic
    street.names.records[f"_443._tcp.{ROSE}", "TLSA"] = records
    street.run()
    assert set(street.found()) == expected


def test_a_failed_question_leaves_a_mismatch_and_an_end_of_dane_closes_it(street: Street, rose: Issued) -> None:
    name = (f"_443._tcp.{ROSE}", "TLSA")
    street.names.records[name] = ["3 1 1 " + "ab" * 32]
    street.run()
    street.names.records[name] = "SERVFAIL"
    street.run(every=True)
    assert set(street.found()) == {"dane-mismatch"}
    street.names.records[name] = []
    street.run(every=True)
    assert street.found() == {}


def test_the_dns_is_asked_once_a_day_and_each_name_once(street: Street, rose: Issued) -> None:
    street.shows(TULIP, rose)
    street.identities = lambda row: (OURS, None, None)
    street.run()
    questions = [(n, t) for n, t, _ in street.names.asked]
    assert len(questions) == len(set(questions))
    assert {(f"_443._tcp.{ROSE}", "TLSA"), (f"_443._tcp.{TULIP}", "TLSA"), (ROSE, "CAA"), ("test", "CAA")} <= set(questions)
    before = len(questions)
    street.pass_(hours=20)
    summary = street.run()
    assert (summary.policy, summary.dns_asked_at) == (None, START)
    assert len(street.names.asked) == before
    street.run(client="1001")
    assert len(street.names.asked) == before
    street.run(every=True, client="1001")
    assert len(street.names.asked) > before
    street.pass_(hours=4)
    assert street.run().policy is not None


def test_a_dead_resolver_is_said_and_not_waited_for(street: Street, issuer: Authority) -> None:
    """Once most questions failed, nothing more is asked; the next run asks again."""
    hosts = [f"site{i}.example.test" for i in range(120)]
    street.add("1003", *hosts)
    same = issuer.issue(*hosts)
    for host in hosts:
        street.shows(host, same)
        street.names.records[f"_443._tcp.{host}", "TLSA"] = "SERVFAIL"
    summary = street.run()
    assert summary.policy is not None
    assert summary.policy.broken
    assert summary.policy.asked < 60
    assert "questions to the DNS failed" in summary.suspect[0]
    assert street.found() == {}
    assert street.run().policy is not None


def test_an_address_has_neither(street: Street, issuer: Authority) -> None:
    street.add("1003", "192.0.2.9")
    street.shows("192.0.2.9", issuer.issue("192.0.2.9"))
    street.identities = lambda row: (OURS, None, None)
    street.run(client="1003")
    assert street.names.asked == []
