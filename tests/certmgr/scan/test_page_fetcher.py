"""Visits over HTTP and HTTPS: redirects, rate limits, and hostile web servers."""

from __future__ import annotations

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
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_run import ScanOptions, scan_targets, setup_for
from certmgr.inspection.worker import ScanJob, ScanResult, scan_jobs
from certmgr.scan.page_fetcher import PageFetcher
from inventory.targets import Target
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve_certificate
from tests.certmgr.websites import (
    HSTS,
    NO_RATE_LIMIT,
    REDIRECT,
    Scanned,
    Sites,
    Website,
    codes,
    document,
)
from tests.clock import clock

SITES = Sites()


@pytest.fixture(scope="session")
def scanned(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    folder = tmp_path_factory.mktemp("visited")
    return SITES.scan(loopback_settings(root, folder), issuer, folder)


@pytest.fixture
def website(settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack) -> Website:
    return Website(settings, issuer, tmp_path, opened)


# -- redirects ---------------------------------------------------------------------------------

COOKIE = 'add_header Set-Cookie "seen=1; Path=/"; return 302 http://$host:HTTP_PORT/;'
WITH_COOKIE = SITES.add(f'location / {{ if ($cookie_seen = "") {{ {COOKIE} }} {REDIRECT} }}')


def test_redirect_that_waits_for_its_cookie_is_not_a_loop(scanned: Scanned) -> None:
    assert scanned.codes(WITH_COOKIE) == {}


ELSEWHERE = "https://www.elsewhere.test/"
LEAVING = SITES.add(f"return 301 {ELSEWHERE};", f"{HSTS} return 301 {ELSEWHERE};")


def test_redirect_to_another_site_over_https_is_not_followed(scanned: Scanned) -> None:
    assert scanned.codes(LEAVING) == {}
    assert document(scanned.reports[LEAVING])["final_url"] == ELSEWHERE


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


UNUSABLE = {
    url: SITES.add(f"return 302 '{url}';")
    for url in (
        "ftp://x.test/",
        "javascript:alert(1)",
        "http://",
        "http://a b/",
        "http://x.test:99999/",
        "http://x.test:25/",
    )
}


@pytest.mark.parametrize("url", UNUSABLE)
def test_redirect_that_no_browser_follows_is_undetermined(scanned: Scanned, url: str) -> None:
    assert set(scanned.codes(UNUSABLE[url])) == {"http-unknown"}


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


# -- requests --------------------------------------------------------------------------------


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
    log = (website.folder / "access.log").read_text().splitlines()
    assert len(log) == 2
    for line in log:
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


# -- web servers that are hostile or broken --------------------------------------------------------

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


def scan_http(settings: Settings, opened: Stack, port: int, timeout: float = 60) -> EndpointReport:
    """Scan a host whose plain HTTP is at ``port`` and whose HTTPS is closed."""
    refusing = refusing_port(opened)
    options = ScanOptions(
        overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=port, timeout=timeout
    )
    visiting = replace(settings, http=NO_RATE_LIMIT)
    (report,) = scan_targets(visiting, options, [Target(HOST, refusing)], clock=clock)
    return report


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
    "endless page without a field at its beginning": (write(HTML, endless=FILLING), TOO_LARGE),
    "gzip bomb": (write(GZIP, BOMB), TOO_LARGE),
    "broken gzip": (write(GZIP, b"\x1f\x8bnothing"), TOO_LARGE),
    "endless headers": (write(OK, endless=b"X-A: b\r\n"), UNKNOWN),
    "endless header": (write(OK + b"X-A: ", endless=b"b" * 1000), UNKNOWN),
    "not HTTP": (write(b"SSH-2.0-OpenSSH_9.2\r\n"), UNKNOWN),
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
        report = scan_http(settings, opened, port, timeout=2.0)
    assert "http-collects-secrets" in codes(report)


def test_tls_server_that_is_no_web_server_is_undetermined(
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
    assert set(codes(report)) == UNKNOWN


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
    assert unknown.evidence["error"] == "RuntimeError: an internal error"
    assert report.addresses[0].trusted is True
