"""Private CAs under an anchor of the administrator: what browsers accept is ok."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.checks.collector import FAILED
from certmgr.config.settings import Settings, TrustSettings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.scan.evidence import INTERNAL_ERROR
from certmgr.x509 import refusals
from inventory.certificates import parse
from inventory.targets import Target
from notifiers.wording.sentences import instruction, sentence
from notifiers.wording.values import VALUES
from tests.certmgr.malformed import KINDS, malformed
from tests.certmgr.tls_servers import Probe, Stack, serve_certificate
from tests.clock import clock
from tests.conftest import ProbeResult
from tests.private_ca import (
    HOST,
    SHAPES,
    Shape,
    certificate,
    constrained,
    mixed_string_types,
    new_key,
    san,
    two_tiers,
)

DAY = timedelta(days=1)


def scanned(probe: Probe, opened: Stack, folder: Path, shape: Shape) -> ProbeResult:
    """Scan a server with the chain of a shape, under its anchors."""
    (folder / "anchors.pem").write_bytes(shape.anchors)
    port = serve_certificate(opened, shape.issued)
    return probe(f"{HOST}:{port}", ca_files=(str(folder / "anchors.pem"),))


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_of_a_private_ca_is_ok_with_at_most_one_remark(
    probe: Probe, opened: Stack, tmp_path: Path, shape: str
) -> None:
    result = scanned(probe, opened, tmp_path, SHAPES[shape]())
    assert result.report.addresses[0].trusted is True
    assert result.report.addresses[0].public is False
    assert {(c, f.severity) for c, f in result.codes.items()} <= {
        ("profile-deviation", "info"),
        ("chain-disordered", "info"),
    }


def test_expired_private_root_is_named_with_its_date_and_the_right_advice(
    probe: Probe, opened: Stack, tmp_path: Path
) -> None:
    now = clock().replace(microsecond=0)
    shape = two_tiers(not_before=now - 900 * DAY, not_after=now - 5 * DAY)
    result = scanned(probe, opened, tmp_path, shape)
    assert {c for c, f in result.codes.items() if f.severity != "info"} == {"root-expired"}
    finding, target = result.codes["root-expired"], result.report.target
    assert finding.severity == "critical"
    assert result.report.addresses[0].trusted is False
    assert "Company Root" in sentence(finding, target)
    assert f"{now - 5 * DAY:%Y-%m-%d}" in sentence(finding, target)
    assert "Renew the root" in instruction(finding, target)
    assert "Reissuing the certificate of" in instruction(finding, target)


def test_expired_private_root_above_a_chain_is_named_and_not_the_intermediate(
    probe: Probe, opened: Stack, tmp_path: Path
) -> None:
    now = clock()
    root = Authority(
        "Company Root", clock=clock, not_before=now - 900 * DAY, not_after=now - 5 * DAY
    )
    middle = Authority("Company Issuer", root, not_after=now - 6 * DAY)
    result = scanned(probe, opened, tmp_path, Shape(middle.issue(HOST), root.pem))
    assert result.severe() == {"root-expired"}


def test_leaf_that_expired_before_its_private_root_names_both(
    probe: Probe, opened: Stack, tmp_path: Path
) -> None:
    now = clock()
    root = Authority(
        "Company Root", clock=clock, not_before=now - 900 * DAY, not_after=now - 5 * DAY
    )
    issued = root.issue(HOST, not_before=now - 90 * DAY, not_after=now - 20 * DAY)
    result = scanned(probe, opened, tmp_path, Shape(issued, root.pem))
    assert result.severe() == {"certificate-expired", "root-expired"}


def test_root_that_is_not_known_here_names_both_possibilities(probe: Probe, opened: Stack) -> None:
    port = serve_certificate(opened, two_tiers().issued)
    result = probe(f"{HOST}:{port}")
    finding, target = result.codes["chain-incomplete"], result.report.target
    assert "not trusted here" in sentence(finding, target)
    assert "incomplete" in sentence(finding, target)
    assert "--ca-file" in instruction(finding, target)
    assert "full chain" in instruction(finding, target)
    assert result.report.addresses[0].trusted is None


def _narrow() -> Shape:
    return constrained(".other.test")


def _purpose() -> Shape:
    root = Authority("Company Root", clock=clock)
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    middle = Authority("Company Issuer", root, extensions=[(usage, False)])
    return Shape(middle.issue(HOST), root.pem)


def _no_ca() -> Shape:
    root = Authority("Company Root", clock=clock)
    plain = root.issue("middle.example.test")
    key = new_key()
    leaf = certificate(HOST, plain.certificate, plain.key, key, [(san(HOST), False)])
    return Shape(IssuedCertificate(leaf, key, (leaf, plain.certificate)), root.pem)


def _root(*extensions: x509.ExtensionType) -> Callable[[], Shape]:
    return lambda: two_tiers([(e, True) for e in extensions])


def _short_path() -> Shape:
    root = Authority("Company Root", clock=clock, path_length=0)
    return Shape(Authority("Company Issuer", root).issue(HOST), root.pem)


_CA = x509.BasicConstraints(True, None)
_CLIENTS = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
_NO_SIGNING = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
_NOT_ISSUER = "a certificate of the CA may not issue certificates"
_NOT_FOR_SERVERS = "the extended key usage of a CA does not allow servers"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_narrow, "a name of the certificate is outside the names that its CA may issue"),
        (_purpose, _NOT_FOR_SERVERS),
        (_root(_CA, _CLIENTS), _NOT_FOR_SERVERS),
        (_no_ca, _NOT_ISSUER),
        (_root(x509.BasicConstraints(False, None)), _NOT_ISSUER),
        (_root(_CA, _NO_SIGNING), _NOT_ISSUER),
        (_short_path, "the chain is longer than its CA permits"),
    ],
    ids=[
        "name",
        "purpose of an intermediate",
        "purpose of the root",
        "issuer that is not a CA",
        "root that is not a CA",
        "root without keyCertSign",
        "path length",
    ],
)
def test_what_browsers_refuse_under_a_private_root_is_severe_and_in_words(
    probe: Probe, opened: Stack, tmp_path: Path, make: Callable[[], Shape], problem: str
) -> None:
    result = scanned(probe, opened, tmp_path, make())
    assert result.severe() == {"certificate-malformed"}
    assert result.codes["certificate-malformed"].evidence["problems"] == [problem]
    assert result.report.addresses[0].trusted is False


def test_root_in_another_string_type_is_not_accepted_as_in_browsers(
    probe: Probe, opened: Stack, tmp_path: Path
) -> None:
    result = scanned(probe, opened, tmp_path, mixed_string_types())
    assert result.severe() == {"chain-incomplete"}


def test_name_and_key_are_judged_under_a_private_root_too(
    probe: Probe, opened: Stack, tmp_path: Path
) -> None:
    root = Authority("Company Root", clock=clock)
    (tmp_path / "anchors.pem").write_bytes(root.pem)
    issued = root.issue("other.example.test", key=rsa.generate_private_key(65537, 1024))
    port = serve_certificate(opened, issued)
    result = probe(f"{HOST}:{port}", ca_files=(str(tmp_path / "anchors.pem"),))
    assert {"name-mismatch", "key-weak"} <= result.severe()


def test_chain_made_by_the_openssl_program_is_ok(
    settings: Settings, opened: Stack, tmp_path: Path
) -> None:
    """The recipe of the textbooks, with the dates of the system's clock."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "san.cnf").write_text(f"subjectAltName=DNS:{HOST}\n")
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        *("req", "-x509", "-newkey", "ec", *curve, "-days", "900", "-subj", "/CN=Company Root"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
    )
    openssl(
        *("req", "-new", "-newkey", "ec", *curve, "-subj", f"/CN={HOST}"),
        *("-keyout", "leaf.key", "-out", "leaf.csr"),
    )
    openssl(
        *("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "300"),
        *("-CAcreateserial", "-extfile", "san.cnf", "-out", "leaf.pem"),
    )
    leaf = x509.load_pem_x509_certificate((tmp_path / "leaf.pem").read_bytes())
    key = serialization.load_pem_private_key((tmp_path / "leaf.key").read_bytes(), None)
    port = serve_certificate(opened, IssuedCertificate(leaf, key, (leaf,)))
    report = scan_targets(
        replace(settings, trust=TrustSettings(ca_files=(str(tmp_path / "ca.pem"),))),
        ScanOptions(overrides={(HOST, port): ("127.0.0.1",)}),
        [Target(HOST, port)],
        clock=lambda: leaf.not_valid_before_utc + DAY,
    )[0]
    assert report.addresses[0].trusted is True
    assert {f.severity for f in report.findings} <= {"info"}


def test_every_phrase_about_a_chain_can_be_translated() -> None:
    source = Path(refusals.__file__).read_text()
    phrases = set(re.findall(r'^\s+yield "([^"]+)"', source, re.MULTILINE))
    phrases |= {refusals.refusal(code) for code in range(100)} | {refusals.OUTSIDE_PROFILE}
    assert len(phrases) > 20
    assert phrases | set(FAILED.values()) | {INTERNAL_ERROR} <= VALUES


@pytest.mark.parametrize("kind", KINDS)
def test_problem_of_a_malformed_certificate_has_no_words_of_a_library(
    issuer: Authority, kind: str
) -> None:
    text = " ".join(parse(malformed(issuer, kind)).problems)
    assert text
    assert not re.search(r"Error|\{|::|kind:|Exception|ASN|asn1", text), text
