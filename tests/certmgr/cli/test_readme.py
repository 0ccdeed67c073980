"""The excerpts of README.md: what they show is what the program prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from certmgr.cli.inspect.scan_document import (
    ScannedAddress,
    ScannedCertificate,
    ScannedEndpoint,
    ScannedFinding,
)
from certmgr.cli.inspect.scan_report import scan_table

README = Path(__file__).parents[3] / "README.md"
_Finding = tuple[str, str, list[str], dict[str, str]]
# Host, verdict, days left, findings: (code, severity, addresses, evidence).
SITES: tuple[tuple[str, str, int | None, list[_Finding]], ...] = (
    (
        "rosen.blumen-meier.test",
        "fault",
        -3,
        [("certificate-expired", "critical", [], {"not_after": "2026-11-20T10:00:00Z"})],
    ),
    (
        "www.hotel-seeblick.test",
        "fault",
        1,
        [
            (
                "certificate-expiring",
                "critical",
                ["127.0.0.13"],
                {"not_after": "2026-11-25T10:00:00Z"},
            ),
            ("inconsistent-deployment", "medium", [], {}),
        ],
    ),
    ("www.blumen-meier.test", "ok", 89, []),
    (
        "kunden.blumen-meier.test",
        "fault",
        89,
        [("http-collects-secrets", "critical", [], {}), ("redirect-missing", "medium", [], {})],
    ),
    (
        "akten.kanzlei-nguyen.test",
        "unknown",
        None,
        [("connection-timeout", "undetermined", [], {}), ("http-unknown", "undetermined", [], {})],
    ),
)


def _endpoint(
    host: str,
    verdict: str,
    days: int | None,
    findings: Sequence[_Finding],
) -> ScannedEndpoint:
    leaf = ScannedCertificate(
        "00", "01", f"CN={host}", "CN=Demo Issuing CA", [host], None, None, days, "EC P-256"
    )
    address = ScannedAddress("127.0.0.12", None, None, None, None, None, None, [], True, None, None)
    other = ScannedAddress("127.0.0.13", None, None, None, None, None, None, [], True, None, None)
    return ScannedEndpoint(
        target=host,
        host=host,
        port=443,
        protocol="https",
        client=None,
        verdict=verdict,
        certificate=None if days is None else leaf,
        addresses=[address, other],
        trust_rules="",
        http=None,
        findings=[
            ScannedFinding(code, severity, "client", None, addresses, "", evidence)
            for code, severity, addresses, evidence in findings
        ],
    )


@pytest.mark.parametrize("width", [80, 100])
def test_readme_shows_what_a_scan_prints(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    scan_table([_endpoint(*site) for site in SITES], verbose=False)
    assert capsys.readouterr().out in README.read_text()
