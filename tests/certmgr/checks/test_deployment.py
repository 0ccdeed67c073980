"""Findings from comparisons: of addresses, and of responses with and without SNI."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve, serve_certificate
from tests.clock import clock
from tests.conftest import ProbeResult
from tests.servers import real


def test_certificate_of_the_panel_is_a_default_certificate(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue("panel.provider.test"))
    port = opened.enter_context(real.nginx(tmp_path, [("panel.provider.test", *pair)]))
    assert probe(f"{HOST}:{port}").severe() == {"name-mismatch", "default-certificate"}


def test_name_of_the_same_registered_domain_is_not_a_default_certificate(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = serve_certificate(opened, issuer.issue("www.example.test"))
    assert probe(f"{HOST}:{port}").severe() == {"name-mismatch"}


def test_wrong_certificate_with_sni_only_is_not_a_default_certificate(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    default = server_context(issuer.issue("panel.provider.test"))
    other = server_context(issuer.issue("other.customer.test"))
    port = serve(opened, servers.tls(default, {HOST: other}))
    assert probe(f"{HOST}:{port}").severe() == {"name-mismatch"}


def _probe_two(
    probe: Probe, opened: Stack, first: IssuedCertificate, second: IssuedCertificate
) -> ProbeResult:
    """Scan a name with two addresses, each with a certificate."""
    server = Server(servers.tls(server_context(first)))
    opened.callback(server.close)
    other = Server(servers.tls(server_context(second)), address="127.0.0.2", port=server.port)
    opened.callback(other.close)
    return probe(f"{HOST}:{server.port}", at=("127.0.0.1", "127.0.0.2"))


def test_addresses_with_different_expiry_dates_are_inconsistent(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    first, second = issuer.issue(HOST, days=80), issuer.issue(HOST, days=50)
    result = _probe_two(probe, opened, first, second).codes["inconsistent-deployment"]
    assert result.severity == "high"
    assert result.addresses == ("127.0.0.1", "127.0.0.2")


def test_certificate_reissued_with_the_same_facts_is_info(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    end = clock().replace(microsecond=0) + timedelta(days=80)
    first, second = issuer.issue(HOST, not_after=end), issuer.issue(HOST, not_after=end)
    result = _probe_two(probe, opened, first, second).codes["inconsistent-deployment"]
    assert result.severity == "info"
