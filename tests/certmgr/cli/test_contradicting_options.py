"""Options that contradict each other are refused, and none of them is ignored silently."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]
HOST = "shop.one.test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("endpoint", "edit", HOST, "--address", "192.0.2.7", "--by-dns"), "exclude each other"),
        (("case", "window", "CM-AAAAAA", "2026-12-01T10:00", "--cancel"), "--cancel excludes"),
        (("case", "window", "CM-AAAAAA", "--cancel", "--minutes", "60"), "--cancel excludes"),
        (("case", "window", "CM-AAAAAA", "--cancel", "--zone", "UTC"), "--cancel excludes"),
        (("finding", "list", "--accepted", "--assigned"), "exclude each other"),
        (("purchase", "list", "--check", "--due", "30"), "--check and --due exclude each other"),
        (("purchase", "list", "--check", "--all"), "--check and --all exclude each other"),
        (("finding", "list", "--accepted", "--closed"), "--closed is about findings"),
        (("finding", "list", "--assigned", "--code", "key-week"), "Did you mean 'key-weak'"),
    ],
)
def test_contradicting_options_are_refused(
    certmgr: Runner, arguments: tuple[str, ...], message: str
) -> None:
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", HOST, "--client", "1")
    assert certmgr("endpoint", "edit", HOST, "--address", "192.0.2.1").code == 0
    assert_refused(certmgr(*arguments), 2, message)
    page = certmgr("domain", "show", HOST, "--format", "json").json
    assert page["endpoints"][0]["fixed_addresses"] == ["192.0.2.1"]


def test_acceptances_are_listed_by_code(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    given = ("--client", "1", "--until", "2099-01-01", "--reason", "known")
    for code in ("key-weak", "hsts-missing"):
        assert certmgr("finding", "accept", code, *given).code == 0
    listed = certmgr("finding", "list", "--accepted", "--code", "key-weak", "--format", "json").json
    assert [a["code"] for a in listed["acceptances"]] == ["key-weak"]


@pytest.mark.parametrize("name", ["2001:db8::1", "[2001:DB8:0::1]", "[2001:db8::1]:8443"])
def test_decisions_about_an_ipv6_address_are_explained(certmgr: Runner, name: str) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("domain", "add", "2001:db8::1", "--client", "1").code == 0
    done = certmgr("notify", "--explain", name)
    assert done.code == 0, done.err
    assert "no decision about 2001:db8::1" in done.out


@pytest.mark.parametrize("name", [HOST, f"{HOST}:8443", f"https://{HOST}/cart"])
def test_port_and_url_of_a_name_do_not_matter_to_its_explanation(
    certmgr: Runner, name: str
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("domain", "add", HOST, "--client", "1").code == 0
    done = certmgr("notify", "--explain", name)
    assert (done.code, HOST in done.out) == (0, True), done.err
