"""Hosts that programs request: an error without a page is their usual answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from certmgr.checks.api_hosts import is_named_for_programs
from certmgr.checks.http import http_findings
from certmgr.demo.authority import Authority
from certmgr.scan import dead_ends
from certmgr.scan.visits import REFUSALS, Hop, Visit, VisitEnd
from inventory.targets import Target
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.websites import HSTS, REDIRECT, Scanned, Sites

SITES = Sites()
A = "192.0.2.1"
REFUSED = "it refuses our request (403)"


def empty(status: int) -> str:
    """Return the configuration of nginx for an error with an empty page."""
    return f"{HSTS} error_page 418 ={status} /page.html; location = / {{ return 418; }}"


@pytest.fixture(scope="session")
def scanned(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Scanned:
    folder = tmp_path_factory.mktemp("apis")
    return SITES.scan(loopback_settings(root, folder), issuer, folder)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("api.example.com", True),
        ("API2.eu.example.co.uk".lower(), True),
        ("v1.api.example.com", True),
        ("api-staging.example.com", True),
        ("shop-api.example.com", True),
        ("graphql.example.com", True),
        ("webhooks.example.com", True),
        ("ws1.example.com", True),
        ("api.example.github.io", True),
        ("www.example.com", False),
        ("apiary.example.com", False),  # honey
        ("restaurant.example.com", False),
        ("therapist-apis.example.com", False),
        ("wsv-halle.example.com", False),
        ("api.com", False),
        ("www.api.com", False),
        ("rest.co.uk", False),
        ("api", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
    ],
)
def test_host_is_named_for_programs_below_its_registered_domain(host: str, named: bool) -> None:
    assert is_named_for_programs(host) is named


def _visit(host: str, status: int, end: VisitEnd, why: str) -> Visit:
    url = f"https://{host}/"
    return Visit(url, A, end, (Hop(url, A, status),), hsts_seen=False, why=why)


def found(visits: Sequence[Visit], host: str, purpose: str) -> dict[str, str]:
    return {f.code: f.severity for f in http_findings(Target(host), visits, purpose)}


@pytest.mark.parametrize("status", [400, 401, 404, 405, 410, 421])
def test_error_without_a_page_is_critical_for_a_web_host_only(status: int) -> None:
    end, why = VisitEnd.BROKEN, dead_ends.ERROR_WITHOUT_PAGE
    expected = {
        ("www.example.com", "site"): {"answer-invalid": "critical"},
        ("www.example.com", "staging"): {"answer-invalid": "critical"},
        ("api.example.com", "site"): {"page-missing": "medium"},
        ("api.example.com", "api"): {"page-missing": "info"},
        ("www.example.com", "api"): {"page-missing": "info"},
    }
    for (host, purpose), codes in expected.items():
        assert found([_visit(host, status, end, why)], host, purpose) == codes, (host, purpose)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (500, dead_ends.ERROR_WITHOUT_PAGE),
        (502, dead_ends.ERROR_WITHOUT_PAGE),
        (504, dead_ends.ERROR_AS_DOWNLOAD),
        (None, dead_ends.NO_ANSWER),
        (None, dead_ends.RESET),
        (200, "two different Content-Length headers"),
    ],
)
def test_what_is_an_error_for_programs_too_stays_critical(status: int, why: str) -> None:
    host = "api.example.com"
    for purpose in ("site", "api"):
        visits = [_visit(host, status, VisitEnd.BROKEN, why)]
        assert found(visits, host, purpose) == {"answer-invalid": "critical"}


def test_refused_request_is_undetermined_unless_the_purpose_is_an_api() -> None:
    host = "api.example.com"
    for why in REFUSALS:
        visits = [_visit(host, 403, VisitEnd.UNKNOWN, why)]
        assert found(visits, host, "site") == {"http-unknown": "undetermined"}
        assert found(visits, host, "api") == {"page-missing": "info"}
    challenge = [_visit(host, 403, VisitEnd.UNKNOWN, "a protection service asks for a browser")]
    assert found(challenge, host, "api") == {"http-unknown": "undetermined"}


def test_answer_of_another_host_is_not_judged_by_this_purpose() -> None:
    to = "https://www.example.net/"
    url = "https://api.example.com/"
    hops = (Hop(url, A, 302, to), Hop(to, A, 403))
    visit = Visit(url, A, VisitEnd.UNKNOWN, hops, why=REFUSED)
    assert found([visit], "api.example.com", "api") == {}
    hops = (Hop(url, A, 302, to), Hop(to, A, 404))
    broken = Visit(url, A, VisitEnd.BROKEN, hops, why=dead_ends.ERROR_WITHOUT_PAGE)
    assert found([broken], "api.example.com", "api") == {}


NOTHING = {label: SITES.add(REDIRECT, empty(404), label=label) for label in ("api", "shop")}
STATED = SITES.add(REDIRECT, empty(404), purpose="api")
REFUSING = SITES.add(REDIRECT, f"{HSTS} return 403;", purpose="api")
PLAIN = SITES.add("return 200 ok;", empty(404), purpose="api")
PLAIN_EMPTY = SITES.add(empty(404), empty(404), purpose="api")
TO_HTTP = SITES.add("return 200 ok;", f"{HSTS} return 302 http://$host:HTTP_PORT/;", purpose="api")


def test_empty_answer_of_a_real_server_is_judged_by_name_and_purpose(scanned: Scanned) -> None:
    severities = {
        host: {c: f.severity for c, f in scanned.codes(host).items()}
        for host in (NOTHING["api"], NOTHING["shop"], STATED, REFUSING)
    }
    assert severities == {
        NOTHING["api"]: {"page-missing": "medium"},
        NOTHING["shop"]: {"answer-invalid": "critical"},
        STATED: {"page-missing": "info"},
        REFUSING: {"page-missing": "info"},
    }
    missing = scanned.codes(NOTHING["api"])["page-missing"]
    assert (missing.evidence["status"], missing.actor) == (404, "staff")


def test_api_over_plain_http_needs_no_redirect_and_is_judged_by_what_it_serves(
    scanned: Scanned,
) -> None:
    assert set(scanned.codes(PLAIN)) == {"http-served", "page-missing"}
    assert {c: f.severity for c, f in scanned.codes(PLAIN_EMPTY).items()} == {
        "page-missing": "info"
    }
    assert set(scanned.codes(TO_HTTP)) == {"redirect-insecure", "http-served"}
