"""Dynamic updates at a real BIND."""

from __future__ import annotations

from functools import partial

import pytest

from certmgr.acme.challenges import build
from certmgr.acme.challenges.interface import ChallengeProof, SolverTools
from certmgr.acme.challenges.solvers.rfc2136 import SOLVER, tsig_key
from certmgr.config.acme import SolverSettings
from certmgr.net.dns import DnsClient
from inventory.clock import system_clock
from inventory.errors import CertmgrError, ConfigError
from tests.campaign import UNREACHED
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.servers.bind import Named


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


def test_wrong_tsig_key_is_reported(bind: Named) -> None:
    solver = SolverSettings(
        kind="rfc2136",
        server=bind.server,
        zone="shop.test",
        tsig_name=bind.key_name,
        tsig_secret="AAAA",
        tsig_algorithm=bind.algorithm,
    )
    wrong_key = SOLVER.make(solver, SolverTools(lambda: DnsClient((bind.resolver,)), system_clock))
    with pytest.raises(CertmgrError, match="did not accept the record"):
        wrong_key.present([ChallengeProof("shop.test", "token-1", "token-1.thumb")])


@pytest.mark.parametrize("algorithm", ["hmac-sha265", "sha256", "gss-tsig", "", "a..b"])
def test_algorithm_that_cannot_sign_is_refused(algorithm: str) -> None:
    settings = SolverSettings(
        kind="rfc2136", tsig_name="key.", tsig_secret="AAAA", tsig_algorithm=algorithm
    )
    with pytest.raises(ConfigError, match="TSIG key") as refused:
        tsig_key(settings)
    assert "tsig_algorithm" in refused.value.todo


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "HMAC-SHA512.", "hmac-md5.sig-alg.reg.int"])
def test_algorithm_of_a_key_is_read_in_any_spelling(algorithm: str) -> None:
    settings = SolverSettings(
        kind="rfc2136", tsig_name="key.", tsig_secret="AAAA", tsig_algorithm=algorithm
    )
    tsig_key(settings)
