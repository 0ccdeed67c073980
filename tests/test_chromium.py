"""The driver of Chromium notices a browser that is stuck."""

from __future__ import annotations

import json
import os

import pytest

from tests.servers.chromium import Browser


def test_browser_without_events_is_stuck_and_the_visited_url_is_named() -> None:
    """The pipes are the browser: it sends one event, and then nothing."""
    opened = Browser.__new__(Browser)
    commands, opened._out = os.pipe()
    opened._in, events = os.pipe()
    opened._buffer, opened._number, opened._session = b"", 0, None
    opened._loaded, opened._failed, opened.requests = set(), set(), []
    opened.patience = 0.01
    try:
        opened.send("Page.navigate", url="https://stuck.test/")
        os.write(events, json.dumps({"method": "Page.frameStartedLoading"}).encode() + b"\0")
        assert opened.message()["method"] == "Page.frameStartedLoading"
        with pytest.raises(AssertionError, match=r"after https://stuck\.test/"):
            opened.message()
    finally:
        for fd in (commands, opened._out, opened._in, events):
            os.close(fd)
