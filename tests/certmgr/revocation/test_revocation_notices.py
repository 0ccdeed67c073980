"""Findings about revocation on their way to a notice: the recheck before it, and its topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.notices.recheck import compare, rechecker
from inventory.certificates import parse
from inventory.store import endpoints, findings
from inventory.targets import Target
from notifiers.pipeline.topic import FaultFacts, RecheckState, Topic
from tests.certmgr.revocation.two_clients import HOSTS, TwoClients
from tests.clock import clock
from tests.servers.real import nginx, write_pair


def topic_of(two_clients: TwoClients, code: str) -> Topic:
    """Return the topic of a notice about this finding of the first client."""
    from inventory.vocabulary import Finding

    with two_clients.database.read() as conn:
        row = next(r for r in findings.listing(conn) if r.code == code and r.host == HOSTS["1001"])
    one = Finding(code, row.severity, tuple(row.addresses), row.evidence, row.actor)
    return Topic(
        key="fault:1",
        revision=str(row.id),
        client_id=row.client_id,
        client=row.client,
        domain_id=row.domain_id,
        target=Target(row.host, row.port),
        severity=row.severity,
        actor=row.actor,
        code=code,
        opened=clock(),
        facts=FaultFacts(endpoint_id=row.endpoint_id, server_id=None, finding=one),
    )


@pytest.mark.parametrize(
    ("replaced", "seen"), [(False, RecheckState.SAME), (True, RecheckState.GONE)]
)
def test_recheck_confirms_a_revoked_certificate_until_it_is_replaced(
    two_clients: TwoClients,
    settings: Settings,
    issuer: Authority,
    tmp_path: Path,
    replaced: bool,
    seen: RecheckState,
) -> None:
    """A handshake does not show the revocation, so the recheck compares certificates."""
    two_clients.run("revocation")
    topic = topic_of(two_clients, "revoked")
    shown = issuer.issue(HOSTS["1001"]) if replaced else two_clients.issued["1001"]
    (tmp_path / "nginx").mkdir()
    with nginx(
        tmp_path / "nginx", [(HOSTS["1001"], *write_pair(tmp_path / "pair", shown))]
    ) as port:
        with two_clients.database.write() as tx:
            endpoints.edit(tx, Target(HOSTS["1001"]), {"port": port, "addresses": ["127.0.0.1"]})
        adapted = replace(settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
        result = rechecker(Context(two_clients.database, adapted, clock))([topic])[topic.mark]
    assert result.state is seen, result.reason


@pytest.mark.parametrize(
    ("code", "evidence", "chains", "expected"),
    [
        ("caa-mismatch", {}, ["b"], RecheckState.SAME),
        ("dane-mismatch", {"certificates": ["b"]}, ["b"], RecheckState.SAME),
        ("dane-mismatch", {"certificates": ["a"]}, ["b"], RecheckState.UNKNOWN),
        ("revoked", {"certificates": ["a"]}, ["a", "b"], RecheckState.SAME),
        ("revoked", {"certificates": ["a"]}, [], RecheckState.UNKNOWN),
        ("revoked", {"certificates": ["a"], "source": "staple"}, ["a"], RecheckState.GONE),
    ],
)
def test_recheck_compares_the_finding_with_what_is_served(
    code: str, evidence: dict[str, Any], chains: Sequence[str], expected: RecheckState
) -> None:
    from certmgr.checks.transport import finding
    from certmgr.inspection.report import AddressView, EndpointReport

    views = tuple(
        AddressView(f"192.0.2.{i}", "TLSv1.3", "x", "x", None, None, (c,), True, None)
        for i, c in enumerate(chains)
    )
    report = EndpointReport(
        Target(HOSTS["1001"]), clock(), None, views, (), bool(views), not views, True, (), None
    )
    one = finding(code, ("192.0.2.0",), **evidence)
    topic = Topic(
        key="k",
        revision="1",
        client_id=1,
        client="1001",
        domain_id=1,
        target=report.target,
        severity=one.severity,
        actor="client",
        code=code,
        opened=report.at,
        facts=FaultFacts(endpoint_id=1, server_id=None, finding=one),
    )
    assert compare(topic, report, {}).state is expected


def test_revoked_certificate_is_a_topic_of_notices_to_its_client(
    two_clients: TwoClients, settings: Settings, tmp_path: Path
) -> None:
    """It is a fault of the client, visible and not suppressed."""
    from certmgr.notices.gather import TopicRules, gather

    two_clients.run("revocation")
    source = gather(two_clients.database, clock(), {}, TopicRules())
    topics = [s for s in source.topics if s.code == "revoked"]
    assert {s.client for s in topics} == {"1001", "1002"}
    mine = next(s for s in topics if s.client == "1001")
    assert (mine.severity, mine.actor, mine.suppress_reason, mine.visible) == (
        "critical",
        "client",
        "",
        True,
    )
    assert mine.finding is not None
    assert mine.finding.evidence["certificates"] == [parse(two_clients.issued["1001"].der).sha256]
