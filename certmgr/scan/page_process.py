"""Parse pages in a separate process.

If an input crashes or blocks the parser, only that process ends. Its limit is CPU time, so that a
busy machine does not make a page look slow, and a site is blamed only for what its page did:
whatever else goes wrong is the problem of this machine. A message is one line of JSON followed by
the body. page_parsers.py distributes the pages over several processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from certmgr.scan.page import read
from certmgr.scan.page_source import document_kind
from certmgr.scan.visits import Page
from inventory.sandbox import confine

_log = logging.getLogger(__name__)

# An ordinary page takes some milliseconds. Some hostile ones take minutes for a megabyte.
SECONDS = 2.0  # of CPU time, per page
START_SECONDS = 120.0
# Only a machine that does not run the process at all exceeds it, since the CPU time is limited.
ANSWER_SECONDS = 300.0
# A killed process ends at once, unless the kernel waits for a disk.
END_SECONDS = 5.0
MAX_ANSWER = 1_048_576  # bytes of one page's facts as JSON
# The tree of a page takes many times the memory of its text, which has 1 MB at most.
MAX_MEMORY = 1_500_000_000
SLOW = "parsing the page takes longer than a few seconds"
CRASHED = "the page crashes the HTML parser"
NO_ANSWER = "the process that reads pages does not answer"
_CPU = "cpu_seconds"
_LISTS = ("secrets", "inputs", "insecure_forms", "active", "passive")
# Signals that only other programs send, such as an administrator or the system without memory.
_ENDED_BY_OTHERS = frozenset(
    {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, -signal.SIGPIPE}
)


class _ReaderError(Exception):
    """The process did not do its work, and the page is not the cause."""


class PageParserProcess:
    """The client side of the parser process.

    :meth:`read` never raises for the content of a page.

    Attributes:
        seconds: The CPU time of the last page.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Start the process if there is none, without waiting for it."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(_start())

    async def read(
        self,
        body: bytes,
        content_type: str | None,
        url: str,
        policies: tuple[str, ...],
        *,
        nosniff: bool = False,
    ) -> Page | None:
        """Return the page, or None if a browser does not show the body as a document.

        If the page could not be parsed, its ``note`` states why. If this machine is the cause, its
        ``error`` does.
        """
        kind = document_kind(content_type, body, nosniff=nosniff)
        if not kind:
            return None
        head = json.dumps(
            {"size": len(body), "content_type": content_type, "url": url, "policies": policies},
        )
        # One page at a time: the protocol has no message numbers.
        async with self._turn:
            self.seconds = 0.0
            # The process may have ended while it was idle, so a second one gets a chance.
            for _ in range(2):
                try:
                    return await self._ask(head.encode() + b"\n" + body)
                except _ReaderError:
                    _log.warning("the page parser did not answer")
        return Page(error=NO_ANSWER)

    async def _ask(self, message: bytes) -> Page:
        self.start()
        assert self._starting is not None
        try:
            # A task that is shared must outlive the time-out of one caller.
            process = await asyncio.wait_for(asyncio.shield(self._starting), START_SECONDS)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            await self._end()
            raise _ReaderError from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # One limit for both directions: a process that is stopped does not read either.
            async with asyncio.timeout(ANSWER_SECONDS):
                process.stdin.write(message)
                # A process that ends closes both pipes; its exit code has the reason.
                with contextlib.suppress(OSError):
                    await process.stdin.drain()
                values: dict[str, Any] = json.loads(await process.stdout.readuntil(b"\n"))
        except asyncio.IncompleteReadError as error:
            code = await _ended(process)
            await self._end()
            # None: it closed its pipe and goes on.
            if code is None or code in _ENDED_BY_OTHERS:
                raise _ReaderError from error
            self.seconds = SECONDS
            return Page(note=SLOW if code == -signal.SIGPROF else CRASHED)
        except (TimeoutError, OSError) as error:
            await self._end()
            raise _ReaderError from error
        except (asyncio.LimitOverrunError, ValueError):
            await self._end()
            self.seconds = SECONDS
            return Page(note=CRASHED)
        self.seconds = values.pop(_CPU)
        return Page(**{**values, **{k: tuple(values[k]) for k in _LISTS}})

    async def _end(self) -> None:
        starting, self._starting = self._starting, None
        if starting is None:
            return
        _log.debug("ending the page parser")
        if not starting.done():
            starting.cancel()
        # asyncio.wait raises only if the caller itself is cancelled. That must not be suppressed
        # together with the end of the process: the caller would go on after the end of the scan.
        await asyncio.wait([starting])
        if starting.cancelled() or starting.exception() is not None:
            return
        await _kill(starting.result())

    async def close(self) -> None:
        """End the process."""
        await self._end()


async def _start() -> asyncio.subprocess.Process:
    """Start the process. It writes one line when it is ready."""
    # -P: a folder named certmgr in the working directory must not be imported.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "certmgr.scan.page_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_ANSWER,
        # None of our environment variables, which may hold secrets.
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        cwd="/",
    )
    assert process.stdout is not None
    try:
        await process.stdout.readuntil(b"\n")
    except BaseException:
        await _kill(process)
        raise
    return process


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> int | None:
    """Wait for the end of a process for some seconds. Return its exit code, or None."""
    try:
        async with asyncio.timeout(END_SECONDS):
            return await process.wait()
    except TimeoutError:
        return None


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Parse pages until the parent process closes the pipe."""

    sink.write(b"ready\n")
    sink.flush()
    while head := source.readline():
        request = json.loads(head)
        body = source.read(request["size"])
        # SIGPROF counts the CPU time of this process. It is not handled, so that it ends the
        # process even inside the parser.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        begun = time.process_time()
        page = read(body, request["content_type"], request["url"], tuple(request["policies"]))
        seconds = time.process_time() - begun
        answer = json.dumps(asdict(page) | {_CPU: seconds}).encode() + b"\n"
        signal.setitimer(signal.ITIMER_PROF, 0)
        sink.write(answer)
        sink.flush()


if __name__ == "__main__":
    # Ctrl-C goes to the whole process group. The parent ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine(MAX_MEMORY)
    serve(sys.stdin.buffer, sys.stdout.buffer)
