"""Redirects: cookies, other sites, internal addresses, and what no browser follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from inventory.targets import Target
from notifiers.wording.sentences import instruction
from tests.certmgr.scan.page_sites import DEAD_ENDS, SITES, scan_http
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, resolved_by
from tests.certmgr.websites import HSTS, REDIRECT, Scanned, Website, codes, document
from tests.servers import real

COOKIE = 'add_header Set-Cookie "seen=1; Path=/"; return 302 http://$host:HTTP_PORT/;'


WITH_COOKIE = SITES.add(f'location / {{ if ($cookie_seen = "") {{ {COOKIE} }} {REDIRECT} }}')


def test_redirect_that_waits_for_its_cookie_is_not_a_loop(scanned: Scanned) -> None:
    assert scanned.codes(WITH_COOKIE) == {}


ELSEWHERE = "https://www.elsewhere.test:HTTPS_PORT/"


LEAVING = SITES.add(f"return 301 {ELSEWHERE};", f"{HSTS} return 301 {ELSEWHERE};")


def test_redirect_to_another_site_requests_nothing_there_and_checks_its_certificate(
    scanned: Scanned,
) -> None:
    found = scanned.codes(LEAVING)
    assert set(found) == {"redirect-broken"}
    evidence = found["redirect-broken"].evidence
    assert (evidence["problem"], evidence["browser_error"]) == (
        "name-mismatch",
        "ERR_CERT_COMMON_NAME_INVALID",
    )
    assert evidence["to"] == f"https://www.elsewhere.test:{scanned.secure}/"
    assert document(scanned.reports[LEAVING])["final_url"] == evidence["to"]


INTERNAL = {
    url: SITES.add(f"return 302 {url};")
    for url in (
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.2:HTTP_PORT/",
        "http://[::1]:8080/",
        "http://0x7f000001/",
    )
}


@pytest.mark.parametrize("url", INTERNAL)
def test_redirect_to_an_internal_address_is_not_followed(scanned: Scanned, url: str) -> None:
    assert set(scanned.codes(INTERNAL[url])) == {"http-unknown"}
    assert len(document(scanned.reports[INTERNAL[url]])["visits"][0]["redirects"]) == 1


@pytest.mark.parametrize("url", DEAD_ENDS)
def test_redirect_that_no_browser_follows_is_a_fault_with_advice(
    scanned: Scanned, url: str
) -> None:
    host, error = DEAD_ENDS[url]
    result = scanned.codes(host)
    assert set(result) == {"redirect-broken"}
    found = result["redirect-broken"]
    assert (found.severity, found.evidence["browser_error"]) == ("critical", error)
    assert found.evidence["url"] == f"http://{host}:{scanned.plain}/"
    advice = instruction(found, Target(host))
    assert found.evidence["advice"] in advice
    assert "scanner" not in advice


OTHER_PROGRAM = SITES.add("return 302 ftp://x.test/;")


def test_redirect_to_another_program_is_undetermined(scanned: Scanned) -> None:
    assert set(scanned.codes(OTHER_PROGRAM)) == {"http-unknown"}


TWO_TARGETS = SITES.add(
    "return 404;",
    f"{HSTS} add_header Location https://$host:HTTPS_PORT/a always;"
    " return 302 https://$host:HTTPS_PORT/b;",
)


def test_two_targets_of_a_redirect_are_an_error_of_browsers(scanned: Scanned) -> None:
    found = scanned.codes(TWO_TARGETS)["answer-invalid"]
    assert found.severity == "critical"
    assert found.evidence["browser_error"] == "ERR_RESPONSE_HEADERS_MULTIPLE_LOCATION"


@pytest.mark.parametrize(
    ("answer", "code"), [("NXDOMAIN", "redirect-broken"), ("SERVFAIL", "http-unknown")]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_redirect_to_a_name_without_an_address_is_a_fault(
    website: Website, answer: str, code: str, scheme: str
) -> None:
    """A failure of the DNS itself stays undetermined."""
    to = f"{scheme}://www.{HOST}/"
    website.serve(f"return 301 {to};")
    resolver = website.stack.enter_context(real.dns({f"www.{HOST}": answer}))
    result = website.scan(settings=resolved_by(website.settings, resolver))
    assert set(result) == {code}
    if code == "redirect-broken":
        evidence = result[code].evidence
        assert evidence["to"] == to
        assert evidence["browser_error"] == "DNS_PROBE_FINISHED_NXDOMAIN"
        assert "create the A (and AAAA) record" in instruction(result[code], Target(HOST))


def test_redirect_to_a_port_where_nothing_listens_is_a_fault(website: Website) -> None:
    website.serve(f"return 301 https://$host:{refusing_port(website.stack)}/;")
    assert website.scan()["redirect-broken"].evidence["browser_error"] == "ERR_CONNECTION_REFUSED"


def test_redirect_to_the_https_of_the_endpoint_is_judged_there(
    settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    """Its closed port is https-missing, and no second fault of the redirect."""
    refusing = refusing_port(opened)
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    to = f"return 301 https://$host:{refusing}/;"
    plain, _ = opened.enter_context(real.web(tmp_path, pair, to, "return 200 ok;"))
    assert set(codes(scan_http(settings, opened, plain, refusing=refusing))) == {"https-missing"}
