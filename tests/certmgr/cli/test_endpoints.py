"""Tests of ``certmgr endpoint``."""

from __future__ import annotations

from collections.abc import Callable

from tests.program import Ran

Runner = Callable[..., Ran]


def test_endpoint_of_one_domain_is_not_added_to_another(certmgr: Runner) -> None:
    for number in ("1", "2"):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("domain", "add", f"c{number}.example.test", "--client", number)
    ran = certmgr("endpoint", "add", "c1.example.test:443", "--domain", "c2.example.test")
    assert ran.code == 3
