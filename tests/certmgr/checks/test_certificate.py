"""Findings about the leaf: dates, names, key, signature, lifetime."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from certmgr.checks.certificate import leaf_findings
from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.demo.authority import Authority
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import PathVerdict, TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from tests.certificates import raw_server, resigned
from tests.certmgr.malformed import KINDS, malformed
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock

DAY = timedelta(days=1)


def test_expired_certificate_has_one_fault(probe: Probe, issuer: Authority, opened: Stack) -> None:
    now = clock()
    issued = issuer.issue(HOST, not_before=now - 60 * DAY, not_after=now - DAY)
    result = probe(f"{HOST}:{serve_certificate(opened, issued)}")
    assert result.severe() == {"certificate-expired"}
    assert result.report.addresses[0].trusted is False


@pytest.mark.parametrize(
    ("days_left", "life", "severity"),
    [(5, 90, "high"), (20, 90, "medium"), (3, 100, "high"), (25, 200, "medium")],
)
def test_expiring_certificate_becomes_more_severe_towards_its_end(
    probe: Probe, issuer: Authority, opened: Stack, days_left: int, life: int, severity: str
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - (life - days_left) * DAY, days=days_left)
    result = probe(f"{HOST}:{serve_certificate(opened, issued)}")
    assert result.codes["certificate-expiring"].severity == severity


def test_certificate_of_a_later_date_is_not_yet_valid(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    issued = issuer.issue(HOST, not_before=clock() + 2 * DAY, days=60)
    result = probe(f"{HOST}:{serve_certificate(opened, issued)}")
    assert result.severe() == {"certificate-not-yet-valid"}
    assert "our_clock" in result.codes["certificate-not-yet-valid"].evidence


def test_certificate_without_san_is_severe(probe: Probe, issuer: Authority, opened: Stack) -> None:
    result = probe(f"{HOST}:{serve_certificate(opened, issuer.issue(HOST, san=False))}")
    assert result.severe() == {"san-missing"}


def test_rsa_key_of_1024_bits_is_weak(probe: Probe, issuer: Authority, opened: Stack) -> None:
    issued = issuer.issue(HOST, key=rsa.generate_private_key(65537, 1024))
    assert probe(f"{HOST}:{serve_certificate(opened, issued)}").severe() == {"key-weak"}


@pytest.mark.parametrize(
    "generate",
    [lambda: dsa.generate_private_key(2048), lambda: ec.generate_private_key(ec.SECP256K1())],
    ids=["DSA", "secp256k1"],
)
def test_key_type_that_browsers_do_not_offer_is_weak(
    issuer: Authority,
    generate: Callable[[], Any],
) -> None:
    # No handshake completes with it, as with browsers: the certificate comes from the
    # Certificate message.
    leaf = parse(issuer.issue(HOST, key=generate()).der)
    result = leaf_findings(leaf, HOST, PathVerdict("ok", True), ())
    assert [f.code for f in result] == ["key-weak"]


def test_sha1_signature_is_weak(probe: Probe, root: Authority, opened: Stack) -> None:
    issued = resigned(root.issue(HOST), root, "sha1")
    result = probe(f"{HOST}:{serve_certificate(opened, issued, chain=())}")
    assert "signature-weak" in result.severe()


def test_certificate_for_clients_on_a_server_is_malformed(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    issued = issuer.issue(HOST, server_auth=False, extensions=[(usage, False)])
    result = probe(f"{HOST}:{serve_certificate(opened, issued)}")
    assert result.severe() == {"certificate-malformed"}


def test_lifetime_and_scts_are_judged_for_public_cas_only(
    probe: Probe,
    root_file: Path,
    issuer: Authority,
    opened: Stack,
    browsers: Callable[[Path], None],
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - 10 * DAY, days=300)
    port = serve_certificate(opened, issued)
    private = probe(f"{HOST}:{port}")
    assert {"validity-too-long", "sct-missing"} & set(private.codes) == set()
    browsers(root_file)
    public = probe(f"{HOST}:{port}").codes
    assert public["validity-too-long"].severity == "high"
    assert public["validity-too-long"].evidence["allowed"] == 200
    # More SCTs may have come in the TLS extension.
    assert public["sct-missing"].severity == "undetermined"


def test_key_that_openssl_cannot_read_is_a_severe_finding(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    """The handshake fails, and the chain is read from the Certificate message."""
    p256 = bytes.fromhex("06082a8648ce3d030107")
    der = issuer.issue(HOST).der.replace(p256, bytes.fromhex("06082a8648ce3d030109"), 1)
    server = raw_server(issuer, der)
    opened.callback(server.close)
    result = probe(f"{HOST}:{server.port}")
    assert {"certificate-malformed", "handshake-failed"} & result.severe()


def _codes(der: bytes) -> set[str]:
    now = clock()
    address = AddressEvidence("192.0.2.1", (der,), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    evidence = Evidence(Target(HOST), now, Resolution("fixed", ("192.0.2.1",)), (address,))
    return {
        f.code for f in Judge(TrustStore([]), parse).judge(evidence, JudgingContext(), now).findings
    }


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_der_is_a_finding_and_keeps_its_bytes(issuer: Authority, kind: str) -> None:
    der = malformed(issuer, kind)
    certificate = parse(der)
    assert certificate.problems
    assert certificate.der == der
    assert "certificate-malformed" in _codes(der)
