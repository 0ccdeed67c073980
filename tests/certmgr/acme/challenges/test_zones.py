"""Zones: a hook, a real BIND, and dns-lexicon."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from certmgr.acme.challenges import build
from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from inventory.clock import system_clock
from inventory.db.database import Database
from inventory.errors import CertmgrError
from tests.campaign import UNREACHED
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, make_environment, names
from tests.servers.bind import Named
from tests.servers.pebble import Pebble


def test_wildcard_is_validated_by_a_hook_at_its_bare_name(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path
) -> None:
    env.solve(dns=hook(tmp_path, ca))
    lineage = env.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = env.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(env, lineage)) == {"*.shop.test", "shop.test"}
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [c[0] for c in calls] == ["add", "add", "remove", "remove"]
    assert {c[1] for c in calls} == {"_acme-challenge.shop.test"}


@pytest.fixture
def zone_env(
    database: Database, settings: Settings, tmp_path: Path, dns_ca: Pebble, bind: Named
) -> AcmeEnvironment:
    """An inventory whose CA and solvers ask ``bind``."""
    made = make_environment(
        database, settings, tmp_path, dns_ca.directory, dns_ca.ca_file, dns=bind.server
    )
    made.client("1001", "shop.test")
    made.register()
    return made


def test_dynamic_update_sets_and_removes_the_records_at_bind(
    zone_env: AcmeEnvironment, bind: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSIG_SECRET", bind.secret)
    # The check of the record asks the name server of the zone, which does not listen on port 53.
    monkeypatch.setattr(build, "new_dns_client", partial(DnsClient.of, port=bind.port))
    solver = SolverSettings(
        kind="rfc2136",
        server=bind.server,
        tsig_name=bind.key_name,
        tsig_secret="env:TSIG_SECRET",
        tsig_algorithm=bind.algorithm,
        propagation=UNREACHED,
    )
    zone_env.solve(dns=solver)
    lineage = zone_env.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = zone_env.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(zone_env, lineage)) == {"*.shop.test", "shop.test"}
    assert bind.txt("_acme-challenge.shop.test") == []


def test_failure_of_a_lexicon_provider_is_reported_without_its_secret(
    zone_env: AcmeEnvironment, bind: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider of dns-lexicon that speaks RFC 2136 takes no port, and port 53 is closed."""
    monkeypatch.setenv("LEXICON_TOKEN", f"{bind.algorithm}:{bind.key_name}:{bind.secret}")
    solver = SolverSettings(
        kind="lexicon",
        provider="ddns",
        zone="shop.test",
        credentials=("auth_token=env:LEXICON_TOKEN", f"ddns_server={bind.address}"),
        propagation=1.0,
    )
    zone_env.solve(dns=solver)
    lineage = zone_env.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = zone_env.order(lineage)
    reason = "The DNS provider ddns did not accept the record _acme-challenge.shop.test"
    assert done.state == "failed" and reason in done.message, done
    assert bind.secret not in done.message


def test_wrong_tsig_key_is_reported(bind: Named) -> None:
    solver = SolverSettings(
        kind="rfc2136",
        server=bind.server,
        zone="shop.test",
        tsig_name=bind.key_name,
        tsig_secret="AAAA",
        tsig_algorithm=bind.algorithm,
    )
    wrong_key = build.make(solver, lambda: DnsClient((bind.resolver,)), system_clock)
    with pytest.raises(CertmgrError, match="did not accept the record"):
        wrong_key.present([ChallengeProof("shop.test", "token-1", "token-1.thumb")])
