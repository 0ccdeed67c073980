"""What certmgr reports of a site, against what the installed Chromium shows.

Each situation names the error page of Chromium; an empty text means that the page opens. The test
asks Chromium, and then holds certmgr to it: an error page is critical, with the code that
``diagnose`` names, and a page that opens is not critical.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo.servers import Server
from certmgr.diagnose.chrome import browser_view
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.clock import system_clock
from inventory.targets import parse
from tests.campaign import UNREACHED
from tests.certmgr.diagnose.chrome_certificates import (
    certificate_names,
    chains,
    malformed,
    purposes,
)
from tests.certmgr.diagnose.chrome_handshakes import handshakes, key_usage, keys, signatures
from tests.certmgr.diagnose.chrome_situation import (
    Authorities,
    Situation,
)
from tests.servers.chromium import Browser, trusting_browser

pytestmark = pytest.mark.real_clock(reason="Chromium keeps the clock of the system")

SITUATIONS = [
    *key_usage(),
    *keys(),
    *signatures(),
    *purposes(),
    *certificate_names(),
    *malformed(),
    *chains(),
    *handshakes(),
]


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


@pytest.fixture(scope="module")
def chromium(
    authorities: Authorities, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("chromium")
    with trusting_browser(folder, authorities.root.der, authorities.rsa_root.der) as opened:
        yield opened


@pytest.fixture
def anchors(authorities: Authorities, tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    roots = [authorities.root.der, authorities.rsa_root.der]
    path.write_bytes(
        b"".join(x509.load_der_x509_certificate(r).public_bytes(Encoding.PEM) for r in roots)
    )
    return path


def _scan(host: str, port: int, anchors: Path) -> EndpointReport:
    settings = replace(
        Settings(),
        scan=ScanSettings(timeout=UNREACHED, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(anchors),)),
        http=HttpSettings(enabled=False, per_address=0, rate=0.0),
    )
    target = parse(f"{host}:{port}")
    overrides = {} if target.is_address else {(target.host, target.port): ("127.0.0.1",)}
    options = ScanOptions(overrides=overrides)
    (report,) = scan_targets(settings, options, [target], clock=system_clock)
    return report


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
def test_error_pages_of_chromium_are_critical_and_named(
    situation: Situation, authorities: Authorities, chromium: Browser, anchors: Path
) -> None:
    server = Server(situation.build(authorities))
    try:
        shown = chromium.error(f"https://{situation.host}:{server.port}/")
        report = _scan(situation.host, server.port, anchors)
    finally:
        server.close()
    assert shown == situation.error
    critical = {f.code for f in report.findings if f.severity == "critical"}
    assert bool(critical) is bool(shown), report.findings
    named = browser_view(report.findings, ["127.0.0.1"], plain=False)
    if shown:
        assert named.removeprefix("an error page: ").removeprefix("NET::") == shown
    else:
        assert "an error page" not in named


def test_situations_have_different_names() -> None:
    assert len({s.name for s in SITUATIONS}) == len(SITUATIONS)
