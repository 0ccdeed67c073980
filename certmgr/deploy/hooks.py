"""Runs the administrator's programs: reloads, tests and DNS hooks.

A program is an argument list with an absolute path. It runs as a configured user, with a minimal
environment and a time limit.

No shell is involved, so that no text is parsed as a command. Text from a CA or a server is never an
argument: arguments are checked against a list of safe characters.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import re
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventory.errors import CertmgrError, UsageError
from inventory.processes import kill
from inventory.text import printable

_log = logging.getLogger(__name__)

MAX_OUTPUT = 64 * 1024
# cron's PATH lacks sbin, where nginx and apachectl are; an inherited one could name any folder.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"CERTMGR_[A-Z0-9_]{1,60}")
# No quotes, no dollar sign, no newline: harmless even in a careless shell script.
_VALUE = re.compile(r"[A-Za-z0-9._~*:/@+=, -]{0,8000}")
_ARGUMENT = re.compile(r"[A-Za-z0-9._~*:/@+=,][A-Za-z0-9._~*:/@+=,-]{0,1999}")
# The value of a dns-01 record (RFC 8555, 8.4). One in 64 begins with a hyphen, which is otherwise
# refused because it could be parsed as an option.
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
# Output is shown in terminals and mails, where an escape sequence could hide or rewrite text.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|["
    r" -/]*[0-~])"
)
_DRAIN_SECONDS = 0.5  # how long the output of a daemon that stays behind is still read


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a program.

    Attributes:
        ok: Whether the exit code was 0.
        code: The exit code; None if the program was killed.
        signal: The signal that killed it.
        timed_out: Whether it was killed because of the time limit.
        is_running: Whether it could not be killed, and is still running.
        output: Both output streams as printable lines, at most 64 KB.
    """

    ok: bool
    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    is_running: bool = False
    output: str = ""

    @property
    def sentence(self) -> str:
        """The result as text, without the output."""
        if self.is_running:
            return (
                "it did not finish in time and is still running: it could not be killed, for"
                " example because it became another user"
            )
        if self.timed_out:
            return "it did not finish in time, and was killed"
        if self.signal is not None:
            return f"it was killed by signal {self.signal}"
        return "it succeeded" if self.ok else f"it ended with exit code {self.code}"

    @property
    def output_tail(self) -> str:
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
    """Run a program and block until it has ended.

    Processes that the program leaves behind on success, such as a server, continue to run. They are
    not waited for.

    Args:
        command: The command of the configuration.
        user: The user that it runs as; empty for the current one.
        timeout: Seconds after which the whole process group is killed. One that cannot be killed
            is left after some more seconds.
        extra_environment: CERTMGR_* -> value. Values are checked like arguments, and may contain
            blanks.
        arguments: Arguments that follow the command.

    Raises:
        CertmgrError: The program cannot be started.
        UsageError: The path is not absolute, or an argument or a variable is not safe.
    """
    # Checked before the fork, so that nothing runs of a command that is not safe.
    words = _words(command, arguments)
    identity = _identity(user)
    _log.info("running %s", words[0])
    try:
        process = subprocess.Popen(
            words,
            env=_environment(extra_environment or {}),
            # A folder that certmgr was started in may be removed, or belong to another user.
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=True,
            # A separate process group, so that the time limit ends its children too.
            start_new_session=True,
            # The umask of certmgr keeps keys private; files of a reload program are not keys.
            umask=0o022,
            **identity,
        )
    except OSError as error:
        raise CertmgrError(
            f"{words[0]} cannot be run",
            error.strerror or str(error),
            "Correct the path, its mode, or the user in the configuration.",
        ) from None
    return _wait_for(process, time.monotonic() + timeout)


def _words(command: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the words of a command. Raise :class:`UsageError` if it is not safe to run."""
    words = [*command, *(_argument(a) for a in arguments)]
    # A relative path would depend on PATH and the working directory.
    if not words or not words[0].startswith("/"):
        raise UsageError(
            f"'{printable(' '.join(command), 80)}' is not run",
            "the program has no absolute path",
            "Write the absolute path in the configuration.",
        )
    # NUL ends an argument for the kernel, so that the rest would be lost.
    if any("\0" in w for w in words):
        raise UsageError(
            "A program is not run",
            "an argument contains a NUL character",
            "Correct the configuration.",
        )
    return words


def _argument(text: str) -> str:
    """Return an argument if it is safe. Raise :class:`UsageError` otherwise."""
    if not (_ARGUMENT.fullmatch(text) or _DIGEST.fullmatch(text)):
        raise UsageError(
            f"'{printable(text, 60)}' is not passed to a program",
            "it may contain only letters, digits and ._~*:/@+=,- and no leading hyphen",
            "Correct the name that it comes from.",
        )
    return text


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program. Nothing is inherited, since it may contain secrets."""
    for name, value in extra.items():
        if not _VARIABLE.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UsageError(
                f"{printable(name, 40)}='{printable(value, 60)}' is not passed to a program",
                "the name or the value contains characters that are not allowed",
                "Correct the name that it comes from.",
            )
    return {"PATH": PATH, "LANG": "C.UTF-8", **extra}


def _identity(user: str) -> dict[str, Any]:
    """Return the arguments of Popen to become ``user`` with all groups; empty for no change."""
    if not user:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CertmgrError(
            f"This machine has no user '{printable(user, 40)}'",
            "",
            "Correct the user in the configuration.",
        ) from None
    if entry.pw_uid == os.geteuid():
        return {}
    # Reported here, because Popen would only report a failed system call.
    if os.geteuid() != 0:
        raise CertmgrError(
            f"A program of user '{user}' cannot be run",
            "only root can become another user",
            "Run certmgr as root, or as that user.",
        )
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        # All groups of the user, as a login has them: a reload may need a group such as adm or
        # ssl-cert.
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
    }


def _wait_for(process: subprocess.Popen[bytes], end: float) -> CommandResult:
    """Read the output of a process until it ends or the time is over.

    Args:
        process: The process.
        end: The time limit on the monotonic clock.
    """
    assert process.stdout is not None
    kept = bytearray()
    timed_out = False
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
        reading, ended_at = True, 0.0
        while True:
            # A daemon may keep the pipe open, so that the end of the process decides.
            if process.poll() is not None:
                ended_at = ended_at or time.monotonic()
                if not reading or time.monotonic() > ended_at + _DRAIN_SECONDS:
                    break
            elif time.monotonic() > end:
                timed_out = True
                break
            if reading:
                reading = _read(stream.fileno(), kept) if selector.select(0.05) else True
            else:  # the output is closed, so that the process is about to end
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
        if timed_out:
            # The whole group: a shell script would leave its children behind.
            ended = kill(process, group=True)
            if not ended:
                _log.warning("process %d could not be killed, and is still running", process.pid)
            return CommandResult(
                False, timed_out=True, is_running=not ended, output=printable_output(kept)
            )
    code = process.returncode
    return CommandResult(
        code == 0,
        code if code >= 0 else None,
        -code if code < 0 else None,
        output=printable_output(kept),
    )


def _read(descriptor: int, kept: bytearray) -> bool:
    """Read a part of the output, and return False at its end.

    Output beyond the limit is read and dropped, so that the program is not blocked by a full pipe.
    """
    try:
        data = os.read(descriptor, 65_536)
    except BlockingIOError:
        return True
    kept += data[: max(0, MAX_OUTPUT - len(kept))]
    return bool(data)


def printable_output(data: bytes | bytearray) -> str:
    """Return output as printable lines without escape sequences, at most 64 KB."""
    plain = _ESCAPES.sub("", bytes(data).decode("utf-8", "replace"))
    return "\n".join(printable(line, 2000) for line in re.split(r"\r?\n", plain))[
        :MAX_OUTPUT
    ].strip()


def display_command(program: Sequence[str]) -> str:
    """Return a command for a message, with the name of the program instead of its path."""
    return printable(" ".join(Path(w).name if i == 0 else w for i, w in enumerate(program)), 80)
