"""Calls of the command line ``certmgr``, in this process or in a separate process.

A call in this process takes a tenth of the time, and can use the clock of the test. Signals, pipes
and the start-up time are tested with :func:`run_process`.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from certmgr.cli.main import main
from inventory.clock import Clock


@dataclass(slots=True)
class Ran:
    """Exit code and output of one call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, parsed as JSON."""
        return json.loads(self.out)


class _Stream(io.TextIOWrapper):
    """A text stream over bytes, which click and rich treat like a pipe."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", newline="", write_through=True)

    def text(self) -> str:
        self.flush()
        buffer: Any = self.buffer
        return str(buffer.getvalue().decode())


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def run(
    arguments: Sequence[str],
    clock: Clock,
    *,
    input: str | bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Call the command line in this process. Standard input is empty unless it is given."""
    content = input.encode() if isinstance(input, str) else input or b""
    streams = _Stream(content), _Stream(), _Stream()
    before = sys.stdin, sys.stdout, sys.stderr
    handlers = list(logging.getLogger().handlers)
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        with _environment(environment or {}):
            code = main(arguments, clock)
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        logging.getLogger().handlers[:] = handlers
    return Ran(code, streams[1].text(), streams[2].text())


def run_process(
    arguments: Sequence[str],
    *,
    input: str | bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run the command line as a process, with the system clock."""
    content = input.encode() if isinstance(input, str) else input
    completed = subprocess.run(
        [sys.executable, "-m", "certmgr", *arguments],
        capture_output=True,
        input=content,
        timeout=600,
        env={**os.environ, **(environment or {})},
    )
    return Ran(completed.returncode, completed.stdout.decode(), completed.stderr.decode())
