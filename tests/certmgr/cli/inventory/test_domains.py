"""Tests of ``certmgr domain``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.certmgr.cli.refusals import assert_refused
from tests.certmgr.tls_servers import Stack
from tests.program import Ran
from tests.servers import real

Runner = Callable[..., Ran]


@pytest.mark.parametrize("name", ["two words", "", "a" * 64 + ".example", ".".join(["label"] * 50)])
def test_invalid_domain_name_is_refused(certmgr: Runner, name: str) -> None:
    certmgr("client", "add", "1", "One")
    assert_refused(certmgr("domain", "add", name, "--client", "1"), 2)
    assert certmgr("endpoint", "list", "--format", "json").json["endpoints"] == []


def test_names_of_the_domain_that_resolve_are_proposed_and_added_on_request(
    certmgr: Runner,
    opened: Stack,
) -> None:
    names = {
        "example.test": ["192.0.2.1"],
        "www.example.test": ["192.0.2.1"],
        "mail.example.test": "NXDOMAIN",
    }
    environment = {"CERTMGR_SCAN_RESOLVERS": opened.enter_context(real.dns(names))}
    certmgr("client", "add", "1", "One")

    def add(name: str, *options: str) -> Ran:
        return certmgr("domain", "add", name, "--client", "1", *options, environment=environment)

    ran = add("shop.example.test")
    assert "certmgr domain add example.test www.example.test --client 1" in ran.out
    assert "mail" not in ran.out
    ran = add("other.example.test", "--with-proposed")
    assert "www.example.test added too" in ran.out
    assert len(certmgr("domain", "list", "--format", "json").json["domains"]) == 4


def test_invalid_name_server_is_refused_and_no_domain_added(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    environment = {"CERTMGR_SCAN_RESOLVERS": "foo"}
    ran = certmgr("domain", "add", "a.example.test", "--client", "1", environment=environment)
    assert ran.code == 2
    assert certmgr("domain", "list", "--format", "json").json["domains"] == []
