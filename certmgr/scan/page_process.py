"""Pages are read in a process of its own: what breaks or blocks the HTML parser ends that process,
after a few seconds, and nothing else.

One a scanning process, started with its first page. Messages are a line of JSON, and behind it the
body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from certmgr.scan.page import is_html, read
from certmgr.scan.visits import Page

SECONDS = 2.0
START_SECONDS = 60.0  # does not count towards a page: a busy machine starts processes slowly
MAX_ANSWER = 1_048_576  # bytes of one page's facts as JSON
MAX_MEMORY = 1_500_000_000
_LISTS = ("secrets", "inputs", "insecure_forms", "active", "passive")


class PageParserProcess:
    """:meth:`read` never raises for what a page contains."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def read(
        self,
        body: bytes,
        content_type: str | None,
        url: str,
        policies: tuple[str, ...],
    ) -> Page | None:
        """The page, None where it is no HTML; with a note where it could not be read."""
        if not is_html(content_type, body):
            return None
        async with self._turn:
            try:
                process = await asyncio.wait_for(self._started(), START_SECONDS)
                return await asyncio.wait_for(
                    self._ask(process, body, content_type, url, policies),
                    SECONDS,
                )
            except TimeoutError:
                await self._end()
                return Page(note="the page is built so that it cannot be read in a few seconds")
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                await self._end()
                return Page(note="the page breaks what reads it")

    async def _started(self) -> asyncio.subprocess.Process:
        """Return the process, which is started if there is none.

        It writes a line when it is ready.
        """
        if self._process is None:
            # -P: a folder named certmgr in the working directory is not ours.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "certmgr.scan.page_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=MAX_ANSWER,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
            assert self._process.stdout is not None
            await self._process.stdout.readuntil(b"\n")
        return self._process

    async def _ask(
        self,
        process: asyncio.subprocess.Process,
        body: bytes,
        content_type: str | None,
        url: str,
        policies: tuple[str, ...],
    ) -> Page:
        assert process.stdin is not None
        assert process.stdout is not None
        head = json.dumps(
            {"size": len(body), "content_type": content_type, "url": url, "policies": policies},
        )
        process.stdin.write(head.encode() + b"\n" + body)
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        values: dict[str, Any] = json.loads(line)
        return Page(values["title"], note=values["note"], **{k: tuple(values[k]) for k in _LISTS})

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        await self._end()


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Reads pages until the parent is gone."""

    sink.write(b"ready\n")
    sink.flush()
    while head := source.readline():
        asked = json.loads(head)
        body = source.read(asked["size"])
        # The signal is not handled: it ends the process, even in the middle of the parser.
        signal.alarm(int(2 * SECONDS))
        page = read(body, asked["content_type"], asked["url"], tuple(asked["policies"]))
        signal.alarm(0)
        sink.write(json.dumps(asdict(page)).encode() + b"\n")
        sink.flush()


if __name__ == "__main__":
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
