"""Programs of the administrator: reloads, tests, DNS hooks.

An argument list with an absolute path, its own user, a bare environment, a time limit.

No shell takes part, so that no text is ever parsed as a command; and what comes from a CA or a
server is not even an argument: only words of ours are.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventory.errors import CertmgrError, UsageError
from inventory.text import printable

MAX_OUTPUT = 64 * 1024
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"CERTMGR_[A-Z0-9_]{1,60}")
_VALUE = re.compile(r"[A-Za-z0-9._~*:/@+=, -]{0,8000}")
_ARGUMENT = re.compile(r"[A-Za-z0-9._~*:/@+=,][A-Za-z0-9._~*:/@+=,-]{0,1999}")
_DIGEST = re.compile(
    r"[A-Za-z0-9_-]{43}"
)  # the value of a dns-01 record: one in 64 begins with a hyphen
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|["
    r" -/]*[0-~])"
)
_AFTER = 0.5  # seconds in which a daemon that was left behind may still write


@dataclass(frozen=True, slots=True)
class CommandResult:
    """``code``: the exit code, None where it was ended by ``signal`` or by us (``timed_out``).

    ``output``: both streams, printable, lines kept, at most 64 KB.
    """

    ok: bool
    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    output: str = ""

    @property
    def sentence(self) -> str:
        """Without the output."""
        if self.timed_out:
            return "it did not end in time, and was ended"
        if self.signal is not None:
            return f"it was ended by signal {self.signal}"
        return "it succeeded" if self.ok else f"it ended with exit code {self.code}"

    @property
    def last_words(self) -> str:
        """The end of the output in one line, for a message."""
        return " / ".join(line for line in self.output.splitlines() if line.strip())[-300:]


def run(
    command: Sequence[str],
    *,
    user: str = "",
    timeout: float = 60.0,
    extra_environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> CommandResult:
    """Blocks until it ended.

    ``command``: from the configuration. ``user``: empty for our own. ``timeout``: seconds, then the
    whole process group is killed. ``extra_environment``: CERTMGR_* -> a word of ours (or several,
    with blanks). ``arguments``: words of ours that follow the command.

    What the program starts and leaves behind on success is left alone (a server is such a thing);
    it is not waited for. Raises :class:`CertmgrError`: it cannot be started; :class:`UsageError`:
    it must not be.
    """
    words = [*command, *(_argument(a) for a in arguments)]
    if not words or not words[0].startswith("/"):
        raise UsageError(
            f"'{printable(' '.join(command), 80)}' is not run",
            "the program has no absolute path",
            "Write it whole in the configuration.",
        )
    if any("\0" in w for w in words):
        raise UsageError(
            "A program is not run",
            "an argument holds a NUL character",
            "Correct the configuration.",
        )
    identity = _identity(user)
    try:
        process = subprocess.Popen(
            words,
            env=_environment(extra_environment or {}),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=True,
            start_new_session=True,
            umask=0o022,
            **identity,
        )
    except OSError as error:
        raise CertmgrError(
            f"{words[0]} cannot be run",
            error.strerror or str(error),
            "Correct the path, its mode, or the user in the configuration.",
        ) from None
    return _follow(process, time.monotonic() + timeout)


def _argument(text: str) -> str:
    if not (_ARGUMENT.fullmatch(text) or _DIGEST.fullmatch(text)):
        raise UsageError(
            f"'{printable(text, 60)}' is not given to a program", "it is not a plain word"
        )
    return text


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    for name, value in extra.items():
        if not _VARIABLE.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UsageError(
                f"{printable(name, 40)}='{printable(value, 60)}' is not given to a program",
                "it is not a plain word",
            )
    return {"PATH": PATH, "LANG": "C.UTF-8", **extra}


def _identity(user: str) -> dict[str, Any]:
    """What Popen needs to become ``user`` with all its groups; empty for ourselves."""
    if not user:
        return {}
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise CertmgrError(
            f"There is no user '{printable(user, 40)}' here",
            "",
            "Correct the user in the configuration.",
        ) from None
    if found.pw_uid == os.geteuid():
        return {}
    if os.geteuid() != 0:
        raise CertmgrError(
            f"A program of user '{user}' cannot be run",
            "only root can become another user",
            "Run certmgr as root, or as that user.",
        )
    return {
        "user": found.pw_uid,
        "group": found.pw_gid,
        "extra_groups": os.getgrouplist(user, found.pw_gid),
    }


def _follow(process: subprocess.Popen[bytes], end: float) -> CommandResult:
    assert process.stdout is not None
    kept = bytearray()
    timed_out = False
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
        reading, ended_at = True, 0.0
        while True:
            if process.poll() is not None:
                ended_at = ended_at or time.monotonic()
                if not reading or time.monotonic() > ended_at + _AFTER:
                    break
            elif time.monotonic() > end:
                timed_out = True
                break
            if reading:
                reading = _read(stream.fileno(), kept) if selector.select(0.05) else True
            else:  # its output is closed, so that its end is near
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
        if timed_out:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    code = process.returncode
    if timed_out:
        return CommandResult(False, timed_out=True, output=printable_output(kept))
    return CommandResult(
        code == 0,
        code if code >= 0 else None,
        -code if code < 0 else None,
        output=printable_output(kept),
    )


def _read(descriptor: int, kept: bytearray) -> bool:
    """False at the end.

    What is beyond the bound is read and dropped, so that the program does not stand still.
    """
    try:
        data = os.read(descriptor, 65_536)
    except BlockingIOError:
        return True
    kept += data[: max(0, MAX_OUTPUT - len(kept))]
    return bool(data)


def printable_output(data: bytes | bytearray) -> str:
    """Escape sequences removed, lines kept, at most 64 KB."""
    plain = _ESCAPES.sub("", bytes(data).decode("utf-8", "replace"))
    return "\n".join(printable(line, 2000) for line in re.split(r"\r?\n", plain))[
        :MAX_OUTPUT
    ].strip()


def shown(program: Sequence[str]) -> str:
    """A command in a message."""
    return printable(" ".join(Path(w).name if i == 0 else w for i, w in enumerate(program)), 80)
