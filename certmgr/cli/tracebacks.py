"""Tracebacks for programmers, without secrets and without control characters.

The message of an error may quote a URL with a password, or a text from outside.
"""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType

import click

from certmgr.config.redaction import redact
from inventory.text import printable

_MAX_LINE = 2000
# Each chained or grouped error adds lines, and a hostile answer may cause many of them.
_MAX_LINES = 2000


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an error on stderr."""
    for line in traceback_lines(error):
        click.echo(line, err=True)


def traceback_lines(error: BaseException) -> list[str]:
    """Return the traceback of an error as printable lines.

    They are indented, so that a line break in a message forges no line of certmgr.
    """
    # Redacted as a whole: a secret may have several lines.
    text = redact("".join(traceback.TracebackException.from_exception(error).format()))
    lines = text.rstrip("\n").split("\n")
    shown = ["  " + printable(line, _MAX_LINE) for line in lines[:_MAX_LINES]]
    return shown + ["  ..."] * (len(lines) > _MAX_LINES)


def install() -> None:
    """Print errors that no command can catch in the same way: in threads and destructors."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print_traceback(error.with_traceback(trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    # As the hook of Python does: SystemExit only ends the thread.
    if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
        print_traceback(found.exc_value)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    if found.exc_value is not None:
        print_traceback(found.exc_value)
