"""Pages whose bytes are those of the last scan are not parsed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.scan import known_pages
from certmgr.scan.known_pages import MAX_PAGE, KnownPages, page_key
from certmgr.scan.page_parsers import PageParsers
from certmgr.scan.visits import Page
from inventory.db.database import Database
from inventory.models import PageObservation, ProbeState
from tests.certmgr.scanning import add, open_codes, scan
from tests.certmgr.tls_servers import HOST, Stack
from tests.certmgr.websites import HSTS, Website
from tests.clock import clock

FULL = Page(
    title="Über uns\n{}",
    secrets=("<input type=password name=pw>",),
    inputs=("<input type=text>", "<textarea>"),
    insecure_forms=("http://a.test/",),
    active=("http://a.test/x.js",),
    passive=("http://a.test/x.png",),
    refresh="https://a.test/next",
    refresh_seconds=2.5,
)
LOGIN = "<title>Login</title><form action=http://x.test/><input type=password></form>"
SHOP = "<title>Shop</title><h1>Shop</h1>"
PAGES = f"{HSTS} index page.html;"


def test_known_page_is_what_was_parsed() -> None:
    pages = KnownPages()
    for key, page in (("a", FULL), ("b", Page())):
        pages.keep(key, page)
    text = pages.text()
    assert "\n" not in text
    again = KnownPages.of(text)
    assert (again.get("a"), again.get("b"), again.get("c")) == (FULL, Page(), None)
    assert again.text() == text


def test_page_that_this_scan_did_not_meet_is_dropped() -> None:
    pages = KnownPages()
    pages.keep("a", FULL)
    assert KnownPages.of(pages.text()).text() == ""


@pytest.mark.parametrize(
    "page",
    [
        replace(FULL, note="more than 100,000 elements"),
        replace(FULL, error="the process that reads pages does not answer"),
        replace(FULL, passive=tuple(f"http://a.test/{n}{'x' * 180}" for n in range(10))),
        Page(title="x" * MAX_PAGE),
    ],
)
def test_page_that_was_not_read_or_has_too_many_facts_is_not_kept(page: Page) -> None:
    pages = KnownPages()
    pages.keep("a", page)
    assert pages.text() == ""


def test_number_of_kept_pages_is_bounded() -> None:
    pages = KnownPages()
    for number in range(200):
        pages.keep(f"{number:032}", replace(FULL, title=str(number)))
    assert 0 < len(pages.text()) <= known_pages.MAX_TEXT + 200


def test_each_input_of_the_parser_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**changes: Any) -> str:
        values: dict[str, Any] = {
            "body": b"<p>",
            "content_type": "text/html",
            "url": "https://a.test/",
            "policies": (),
            "nosniff": False,
        }
        return page_key(**(values | changes))

    keys = {
        key(),
        key(body=b"<p> "),
        key(content_type=None),
        key(content_type="text/html; charset=utf-8"),
        key(url="http://a.test/"),
        key(policies=("upgrade-insecure-requests",)),
        key(policies=("",)),
        key(nosniff=True),
    }
    assert len(keys) == 8
    assert key() in keys
    monkeypatch.setattr(known_pages, "code_version", lambda *_packages: "another")
    known_pages._reader.cache_clear()
    assert key() not in keys
    monkeypatch.undo()
    known_pages._reader.cache_clear()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URLs of the pages that were parsed."""
    urls: list[str] = []
    read = PageParsers.read

    async def counted(
        self: PageParsers, body: bytes, kind: str | None, url: str, *more: Any, **options: Any
    ) -> Page | None:
        urls.append(url)
        return await read(self, body, kind, url, *more, **options)

    monkeypatch.setattr(PageParsers, "read", counted)
    return urls


def test_second_scan_parses_no_page_and_finds_the_same(
    database: Database,
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    tmp_path: Path,
    parsed: list[str],
) -> None:
    site = Website(settings, issuer, tmp_path, opened)
    site.serve(PAGES, PAGES, LOGIN)
    add(database, site.secure, HOST)

    def scanned(**options: Any) -> tuple[int, int, int]:
        parsed.clear()
        clock.advance(seconds=60)
        summary = scan(database, site.settings, http_port=site.plain, **options)
        return len(parsed), summary.opened, summary.closed

    assert scanned() == (2, 3, 0)
    faults = open_codes(database)
    assert faults.keys() == {"http-collects-secrets", "mixed-content", "redirect-missing"}
    # Unchanged evidence, and evidence that is judged again.
    assert scanned() == (0, 0, 0)
    assert scanned(full=True) == (0, 0, 0)
    assert open_codes(database) == faults
    assert scanned(cache=False) == (2, 0, 0)
    # Other bytes with the same facts are parsed once.
    (tmp_path / "page.html").write_text(LOGIN + "<!-- 2 -->")
    assert [scanned(), scanned()] == [(2, 0, 0), (0, 0, 0)]
    # Another page closes what the first one caused.
    (tmp_path / "page.html").write_text(SHOP)
    assert scanned()[::2] == (2, 2)
    assert open_codes(database).keys() == {"http-served", "redirect-missing"}
    # Evidence that differs in something else is judged with the page that is known.
    with database.write() as tx:
        memo = tx.conn.execute(select(ProbeState.memo)).scalar_one()
        pages = memo.partition("\n")[2]
        tx.conn.execute(update(ProbeState).values(memo=f"other\n{pages}", fingerprint=""))
    assert scanned() == (0, 0, 0)
    with database.read() as conn:
        latest = select(PageObservation.document).order_by(PageObservation.id.desc())
        document = conn.execute(latest).scalars().first()
        assert conn.execute(select(ProbeState.memo)).scalar_one() == memo
    assert document is not None
    assert document["title"] == "Shop"
