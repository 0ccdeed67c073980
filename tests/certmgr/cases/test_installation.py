"""Verification of an installed case."""

from __future__ import annotations

from certmgr.cases import installation
from certmgr.demo.authority import Authority
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
