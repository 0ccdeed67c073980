"""The page: one file, accessible, without scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo.servers import server_context
from certmgr.report import html
from certmgr.report.view import build
from notifiers.wording.catalogue import language
from tests.certmgr.report.provider import ReportProvider, States, hostile_input
from tests.servers import chromium

STATES = ("good", "act", "ours", "unknown", "none", "act-de")
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"dark": True},
    {"width": 360},
    {"width": 360, "dark": True},
    {"media": "print"},
)


def test_page_has_no_script_and_no_remote_resource() -> None:
    rendered = html.render(build(hostile_input()), language("en"))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', rendered)
    assert policy is not None
    assert policy.group(1).startswith(
        "default-src &#39;none&#39;; style-src &#39;sha256-"
    ) or policy.group(1).startswith("default-src 'none'; style-src 'sha256-")
    for needle in (
        "<script",
        "<img",
        "<iframe",
        "<link",
        "@import",
        "url(",
        "javascript:",
        " style=",
    ):
        assert needle not in rendered
    assert not re.findall(r'(?:src|href)="http', rendered)


def test_states_cover_each_verdict(all_states: States) -> None:
    # The colours of "attention" are checked with the dashboard, which shows all four.
    assert {r.state for r, _ in all_states[1].values()} >= {"ok", "fault", "unknown"}
    assert set(all_states[1]) == set(STATES)


@pytest.mark.parametrize("name", STATES)
def test_page_passes_axe_in_each_state(
    all_states: States, browser: chromium.Browser, tmp_path: Path, name: str
) -> None:
    report, reader_language = all_states[1][name]
    path = tmp_path / "report.html"
    path.write_text(html.render(report, reader_language), encoding="utf-8")
    for options in OPTIONS:
        browser.open(path, **options)
        assert browser.violations() == [], options
        assert [u for u in browser.requests if not u.startswith("file:")] == []
        if options.get("width") == 360:
            wide = browser.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360, "narrow screens do not scroll sideways"


def test_content_security_policy_allows_the_style(
    provider: ReportProvider, browser: chromium.Browser, tmp_path: Path
) -> None:
    """The browser applies the style sheet, so the hash in the policy is correct."""
    provider.client("1", "One")
    provider.site(
        "1", "one.example.test", server_context(provider.issuer.issue("one.example.test"))
    )
    provider.scan()
    path = tmp_path / "one.html"
    path.write_text(html.render(*provider.report("1")), encoding="utf-8")
    browser.open(path, scripts=False)
    assert browser.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "832px"
