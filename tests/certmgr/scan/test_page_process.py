"""The process that parses pages."""

from __future__ import annotations

import asyncio
import os
import signal
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


BUSY = """
import sys
from certmgr.scan import page_process
def read(body, content_type, url, policies):
    {action}
page_process.read = read
page_process.serve(sys.stdin.buffer, sys.stdout.buffer)
"""


def fake_program(folder: Path, action: str) -> str:
    """Return a program that runs the server side, with another function for each page."""
    program = folder / "python"
    code = folder / "busy.py"
    code.write_text(BUSY.format(action=action))
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {code}\n")
    program.chmod(0o755)
    return str(program)


def read_with(action: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(sys, "executable", fake_program(folder, action))

    async def read() -> Page | None:
        parser = page_process.PageParserProcess()
        try:
            return await parser.read(b"<p>x", "text/html", "http://a.test/", ())
        finally:
            await parser.close()

    page = asyncio.run(read())
    assert page is not None
    return page


def test_page_that_takes_much_cpu_time_is_the_problem_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = read_with("while True: pass", tmp_path, monkeypatch)
    assert (page.note, page.error) == (page_process.SLOW, "")


def test_page_that_waits_for_the_machine_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time without CPU does not count: more of it passes here than a page may take."""
    action = "import time; time.sleep(3); from certmgr.scan.visits import Page; return Page('T')"
    page = read_with(action, tmp_path, monkeypatch)
    assert (page.title, page.note, page.error) == ("T", "", "")


@pytest.mark.parametrize("action", ["raise MemoryError", "import os; os.abort()"])
def test_page_that_crashes_the_process_is_the_problem_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    page = read_with(action, tmp_path, monkeypatch)
    assert (page.note, page.error) == (page_process.CRASHED, "")


@pytest.mark.parametrize(
    "action",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["killed", "ended", "stopped"],
)
def test_answer_that_does_not_come_is_the_problem_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(page_process, "ANSWER_SECONDS", 1.0)
    page = read_with(action, tmp_path, monkeypatch)
    assert (page.note, page.error) == ("", page_process.NO_ANSWER)


@pytest.mark.parametrize("size", [10, 3_000_000], ids=["short-page", "longer-than-a-pipe"])
def test_process_that_is_stopped_before_a_page_is_the_problem_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(page_process, "ANSWER_SECONDS", 0.5)

    async def read() -> Page | None:
        parser = page_process.PageParserProcess()
        try:
            return await parser.read(b"x" * size, "text/html", "http://a.test/", ())
        finally:
            await parser.close()

    started = page_process._start

    async def stopped() -> asyncio.subprocess.Process:
        process = await started()
        process.send_signal(signal.SIGSTOP)
        return process

    monkeypatch.setattr(page_process, "_start", stopped)
    page = asyncio.run(read())
    assert page is not None
    assert (page.note, page.error) == ("", page_process.NO_ANSWER)


def test_process_that_does_not_start_is_the_problem_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))

    async def read() -> Page | None:
        return await page_process.PageParserProcess().read(
            b"<p>", "text/html", "http://a.test/", ()
        )

    page = asyncio.run(read())
    assert page is not None
    assert page.error == page_process.NO_ANSWER


def test_process_that_ended_while_idle_is_replaced() -> None:
    async def read() -> Page | None:
        parser = page_process.PageParserProcess()
        parser.start()
        assert parser._starting is not None
        process = await parser._starting
        os.kill(process.pid, signal.SIGKILL)
        try:
            return await parser.read(b"<title>T</title>", "text/html", "http://a.test/", ())
        finally:
            await parser.close()

    page = asyncio.run(read())
    assert page is not None
    assert (page.title, page.note, page.error) == ("T", "", "")


def test_caller_that_is_cancelled_while_the_process_ends_is_cancelled() -> None:
    """Otherwise it goes on after the end of the scan, and waits without end."""

    class Unkillable:
        def kill(self) -> None:
            """Do nothing."""

        async def wait(self) -> None:
            await asyncio.Event().wait()

    async def start() -> Unkillable:
        return Unkillable()

    async def cancelled() -> bool:
        parser = page_process.PageParserProcess()
        starting = asyncio.ensure_future(start())
        await starting
        parser._starting = starting  # type: ignore[assignment]
        ending = asyncio.ensure_future(parser.close())
        for _ in range(3):
            await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending])
        return ending.cancelled()

    assert asyncio.run(cancelled())


def test_close_ends_a_process_that_is_starting() -> None:
    async def close() -> None:
        parser = page_process.PageParserProcess()
        parser.start()
        await parser.close()

    asyncio.run(close())
