"""The probe of each address of an endpoint."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.demo.authority import Authority
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock
from tests.servers import real


def test_nginx_with_a_good_chain_is_ok(
    probe: Probe,
    issuer: Authority,
    tmp_path: Path,
    opened: Stack,
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)]))
    report = probe(f"{HOST}:{port}").report
    assert report.findings == ()
    address = report.addresses[0]
    assert (address.trusted, address.error) == (True, None)
    assert (address.tls_version, address.group, len(address.chain)) == ("TLSv1.3", "X25519", 2)
    assert report.certificate is not None
    assert report.certificate.names == (HOST,)


def test_nginx_negotiates_a_protocol_by_alpn(
    probe: Probe,
    issuer: Authority,
    tmp_path: Path,
    opened: Stack,
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    site = [(HOST, *pair)]
    port = opened.enter_context(real.nginx(tmp_path, site, extra="http2_max_requests 10;"))
    assert probe(f"{HOST}:{port}").report.addresses[0].alpn in ("h2", "http/1.1")


def test_deep_scan_judges_the_certificate_of_the_other_key_type(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    now = clock()
    stale = issuer.issue(
        HOST,
        key=rsa.generate_private_key(65537, 2048),
        not_before=now - timedelta(days=60),
        not_after=now - timedelta(days=1),
    )
    port = serve_certificate(opened, issuer.issue(HOST), extra=(stale,))
    assert probe(f"{HOST}:{port}").severe() == set()
    deep = probe(f"{HOST}:{port}", deep=True)
    assert "certificate-expired" in deep.severe()
    assert deep.codes["certificate-expired"].evidence["key"] == "RSA 2048"


def test_ipv6_address_is_judged_apart_from_the_ipv4_address(
    probe: Probe,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    result = probe(f"{HOST}:{port}", at=("127.0.0.1", "::1"))
    assert [a.address for a in result.report.addresses] == ["127.0.0.1", "::1"]
    assert result.codes["https-missing"].addresses == ("::1",)
    assert result.report.addresses[0].trusted is True


def test_certificate_for_an_ipv6_address_covers_that_address(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue("::1", "127.0.0.1"))
    port = opened.enter_context(real.nginx(tmp_path, [("_", *pair)], address="::1"))
    assert probe(f"[::1]:{port}").report.findings == ()
