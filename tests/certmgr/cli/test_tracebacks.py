"""Errors that quote outside texts and secrets, as --debug and the hooks of Python print them."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator

import click
import pytest

from certmgr.cli import tracebacks
from certmgr.cli.logs import PACKAGES, configure
from certmgr.cli.shared import fail, guard
from inventory.errors import CertmgrError

SECRET = "hunter2-hunter2"
HOSTILE = (
    f"https://ada:{SECRET}@host.example/\x1b[2J\x1b]0;title\x07\u202eevil\ncertmgr: all is well."
)


@pytest.fixture
def own_hooks() -> Iterator[None]:
    """Restore the hooks and the log of this process after a test."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook, logging.lastResort
    loggers = [logging.getLogger(name) for name in PACKAGES]
    logs = [(x, list(x.handlers), x.level, x.propagate) for x in loggers]
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook, logging.lastResort = before
    for logger, handlers, level, propagate in logs:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def caused() -> BaseException:
    """Return an error whose cause and note quote an outside text."""
    error = raised(RuntimeError("harmless"))
    error.__cause__ = raised(ValueError(HOSTILE))
    error.add_note(HOSTILE)
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ours": lambda: raised(CertmgrError(HOSTILE)),
    "internal": lambda: raised(ValueError(HOSTILE)),
    "cause-and-note": caused,
    "group": lambda: raised(ExceptionGroup(HOSTILE, [ValueError(HOSTILE)])),
    "syntax": lambda: raised(SyntaxError(HOSTILE, (HOSTILE, 1, 1, HOSTILE))),
}


def assert_harmless(text: str) -> None:
    assert SECRET not in text
    assert "***@host.example" in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("certmgr:") for line in text.split("\n"))


@pytest.mark.parametrize("kind", ERRORS)
def test_traceback_has_no_secret_and_no_control_character(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(ERRORS[kind](), debug=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("Traceback (most recent call last):")
    assert any("in raised" in line for line in lines)
    assert lines.pop().startswith("certmgr: ")
    assert_harmless("\n".join(lines))


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("hook", ["main", "thread", "destructor"])
@pytest.mark.usefixtures("own_hooks")
def test_error_that_no_command_catches_is_printed_in_the_same_way(
    kind: str, hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracebacks.install()
    error = ERRORS[kind]()
    found = (type(error), error, error.__traceback__)
    if hook == "main":
        sys.excepthook(*found)
    elif hook == "thread":
        threading.excepthook(threading.ExceptHookArgs((*found, threading.current_thread())))
    else:
        arguments = type("Unraisable", (), {"exc_value": error})
        sys.unraisablehook(arguments)  # type: ignore[arg-type]
    assert_harmless(capsys.readouterr().err)


def test_error_of_the_command_line_quotes_an_argument_as_printable_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise click.UsageError(HOSTILE)

    assert guard(refuse, lambda: False) == 2
    text = capsys.readouterr().err
    assert SECRET not in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.usefixtures("own_hooks")
def test_warning_of_a_library_is_logged_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries have no handler: Python itself prints their warnings."""
    configure(0, "text")
    record = logging.makeLogRecord({"name": "paramiko", "msg": HOSTILE, "levelno": 30})
    assert logging.lastResort is not None
    logging.lastResort.handle(record)
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert_harmless(text)


def test_traceback_of_many_errors_is_cut() -> None:
    errors = ExceptionGroup("many", [ValueError(str(n)) for n in range(20)])
    deep = raised(ValueError("x" * 1_000_000))
    assert max(map(len, tracebacks.traceback_lines(deep))) < 3000
    assert "more" in "\n".join(tracebacks.traceback_lines(errors))
