"""Findings about the path from the certificate to an anchor, and about the chain as sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.checks.chain import path_findings
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority, self_signed
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.x509.trust import PathVerdict
from inventory.certificates import parse
from inventory.targets import Target
from notifiers.wording.sentences import instruction
from tests.certificates import ca_leaf
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock


def _scan(settings: Settings, *targets: Target) -> list[EndpointReport]:
    """Scan several targets of this machine in one run."""
    options = ScanOptions(overrides={(t.host, t.port): ("127.0.0.1",) for t in targets})
    return scan_targets(settings, options, list(targets), clock=clock)


def test_self_signed_certificate_is_untrusted(probe: Probe, opened: Stack) -> None:
    result = probe(f"{HOST}:{serve_certificate(opened, self_signed(HOST, clock=clock))}")
    assert result.severe() == {"self-signed"}
    assert result.report.addresses[0].trusted is False


def test_unknown_intermediate_that_is_not_sent_leaves_trust_undetermined(
    probe: Probe,
    root: Authority,
    opened: Stack,
) -> None:
    hidden = Authority("Hidden Issuer", root)
    result = probe(f"{HOST}:{serve_certificate(opened, hidden.issue(HOST), chain=())}")
    assert result.severe() == {"chain-incomplete"}
    assert result.report.addresses[0].trusted is None
    assert "Hidden Issuer" in result.codes["chain-incomplete"].evidence["missing"]


@pytest.mark.parametrize(("levels", "variant"), [(2, None), (20, "long")])
def test_finding_of_a_long_search_names_what_to_send_unless_it_is_too_much(
    root: Authority, levels: int, variant: str | None
) -> None:
    end, anchor = parse(root.issue(HOST).der), parse(root.der)
    issuer = parse(Authority("Issuer to send", root).der)
    verdict = PathVerdict("ambiguous", False, (end, *[issuer] * levels, anchor))
    [found] = path_findings(verdict, (), explained=False)
    assert (found.code, found.severity) == ("chain-ambiguous", "critical")
    assert found.evidence.get("variant") == variant
    text = instruction(found, Target(HOST, 443))
    assert ("Issuer to send" in text) is (variant is None)


def test_missing_intermediate_that_another_server_sends_is_used(
    settings: Settings,
    root: Authority,
    opened: Stack,
) -> None:
    hidden = Authority("Hidden Issuer", root)
    without = serve_certificate(opened, hidden.issue("a.example.test"), chain=())
    whole = serve_certificate(opened, hidden.issue("b.example.test"))
    first, second = _scan(
        settings,
        Target("a.example.test", without),
        Target("b.example.test", whole),
    )
    assert [f.code for f in first.findings] == ["chain-incomplete"]
    assert first.findings[0].evidence["held"] is True
    assert first.addresses[0].trusted is True
    assert second.findings == ()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_renewed_intermediate_is_used_whichever_server_is_scanned_first(
    settings: Settings, root: Authority, opened: Stack, order: tuple[int, int]
) -> None:
    now = clock()
    key = ec.generate_private_key(ec.SECP256R1())
    fresh = Authority("Renewed Issuer", root, key=key)
    expired = Authority(
        "Renewed Issuer",
        root,
        key=key,
        not_before=now - timedelta(days=900),
        not_after=now - timedelta(days=2),
    )
    stale = serve_certificate(opened, fresh.issue("a.example.test"), chain=(expired.der,))
    good = serve_certificate(opened, fresh.issue("b.example.test"))
    targets = [Target("a.example.test", stale), Target("b.example.test", good)]
    reports = {r.target: r for r in _scan(settings, *(targets[i] for i in order))}
    report = reports[targets[0]]
    assert {f.code for f in report.findings if f.severity != "info"} == {"chain-incomplete"}
    assert report.addresses[0].trusted is True


def test_private_root_that_is_sent_is_untrusted(probe: Probe, opened: Stack) -> None:
    private = Authority("Private Root", clock=clock)
    middle = Authority("Private Issuer", private)
    port = serve_certificate(opened, middle.issue(HOST), chain=(middle.der, private.der))
    assert probe(f"{HOST}:{port}").severe() == {"untrusted-root"}


def test_private_root_that_is_not_sent_leaves_trust_undetermined(
    probe: Probe,
    opened: Stack,
) -> None:
    private = Authority("Private Root", clock=clock)
    port = serve_certificate(opened, Authority("Private Issuer", private).issue(HOST))
    result = probe(f"{HOST}:{port}")
    assert result.severe() == {"chain-incomplete"}
    assert result.report.addresses[0].trusted is None


def test_chain_in_the_wrong_order_is_low(probe: Probe, root: Authority, opened: Stack) -> None:
    upper = Authority("Upper", root)
    lower = Authority("Lower", upper)
    port = serve_certificate(opened, lower.issue(HOST), chain=(upper.der, lower.der))
    result = probe(f"{HOST}:{port}")
    assert (result.codes["chain-disordered"].severity, result.severe()) == ("low", set())


def test_surplus_certificate_and_root_are_info(
    probe: Probe,
    root: Authority,
    issuer: Authority,
    opened: Stack,
) -> None:
    other = Authority("Unrelated", clock=clock)
    for sent in (other, root):
        port = serve_certificate(opened, issuer.issue(HOST), chain=(issuer.der, sent.der))
        assert [f.severity for f in probe(f"{HOST}:{port}").report.findings] == ["info"]


def test_expired_intermediate_is_severe(probe: Probe, root: Authority, opened: Stack) -> None:
    now = clock()
    old = Authority(
        "Old Issuer",
        root,
        not_before=now - timedelta(days=900),
        not_after=now - timedelta(days=2),
    )
    result = probe(f"{HOST}:{serve_certificate(opened, old.issue(HOST))}")
    assert result.severe() == {"intermediate-expired"}


def test_certificate_that_only_openssl_accepts_is_disputed_under_a_public_root(
    probe: Probe,
    root: Authority,
    root_file: Path,
    opened: Stack,
    browsers: Callable[[Path], None],
) -> None:
    """The Web PKI profile refuses a CA bit in a certificate of a server; OpenSSL does not."""
    port = serve_certificate(opened, ca_leaf(root, HOST), chain=())
    browsers(root_file)
    result = probe(f"{HOST}:{port}")
    disputed = result.codes["verification-disputed"]
    assert disputed.severity == "undetermined"
    assert disputed.evidence["words"] == ["the certificate of the server is a CA certificate"]
    assert result.report.addresses[0].trusted is None
    assert result.severe() == set()


def test_certificate_that_only_openssl_accepts_is_a_remark_under_a_private_root(
    probe: Probe,
    root: Authority,
    opened: Stack,
) -> None:
    result = probe(f"{HOST}:{serve_certificate(opened, ca_leaf(root, HOST), chain=())}")
    assert {c: f.severity for c, f in result.codes.items()} == {"profile-deviation": "info"}
    assert result.report.addresses[0].trusted is True


def test_broken_name_constraint_is_malformed(probe: Probe, root: Authority, opened: Stack) -> None:
    narrow = x509.NameConstraints([x509.DNSName("allowed.test")], None)
    issuer = Authority("Narrow", root, extensions=[(narrow, True)])
    result = probe(f"{HOST}:{serve_certificate(opened, issuer.issue(HOST))}")
    assert result.severe() == {"certificate-malformed"}
    assert result.report.addresses[0].trusted is False
