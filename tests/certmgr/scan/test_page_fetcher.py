"""Visits over HTTP and HTTPS: what is requested, rate limits, and hostile web servers."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.settings import HttpSettings, NetworkSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.target_scan import scan_targets
from certmgr.inspection.worker import scan_jobs
from certmgr.scan import page_parsers
from certmgr.scan.page_fetcher import PageFetcher
from certmgr.scan.page_process import PageParserProcess
from inventory.targets import Target
from tests.campaign import UNREACHED, time_limits, wait_until
from tests.certmgr.scan.page_sites import scan_http
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve_certificate
from tests.certmgr.websites import HSTS, NO_RATE_LIMIT, REDIRECT, Website, codes, document
from tests.clock import clock

ASKING = {
    "nginx": f"ssl_verify_client on; ssl_client_certificate {{root}}; {HSTS} return 200 x;",
    "495": "return 495 x;",
    "496": "return 496 x;",
}


@pytest.mark.parametrize("kind", ASKING)
def test_site_that_asks_for_a_client_certificate_is_a_remark(
    website: Website, root_file: Path, kind: str
) -> None:
    website.serve(REDIRECT, ASKING[kind].replace("{root}", str(root_file)))
    result = website.scan()
    assert set(result) == {"client-certificate-required"}
    assert result["client-certificate-required"].severity == "info"


def test_page_of_another_host_is_not_judged(website: Website) -> None:
    """The page at the end of a redirect belongs to the other host."""
    other = "other.example.test"
    website.serve(
        "if ($http_host ~ other) { rewrite ^ /page.html break; }"
        f" if ($http_host !~ other) {{ return 302 http://{other}:HTTP_PORT/; }}",
        page="<input type=password><img src=http://x.test/a.png>",
    )
    allowing = replace(website.settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
    result = website.scan(other, settings=allowing)
    assert set(result) == {"redirect-missing"}
    assert document(website.report)["redirects"][0]["host"] == other


def test_further_path_of_a_domain_is_visited(website: Website) -> None:
    website.serve(f"location = / {{ {REDIRECT} }}", page="<input type=password>")
    setup = setup_for(website.settings, website.options(), guarded=False)
    setup.full = True
    result: list[ScanResult] = []
    job = ScanJob(0, Target(HOST, website.secure), paths=("/page.html",))
    scan_jobs(setup, [job], result.append)
    assert result[0].report is not None
    secret = codes(result[0].report)["http-collects-secrets"]
    assert secret.evidence["url"] == f"http://{HOST}:{website.plain}/page.html"


def test_scan_without_http_asks_for_no_page(website: Website) -> None:
    website.serve("return 200 ok;", "return 200 ok;")
    assert website.scan(http=False) == {}
    assert website.report.web is None


def test_requests_are_get_and_name_the_program_and_a_contact(website: Website) -> None:
    website.serve("return 200 ok;")
    contact = "https://provider.example/scan"
    http = replace(NO_RATE_LIMIT, contact=contact)
    website.scan(settings=replace(website.settings, http=http))

    def log() -> list[str]:
        return (website.folder / "access.log").read_text().splitlines()

    wait_until(lambda: len(log()) >= 2, "the log, which nginx writes after its answers")
    assert len(log()) == 2
    for line in log():
        assert '"GET / HTTP/1.1"' in line
        assert "certmgr/" in line
        assert contact in line


def test_requests_to_one_address_keep_to_the_rate(website: Website) -> None:
    """Five per second after a burst of two: eight requests take more than a second."""
    website.serve("return 200 ok;")
    names = [f"s{n}.example.test" for n in range(4)]
    targets = [Target(name, website.secure) for name in names]
    polite = replace(website.settings, http=HttpSettings())
    started = time.monotonic()
    scan_targets(polite, website.options(*names), targets, clock=clock)
    assert time.monotonic() - started > 1.0


Handler = http.server.BaseHTTPRequestHandler


Talk = Callable[[Handler], None]


@contextmanager
def answering(talk: Talk) -> Iterator[int]:
    """Serve HTTP with answers that ``talk`` writes. Yields the port."""

    class Answering(Handler):
        def do_GET(self) -> None:
            with suppress(OSError):
                talk(self)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def write(head: bytes, *chunks: bytes, endless: bytes = b"") -> Talk:
    """Return a server that writes a head and chunks.

    Then it repeats the chunk ``endless`` until the client leaves.
    """

    def talk(handler: Handler) -> None:
        handler.wfile.write(head)
        for chunk in chunks:
            handler.wfile.write(chunk)
        while endless:
            handler.wfile.write(endless)

    return talk


OK = b"HTTP/1.1 200 OK\r\n"


HTML = OK + b"Content-Type: text/html\r\n\r\n"


GZIP = OK + b"Content-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"


CHUNKED = OK + b"Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"


BOMB = gzip.compress(b"<p>" + b"A" * 50_000_000, 9)


PASSWORD = b"<input type=password>"


ODD_URL = b'<img src="http://[v1.' + b"a" * 300 + b']/x">'


ATTRIBUTES = b"<input " + b" ".join(b"a%d" % n for n in range(140_000)) + b">"


FILLING = b"A" * 65536


TOO_LARGE = {"http-served", "too-large"}


UNKNOWN = {"http-unknown"}


SECRETS = {"http-collects-secrets"}


HOSTILE: dict[str, tuple[Talk, set[str]]] = {
    "endless page": (write(HTML, PASSWORD, endless=FILLING), SECRETS),
    "page that ends too early": (
        write(OK + b"Content-Type: text/html\r\nContent-Length: 99\r\n\r\n", b"<p>x"),
        TOO_LARGE,
    ),
    "shadow roots in each other": (
        write(HTML, b"<div><template shadowrootmode=open>" * 5_000 + PASSWORD),
        {"http-served"},
    ),
    "documents in each other": (
        write(HTML, b"<iframe srcdoc='" + b"<p>x" * 100_000 + b"'></iframe>"),
        TOO_LARGE,
    ),
    "entities that grow": (
        write(
            OK + b"Content-Type: application/xhtml+xml\r\n\r\n",
            b"<!DOCTYPE x [<!ENTITY a0 'aaaaaaaaaa'>"
            + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
            + b"]><x xmlns='http://www.w3.org/1999/xhtml'>&a11;</x>",
        ),
        {"http-served"},
    ),
    "endless page without a field at its beginning": (write(HTML, endless=FILLING), TOO_LARGE),
    "gzip bomb": (write(GZIP, BOMB), TOO_LARGE),
    "broken gzip": (write(GZIP, b"\x1f\x8bnothing"), TOO_LARGE),
    "endless headers": (write(OK, endless=b"X-A: b\r\n"), {"answer-invalid"}),
    "endless header": (write(OK + b"X-A: ", endless=b"b" * 1000), {"answer-invalid"}),
    "not HTTP": (write(b"SSH-2.0-OpenSSH_9.2\r\n"), {"answer-invalid"}),
    "nothing": (write(b""), UNKNOWN),
    "endless interim answers": (write(b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n"), UNKNOWN),
    "chunks of one byte": (
        write(CHUNKED, endless=b"1;" + b"x" * 100 + b"\r\nA\r\n"),
        TOO_LARGE,
    ),
    "invalid encoding": (
        write(
            OK + b"Content-Type: text/html; charset=klingon\r\n\r\n",
            b"\x80\xff\xfd" + PASSWORD + b"\x80\x00",
        ),
        SECRETS,
    ),
    "URL that cannot be parsed": (write(HTML, ODD_URL + PASSWORD), SECRETS),
    "deeply nested elements": (write(HTML, b"<div>" * 200_000), TOO_LARGE),
    "element with 140,000 attributes": (write(HTML, ATTRIBUTES), TOO_LARGE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_answer_is_bounded_and_a_finding(
    settings: Settings,
    opened: Stack,
    kind: str,
) -> None:
    talk, expected = HOSTILE[kind]
    with answering(talk) as port:
        report = scan_http(settings, opened, port)
    assert set(codes(report)) - {"https-missing"} == expected


def test_pages_of_an_address_share_one_deadline(settings: Settings, opened: Stack) -> None:
    requested: list[str] = []
    ended = threading.Event()

    def silent(handler: Handler) -> None:
        requested.append(handler.path)
        ended.wait()

    with answering(silent) as port:
        scan = replace(settings.scan, timeout=1.0)
        visiting = replace(settings, http=NO_RATE_LIMIT, scan=scan)
        refusing = refusing_port(opened)
        options = ScanOptions(overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=port)
        setup = setup_for(visiting, options, guarded=False)
        setup.full = True
        result: list[ScanResult] = []
        paths = tuple(f"/{n}" for n in range(10))
        scan_jobs(setup, [ScanJob(0, Target(HOST, refusing), paths=paths)], result.append)
        ended.set()
    assert len(set(requested)) < 10, "the deadline ends before every page was requested"
    assert result[0].report is not None
    assert "http-unknown" in codes(result[0].report)


def test_time_of_the_parser_for_pages_of_a_site_counts_towards_its_deadline(
    settings: Settings, opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site may lead from one page to the next, each of which costs just less than the limit."""
    read, seconds = PageParserProcess.read, 20.0

    async def slow(self: PageParserProcess, *given: Any, **options: Any) -> Any:
        page = await read(self, *given, **options)
        self.seconds = seconds
        return page

    monkeypatch.setattr(PageParserProcess, "read", slow)
    # By another rule, a host has a time of its own for the whole run.
    monkeypatch.setattr(page_parsers, "MAX_HOST_SECONDS", 1000.0)
    requested: list[str] = []

    def onward(handler: Handler) -> None:
        requested.append(handler.path)
        write(HTML, b"<meta http-equiv=refresh content='0; url=/%d'>" % len(requested))(handler)

    with answering(onward) as port:
        refusing = refusing_port(opened)
        options = ScanOptions(overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=port)
        setup = setup_for(replace(settings, http=NO_RATE_LIMIT), options, guarded=False)
        result: list[ScanResult] = []
        scan_jobs(setup, [ScanJob(0, Target(HOST, refusing))], result.append)
    assert len(set(requested)) == UNREACHED / seconds


def test_wait_for_the_parser_does_not_count_towards_the_deadline(
    settings: Settings, opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser also reads the pages of other sites, so its queue may be long."""
    read = PageParserProcess.read

    async def queued(*given: Any, **options: Any) -> Any:
        await asyncio.sleep(2 * timeout)
        return await read(*given, **options)

    monkeypatch.setattr(PageParserProcess, "read", queued)
    for timeout in time_limits(1.0):
        with answering(write(HTML, PASSWORD)) as port:
            scan = replace(settings.scan, timeout=timeout)
            visiting = replace(settings, http=NO_RATE_LIMIT, scan=scan)
            refusing = refusing_port(opened)
            options = ScanOptions(overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=port)
            setup = setup_for(visiting, options, guarded=False)
            setup.full = True
            result: list[ScanResult] = []
            job = ScanJob(0, Target(HOST, refusing), paths=("/a", "/b"))
            scan_jobs(setup, [job], result.append)
        assert result[0].report is not None
        visits = document(result[0].report)["visits"]
        if all("page" in v for v in visits):  # the requests ended in time
            break
    assert [v["page"]["secrets"] for v in visits] == [["<input type=password>"]] * 3


def test_page_that_arrives_slowly_ends_with_the_deadline_and_what_came_counts(
    settings: Settings,
    opened: Stack,
) -> None:
    def drip(handler: Handler) -> None:
        handler.wfile.write(HTML + PASSWORD)
        while True:  # until the reader closes the connection
            time.sleep(0.1)
            handler.wfile.write(b".")

    with answering(drip) as port:
        for limit in time_limits(2.0):
            report = scan_http(settings, opened, port, timeout=limit)
            if "http-collects-secrets" in codes(report):
                break
    assert "http-collects-secrets" in codes(report)


def test_tls_server_that_is_no_web_server_is_a_fault(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    visiting = replace(settings, http=NO_RATE_LIMIT)
    options = ScanOptions(
        overrides={(HOST, port): ("127.0.0.1",)},
        http_port=refusing_port(opened),
    )
    (report,) = scan_targets(visiting, options, [Target(HOST, port)], clock=clock)
    assert set(codes(report)) == {"answer-invalid"}


def test_internal_error_in_a_visit_is_reported_and_the_certificate_judged(
    settings: Settings, issuer: Authority, opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("an internal error")

    monkeypatch.setattr(PageFetcher, "visit", fail)
    port = serve_certificate(opened, issuer.issue(HOST))
    options = ScanOptions(overrides={(HOST, port): ("127.0.0.1",)}, always_http=True)
    (report,) = scan_targets(settings, options, [Target(HOST, port)], clock=clock)
    (unknown,) = report.findings
    assert unknown.code == "http-unknown"
    assert unknown.evidence["error"] == "an internal error of certmgr"
    assert report.addresses[0].trusted is True
