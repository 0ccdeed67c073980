"""Findings about DNS, the connection and the handshake. None of them is a verdict about trust."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import respond_with
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.scan.evidence import AddressEvidence, Evidence, Failure, FailureKind, Resolution
from certmgr.scan.handshake_reasons import (
    ALERT,
    BROKEN,
    EMPTY_RECORD,
    MALFORMED,
    OTHER_VERSION,
)
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from tests.campaign import time_limits
from tests.certmgr.browser.own_tls import (
    Flight13,
    accept13,
    extension,
    message,
    record,
    vector,
)
from tests.certmgr.browser.pki import Leaf
from tests.certmgr.tls_servers import (
    HOST,
    Probe,
    Stack,
    refusing_port,
    resolved_by,
    serve,
    serve_certificate,
)
from tests.clock import clock
from tests.connects import counted_connects
from tests.servers import real

# The ServerHello of a server of TLS 1.2.
HELLO = message(
    2, b"\3\3" + bytes(32) + b"\0" + b"\xc0\x2b\0" + vector(2, extension(0xFF01, b"\0"))
)


def test_refused_https_port_is_tried_twice_and_missing(probe: Probe, opened: Stack) -> None:
    result = probe(f"{HOST}:{refusing_port(opened)}")
    assert result.severe() == {"https-missing"}
    assert result.codes["https-missing"].evidence["looks"] == 2, "a transient failure is retried"
    assert result.report.certificate is None


def test_refused_imap_port_is_a_failed_connection(probe: Probe, opened: Stack) -> None:
    assert probe(f"{HOST}:{refusing_port(opened)}/imap").severe() == {"connection-failed"}


def test_plain_http_answer_is_not_tls(probe: Probe, opened: Stack) -> None:
    port = serve(opened, servers.respond_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    result = probe(f"{HOST}:{port}")
    assert result.severe() == {"not-tls"}
    assert result.report.addresses[0].trusted is None, "no verdict about trust"


def test_silent_address_is_tried_twice_and_undetermined(probe: Probe, opened: Stack) -> None:
    port = serve(opened, servers.silent)
    for limit in time_limits(1.0):
        with counted_connects(port) as connects:
            result = probe(f"{HOST}:{port}", timeout=limit)
        if len(connects) == 2:
            break
    assert {f.code: f.severity for f in result.report.findings} == {
        "connection-timeout": "undetermined",
    }
    assert len(connects) == 2


def test_failed_handshake_keeps_its_alert(probe: Probe, opened: Stack) -> None:
    alert = bytes.fromhex("15030300020250")  # fatal alert 80, internal_error
    result = probe(f"{HOST}:{serve(opened, servers.respond_with(alert))}")
    assert result.severe() == {"handshake-failed"}
    assert result.codes["handshake-failed"].evidence["alert"] == 80


_MALFORMED_CHAIN = b"\x0b" + vector(3, vector(3, vector(3, b"\x30\x03\x02\x01\x05")))


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        (record(21, b"\2\x28"), "handshake-failed", f"{ALERT}: 40 (handshake_failure)"),
        (record(22, message(14, b"")), "handshake-failed", BROKEN),
        (record(22, HELLO + _MALFORMED_CHAIN), "certificate-malformed", MALFORMED),
        (record(22, HELLO.replace(b"\3\3", b"\3\0", 1)), "handshake-failed", OTHER_VERSION),
    ],
    ids=["alert", "unexpected-message", "malformed-certificate", "ssl-3"],
)
def test_reason_of_a_failed_handshake_has_no_words_of_the_tls_library(
    probe: Probe, opened: Stack, messages: bytes, code: str, reason: str
) -> None:
    found = probe(f"{HOST}:{serve(opened, respond_with(messages))}")
    assert found.report.addresses[0].error == ("tls", reason)
    assert code in found.codes


@pytest.mark.parametrize("later", [False, True], ids=["in-the-handshake", "before-the-page"])
def test_empty_record_that_chrome_ignores_is_undetermined(
    probe: Probe, issuer: Authority, opened: Stack, later: bool
) -> None:
    issued = issuer.issue(HOST)
    leaf = Leaf(tuple(c.public_bytes(Encoding.DER) for c in issued.chain), issued.key_pem)
    in_handshake = Flight13(wrap=lambda m: [(b"", 0), (b"".join(m), 0)])

    def talk(sock: socket.socket) -> None:
        with suppress(OSError):
            accept13(sock, leaf, Flight13(after=[b""]) if later else in_handshake).read()

    result = probe(f"{HOST}:{serve(opened, talk)}", always_http=True)
    found = result.codes["http-unknown" if later else "handshake-failed"]
    assert found.severity == "undetermined"
    assert EMPTY_RECORD in (found.evidence.get("reason"), found.evidence.get("why"))
    assert not result.severe()


def test_reset_in_the_handshake_is_a_failed_handshake(probe: Probe, opened: Stack) -> None:
    assert probe(f"{HOST}:{serve(opened, servers.reset)}").severe() == {"handshake-failed"}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_required_client_certificate_is_info_and_the_chain_is_read(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack, version: str
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    port = opened.enter_context(real.s_server(*pair, "-Verify", "1", version))
    result = probe(f"{HOST}:{port}")
    assert {f.code: f.severity for f in result.report.findings} == {
        "client-certificate-required": "info",
    }
    assert result.report.certificate is not None


def test_server_with_legacy_tls_only_is_severe_and_trusted(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    options = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    result = probe(f"{HOST}:{port}")
    assert result.severe() == {"tls-legacy-only"}
    assert result.codes["tls-legacy-only"].evidence["version"] == "TLSv1.1"
    assert result.report.addresses[0].trusted is True


def test_legacy_tls_alongside_is_low_and_found_by_a_deep_scan_only(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    options = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    assert "tls-legacy-offered" not in probe(f"{HOST}:{port}").codes
    offered = probe(f"{HOST}:{port}", deep=True).codes["tls-legacy-offered"]
    assert (offered.severity, offered.evidence["versions"]) == ("low", ["TLSv1", "TLSv1.1"])


def test_server_with_obsolete_ciphers_only_is_severe(
    probe: Probe,
    issuer: Authority,
    tmp_path: Path,
    opened: Stack,
) -> None:
    issued = issuer.issue(HOST, key=rsa.generate_private_key(65537, 2048))
    pair = real.write_pair(tmp_path, issued)
    ciphers = "ssl_ciphers ARIA256-GCM-SHA384:CAMELLIA256-SHA:@SECLEVEL=0;"
    options = f"ssl_protocols TLSv1.2; {ciphers}"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    assert probe(f"{HOST}:{port}").severe() == {"ciphers-obsolete"}


def test_address_outside_the_providers_networks_points_elsewhere(
    probe: Probe, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    inside = replace(settings, network=NetworkSettings(provider=("127.0.0.0/24",)))
    outside = replace(settings, network=NetworkSettings(provider=("198.51.100.0/24",)))
    assert probe(f"{HOST}:{port}", changes=inside).codes == {}
    elsewhere = probe(f"{HOST}:{port}", changes=outside).codes["points-elsewhere"]
    assert elsewhere.severity == "info"


def test_address_family_without_a_route_is_no_finding_unless_it_is_the_only_one(
    issuer: Authority,
) -> None:
    # As evidence: a test must not depend on how this machine is connected.
    now = clock()
    chain = (issuer.issue(HOST).der, issuer.der)
    good = AddressEvidence("192.0.2.1", chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    failure = Failure("local", FailureKind.NO_ROUTE, "Network is unreachable")
    unreachable = AddressEvidence("2001:db8::1", failure=failure)
    assert issuer.parent is not None
    judge = Judge(TrustStore([parse(issuer.parent.der)]), parse)

    def codes(*addresses: AddressEvidence) -> list[str]:
        resolution = Resolution("ok", tuple(a.address for a in addresses))
        evidence = Evidence(Target(HOST), now, resolution, addresses)
        findings = judge.judge(evidence, JudgingContext(), now).findings
        return [f.code for f in findings if f.code != "sct-missing"]

    assert codes(good, unreachable) == []
    assert codes(unreachable) == ["scanner-error"], "no address was checked, so it is undetermined"


@pytest.mark.parametrize(
    ("answer", "timeout", "code", "severity"),
    [
        ("NXDOMAIN", None, "name-not-found", "high"),
        ("NODATA", None, "name-not-found", "high"),
        ("SERVFAIL", None, "dns-failure", "undetermined"),
        ("SILENT", 0.9, "dns-failure", "undetermined"),  # waited out: two attempts per family
    ],
)
def test_name_without_an_address_is_not_found_or_undetermined(
    settings: Settings,
    opened: Stack,
    answer: str,
    timeout: float | None,
    code: str,
    severity: str,
) -> None:
    resolver = opened.enter_context(real.dns({HOST: answer}))
    (report,) = scan_targets(
        resolved_by(settings, resolver),
        ScanOptions(timeout=timeout),
        [Target(HOST)],
        clock=clock,
    )
    assert [(f.code, f.severity) for f in report.findings] == [(code, severity)]
    assert report.addresses == ()
