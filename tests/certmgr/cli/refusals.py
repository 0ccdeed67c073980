"""How a command refuses wrong input."""

from __future__ import annotations

from tests.program import Ran


def assert_refused(ran: Ran, code: int, *words: str) -> None:
    """Check for one clear line on stderr, the exit code, no traceback, and nothing on stdout."""
    assert ran.code == code, ran.err + ran.out
    assert "Traceback" not in ran.err
    assert "should not be" not in ran.err, "an internal error"
    for word in words:
        assert word in ran.err
    if ran.err.startswith("certmgr:"):
        assert ran.err.count("\n") == 1
    assert ran.out == ""
