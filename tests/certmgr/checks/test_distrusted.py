"""Certificates of CAs that browsers distrust."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from certmgr.demo.authority import Authority
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock


def test_certificate_of_a_distrusted_ca_is_found_and_the_ca_named(
    probe: Probe, tmp_path: Path, opened: Stack, browsers: Callable[[Path], None]
) -> None:
    entrust = Authority("Entrust Test Root", organisation="Entrust, Inc.", clock=clock)
    (tmp_path / "entrust.pem").write_bytes(entrust.pem)
    port = serve_certificate(opened, Authority("Entrust Issuer", entrust).issue(HOST))
    browsers(tmp_path / "entrust.pem")
    assert probe(f"{HOST}:{port}").codes["ca-distrusted"].evidence["ca"] == "Entrust"
