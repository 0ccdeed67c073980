"""The page: agreement with the commands, no script, accessible, and no overlap at any width."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.context import Context
from certmgr.dashboard import html
from certmgr.dashboard.load import load_dashboard_input
from certmgr.dashboard.model import Dashboard
from certmgr.dashboard.view import build
from inventory.names import display
from tests.certmgr.report.provider import States, text_of
from tests.program import Ran
from tests.servers import chromium

Run = Callable[..., Ran]
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"dark": True},
    {"width": 360},
    {"width": 768, "dark": True},
    {"media": "print"},
)
# Elements with text that lie over each other, apart from parents over their children.
OVERLAPS = """(() => {
  const boxes = [...document.querySelectorAll('td, th, .tile, .card p, h2, caption, .axis span')]
    .filter((e) => e.checkVisibility()).map((e) => [e, e.getBoundingClientRect()])
    .filter(([e, r]) => r.width && r.height);
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, r] = boxes[i], [b, s] = boxes[j];
    if (a.contains(b) || b.contains(a)) continue;
    if (Math.min(r.right, s.right) - Math.max(r.left, s.left) > 1
        && Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top) > 1)
      found.push(a.textContent + ' / ' + b.textContent);
  }
  return found;
})()"""


def _built(states: States, code: str = "en") -> tuple[Dashboard, str]:
    provider = states[0]
    context = Context(provider.database, provider.settings, provider.clock)
    facts = load_dashboard_input(context, language_code=code)
    dashboard = build(facts)
    return dashboard, html.render(dashboard, facts.language)


def test_page_has_no_script_and_no_remote_resource(all_states: States) -> None:
    _, page = _built(all_states)
    for needle in ("<script", "<img", "<iframe", "<link", "@import", "url(", " style="):
        assert needle not in page
    assert not re.findall(r'(?:src|href)="http', page)
    assert "default-src &#39;none&#39;; style-src &#39;sha256-" in page


@pytest.mark.parametrize("code", ["en", "de"])
def test_page_passes_axe_and_has_no_overlap(
    all_states: States, browser: chromium.Browser, tmp_path: Path, code: str
) -> None:
    path = tmp_path / "dashboard.html"
    path.write_text(_built(all_states, code)[1], encoding="utf-8")
    for options in OPTIONS:
        browser.open(path, **options)
        assert browser.violations() == [], options
        assert [u for u in browser.requests if not u.startswith("file:")] == []
        assert browser.evaluate(OVERLAPS) == [], options
        width = options.get("width", 1000)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, options


def test_numbers_agree_with_status_and_causes(all_states: States, certmgr: Run) -> None:
    dashboard, _ = _built(all_states)
    base = ("--database", str(all_states[0].path), "status", "--exit-zero", "--format", "json")
    summary = certmgr(*base).json["summary"]
    assert {t.state: t.number for t in dashboard.tiles} == {
        s: summary[s] for s in ("fault", "unknown", "attention", "ok")
    }
    causes = certmgr(*base, "--causes").json["causes"]
    for group in dashboard.groups:
        of_severity = [c for c in causes if c["severity"] == group.severity]
        assert len(group.causes) + group.more == len(of_severity)
        assert sorted(c.code for c in group.causes) == sorted(c["code"] for c in of_severity)
    assert {g.severity for g in dashboard.groups} == {c["severity"] for c in causes}
    # What the last complete scan found is what is shown as the present.
    newest = dashboard.trend[0]
    assert newest.critical + newest.high == summary["fault"]
    assert sum(c.sites for c in dashboard.clients) == summary["endpoints"]


def test_numbers_of_deadlines_agree_with_compliance(all_states: States, certmgr: Run) -> None:
    dashboard, _ = _built(all_states)
    own = next(r for r in dashboard.deadlines if r.name == "own")
    command = ("compliance", "--deadline", "own", "--exit-zero", "--format", "json")
    rows = certmgr("--database", str(all_states[0].path), *command).json["rows"]
    assert sum(own.counts.values()) == len(rows)
    assert own.counts["complies"] == sum(r["status"] == "complies" for r in rows)


def test_most_urgent_client_comes_first(all_states: States) -> None:
    dashboard, page = _built(all_states)
    states = [c.state for c in dashboard.clients]
    order = ["fault", "unknown", "attention", "ok"]
    assert states == sorted(states, key=order.index)
    assert states[0] == "fault"
    assert dashboard.clients[-1].number == "good"
    # Each cause links the row of its client.
    assert 'href="#client-1"' in page
    assert 'id="client-1"' in page


def test_certificate_without_automation_loses_cover(all_states: States) -> None:
    dashboard, _ = _built(all_states)
    losing = {name: row for row in dashboard.losing for name in row.names}
    assert losing["old.example.test"].state == "fault"
    assert losing[display("xn--grten-gra.example.test")].state == "attention"
    assert dashboard.ended == 1
    assert sum(w.total for w in dashboard.weeks[:1]) == 1
    assert "old.example.test" in text_of(_built(all_states)[1])


def test_command_writes_the_page(all_states: States, certmgr: Run, tmp_path: Path) -> None:
    path = tmp_path / "dashboard.html"
    base = ("--database", str(all_states[0].path), "dashboard")
    result = certmgr(*base, "--output", str(path))
    assert result.code == 0, result.err
    assert "sites have faults" in result.out
    german = certmgr(*base, "--language", "de", "--output", str(path))
    assert german.out == result.out, "in the language of the terminal, and not of the page"
    assert '<html lang="de">' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600, "the page names all clients"
    assert '<html lang="de">' in certmgr(*base, "--language", "de").out
    assert '<html lang="en">' in certmgr(*base).out


def test_page_of_a_past_day_shows_no_cases(all_states: States, certmgr: Run) -> None:
    base = ("--database", str(all_states[0].path), "dashboard", "--as-of", "2026-11-01")
    text = text_of(certmgr(*base).out)
    assert "This page shows what was known on that day." in text
    assert "Not known for a past date." in text


def test_empty_inventory_has_a_page(certmgr: Run) -> None:
    certmgr("client", "add", "1", "One")
    text = text_of(certmgr("dashboard").out)
    assert "The inventory contains no site." in text
    assert "No scan has ended yet." in text
