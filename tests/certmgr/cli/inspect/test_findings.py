"""Tests of ``certmgr finding``."""

from __future__ import annotations

from collections.abc import Callable

from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]


def test_acceptance_needs_a_known_code_a_scope_a_reason_and_a_later_date(
    certmgr: Runner,
) -> None:
    certmgr("client", "add", "1", "One")

    def accept(code: str, *options: str) -> Ran:
        return certmgr("finding", "accept", code, "--reason", "x", *options)

    later, scope = ("--until", "2099-01-01"), ("--client", "1")
    assert_refused(accept("key-weak", *later), 2, "scope")
    assert_refused(accept("key-week", *later, *scope), 2, "Did you mean 'key-weak'")
    assert_refused(accept("key-weak", "--until", "2001-01-01", *scope), 2, "has passed")
    assert_refused(accept("key-weak", *scope), 2, "--until")
