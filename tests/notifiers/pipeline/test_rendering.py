"""The HTML of every kind of message: accessible, nothing loaded, all facts also in the text.

axe-core runs in Chromium.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from notifiers.pipeline.message import Message
from tests.notifiers.samples import KINDS
from tests.servers import chromium


@pytest.mark.parametrize("kind", KINDS)
def test_page_has_no_accessibility_violations_and_loads_nothing(
    messages: Mapping[str, Message], browser: chromium.Browser, tmp_path: Path, kind: str
) -> None:
    page = tmp_path / "mail.html"
    page.write_text(messages[kind].html, encoding="utf-8")
    for width in (900, 360):
        browser.open(page, width=width)
        assert browser.violations() == []
        fits = browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
        assert fits, "no horizontal scrolling"
    assert [u for u in browser.requests if not u.startswith("file:")] == [], "no tracking"


@pytest.mark.parametrize("kind", KINDS)
def test_html_and_text_have_the_same_facts(messages: Mapping[str, Message], kind: str) -> None:
    message = messages[kind]
    assert not re.search(r"<(script|img|iframe|link|object)|url\(|src=", message.html)
    visible = re.sub(r"<[^>]+>", " ", message.html.split("<main", 1)[1])
    words = set(re.findall(r"[\wäöüß.-]{6,}", visible))
    missing = {w for w in words if w not in message.text and w not in ("max-width",)}
    assert not missing, missing
    assert "\n" not in message.subject
