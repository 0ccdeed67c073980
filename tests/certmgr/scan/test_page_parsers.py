"""Turns at the parser processes, and a page that keeps one busy."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.scan import page_parsers, page_process
from certmgr.scan.page_parsers import MAX_BROKEN_HOSTS, MAX_HOST_SECONDS, PARSERS, PageParsers
from certmgr.scan.visits import Page
from inventory.targets import Target
from tests.certmgr.tls_servers import Stack
from tests.certmgr.websites import NO_RATE_LIMIT, codes, document
from tests.clock import clock
from tests.servers import real


class Parser:
    """A parser process that breaks at pages with the word "busy", and is slow with all others.

    A page of "large" costs a second of CPU time.
    """

    seconds = 0.0
    read_urls: ClassVar[list[str]] = []
    at_once: ClassVar[list[set[str]]] = []
    reading: ClassVar[set[str]] = set()

    def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read(self, body: bytes, kind: str, url: str, *_: object, **__: object) -> Page:
        Parser.read_urls.append(url)
        Parser.reading.add(url)
        Parser.at_once.append(set(Parser.reading))
        for _turn in range(5):
            await asyncio.sleep(0)
        Parser.reading.discard(url)
        self.seconds = 1.0 if b"large" in body else 0.0
        return Page(note=page_process.SLOW) if b"busy" in body else Page("Title")


@pytest.fixture
def parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_parsers, "PageParserProcess", Parser)
    Parser.read_urls, Parser.at_once, Parser.reading = [], [], set()


def read_together(*pages: tuple[str, bytes]) -> list[Page | None]:
    """Read pages that wait at the same time, in this order."""

    async def read() -> list[Page | None]:
        made = PageParsers()
        waiting = [made.read(body, "text/html", url, ()) for url, body in pages]
        return list(await asyncio.gather(*waiting))

    return asyncio.run(read())


@pytest.mark.usefixtures("parsers")
def test_domain_with_many_pages_and_domains_with_one_take_turns() -> None:
    many = [(f"http://h{n}.many.test/", b"<p>") for n in range(20)]
    few = [(f"http://www.few{n}.test/", b"<p>") for n in range(3)]
    read_together(*many, *few)
    # Each of the three waits for one page of the other domain at most, per turn.
    assert max(Parser.read_urls.index(url) for url, _ in few) <= 6


@pytest.mark.usefixtures("parsers")
def test_domain_has_one_page_at_a_time_and_others_use_the_further_process() -> None:
    pages = [(f"http://{n}.{d}.test/", b"<p>") for n in range(5) for d in ("one", "two", "three")]
    read_together(*pages)
    for urls in Parser.at_once:
        assert len({u.split(".")[1] for u in urls}) == len(urls) <= PARSERS
    assert max(map(len, Parser.at_once)) == PARSERS


@pytest.mark.usefixtures("parsers")
def test_host_that_broke_the_parser_is_left() -> None:
    pages = read_together(*[(f"http://bad.test/{n}", b"busy") for n in range(16)])
    assert Parser.read_urls == ["http://bad.test/0"]
    assert [p.note for p in pages if p] == [page_process.SLOW, *[page_parsers.LEFT] * 15]


@pytest.mark.usefixtures("parsers")
def test_host_whose_pages_take_much_time_together_is_left() -> None:
    large = [(f"http://large.test/{n}", b"large") for n in range(16)]
    pages = read_together(*large, ("http://www.large.test/", b"large"))
    # The page that exceeds the limit is the last one. Another host has its own limit.
    read = int(MAX_HOST_SECONDS) + 1
    assert [p.note for p in pages if p] == [*[""] * read, *[page_parsers.LEFT] * (16 - read), ""]


@pytest.mark.usefixtures("parsers")
def test_caller_is_charged_for_its_page_alone() -> None:
    charged: dict[str, float] = {}

    async def read() -> None:
        made = PageParsers()
        await asyncio.gather(
            *[
                made.read(
                    body,
                    "text/html",
                    f"http://{body.decode()}.test/",
                    (),
                    charge=partial(charged.__setitem__, body.decode()),
                )
                for body in (b"large", b"p", b"large2", b"q")
            ]
        )

    asyncio.run(read())
    assert charged == {"large": 1.0, "p": 0.0, "large2": 1.0, "q": 0.0}


@pytest.mark.usefixtures("parsers")
def test_other_hosts_of_a_domain_are_read_until_too_many_broke_the_parser() -> None:
    bad = [(f"http://bad{n}.test.example.org/", b"busy") for n in range(MAX_BROKEN_HOSTS + 3)]
    pages = read_together(("http://bad.example.org/", b"busy"), ("http://a.example.org/", b"<p>"))
    assert [p.note for p in pages if p] == [page_process.SLOW, ""]
    Parser.read_urls = []
    read_together(*bad, ("http://a.example.org/", b"<p>"), ("http://a.example.net/", b"<p>"))
    assert len(Parser.read_urls) == MAX_BROKEN_HOSTS + 1
    assert "http://a.example.net/" in Parser.read_urls


def test_turn_of_a_caller_that_was_cancelled_goes_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Waiting(Parser):
        async def read(self, *_: object, **__: object) -> Page:
            await asyncio.sleep(0)
            return Page("Title")

    monkeypatch.setattr(page_parsers, "PageParserProcess", Waiting)

    async def run() -> Page | None:
        made = PageParsers(1)
        tasks = [
            asyncio.ensure_future(made.read(b"<p>", "text/html", f"http://{n}.test/", ()))
            for n in range(4)
        ]
        await asyncio.sleep(0)
        for task in tasks[:3]:
            task.cancel()
        return await tasks[3]

    page = asyncio.run(run())
    assert page is not None
    assert page.title == "Title"


BUSY = """
import sys
from certmgr.scan import page_process
read = page_process.read
def busy(body, *others):
    while b"keeps the parser busy" in body:
        pass
    return read(body, *others)
page_process.read, page_process.SECONDS = busy, 0.3
page_process.serve(sys.stdin.buffer, sys.stdout.buffer)
"""


def test_page_that_keeps_the_parser_busy_at_16_addresses_leaves_ten_good_sites_judged(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, code = tmp_path / "python", tmp_path / "busy.py"
    code.write_text(BUSY)
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    hosts = ["bad.hostile.test", *[f"www.good{n}.test" for n in range(10)]]
    pair = real.write_pair(tmp_path, issuer.issue(*hosts))
    site = (
        'set $bad ""; if ($host = bad.hostile.test) { set $bad "keeps the parser busy"; }'
        ' return 200 "<title>Shop</title>$bad";'
    )
    addresses = [f"127.0.0.{n}" for n in range(1, 17)]
    tls = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
    further = "".join(
        f"server {{ listen {a}:HTTP_PORT; listen {a}:HTTPS_PORT ssl; {tls} {site} }}\n"
        for a in addresses[1:]
    )
    server = real.web(tmp_path, pair, site, site, http=further)
    plain, secure = opened.enter_context(server)
    options = ScanOptions(
        overrides={
            (h, p): tuple(addresses) if h == hosts[0] else ("127.0.0.1",)
            for h in hosts
            for p in (plain, secure)
        },
        http_port=plain,
        timeout=60,
    )
    targets = [Target(h, secure) for h in hosts]
    visiting = replace(settings, http=NO_RATE_LIMIT)
    reports = list(scan_targets(visiting, options, targets, clock=clock))
    for report in reports[1:]:
        assert set(codes(report)) == {"http-served", "redirect-missing", "hsts-missing"}
        assert document(report)["title"] == "Shop"
    visits = document(reports[0])["visits"]
    notes = [v["page"]["note"] for v in visits]
    assert len(notes) == 32
    assert notes.count(page_process.SLOW) == 1
    assert notes.count(page_parsers.LEFT) == 31
