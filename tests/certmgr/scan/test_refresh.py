"""Pages that send the browser on by a Refresh header or a meta element."""

from __future__ import annotations

import pytest

from tests.certmgr.scan.page_sites import SITES
from tests.certmgr.websites import HSTS, REDIRECT, Scanned

INDEX = "index page.html;"


TO_PLAIN = "http://$host:HTTP_PORT"


META = '<meta http-equiv=refresh content="{}; url={}">x'


AWAY = {
    "header": SITES.add(
        REDIRECT, f'{HSTS} add_header Refresh "0; url={TO_PLAIN}/x"; return 200 x;'
    ),
    "late": SITES.add(REDIRECT, f'{HSTS} add_header Refresh "99;{TO_PLAIN}/x"; return 200 x;'),
    "error page": SITES.add(
        REDIRECT, f'{HSTS} add_header Refresh "1,url={TO_PLAIN}/x" always; return 404;'
    ),
    "element": SITES.add(REDIRECT, f"{HSTS} {INDEX}", META.format(0, "http://elsewhere.test/x")),
    "element with fields": SITES.add(
        REDIRECT, f"{HSTS} {INDEX}", META.format(5, "http://elsewhere.test/x") + "<input>"
    ),
}


@pytest.mark.parametrize("kind", AWAY)
def test_refresh_from_https_to_http_is_insecure(scanned: Scanned, kind: str) -> None:
    found = scanned.codes(AWAY[kind])["redirect-insecure"]
    assert found.severity == "high"
    assert str(found.evidence["to"]).startswith("http://")
    assert found.evidence["by"] == "Refresh"


STAYING = {
    value: SITES.add(REDIRECT, f"{HSTS} add_header Refresh '{value}'; return 200 x;")
    for value in (
        *("30", "x; url=http://a.test/", "; url=http://a.test/", "-1;url=http://a.test/"),
        *(".; url=http://a.test/", "..5; url=http://a.test/"),
        *("0; url=/y", "0; url=https://$host:HTTPS_PORT/z", "0x; url=http://a.test/"),
    )
}


@pytest.mark.parametrize("value", STAYING)
def test_refresh_that_stays_on_https_is_no_finding(scanned: Scanned, value: str) -> None:
    assert scanned.codes(STAYING[value]) == {}


HIDDEN = SITES.add(
    "location = / { add_header Refresh '3; url=/page.html'; return 200 wait; }",
    page="<input type=password>",
)


UPGRADED = SITES.add('add_header Refresh "0; url=https://$host:HTTPS_PORT/"; return 200 wait;')


ROUND = SITES.add(
    'location = / { add_header Refresh "0; url=/b"; return 200 a; }'
    ' location = /b { add_header Refresh "0; url=/"; return 200 b; }'
)


def test_page_behind_a_refresh_is_judged(scanned: Scanned) -> None:
    found = scanned.codes(HIDDEN)["http-collects-secrets"]
    assert found.evidence["url"] == f"http://{HIDDEN}:{scanned.plain}/page.html"


@pytest.mark.parametrize("host", [UPGRADED, ROUND])
def test_refresh_over_http_is_no_redirect_of_the_server(scanned: Scanned, host: str) -> None:
    assert set(scanned.codes(host)) == {"http-served", "redirect-missing"}
