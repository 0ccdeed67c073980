"""``certmgr demo`` succeeds and shows the main functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.program import Ran


@pytest.mark.real_clock(reason="the demonstration starts pebble, a static Go program")
def test_demonstration_scans_reports_completes_a_case_and_renews(
    certmgr: Callable[..., Ran],
) -> None:
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
    acme = done.out[done.out.index("== certmgr issue") :]
    assert acme.count("nginx reloaded; verified live at 1 address(es)") == 2, acme
    events = done.out[done.out.index("== certmgr case") : done.out.index("== certmgr issue")]
    # In a pipe each row is one line, and the table ends at an empty line.
    table = events[events.index("STEP  ") :].split("\n\n")[0]
    steps = [line.split()[0] for line in table.splitlines()]
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
    assert "issued for another key" in events
