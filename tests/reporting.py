"""Summary of the test suite: sizes of campaigns, and tests skipped under a moved clock.

This is a pytest plug-in (``pytest_plugins`` in tests/conftest.py). With pytest-xdist the workers
collect the tests, so they pass the skipped tests to the process that prints.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

MOVED_CLOCK = os.environ.get("CERTMGR_MOVED_CLOCK") == "1"  # Set by tools/clocks.py.
_skipped: dict[str, str] = {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under a moved clock, skip tests whose server reads the real clock."""
    kept, skipped = [], []
    for item in items:
        marker = item.get_closest_marker("real_clock")
        if marker is None:
            kept.append(item)
            continue
        # In each run: without a moved clock, a missing reason would not be noticed.
        if not marker.kwargs.get("reason"):
            raise pytest.UsageError(f"{item.nodeid}: real_clock has no reason")
        skipped.append(item)
        _skipped[item.nodeid] = str(marker.kwargs["reason"])
    if not MOVED_CLOCK:
        _skipped.clear()
        return
    config.hook.pytest_deselected(items=skipped)
    items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["skipped"] = _skipped


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _skipped.update(getattr(node, "workeroutput", {}).get("skipped", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    campaigns = sorted(
        f"{report.nodeid}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "campaign"
    )
    if campaigns:
        terminalreporter.section("campaigns")
        for line in campaigns:
            terminalreporter.line(line)
    if _skipped:
        terminalreporter.section("skipped under a moved clock")
        for reason in sorted(set(_skipped.values())):
            terminalreporter.line(reason)
            for name in sorted(n for n, r in _skipped.items() if r == reason):
                terminalreporter.line(f"  {name}")
