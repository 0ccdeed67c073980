"""A failed look never erases what was known: which findings about pages a look may close. Pure."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest

from certmgr.checks.http import http_findings, undetermined
from certmgr.checks.reconcile import Open, reconcile
from certmgr.config import Settings
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from certmgr.scan.report import AddressView, Report, Web
from certmgr.scan.visit import Visitor
from certmgr.scan.web import End, Hop, Visit
from certmgr.survey import Options, scan_targets
from inventory.model import Finding
from inventory.targets import Target
from tests.clock import clock

HOST, A = "shop.example.test", "192.0.2.1"
SECRETS = Finding("http-collects-secrets", "critical", (A,), {"url": f"http://{HOST}/"})
MIXED = Finding("mixed-content", "medium", (A,), {"url": f"https://{HOST}/"})
LOOP = Finding("redirect-loop", "high", (A,), {"url": f"https://{HOST}/"})
DOUBT = Finding("http-unknown", "undetermined", (A,), {"url": f"http://{HOST}/", "why": "it refuses us (403)"})
LARGE = Finding("too-large", "undetermined", (A,), {"url": f"http://{HOST}/", "reason": "the page is larger than what we read"})


def address(seen: bool = True, **changes: Any) -> AddressView:
    values: dict[str, Any] = {
        "address": A, "tls_version": "TLSv1.3" if seen else None, "cipher": None, "group": None, "alpn": None, "ocsp": None,
        "chain": ("x",) if seen else (), "trusted": True if seen else None, "error": None if seen else ("connect", "refused"),
    }  # fmt: skip
    return AddressView(**values | changes)


def report(
    web: Web | None, one: AddressView | None = None, silent: tuple[str, ...] = (), findings: tuple[Finding, ...] = ()
) -> Report:
    seen = one or address()
    return Report(
        Target(HOST), datetime(2026, 11, 23, tzinfo=UTC), None, (seen,), findings, seen.seen, False, True, silent, None, web=web
    )


def closes(finding: Finding, looked: Report) -> bool:
    return reconcile([Open(1, finding)], looked).closed == [1]


GOOD = Web({}, "d", secure=frozenset({A}))


@pytest.mark.parametrize("finding", [SECRETS, MIXED, LOOP, DOUBT, LARGE], ids=lambda f: f.code)
def test_what_a_whole_visit_shows_to_be_gone_is_gone(finding: Finding) -> None:
    assert closes(finding, report(GOOD))


@pytest.mark.parametrize("finding", [SECRETS, MIXED, LOOP, DOUBT, LARGE], ids=lambda f: f.code)
def test_a_run_without_pages_closes_nothing_about_pages(finding: Finding) -> None:
    assert not closes(finding, report(None))


@pytest.mark.parametrize("finding", [SECRETS, MIXED, LOOP, DOUBT], ids=lambda f: f.code)
def test_an_address_without_a_route_closes_nothing(finding: Finding) -> None:
    web = Web({}, "d", skipped=frozenset({A}), secure=frozenset())
    assert not closes(finding, report(web, address(False, no_route=True)))


@pytest.mark.parametrize(("finding", "web", "gone"), [
    (SECRETS, Web({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), False),
    (SECRETS, Web({}, "d", unknown_secure=frozenset({A}), secure=frozenset({A})), True),  # plain HTTP was seen to redirect
    (MIXED, Web({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), True),
    (MIXED, Web({}, "d", unknown_secure=frozenset({A}), secure=frozenset({A})), False),
    (MIXED, Web({}, "d"), False),  # HTTPS is away
    (LOOP, Web({}, "d"), False),
    (LOOP, Web({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), False),
])  # fmt: skip
def test_each_scheme_speaks_for_itself(finding: Finding, web: Web, gone: bool) -> None:
    assert closes(finding, report(web)) is gone


def test_where_no_page_is_expected_any_more_nothing_is_wrong() -> None:
    assert closes(SECRETS, report(Web(None, "", expected=False)))


# -- what visits tell -------------------------------------------------------------------------------------------------------


def visit(url: str, end: End, *hops: Hop, why: str = "") -> Visit:
    return Visit(url, A, end, hops or (Hop(url, A),), why=why)


PLAIN, SECURE = f"http://{HOST}/", f"https://{HOST}/"
ON = Hop(PLAIN, A, 301, SECURE)


@pytest.mark.parametrize(("visits", "plain", "secure"), [
    ((visit(PLAIN, End.SILENT), visit(SECURE, End.PAGE)), False, False),  # a packet filter beside HTTPS that answers
    ((visit(PLAIN, End.SILENT),), True, False),
    ((visit(PLAIN, End.UNKNOWN, why="no end to the HTTP answer"), visit(SECURE, End.PAGE)), True, False),  # it accepts, and may serve anything
    ((visit(PLAIN, End.UNKNOWN, ON, Hop(SECURE, A, 403)), visit(SECURE, End.UNKNOWN)), False, True),
    ((visit(PLAIN, End.CLOSED), visit(SECURE, End.PAGE)), False, False),
    ((visit(PLAIN, End.CLOSED), visit(SECURE, End.CLOSED)), False, True),
])  # fmt: skip
def test_what_is_not_told(visits: tuple[Visit, ...], plain: bool, secure: bool) -> None:
    unknown = undetermined(visits)
    assert (A in unknown[0], A in unknown[1]) == (plain, secure)


def test_a_foreign_loop_is_not_this_endpoints() -> None:
    other = "https://other.example.test/"
    foreign = visit(
        SECURE,
        End.LOOP,
        Hop(SECURE, A, 302, other),
        Hop(other, "192.0.2.9", 302, f"{other}x"),
        Hop(f"{other}x", "192.0.2.9", 302, other),
    )
    codes = {f.code for f in http_findings(Target(HOST), (foreign,), "site")}
    assert "redirect-loop" not in codes


def test_a_redirect_only_name_that_shows_a_page_over_https() -> None:
    page = Visit(SECURE, A, End.PAGE, (Hop(SECURE, A, 200),))
    codes = {f.code for f in http_findings(Target(HOST), (page,), "redirect")}
    assert "redirect-missing" in codes
    assert "redirect-missing" not in {f.code for f in http_findings(Target(HOST), (page,), "site")}


async def _breaks(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a bug of ours")


def test_a_bug_of_ours_in_a_visit_is_said_and_takes_nothing_from_tls(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(demo_servers.tls(demo_servers.server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    monkeypatch.setattr(Visitor, "visit", _breaks)
    looked = scan_targets(
        settings,
        Options(overrides={(HOST, server.port): ("127.0.0.1",)}, always_http=True),
        [Target(HOST, server.port)],
        clock=clock,
    )[0]
    (doubt,) = looked.findings
    assert (doubt.code, doubt.evidence["error"]) == ("http-unknown", "RuntimeError: a bug of ours")
    assert looked.addresses[0].trusted is True
