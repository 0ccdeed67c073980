"""A case notice is rechecked: a client whose certificate was replaced hears nothing of its case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.cases import incident, incident_selection, new_case
from certmgr.cases.topics import gather
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.notices.recheck import rechecker
from certmgr.purchases.model import LeadTimes
from inventory.db.database import to_epoch
from inventory.store import lineages
from inventory.vocabulary import IncidentKind
from notifiers.pipeline.topic import Recheck, RecheckState
from tests.certmgr.cases.place import HOST, OTHER_HOST, CaseEnvironment, make_env, serve
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_account, add_lineage
from tests.inventory.store.scan_rows import add_leaf

DAY = timedelta(days=1)
ADDRESSES = {HOST: "127.0.0.11", OTHER_HOST: "127.0.0.12"}


@pytest.fixture
def env(tmp_path: Path, settings: Settings) -> CaseEnvironment:
    adapted = replace(settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
    made = make_env(open_sqlite(tmp_path / "recheck.db", "Bob"), adapted, tmp_path)
    made.now = clock().replace(microsecond=0)
    made.database.clock = lambda: made.now
    made.client("1001", HOST)
    made.client("1002", OTHER_HOST)
    return made


def serve_old(env: CaseEnvironment, issuer: Authority) -> dict[str, IssuedCertificate]:
    """Store that each host serves a certificate that is about to be replaced; return them."""
    begin, end = env.now - 50 * DAY, env.now + 20 * DAY
    old = {h: issuer.issue(h, not_before=begin, not_after=end) for h in ADDRESSES}
    for host, issued in old.items():
        serve(env.database, host, issued, env.now, [ADDRESSES[host]])
    return old


def revoke(env: CaseEnvironment) -> None:
    items = incident_selection.select_affected(env.service, issuer="test issuer")
    until = env.now + timedelta(hours=20)
    incident.open_incident(env.service, items, IncidentKind.ISSUER, "x", until, "it revokes")


def recheck(env: CaseEnvironment, shown: dict[str, IssuedCertificate]) -> dict[str, Recheck]:
    """Recheck the case topics by host, while the hosts serve these certificates."""
    with env.servers:
        for host, issued in shown.items():
            env.machine(host, (ADDRESSES[host],)).show(issued, issued.key)
        with env.database.read() as conn:
            topics = gather(conn, env.now, {}, LeadTimes(7, 7, 7), 60).topics
        result = rechecker(env.context)(topics)
    return {t.target.host: result[t.mark] for t in topics}


@pytest.mark.parametrize("kind", ["incident", "renewal"])
def test_replaced_name_is_done_and_another_client_is_still_asked(
    env: CaseEnvironment, issuer: Authority, kind: str
) -> None:
    old = serve_old(env, issuer)
    if kind == "incident":
        revoke(env)
    else:
        new_case.open_case(env.service, "1001", [HOST])
        new_case.open_case(env.service, "1002", [OTHER_HOST])
    new = issuer.issue(HOST, not_before=env.now - DAY, not_after=env.now + 80 * DAY)
    found = recheck(env, {HOST: new, OTHER_HOST: old[OTHER_HOST]})
    assert found[HOST].state is RecheckState.GONE
    assert "replaced on every address" in found[HOST].reason
    assert found[OTHER_HOST].state is RecheckState.SAME
    assert "not replaced at 127.0.0.12" in found[OTHER_HOST].reason


def test_shorter_certificate_and_a_silent_server_do_not_stop_a_renewal(
    env: CaseEnvironment, issuer: Authority
) -> None:
    serve_old(env, issuer)
    new_case.open_case(env.service, "1001", [HOST])
    new_case.open_case(env.service, "1002", [OTHER_HOST])
    shorter = issuer.issue(HOST, not_before=env.now - DAY, not_after=env.now + 10 * DAY)
    found = recheck(env, {HOST: shorter})
    assert {h: r.state for h, r in found.items()} == dict.fromkeys(ADDRESSES, RecheckState.SAME)


@pytest.mark.parametrize("verified", [True, False])
def test_verified_lineage_is_proof_although_no_server_answers(
    env: CaseEnvironment, issuer: Authority, verified: bool
) -> None:
    serve_old(env, issuer)
    new_case.open_case(env.service, "1001", [HOST])
    new_case.open_case(env.service, "1002", [OTHER_HOST])
    env.pass_(minutes=16)
    with env.database.write(env.now) as tx:
        lineage = add_lineage(tx, "shop", "1001", add_account(tx), HOST)
        end = to_epoch(env.now + 90 * DAY)
        leaf = add_leaf(tx, "of the lineage", HOST, not_after=end)
        proven_at = tx.at if verified else None
        lineages.note(tx, lineage, sha256=leaf, deployed=leaf, proven_at=proven_at)
    found = recheck(env, {})
    assert (found[HOST].state is RecheckState.GONE) == verified
    assert found[OTHER_HOST].state is RecheckState.SAME, "the lineage is of another client"
