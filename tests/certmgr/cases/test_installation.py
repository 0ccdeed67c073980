"""Verification of an installed case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from certmgr.cases import installation
from certmgr.demo.authority import Authority
from certmgr.inspection.verification import Observation
from inventory.store import issuances
from tests.certmgr.cases.place import HOST, CaseEnvironment


def test_case_closes_only_if_its_certificate_is_live_everywhere(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    installation.mark_installed(env.service, reference, "at once")
    another, both = "f" * 64, ("192.0.2.1", "192.0.2.2")
    for shown, addresses in ((None, ("192.0.2.1",)), (another, both)):
        row, verification = installation.verify_case(
            env.service_seeing(shown, *addresses), reference
        )
        assert row.state == "installed", verification
    before = len(env.events(reference))
    installation.verify_case(env.service_seeing(another, *both), reference)
    assert len(env.events(reference)) == before, "the same result again is no event"
    row, _ = installation.verify_case(env.service_seeing(leaf, *both), reference)
    assert row.state == "closed"
    with env.database.read() as conn:
        (issued,) = issuances.of_case(conn, row.id)
    assert issued.live_at is not None


def test_verification_at_chosen_addresses_is_not_recorded(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    installation.mark_installed(env.service, reference, "x")
    chosen = {(HOST, 443): ("192.0.2.9",)}
    row, verification = installation.verify_case(env.service_seeing(leaf), reference, chosen)
    assert verification.state == "live"
    assert row.state == "installed"
    assert env.events(reference)[-1] == "install"


class Reloading:
    """The servers of a case during a reload: each probe shows the next of some states."""

    def __init__(self, env: CaseEnvironment, *states: Any) -> None:
        self._probers = [env.service_seeing(*s).prober for s in states]
        self.probes, self.waited = 0, 0

    def prober(self, *arguments: Any) -> list[Observation]:
        prober = self._probers[min(self.probes, len(self._probers) - 1)]
        self.probes += 1
        return prober(*arguments)

    def wait(self, seconds: float) -> None:
        self.waited += 1


@pytest.mark.parametrize("during", ["old certificate", "no answer", "half of the servers"])
def test_verification_waits_for_a_server_that_is_reloading(
    env: CaseEnvironment, issuer: Authority, during: str
) -> None:
    reference, leaf = env.ready(issuer)
    installation.mark_installed(env.service, reference, "at once")
    both = ("192.0.2.1", "192.0.2.2")
    first = {"old certificate": ("f" * 64, *both), "no answer": (None, *both)}.get(during, (leaf,))
    states: list[tuple[Any, ...]] = [first, first, (leaf, *both)]
    if during == "half of the servers":
        states = [("f" * 64, "192.0.2.1"), (leaf, *both)]
    servers = Reloading(env, *states)
    service = replace(env.service, prober=servers.prober, wait=servers.wait)
    row, verification = installation.verify_case(service, reference, patience=60)
    assert (row.state, verification.state) == ("closed", "live")
    assert servers.waited >= 1
    assert env.events(reference).count("look") == 0, "what was seen during the reload is no event"


def test_verification_that_never_becomes_live_is_judged_at_the_end(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    installation.mark_installed(env.service, reference, "at once")
    servers = Reloading(env, ("f" * 64, "192.0.2.1"))
    service = replace(env.service, prober=servers.prober, wait=servers.wait)
    row, verification = installation.verify_case(service, reference, patience=20)
    assert (row.state, verification.state) == ("installed", "absent")
    assert servers.probes > 3


def test_verification_before_the_installation_is_reported_does_not_wait(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    servers = Reloading(env, ("f" * 64, "192.0.2.1"))
    service = replace(env.service, prober=servers.prober, wait=servers.wait)
    row, _ = installation.verify_case(service, reference, patience=20)
    assert (row.state, servers.probes, servers.waited) == ("checked", 1, 0)
