"""Parse pages in a separate process.

If an input crashes or blocks the HTML parser, only that process ends, after a few seconds. Each
scanning process starts one parser process with its first page. A message is one line of JSON
followed by the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from certmgr.scan.page import is_html, read
from certmgr.scan.visits import Page

_log = logging.getLogger(__name__)

SECONDS = 2.0
START_SECONDS = 60.0  # separate from SECONDS: a busy machine starts processes slowly
MAX_ANSWER = 1_048_576  # bytes of one page's facts as JSON
MAX_MEMORY = 1_500_000_000
_LISTS = ("secrets", "inputs", "insecure_forms", "active", "passive")


class PageParserProcess:
    """The client side of the parser process.

    :meth:`read` never raises for the content of a page.
    """

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
        """Return the page, or None if the body is not HTML.

        If the page could not be parsed, its note states why.
        """
        if not is_html(content_type, body):
            return None
        # One page at a time: the protocol has no message numbers.
        async with self._turn:
            try:
                process = await asyncio.wait_for(self._started(), START_SECONDS)
                return await asyncio.wait_for(
                    self._ask(process, body, content_type, url, policies),
                    SECONDS,
                )
            except TimeoutError:
                await self._end()
                return Page(note="parsing the page takes longer than a few seconds")
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                await self._end()
                return Page(note="the page crashes the HTML parser")

    async def _started(self) -> asyncio.subprocess.Process:
        """Return the process, and start it if there is none.

        It writes one line when it is ready.
        """
        if self._process is None:
            # -P: a folder named certmgr in the working directory must not be imported.
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
            _log.debug("ending the page parser")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """End the process."""
        await self._end()


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Parse pages until the parent process closes the pipe."""

    sink.write(b"ready\n")
    sink.flush()
    while head := source.readline():
        request = json.loads(head)
        body = source.read(request["size"])
        # SIGALRM is not handled: it ends the process, even inside the parser, if the parent died
        # or did not kill it in time.
        signal.alarm(int(2 * SECONDS))
        page = read(body, request["content_type"], request["url"], tuple(request["policies"]))
        signal.alarm(0)
        sink.write(json.dumps(asdict(page)).encode() + b"\n")
        sink.flush()


if __name__ == "__main__":
    import resource

    # Ctrl-C goes to the whole process group. The parent ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    # A crash by a hostile page must not fill the disk with core files.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
