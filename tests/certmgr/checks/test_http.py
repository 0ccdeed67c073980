"""Findings about HTTP and pages, with nginx and with visits as values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.checks.http import http_findings, undetermined
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.scan.visits import Hop, Page, Visit, VisitEnd
from inventory.targets import Target
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.tls_servers import HOST, Stack, refusing_port
from tests.certmgr.websites import (
    HSTS,
    NO_RATE_LIMIT,
    REDIRECT,
    Scanned,
    Sites,
    codes,
    document,
)
from tests.clock import clock
from tests.servers import real

SITES = Sites()
PAGE = "index page.html;"


@pytest.fixture(scope="session")
def scanned(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    folder = tmp_path_factory.mktemp("sites")
    return SITES.scan(loopback_settings(root, folder), issuer, folder)


GOOD = SITES.add(
    REDIRECT,
    f"{HSTS} {PAGE}",
    "<!doctype html><title>Shop &lt;b&gt;</title><form><input type=password></form>",
)


def test_site_that_redirects_and_sends_hsts_is_ok(scanned: Scanned) -> None:
    assert scanned.codes(GOOD) == {}
    result = document(scanned.reports[GOOD])
    secure = f"https://{GOOD}:{scanned.secure}/"
    plain = f"http://{GOOD}:{scanned.plain}/"
    assert (result["status"], result["final_url"]) == (200, secure)
    assert result["redirects"] == [
        {"url": plain, "status": 301, "location": secure, "host": GOOD},
    ]
    assert result["hsts"] == {
        "max_age": 31536000,
        "include_subdomains": False,
        "preload": False,
    }
    assert result["title"] == "Shop <b>"


FIELDS = {
    "<form><input type=password name=pw></form>": "http-collects-secrets",
    "<input type='PassWord'>": "http-collects-secrets",
    # Browsers do not strip the blanks: it is a field for text.
    "<input type=' password '>": "http-collects-input",
    "<div style='display:none'><input type=password></div>": "http-collects-secrets",
    "<form><input autocomplete='cc-number'></form>": "http-collects-secrets",
    "<input autocomplete='section-blue billing cc-csc'>": "http-collects-secrets",
    "<input name=card_number>": "http-collects-secrets",
    "<input id=Kreditkarten-Nummer>": "http-collects-secrets",
    "<input name='payment[cc_number]'>": "http-collects-secrets",
    "<input name=billing.cardNumber>": "http-collects-secrets",
    "<input name=payment_cvv>": "http-collects-secrets",
    "<select autocomplete='billing cc-exp-month'></select>": "http-collects-secrets",
    "<input name=gift_card_number>": "http-collects-input",
    "<input name=q>": "http-collects-input",
    "<textarea name=message></textarea>": "http-collects-input",
    "<input type=hidden name=t><input type=submit><input type=checkbox>": "http-served",
    "<!-- <input type=password> -->": "http-served",
    "<script>document.write('<input type=password>')</script>": "http-served",
    "<template><input type=password></template>": "http-served",
    "<noscript><input type=password></noscript>": "http-served",
    "<head><noscript><input type=password></noscript></head>": "http-served",
    "<svg><title>not the title</title></svg>": "http-served",
    "<h1>Welcome</h1>": "http-served",
}
HOST_OF_PAGE = {page: SITES.add(PAGE, page=page) for page in FIELDS}


@pytest.mark.parametrize("page", FIELDS)
def test_page_over_http_is_judged_by_its_fields(scanned: Scanned, page: str) -> None:
    host, code = HOST_OF_PAGE[page], FIELDS[page]
    result = scanned.codes(host)
    assert set(result) == {code, "redirect-missing"}
    assert result[code].addresses == ("127.0.0.1",)
    assert result[code].evidence["url"] == f"http://{host}:{scanned.plain}/"


SECRET = SITES.add(PAGE, page="<input type=password name=pw><input name=q>")


def test_password_field_over_http_is_critical_and_the_missing_redirect_medium(
    scanned: Scanned,
) -> None:
    result = scanned.codes(SECRET)
    assert result["http-collects-secrets"].severity == "critical"
    field = result["http-collects-secrets"].evidence["field"]
    assert field == "<input type=password name=pw>"
    assert result["redirect-missing"].severity == "medium"


BASIC = SITES.add("auth_basic shop; auth_basic_user_file /dev/null;")


def test_basic_authentication_over_http_asks_for_a_password(scanned: Scanned) -> None:
    result = scanned.codes(BASIC)["http-collects-secrets"]
    assert result.evidence["field"] == "HTTP Basic login"


OFFER = "add_header WWW-Authenticate"
NEGOTIATE_OR_BASIC = SITES.add(
    f'{OFFER} Negotiate always; {OFFER} "Basic realm=x" always; return 401;',
)


def test_basic_as_the_second_scheme_over_http_asks_for_a_password(scanned: Scanned) -> None:
    assert "http-collects-secrets" in scanned.codes(NEGOTIATE_OR_BASIC)


PURPOSES: dict[str, set[str]] = {
    "parked": set(),
    "mail": set(),
    "cdn": set(),
    "redirect": {"http-served", "redirect-missing"},
    "staging": {"http-served", "redirect-missing"},
}
PARKED = {p: SITES.add("return 200 parked;", purpose=p) for p in PURPOSES}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_page_over_http_is_a_finding_if_the_purpose_expects_a_page(
    scanned: Scanned,
    purpose: str,
) -> None:
    assert set(scanned.codes(PARKED[purpose])) == PURPOSES[purpose]


NOT_FOUND = SITES.add("return 404;")


def test_error_page_over_http_is_a_missing_redirect(scanned: Scanned) -> None:
    assert set(scanned.codes(NOT_FOUND)) == {"redirect-missing"}


def test_page_over_http_without_https_is_both_findings(
    settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    server = real.web(tmp_path, pair, "return 200 ok;", "return 200 ok;")
    plain, _ = opened.enter_context(server)
    refusing = refusing_port(opened)
    visiting = replace(settings, http=NO_RATE_LIMIT)
    options = ScanOptions(overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=plain)
    (report,) = scan_targets(visiting, options, [Target(HOST, refusing)], clock=clock)
    assert set(codes(report)) == {"https-missing", "http-served"}


TO_HTTP = SITES.add("return 200 ok;", f"{HSTS} return 302 http://$host:HTTP_PORT/;")


def test_redirect_from_https_to_http_is_insecure(scanned: Scanned) -> None:
    result = scanned.codes(TO_HTTP)
    assert set(result) == {"redirect-insecure", "http-served", "redirect-missing"}
    assert result["redirect-insecure"].evidence["to"] == f"http://{TO_HTTP}:{scanned.plain}/"


LOOP = SITES.add(REDIRECT, f"{HSTS} return 301 http://$host:HTTP_PORT/;")


def test_loop_between_http_and_https_is_an_error_of_browsers(scanned: Scanned) -> None:
    result = scanned.codes(LOOP)
    assert result["redirect-loop"].severity == "critical"
    assert "redirect-insecure" in result


ENDLESS = SITES.add("rewrite ^/(.*)$ http://$host:HTTP_PORT/$1x redirect;")


def test_redirects_without_end_are_a_fault(scanned: Scanned) -> None:
    result = scanned.codes(ENDLESS)
    assert set(result) == {"redirect-broken"}
    assert result["redirect-broken"].evidence["browser_error"] == "ERR_TOO_MANY_REDIRECTS"


MIXED = SITES.add(
    REDIRECT,
    f"{HSTS} {PAGE}",
    "<!doctype html><base href='http://cdn.example.test/'>"
    "<script src=//ok.example.test/a.js></script><script src='app.js'></script>"
    "<img src=https://x/y.png srcset='http://img.example.test/2.png 2x'>"
    "<link rel=canonical href=http://x/><form action=http://pay.example.test/></form>"
    "<a href=http://link.example.test/>x</a><img src=http://127.0.0.1/a.png>"
    "<p style=\"background:url('http://bg.example.test/b.png')\">",
)


def test_mixed_content_is_listed_as_forms_active_and_passive(scanned: Scanned) -> None:
    evidence = scanned.codes(MIXED)["mixed-content"].evidence
    assert evidence["forms"] == ["http://pay.example.test/"]
    assert evidence["active"] == ["http://ok.example.test/a.js", "http://cdn.example.test/app.js"]
    assert evidence["passive"] == [
        "http://img.example.test/2.png",
        "http://bg.example.test/b.png",
    ]


POLICY = "default-src https:; upgrade-insecure-requests"
UPGRADING = SITES.add(
    REDIRECT,
    f"{HSTS} add_header Content-Security-Policy '{POLICY}'; {PAGE}",
    "<img src=http://x.test/a.png>",
)


def test_page_that_upgrades_insecure_requests_has_no_mixed_content(scanned: Scanned) -> None:
    assert scanned.codes(UPGRADING) == {}


WITHOUT_HSTS = {
    kind: SITES.add(REDIRECT, f"{header} return 200 ok;")
    for kind, header in {
        "missing": "",
        "zero": "add_header Strict-Transport-Security 'max-age=0';",
        "no age": "add_header Strict-Transport-Security 'includeSubDomains';",
    }.items()
}


@pytest.mark.parametrize("kind", WITHOUT_HSTS)
def test_missing_or_invalid_hsts_is_low(scanned: Scanned, kind: str) -> None:
    result = scanned.codes(WITHOUT_HSTS[kind])
    assert set(result) == {"hsts-missing"}
    assert result["hsts-missing"].severity == "low"


REFUSING = {status: SITES.add(f"return {status};") for status in (403, 429, 503, 500, 502, 451)}


@pytest.mark.parametrize("status", REFUSING)
def test_refusal_over_http_is_undetermined(scanned: Scanned, status: int) -> None:
    result = scanned.codes(REFUSING[status])
    assert set(result) == {"http-unknown"}
    assert result["http-unknown"].severity == "undetermined"
    report = scanned.reports[REFUSING[status]]
    assert report.web is not None
    assert report.web.unknown_plain == {"127.0.0.1"}


CHALLENGE = SITES.add(
    "add_header cf-mitigated challenge always; return 200 '<input type=password>';",
)


def test_challenge_page_is_undetermined(scanned: Scanned) -> None:
    assert set(scanned.codes(CHALLENGE)) == {"http-unknown"}


A = "192.0.2.1"
PLAIN, SECURE = f"http://{HOST}/", f"https://{HOST}/"
TO_HTTPS = Hop(PLAIN, A, 301, SECURE)


def visit(url: str, end: VisitEnd, *hops: Hop, why: str = "") -> Visit:
    return Visit(url, A, end, hops or (Hop(url, A),), why=why)


@pytest.mark.parametrize(
    ("visits", "plain", "secure"),
    [
        pytest.param(
            (visit(PLAIN, VisitEnd.SILENT), visit(SECURE, VisitEnd.PAGE)),
            False,
            False,
            id="HTTP filtered, HTTPS answers",
        ),
        pytest.param((visit(PLAIN, VisitEnd.SILENT),), True, False, id="HTTP filtered alone"),
        pytest.param(
            (
                visit(PLAIN, VisitEnd.UNKNOWN, why="the HTTP response did not complete in time"),
                visit(SECURE, VisitEnd.PAGE),
            ),
            True,
            False,
            id="HTTP accepts, and may serve anything",
        ),
        pytest.param(
            (
                visit(PLAIN, VisitEnd.UNKNOWN, TO_HTTPS, Hop(SECURE, A, 403)),
                visit(SECURE, VisitEnd.UNKNOWN),
            ),
            False,
            True,
            id="HTTP redirects to an HTTPS that refuses",
        ),
        pytest.param(
            (visit(PLAIN, VisitEnd.CLOSED), visit(SECURE, VisitEnd.PAGE)),
            False,
            False,
            id="HTTP closed, HTTPS answers",
        ),
        pytest.param(
            (visit(PLAIN, VisitEnd.CLOSED), visit(SECURE, VisitEnd.CLOSED)),
            False,
            True,
            id="both closed",
        ),
    ],
)
def test_scheme_is_undetermined_if_its_visit_did_not_show_it(
    visits: tuple[Visit, ...],
    plain: bool,
    secure: bool,
) -> None:
    unknown_plain, unknown_secure = undetermined(visits)
    assert (A in unknown_plain, A in unknown_secure) == (plain, secure)


def test_loop_at_another_host_is_not_a_finding_of_this_endpoint() -> None:
    other = "https://other.example.test/"
    foreign = visit(
        SECURE,
        VisitEnd.LOOP,
        Hop(SECURE, A, 302, other),
        Hop(other, "192.0.2.9", 302, f"{other}x"),
        Hop(f"{other}x", "192.0.2.9", 302, other),
    )
    result = {f.code for f in http_findings(Target(HOST), (foreign,), "site")}
    assert "redirect-loop" not in result


def test_page_over_https_is_a_missing_redirect_for_a_redirecting_name_only() -> None:
    page = Visit(SECURE, A, VisitEnd.PAGE, (Hop(SECURE, A, 200),))
    for purpose, missing in (("redirect", True), ("site", False)):
        result = {f.code for f in http_findings(Target(HOST), (page,), purpose)}
        assert ("redirect-missing" in result) is missing


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (Page(error="the process that reads pages does not answer"), "scanner-error"),
        (Page(note="parsing the page takes longer than a few seconds"), "too-large"),
    ],
)
@pytest.mark.parametrize("url", [PLAIN, SECURE])
def test_page_that_was_not_read_names_the_cause_and_disproves_nothing(
    page: Page, code: str, url: str
) -> None:
    """The problem of this machine is not reported as one of the site."""
    unread = Visit(url, A, VisitEnd.PAGE, (Hop(url, A, 200),), page=page)
    found = {f.code: f for f in http_findings(Target(HOST), (unread,), "site")}
    assert {"scanner-error", "too-large"} & set(found) == {code}
    assert found[code].severity == "undetermined"
    assert found[code].evidence["url"] == url
    assert undetermined((unread,))[url == SECURE] == {A}
