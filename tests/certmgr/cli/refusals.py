"""Assertions about commands that refuse invalid input."""

from __future__ import annotations

from tests.program import Ran


def assert_refused(ran: Ran, code: int, *words: str) -> None:
    """Assert one error line with these words on stderr, the exit code, and an empty stdout."""
    assert ran.code == code, ran.err + ran.out
    assert "Traceback" not in ran.err
    assert "should not be" not in ran.err, "an internal error"
    for word in words:
        assert word in ran.err
    # click's own usage errors have several lines.
    if ran.err.startswith("certmgr:"):
        assert ran.err.count("\n") == 1
    assert ran.out == ""
