"""Page parsing: as a browser does it, and bounded."""

from __future__ import annotations

import pytest

from certmgr.demo.authority import Authority
from certmgr.scan.page import read
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.websites import HSTS, REDIRECT, Scanned, Sites, document

SITES = Sites()
PAGE = "index page.html;"


@pytest.fixture(scope="session")
def scanned(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    folder = tmp_path_factory.mktemp("pages")
    return SITES.scan(loopback_settings(root, folder), issuer, folder)


UTF_16 = SITES.add(PAGE, page="\ufeff<input type=password>".encode("utf-16"))


def test_page_in_utf_16_is_read_by_its_byte_order_mark(scanned: Scanned) -> None:
    assert "http-collects-secrets" in scanned.codes(UTF_16)


TEXT = SITES.add(f"default_type text/plain; types {{ }} {PAGE}", page="<input type=password>")


def test_plain_text_has_no_fields(scanned: Scanned) -> None:
    assert set(scanned.codes(TEXT)) == {"http-served", "redirect-missing"}


UNTYPED = SITES.add(
    f'default_type ""; types {{ }} {PAGE}',
    page="  <!doctype html><input type=password>",
)


def test_page_without_a_type_is_recognised_by_its_beginning(scanned: Scanned) -> None:
    assert "http-collects-secrets" in scanned.codes(UNTYPED)


# Facts that exceed one line of the protocol, and a URL that cannot be parsed.
LONG_URL = f"http://x/{chr(0x1F600) * 240}"
ODD_URL = f"http://[v1.{'a' * 300}]/"
LONG = "".join(f'<script src="{LONG_URL}{n}"></script><img src="{ODD_URL}{n}">' for n in range(12))
HIDING = SITES.add(REDIRECT, f"{HSTS} {PAGE}", f"<!doctype html><meta charset=utf-8>{LONG}")


def test_page_with_unusable_urls_does_not_hide_the_certificate(scanned: Scanned) -> None:
    assert set(scanned.codes(HIDING)) == {"mixed-content"}
    assert scanned.reports[HIDING].addresses[0].seen


TITLED = SITES.add(PAGE, page="<title>\x1b[31m{{7*7}}<script>alert(1)</script>\u202e=cmd()</title>")


def test_title_is_made_printable_and_not_evaluated(scanned: Scanned) -> None:
    result = document(scanned.reports[TITLED])
    title = str(result["title"] or result["visits"][0]["title"])
    assert "\x1b" not in title
    assert "\u202e" not in title
    assert "{{7*7}}" in title


# What loads over plain HTTP, however the URL is written, and what is of the site itself.
IMAGES = (
    ('<img src="http://cdn.test/a.png">', 1),
    ('<img src="h&#116;tp&colon;//cdn.test/a.png">', 1),
    ('<img src="ht\ntp://cdn.test/a.png">', 1),
    ('<img srcset="/a.png 1x, http://cdn.test/b.png 2x">', 1),
    ("<table><tr><td background=HTTP://cdn.test/a.png>", 1),
    ("<img src=/a.png style='background:url(http\\3a //cdn.test/b.png)'>", 1),
    ("<img src=/a.png><video poster=//cdn.test/b.png></video>", 0),
    ("<base href=http://cdn.test/><img src=a.png>", 1),
    ("<iframe srcdoc='<base href=http://cdn.test/><img src=a.png>'></iframe>", 1),
)


@pytest.mark.parametrize(("html", "count"), IMAGES)
def test_image_of_a_secure_page_is_passive_content_only_over_plain_http(
    html: str, count: int
) -> None:
    page = read(html.encode(), "text/html", "https://shop.test/")
    assert len(page.passive) == count, page
