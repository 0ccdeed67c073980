"""The process that parses pages."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from certmgr.scan import page_process
from certmgr.scan.visits import Page


def test_slow_start_of_the_process_does_not_count_towards_the_time_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 1.2\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(page_process, "SECONDS", 1.0)

    async def read() -> Page | None:
        parser = page_process.PageParserProcess()
        try:
            return await parser.read(b"<title>Shop</title>", "text/html", "http://a.test/", ())
        finally:
            await parser.close()

    page = asyncio.run(read())
    assert page is not None
    assert (page.title, page.note) == ("Shop", "")
