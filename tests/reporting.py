"""What the suite prints at its end: the sizes of its campaigns, and the tests that a moved clock
left out.

A pytest plug-in (``pytest_plugins`` in tests/conftest.py). With pytest-xdist the workers collect
the tests, so what they left out is handed to the process that prints.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

MOVED_CLOCK = os.environ.get("CERTMGR_MOVED_CLOCK") == "1"  # set by tools/clocks.py
_left_out: dict[str, str] = {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under a moved clock, leave out the tests whose server cannot live there."""
    if not MOVED_CLOCK:
        return
    kept, left_out = [], []
    for item in items:
        marker = item.get_closest_marker("real_clock")
        if marker is None:
            kept.append(item)
        else:
            left_out.append(item)
            _left_out[item.nodeid] = str(marker.kwargs["reason"])
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = _left_out


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _left_out.update(getattr(node, "workeroutput", {}).get("left_out", {}))


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
    if _left_out:
        terminalreporter.section("left out under a moved clock")
        for reason in sorted(set(_left_out.values())):
            terminalreporter.line(reason)
            for name in sorted(n for n, r in _left_out.items() if r == reason):
                terminalreporter.line(f"  {name}")
