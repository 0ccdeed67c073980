"""How long the answers to challenges stay published, at pebble behind a proxy."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from certmgr.acme.challenges.dns01 import Dns01
from certmgr.acme.orders.service import IssuanceService
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.acme.results import IssueResult, RenewalReason
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import Authoritative, NameServer
from inventory.clock import system_clock
from tests.campaign import wait_until
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.net.server import serving
from tests.servers import faults
from tests.servers.faults import Rule
from tests.servers.faulty import Proxy
from tests.servers.pebble import Pebble

AUTHORIZATION, VALID = "/authZ/", "set VALID by completed challenge"
PENDING = (
    '{"status": "pending", "identifier": {"type": "dns", "value": "shop.test"}, "challenges": []}'
)


class Waiting:
    """A clock that a wait moves forward."""

    def __init__(self) -> None:
        self.at = system_clock()
        self.waits: list[float] = []

    def __call__(self) -> datetime:
        return self.at

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += timedelta(seconds=seconds)


def undecided(retry_after: str, nth: range | tuple[int, ...]) -> Rule:
    answer = faults.answer(200, PENDING, "application/json", {"Retry-After": retry_after})
    return Rule(answer, AUTHORIZATION, nth=nth)


@pytest.mark.parametrize("retry_after", ["86400", "date", "999999999"])
def test_answer_stays_published_for_a_ca_that_asks_for_a_long_pause(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble, tmp_path: Path, retry_after: str
) -> None:
    env, time = proxied_env, Waiting()
    if retry_after == "date":
        retry_after = format_datetime(time.at + timedelta(days=2), usegmt=True)
    env.solve(dns=hook(tmp_path, ca))
    env.given = {"wait": time.wait, "clock": time}
    lineage = env.lineage("1001", ["shop.test"], solver="dns")
    rule = undecided(retry_after, range(2, 10_000))
    proxy.rules.append(rule)
    done = env.order(lineage)
    assert done.state == "waits" and "has not decided about shop.test" in done.message, done
    assert sum(time.waits) <= env.settings.acme.challenge_seconds + 1
    assert done.until is not None and done.until > time.at.timestamp() + 3600
    calls = (tmp_path / "calls").read_text().split()
    assert "add" in calls and "remove" not in calls
    # The next run finds the order decided, and removes the answer.
    proxy.rules.remove(rule)
    time.at = datetime.fromtimestamp(done.until, time.at.tzinfo)
    done = env.order(lineage)
    assert done.state == "issued", done
    assert len(env.orders(lineage)) == 1
    calls = (tmp_path / "calls").read_text().split()
    assert calls.count("remove") >= 1
    assert list((env.context.base / "proofs").iterdir()) == []


def test_answer_of_this_process_stays_until_the_own_limit(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble
) -> None:
    """The standalone server ends with its process, so the process waits and polls once more."""
    env, time = proxied_env, Waiting()
    decided = ca.log.read_text().count(VALID)

    def wait(seconds: float) -> None:
        wait_until(lambda: ca.log.read_text().count(VALID) > decided, "a valid authorization")
        time.wait(seconds)

    env.given = {"wait": wait, "clock": time}
    proxy.rules.append(undecided("86400", (2,)))
    done = env.order(env.lineage("1001", ["shop.test"]))
    assert done.state == "issued", done
    assert 0 < max(time.waits) <= env.settings.acme.challenge_seconds


@pytest.mark.parametrize("status", [500, 503])
def test_answer_stays_published_while_the_ca_is_out_of_order(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble, tmp_path: Path, status: int
) -> None:
    env = proxied_env
    env.solve(dns=hook(tmp_path, ca))
    lineage = env.lineage("1001", ["shop.test"], solver="dns")
    proxy.rules.append(Rule(faults.problem(status), AUTHORIZATION, nth=range(2, 100)))
    assert env.order(lineage).state == "failed"
    assert "remove" not in (tmp_path / "calls").read_text()


class OtherServers(DnsClient):
    """A DNS client that finds a given name server for each zone."""

    server = ""

    def authoritative(self, name: str) -> Authoritative:
        return Authoritative("ok", "shop.test", (NameServer("ns", (self.server,)),))


@pytest.mark.parametrize("urgent", [False, True])
def test_record_that_a_name_server_lacks_postpones_the_order_without_a_failure(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, urgent: bool
) -> None:
    """The record stays for the next run. Close to expiry the order goes on."""
    env.solve(dns=dataclasses.replace(hook(tmp_path, ca), propagation=0.01))
    lineage = env.lineage("1001", ["shop.test"], solver="dns")
    with serving({("shop.test", "A"): ["192.0.2.1"]}, authoritative=True) as behind:

        def order() -> IssueResult:
            context = env.context
            solver = context.solvers.get("dns")
            assert isinstance(solver, Dns01)

            def client() -> DnsClient:
                made = OtherServers((ca.dns,), allowed=(IPv4Network("127.0.0.0/8"),))
                made.server = behind.address
                return made

            solver.create_dns_client = client
            return IssuanceService(context).issue(lineage, RenewalReason("test", urgent=urgent))

        done = order()
        if urgent:
            assert done.state == "issued", done
            return
        assert done.state == "waits" and "answers without it" in done.message, done
        with env.database.read() as conn:
            (failures,) = conn.exec_driver_sql(
                "SELECT count(*) FROM acme_event WHERE kind = 'failure'"
            ).one()
        assert failures == 0
        _, name, value = (tmp_path / "calls").read_text().split()
        # The transfer of the zone has ended.
        behind.records[(name, "TXT")] = [f'"{value}"']
        done = order()
        assert done.state == "issued", done
        assert len(env.orders(lineage)) == 1
    assert "remove" in (tmp_path / "calls").read_text()
    assert list((env.context.base / "proofs").iterdir()) == []


def test_answers_of_an_order_that_ended_are_removed(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble, tmp_path: Path
) -> None:
    env, time = proxied_env, Waiting()
    env.solve(dns=hook(tmp_path, ca))
    env.given = {"wait": time.wait, "clock": time}
    lineage = env.lineage("1001", ["shop.test"], solver="dns")
    proxy.rules.append(undecided("86400", range(2, 10_000)))
    assert env.order(lineage).state == "waits"
    with env.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE acme_order SET state = 'failed', ended_at = 1")
        tx.conn.exec_driver_sql("UPDATE lineage SET state = 'paused'")
    RenewalRunner(env.context).run_due()
    assert "remove" in (tmp_path / "calls").read_text()
    assert list((env.context.base / "proofs").iterdir()) == []


def test_refused_answer_is_removed(env: AcmeEnvironment, ca: Pebble, tmp_path: Path) -> None:
    settings = hook(tmp_path, ca)
    (tmp_path / "dns-hook").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n')
    env.solve(dns=dataclasses.replace(settings, propagation=0.0))
    done = env.order(env.lineage("1001", ["shop.test"], solver="dns"))
    assert done.state == "failed" and "could not validate" in done.message, done
    calls = (tmp_path / "calls").read_text().split()
    assert calls.count("add") == calls.count("remove") == 1
    assert list((env.context.base / "proofs").iterdir()) == []


@pytest.mark.parametrize("begun", [True, False])
def test_refused_second_notification_is_no_failure_if_the_ca_began(
    proxied_env: AcmeEnvironment, proxy: Proxy, begun: bool
) -> None:
    """The answer to the first one was lost, and the authorization is not pending any more."""
    refusal = faults.problem(400, "malformed", "authorization must be pending")
    rule = Rule(refusal, "/chalZ/", nth=(1,))

    def passed_on(seen: faults.Seen) -> bool:
        if begun:
            proxy.pass_on(seen)
        return True

    rule.when = passed_on
    proxy.rules.append(rule)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert done.state == ("issued" if begun else "failed"), done
