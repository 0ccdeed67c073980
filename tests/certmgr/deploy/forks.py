"""A process with one thread that forks children for tests.

A fork copies the locks that other threads hold, and pytest has other threads (those of pytest-xdist
and of servers). So a test that needs a fork sends a job to this process, which runs for the whole
session: ``python -m tests.certmgr.deploy.forks MODULE``. ``MODULE.JOBS`` holds the jobs by name.
Requests and answers are lines of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.campaign import PATIENCE
from tests.databases import share_statements_with_forks

REPOSITORY = Path(__file__).parents[3]
Jobs = Mapping[str, Callable[..., Any]]
"""Jobs take and return what JSON can hold."""

STEPS = (
    "open",
    "write",
    "fsync",
    "fchmod",
    "fchown",
    "chmod",
    "mkdir",
    "rename",
    "symlink",
    "link",
    "unlink",
    "rmdir",
    "close",
)
"""The functions of ``os`` that count as steps."""


class Forks:
    """The process, as its tests see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self, job: str, **arguments: Any) -> Any:
        """Run a job and return its answer. A failure there is a failure here."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([job, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait()} in {job}"
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]


@contextmanager
def forks(module: str) -> Iterator[Forks]:
    """Start the process with the jobs of ``module``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.certmgr.deploy.forks", module],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # which closes the pipes; an end of the input ends the process
        yield Forks(process)


def serve(jobs: Jobs) -> None:
    """Answer each line of the standard input. What jobs print goes to the standard error."""
    share_statements_with_forks()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job, arguments = json.loads(line)
        try:
            answer = {"value": jobs[job](**arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Child:
    """A forked child that runs ``act`` and returns its result or its failure."""

    def __init__(self, act: Callable[[], Any]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            self._run(act, writing)
        os.close(writing)
        self._reading = reading

    @staticmethod
    def _run(act: Callable[[], Any], writing: int) -> None:
        signal.alarm(int(PATIENCE))  # one act is one step of its campaign
        write, leave = os.write, os._exit  # as they are before the act replaces any
        try:
            answer = {"value": act()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        data = json.dumps(answer).encode()
        while data:
            data = data[write(writing, data) :]
        leave(0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def ended_by(self) -> int:
        """Wait for its end, and return the signal that killed it, or 0. Raises its failure."""
        with os.fdopen(self._reading, "rb") as pipe:
            text = pipe.read()
        status = os.waitpid(self.pid, 0)[1]
        self.answer: dict[str, Any] = json.loads(text) if text else {}
        if "error" in self.answer:
            raise AssertionError(self.answer["error"])
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def result(self) -> Any:
        assert self.ended_by() == 0
        return self.answer["value"]

    def ended_within(self, seconds: float) -> bool:
        """Whether it ended, or died, within a time."""
        return bool(select.select([self._reading], [], [], seconds)[0])


def die_at(step: int) -> Callable[[], None]:
    """Kill this process before its ``step``-th step, counted from 1.

    If that step writes, the first half of the data is written. The function that is returned counts
    a step of another kind, such as an SQL statement.
    """
    left = step

    def count(before: Callable[[], object] = lambda: None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            before()
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "write":
                descriptor, data = arguments
                count(lambda: real(descriptor, bytes(data)[: len(data) // 2]))
            else:
                count()
            return real(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, wrapped(name, getattr(os, name)))
    return count


@contextmanager
def without_sync() -> Iterator[None]:
    """Make ``os.fsync`` free.

    The kernel keeps what a killed process wrote, synced or not, so that fsync changes no result of
    a kill; on a busy disk it takes nearly all of the time. A separate test shows that each step is
    synced before the next one needs it.
    """
    real = os.fsync
    os.fsync = os.fstat  # type: ignore[assignment] # still a fault for a descriptor that is closed
    try:
        yield
    finally:
        os.fsync = real


if __name__ == "__main__":
    serve(importlib.import_module(sys.argv[1]).JOBS)
