"""Parse mail in a separate process, with limits of CPU time and memory.

If a mail crashes or blocks the parser, only that process ends, and the mail keeps what its headers
show. The process answers each mail with two lines of JSON: the headers first, then the whole mail.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self

from inventory.errors import CertmgrError
from inventory.processes import kill
from inventory.sandbox import confine
from inventory.vocabulary import InboundKind
from notifiers.inbox.calendar_answers import CalendarAnswer
from notifiers.inbox.classify import MAX_MAIL, InboundMail, mail_key, parse_head, parse_whole

_log = logging.getLogger(__name__)

SECONDS = 2.0  # of CPU time, per mail
# Only a machine that does not run the process at all exceeds it, since the CPU time is limited.
ANSWER_SECONDS = 120.0
MAX_MEMORY = 1_000_000_000
MAX_ANSWER = 200_000
TOO_COSTLY = "its text is not read: it is damaged or malicious, and needs too much time to parse"


class MailParserProcess:
    """The client side of the parser process. It starts with the first mail.

    Attributes:
        seconds: The limit of CPU time per mail.
    """

    def __init__(self) -> None:
        self.seconds = SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def parse(self, raw: bytes) -> InboundMail:
        """Parse a mail.

        Raises:
            CertmgrError: The process does not answer, and the mail is not the cause.
        """
        raw = raw[:MAX_MAIL]
        process, end = self._start(), time.monotonic() + ANSWER_SECONDS
        request = json.dumps({"size": len(raw), "seconds": self.seconds})
        # A process that ends closes both pipes; the missing answer shows it.
        with contextlib.suppress(OSError):
            self._send(process, request.encode() + b"\n" + raw, end)
        head = self._answer(process, end)
        whole = self._answer(process, end) if head is not None else None
        if whole is not None:
            return whole
        self.close()
        return replace(head or InboundMail(InboundKind.UNCERTAIN, mail_key(raw)), text=TOO_COSTLY)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # -P: a folder named notifiers in the working directory must not be imported. The
            # process gets none of our environment variables, which may hold secrets.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "notifiers.inbox.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                cwd="/",
            )
            self._rest = b""
        return self._process

    def _send(self, process: subprocess.Popen[bytes], data: bytes, end: float) -> None:
        """Write to the process, until ``end`` on the monotonic clock.

        Raises:
            CertmgrError: The process does not read.
            OSError: The process has ended.
        """
        assert process.stdin is not None
        left = memoryview(data)
        while left:
            _, ready, _ = select.select([], [process.stdin], [], max(0.0, end - time.monotonic()))
            if not ready:
                self._give_up()
            # A pipe that is ready takes this much without waiting (POSIX: PIPE_BUF).
            left = left[os.write(process.stdin.fileno(), left[: select.PIPE_BUF]) :]

    def _answer(self, process: subprocess.Popen[bytes], end: float) -> InboundMail | None:
        """Return the next answer until ``end``; None if the process ended.

        Raises:
            CertmgrError: The process does not answer.
        """
        assert process.stdout is not None
        while b"\n" not in self._rest:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left)
            if not ready:
                self._give_up()
            data = os.read(process.stdout.fileno(), 65_536)
            if not data or len(self._rest) > MAX_ANSWER:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return _mail(json.loads(line))

    def _give_up(self) -> NoReturn:
        self.close()
        raise CertmgrError(
            "The inbox cannot be read",
            "the process that parses mail does not answer",
            "The mail stays unread and is read in the next run.",
        )

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        kill(process)


def _mail(values: dict[str, Any]) -> InboundMail:
    answer = values.pop("answer")
    lists = {k: tuple(values[k]) for k in ("marks", "references")}
    return InboundMail(
        **{**values, **lists, "kind": InboundKind(values["kind"])},
        answer=CalendarAnswer(**answer) if answer else None,
    )


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Parse mails until the parent process closes the pipe."""
    while line := source.readline():
        request = json.loads(line)
        raw = source.read(request["size"])
        # SIGPROF counts the CPU time of this process. It is not handled, so that it ends the
        # process even inside the parser.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        head = parse_head(raw)
        _write(sink, head)
        whole = parse_whole(raw, head)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(sink, whole)


def _write(sink: IO[bytes], mail: InboundMail) -> None:
    sink.write(json.dumps(asdict(mail)).encode() + b"\n")
    sink.flush()


if __name__ == "__main__":
    # Ctrl-C goes to the whole process group. The parent ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine(MAX_MEMORY)
    serve(sys.stdin.buffer, sys.stdout.buffer)
