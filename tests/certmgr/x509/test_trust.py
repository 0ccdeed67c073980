"""Paths to a trust anchor, and which anchors are public."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority, self_signed
from certmgr.x509.trust import Issuers, TrustStore
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock


def test_self_signed_certificate_that_is_an_anchor_is_not_untrusted(
    probe: Probe,
    tmp_path: Path,
    opened: Stack,
) -> None:
    issued = self_signed(HOST, days=80, clock=clock)
    (tmp_path / "own.pem").write_bytes(issued.chain_pem)
    port = serve_certificate(opened, issued)
    result = probe(f"{HOST}:{port}", ca_files=(str(tmp_path / "own.pem"),))
    assert result.report.addresses[0].trusted is not False
    assert "self-signed" not in result.codes


def test_expired_cross_certificate_is_harmless_if_another_path_is_valid(
    probe: Probe,
    root: Authority,
    opened: Stack,
) -> None:
    now = clock()
    key = ec.generate_private_key(ec.SECP256R1())
    fresh = Authority("Crossed Issuer", root, key=key)
    expired = Authority(
        "Crossed Issuer",
        root,
        key=key,
        not_before=now - timedelta(days=900),
        not_after=now - timedelta(days=2),
    )
    port = serve_certificate(opened, fresh.issue(HOST), chain=(expired.der, fresh.der))
    result = probe(f"{HOST}:{port}")
    assert result.severe() == set()
    assert result.report.addresses[0].trusted is True


def test_rules_for_public_cas_do_not_apply_to_a_private_store(
    probe: Probe, settings: Settings, root_file: Path, issuer: Authority, opened: Stack
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - timedelta(days=10), days=300)
    port = serve_certificate(opened, issued)
    private = replace(settings.trust, store=str(root_file), ca_files=())
    result = probe(f"{HOST}:{port}", changes=replace(settings, trust=private))
    assert result.codes == {}
    assert result.report.addresses[0].trusted is True


def test_name_with_an_underscore_is_not_disputed(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    name = "my_shop.example.test"
    result = probe(f"{name}:{serve_certificate(opened, issuer.issue(name))}")
    assert result.codes == {}
    assert result.report.addresses[0].trusted is True


def test_flood_of_cas_with_the_name_of_a_known_one_costs_other_sites_no_verification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Authority("Flooded Root", clock=clock)
    ca = Authority("Flooded CA", root)
    store, issuers = TrustStore([parse(root.der)]), Issuers()
    issuers.add(parse(ca.der))
    assert store.assess([parse(ca.issue(HOST).der)], issuers, clock()).reason == "incomplete"
    for _ in range(40):
        assert issuers.add(parse(Authority("Flooded CA", clock=clock).der))
    tried: list[str] = []

    def counted(child: Certificate, issuer: Certificate) -> bool:
        tried.append(issuer.sha256)
        return issued_by(child, issuer)

    monkeypatch.setattr("certmgr.x509.trust.issued_by", counted)
    verdict = store.assess([parse(ca.issue(HOST).der)], issuers, clock())
    assert verdict.reason == "incomplete"
    assert len(verdict.path) == 3
    assert set(tried) == {parse(ca.der).sha256}


def test_flood_of_cas_under_an_unknown_name_is_tried_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("certmgr.x509.trust.MAX_SAME_NAME", 12)
    root = Authority("Other Root", clock=clock)
    store, issuers = TrustStore([parse(root.der)]), Issuers()
    for _ in range(40):
        issuers.add(parse(Authority("Unknown CA", clock=clock).der))
    tried: set[str] = set()

    def counted(child: Certificate, issuer: Certificate) -> bool:
        tried.add(issuer.sha256)
        return issued_by(child, issuer)

    monkeypatch.setattr("certmgr.x509.trust.issued_by", counted)
    leaf = Authority("Unknown CA", clock=clock).issue(HOST)
    assert store.assess([parse(leaf.der)], issuers, clock()).reason == "missing"
    assert len(tried) == 12
