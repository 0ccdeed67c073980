"""The program ``certmgr`` as a user calls it: in this process, with a given clock, or as a process.

In this process a call costs a tenth of a process of its own, and the clock can be handed in. What
only a process can show (signals, pipes, the start-up time) is tested with :func:`run_process`.
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
    """The exit code and the output of one call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Stream(io.TextIOWrapper):
    """A text stream over bytes that click and rich write to, as they would to a pipe."""

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
    """Run the command line as a process, which reads the system's clock."""
    content = input.encode() if isinstance(input, str) else input
    done = subprocess.run(
        [sys.executable, "-m", "certmgr", *arguments],
        capture_output=True,
        input=content,
        timeout=600,
        env={**os.environ, **(environment or {})},
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
