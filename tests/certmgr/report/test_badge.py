"""The badge "HTTPS in order": only if it is true, and of one client."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from certmgr.demo.servers import server_context
from certmgr.report import badge
from inventory.errors import CertmgrError
from tests.certmgr.report.provider import ReportProvider, States
from tests.program import Ran
from tests.servers import chromium

Run = Callable[..., Ran]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["act", "ours", "unknown", "none", "act-de"])
def test_badge_is_refused_if_it_is_not_true(all_states: States, name: str) -> None:
    with pytest.raises(CertmgrError, match="gets no badge"):
        badge.render(*all_states[1][name])


def test_old_or_accepted_results_give_no_badge(all_states: States) -> None:
    report, _ = all_states[1]["good"]
    assert badge.why_not(report) == ""
    later = dataclasses.replace(report, as_of=report.as_of + badge.MAX_AGE + timedelta(hours=1))
    assert "not tested within 7 days" in badge.why_not(later)
    accepted = dataclasses.replace(report, state="attention", summary="accepted")
    assert "accepted" in badge.why_not(accepted)
    never = dataclasses.replace(report.sites[0], measured=None)
    assert badge.why_not(dataclasses.replace(report, sites=(never,)))


@pytest.mark.parametrize(("code", "words"), [("en", "HTTPS in order"), ("de", "HTTPS in Ordnung")])
def test_badge_has_a_title_a_date_and_no_script(
    all_states: States, browser: chromium.Browser, tmp_path: Path, code: str, words: str
) -> None:
    report, reader_language = all_states[0].report("good", language_code=code)
    text = badge.render(report, reader_language)
    root = ElementTree.fromstring(text)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == root.get("aria-label")
    assert words in str(title.text)
    assert "2026" in str(title.text)
    assert next(e.text for e in root.iter(f"{SVG}text")) == words
    for needle in ("<script", "href", "url(", "<image", "<foreignObject", " on"):
        assert needle not in text.replace("tested on", "").replace("HTTPS in order", "")
    # As a client shows it.
    path = tmp_path / "shop.html"
    (tmp_path / "badge.svg").write_text(text, encoding="utf-8")
    path.write_text(
        f'<!doctype html><html lang="{code}"><title>Shop</title><main><h1>Shop</h1>{text}'
        f'<img src="badge.svg" alt="{words}"></main></html>',
        encoding="utf-8",
    )
    for dark in (False, True):
        browser.open(path, dark=dark)
        assert browser.violations() == []
    loaded = "document.images[0].complete && document.images[0].naturalWidth"
    assert browser.evaluate(loaded) == int(str(root.get("width")))


def test_badge_of_one_client_names_no_other(
    provider: ReportProvider, certmgr: Run, tmp_path: Path
) -> None:
    for number, name in (("1001", "Alpha <&\"'"), ("1002", "Beta")):
        provider.client(number, name)
        host = f"{number}.example.test"
        provider.site(number, host, server_context(provider.issuer.issue(host)))
    now = provider.clock()
    old = provider.issuer.issue(
        "bad.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    provider.client("1003", "Gamma")
    provider.site("1003", "bad.example.test", server_context(old))
    provider.scan()
    folder = tmp_path / "badges"
    folder.mkdir()
    # What stood there yesterday is not true any more; another file is left alone.
    (folder / "client-1003.svg").write_bytes(b"<svg " + badge.MARK + b"/>")
    base = ("--database", str(provider.path), "report", "--format", "badge")
    result = certmgr(*base, "--all", "--output", str(folder))
    assert result.code == 0, result.err
    assert sorted(p.name for p in folder.glob("*.svg")) == ["client-1001.svg", "client-1002.svg"]
    first, second = ((folder / f"client-{n}.svg").read_text() for n in ("1001", "1002"))
    assert "Alpha" in str(ElementTree.fromstring(first).get("aria-label"))
    assert "Beta" not in first
    assert "Alpha" not in second
    refused = certmgr(*base, "--client", "1003", "--output", str(tmp_path / "x.svg"))
    assert refused.code == 3
    assert "bad.example.test" in refused.err
    assert not (tmp_path / "x.svg").exists()


def test_stale_badge_is_removed_and_another_file_is_kept(
    all_states: States, certmgr: Run, tmp_path: Path
) -> None:
    path, other = tmp_path / "badge.svg", tmp_path / "logo.svg"
    path.write_bytes(b"<svg " + badge.MARK + b"/>")
    other.write_bytes(b"<svg/>")
    base = ("--database", str(all_states[0].path), "report", "--format", "badge", "--client", "act")
    for file in (path, other):
        assert certmgr(*base, "--output", str(file)).code == 3
    assert not path.exists()
    assert other.read_bytes() == b"<svg/>"
    assert certmgr(*base, "--as-of", "2026-11-01").code == 2
