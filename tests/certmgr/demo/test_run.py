"""``certmgr demo`` ends well and shows the main jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.program import Ran


@pytest.mark.real_clock(reason="the demonstration starts pebble, a static Go program")
def test_demonstration_scans_reports_leads_a_case_and_renews(certmgr: Callable[..., Ran]) -> None:
    done = certmgr("demo")
    assert (done.code, done.err) == (0, "")
    for part in ("scan", "status", "compliance", "report", "purchase", "case"):
        assert f"== certmgr {part}" in done.out
    for code in (
        "certificate-expired",
        "certificate-expiring",
        "self-signed",
        "chain-incomplete",
        "not-tls",
        "tls-legacy-only",
        "default-certificate",
        "inconsistent-deployment",
        "certificate-not-yet-valid",
        "https-missing",
        "connection-timeout",
    ):
        assert code in done.out
    assert "gärten.blumen-meier.test" in done.out
    automatic = done.out[done.out.index("== certmgr issue") :]
    assert automatic.count("nginx reloaded; seen live at 1 place(s)") == 2, automatic
    story = done.out[done.out.index("== certmgr case") : done.out.index("== certmgr issue")]
    steps = [line.split("\t")[0] for line in story.splitlines() if "\t" in line]
    assert steps == [
        "STEP",
        "open",
        "csr",
        "send",
        "receive",
        "refuse",
        "receive",
        "accept",
        "approve",
        "install",
        "see",
        "close",
    ]
    assert "made for another key" in story
