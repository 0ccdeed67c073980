"""Each finding about HTTP, shown by nginx and real pages."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.config import HttpSettings, NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from certmgr.survey import Options, scan_targets
from inventory.model import Finding
from inventory.targets import Target
from tests.clock import clock
from tests.servers import real
from tests.servers.ports import free_port

HOST = "shop.example.test"
HSTS = 'add_header Strict-Transport-Security "max-age=31536000" always;'
REDIRECT = f"return 301 https://{HOST}:HTTPS_PORT$request_uri;"
Visit = Callable[..., dict[str, Finding]]


class Site:
    """nginx for one test: what it serves, and what a scan finds there."""

    def __init__(self, settings: Settings, issuer: Authority, folder: Path, stack: contextlib.ExitStack) -> None:
        self.settings = replace(settings, http=HttpSettings(per_address=0, rate=0.0))
        self.folder, self.stack = folder, stack
        self.pair = real.write_pair(folder, issuer.issue(HOST))

    def serve(self, plain: str, secure: str = f"{HSTS} return 200 ok;", **files: str | bytes) -> None:
        for name, content in files.items():
            (self.folder / f"{name}.html").write_bytes(content if isinstance(content, bytes) else content.encode())
        self.plain, self.secure = self.stack.enter_context(real.web(self.folder, self.pair, plain, secure))

    def scan(self, changes: Settings | None = None, host: str = HOST, **options: object) -> dict[str, Finding]:
        overrides = {
            (name, port): ("127.0.0.1",)
            for name in (HOST, "other.example.test", "www.elsewhere.test")
            for port in (self.plain, self.secure)
        }
        chosen = Options(overrides=overrides, http_port=self.plain, **options)  # type: ignore[arg-type]
        self.report = scan_targets(changes or self.settings, chosen, [Target(host, self.secure)], clock=clock)[0]
        return {f.code: f for f in self.report.findings}

    @property
    def http(self) -> dict[str, object]:
        assert self.report.web is not None
        assert self.report.web.document is not None
        return self.report.web.document


@pytest.fixture
def site(settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack) -> Site:
    return Site(settings, issuer, tmp_path, opened)


def test_a_site_that_redirects_and_sends_hsts_is_ok(site: Site) -> None:
    site.serve(
        REDIRECT,
        f"{HSTS} index page.html;",
        page="<!doctype html><title>Shop &lt;b&gt;</title><form><input type=password></form>",
    )
    assert site.scan() == {}
    assert site.http["status"] == 200
    assert site.http["final_url"] == f"https://{HOST}:{site.secure}/"
    assert site.http["redirects"] == [
        {"url": f"http://{HOST}:{site.plain}/", "status": 301, "location": f"https://{HOST}:{site.secure}/", "host": HOST}
    ]
    assert site.http["hsts"] == {"max_age": 31536000, "include_subdomains": False, "preload": False}
    assert site.http["title"] == "Shop <b>"


@pytest.mark.parametrize(
    ("page", "code"),
    [
        ("<form><input type=password name=pw></form>", "http-collects-secrets"),
        ("<input type=' PassWord '>", "http-collects-secrets"),
        ("<div style='display:none'><input type=password></div>", "http-collects-secrets"),
        ("<form><input autocomplete='cc-number'></form>", "http-collects-secrets"),
        ("<input autocomplete='section-blue billing cc-csc'>", "http-collects-secrets"),
        ("<input name=card_number>", "http-collects-secrets"),
        ("<input id=Kreditkarten-Nummer>", "http-collects-secrets"),
        ("<input name='payment[cc_number]'>", "http-collects-secrets"),
        ("<input name=billing.cardNumber>", "http-collects-secrets"),
        ("<input name=payment_cvv>", "http-collects-secrets"),
        ("<select autocomplete='billing cc-exp-month'></select>", "http-collects-secrets"),
        ("<input name=gift_card_number>", "http-collects-input"),
        ("<input name=q>", "http-collects-input"),
        ("<textarea name=message></textarea>", "http-collects-input"),
        ("<input type=hidden name=t><input type=submit><input type=checkbox>", "http-served"),
        ("<!-- <input type=password> -->", "http-served"),
        ("<script>document.write('<input type=password>')</script>", "http-served"),
        ("<template><input type=password></template>", "http-served"),
        ("<noscript><input type=password></noscript>", "http-served"),
        ("<head><noscript><input type=password></noscript></head>", "http-served"),
        ("<svg><title>not the title</title></svg>", "http-served"),
        ("<h1>Welcome</h1>", "http-served"),
    ],
)  # fmt: skip
def test_what_a_page_over_http_asks_for(site: Site, page: str, code: str) -> None:
    site.serve("index page.html;", page=page)
    found = site.scan()
    assert set(found) == {code, "redirect-missing"}
    assert found[code].addresses == ("127.0.0.1",)
    assert found[code].evidence["url"] == f"http://{HOST}:{site.plain}/"


def test_severities_and_evidence_are_those_of_the_contract(site: Site) -> None:
    site.serve("index page.html;", page="<input type=password name=pw><input name=q>")
    found = site.scan()
    assert found["http-collects-secrets"].severity == "critical"
    assert found["http-collects-secrets"].evidence["field"] == "<input type=password name=pw>"
    assert found["redirect-missing"].severity == "medium"


def test_other_charsets_and_types_count_as_in_a_browser(site: Site) -> None:
    utf16 = "\ufeff<input type=password>".encode("utf-16")
    site.serve("index page.html;", page=utf16)
    assert "http-collects-secrets" in site.scan()


def test_text_that_is_no_html_for_a_browser_has_no_fields(site: Site) -> None:
    site.serve("default_type text/plain; types { } index page.html;", page="<input type=password>")
    assert set(site.scan()) == {"http-served", "redirect-missing"}


def test_a_page_without_a_type_is_sniffed(site: Site) -> None:
    site.serve('default_type ""; types { } index page.html;', page="  <!doctype html><input type=password>")
    assert "http-collects-secrets" in site.scan()


def test_basic_authentication_over_http_asks_for_a_password(site: Site) -> None:
    site.serve("auth_basic shop; auth_basic_user_file /dev/null;")
    assert site.scan()["http-collects-secrets"].evidence["field"] == "HTTP Basic login"


def test_basic_beside_another_scheme(site: Site) -> None:
    site.serve('add_header WWW-Authenticate Negotiate always; add_header WWW-Authenticate "Basic realm=x" always; return 401;')
    assert "http-collects-secrets" in site.scan()


def test_further_paths_of_a_domain_are_visited(site: Site) -> None:
    from certmgr.scan.examine import Job, Result, examine
    from certmgr.survey import setup_for

    site.serve(f"location = / {{ {REDIRECT} }}", login="<input type=password>")
    setup = setup_for(
        site.settings, Options(overrides={(HOST, site.secure): ("127.0.0.1",)}, http_port=site.plain), guarded=False
    )
    setup.full = True
    found: list[Result] = []
    examine(setup, [Job(0, Target(HOST, site.secure), paths=("/login.html",))], found.append)
    report = found[0].report
    assert report is not None
    (secret,) = [f for f in report.findings if f.code == "http-collects-secrets"]
    assert secret.evidence["url"] == f"http://{HOST}:{site.plain}/login.html"


@pytest.mark.parametrize(("purpose", "codes"), [
    ("parked", set()), ("mail", set()), ("cdn", set()), ("redirect", {"http-served", "redirect-missing"}), ("staging", {"http-served", "redirect-missing"}),
])  # fmt: skip
def test_what_is_expected_depends_on_the_purpose(site: Site, purpose: str, codes: set[str]) -> None:
    from certmgr.scan.examine import Job, Result, examine
    from certmgr.survey import setup_for

    site.serve("return 200 parked;")
    setup = setup_for(
        site.settings, Options(overrides={(HOST, site.secure): ("127.0.0.1",)}, http_port=site.plain), guarded=False
    )
    setup.full = True
    found: list[Result] = []
    examine(setup, [Job(0, Target(HOST, site.secure), purpose=purpose)], found.append)
    report = found[0].report
    assert report is not None
    assert {f.code for f in report.findings} == codes


def test_http_without_https_is_served_and_https_missing(site: Site) -> None:
    site.serve("return 200 ok;")
    closed = free_port()
    report = scan_targets(
        site.settings,
        Options(overrides={(HOST, closed): ("127.0.0.1",)}, http_port=site.plain),
        [Target(HOST, closed)],
        clock=clock,
    )[0]
    assert {f.code for f in report.findings} == {"https-missing", "http-served"}


def test_redirect_missing_where_http_answers_with_an_error(site: Site) -> None:
    site.serve("return 404;")
    assert set(site.scan()) == {"redirect-missing"}


def test_https_that_redirects_to_http(site: Site) -> None:
    site.serve("return 200 ok;", f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;")
    found = site.scan()
    assert set(found) == {"redirect-insecure", "http-served", "redirect-missing"}
    assert found["redirect-insecure"].evidence["to"] == f"http://{HOST}:{site.plain}/"


def test_a_loop_between_http_and_https(site: Site) -> None:
    site.serve(REDIRECT, f"{HSTS} return 301 http://{HOST}:HTTP_PORT/;")
    found = site.scan()
    assert found["redirect-loop"].severity == "high"
    assert "redirect-insecure" in found


def test_redirects_without_end(site: Site) -> None:
    site.serve(f"rewrite ^/(.*)$ http://{HOST}:HTTP_PORT/$1x redirect;")
    found = site.scan()
    assert set(found) == {"http-unknown"}, "a browser follows some more, so nobody can tell where it ends"
    assert found["http-unknown"].evidence["why"] == "more than 10 redirects"


def test_a_redirect_that_sets_a_cookie_and_waits_for_it_is_no_loop(site: Site) -> None:
    wait = f'if ($cookie_seen = "") {{ add_header Set-Cookie "seen=1; Path=/"; return 302 http://{HOST}:HTTP_PORT/; }}'
    site.serve(f"location / {{ {wait} {REDIRECT} }}")
    assert site.scan() == {}


def test_mixed_content_active_passive_and_forms(site: Site) -> None:
    page = (
        "<!doctype html><base href='http://cdn.example.test/'><script src=//ok.example.test/a.js></script><script src='app.js'></script>"
        "<img src=https://x/y.png srcset='http://img.example.test/2.png 2x'><link rel=canonical href=http://x/>"
        "<form action=http://pay.example.test/></form><a href=http://link.example.test/>x</a><img src=http://127.0.0.1/a.png>"
        "<p style=\"background:url('http://bg.example.test/b.png')\">"
    )
    site.serve(REDIRECT, f"{HSTS} index page.html;", page=page)
    evidence = site.scan()["mixed-content"].evidence
    assert evidence["forms"] == ["http://pay.example.test/"]
    assert evidence["active"] == ["http://ok.example.test/a.js", "http://cdn.example.test/app.js"]
    assert evidence["passive"] == ["http://img.example.test/2.png", "http://bg.example.test/b.png"]


def test_upgrade_insecure_requests_takes_mixed_content_away(site: Site) -> None:
    site.serve(
        REDIRECT, f"{HSTS} add_header Content-Security-Policy 'default-src https:; upgrade-insecure-requests'; index page.html;",
        page="<img src=http://x.test/a.png>",
    )  # fmt: skip
    assert site.scan() == {}


@pytest.mark.parametrize(
    "header",
    ["", "add_header Strict-Transport-Security 'max-age=0';", "add_header Strict-Transport-Security 'includeSubDomains';"],
)
def test_hsts_missing(site: Site, header: str) -> None:
    site.serve(REDIRECT, f"{header} return 200 ok;")
    found = site.scan()
    assert set(found) == {"hsts-missing"}
    assert found["hsts-missing"].severity == "low"


@pytest.mark.parametrize("status", [403, 429, 503, 500, 502, 451])
def test_a_refusal_is_could_not_tell(site: Site, status: int) -> None:
    site.serve(f"return {status};")
    found = site.scan()
    assert set(found) == {"http-unknown"}
    assert found["http-unknown"].severity == "undetermined"
    assert site.report.web is not None
    assert site.report.web.unknown_plain == {"127.0.0.1"}


def test_a_challenge_page_is_could_not_tell(site: Site) -> None:
    site.serve("add_header cf-mitigated challenge always; return 200 '<input type=password>';")
    assert set(site.scan()) == {"http-unknown"}


def test_another_host_never_mixes_its_verdict_in(site: Site) -> None:
    """What stands at the end of a redirect to another host is that host's."""
    (site.folder / "page.html").write_text("<input type=password><img src=http://x.test/a.png>")
    inner = "if ($http_host ~ other) { rewrite ^ /page.html break; } if ($http_host !~ other) { return 302 http://other.example.test:HTTP_PORT/; }"
    site.serve(inner, f"{HSTS} return 200 ok;")
    changed = replace(site.settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
    found = site.scan(changed)
    assert set(found) == {"redirect-missing"}
    assert site.http["redirects"][0]["host"] == "other.example.test"  # type: ignore[index]


def test_a_redirect_to_another_site_over_https_is_not_followed(site: Site) -> None:
    site.serve("return 301 https://www.elsewhere.test/;", f"{HSTS} return 301 https://www.elsewhere.test/;")
    assert site.scan() == {}
    assert site.http["final_url"] == "https://www.elsewhere.test/"


@pytest.mark.parametrize(
    "where",
    ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.2:HTTP_PORT/", "http://[::1]:8080/", "http://0x7f000001/"],
)
def test_redirects_to_internal_addresses_are_not_followed(site: Site, where: str) -> None:
    site.serve(f"return 302 {where};")
    found = site.scan()
    assert set(found) == {"http-unknown"}
    assert len(site.http["visits"][0]["redirects"]) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    "where", ["ftp://x.test/", "javascript:alert(1)", "http://", "http://a b/", "http://x.test:99999/", "http://x.test:25/"]
)
def test_redirects_to_nothing_that_a_browser_opens(site: Site, where: str) -> None:
    site.serve(f"return 302 '{where}';")
    assert set(site.scan()) == {"http-unknown"}


def test_no_http_leaves_everything_out(site: Site) -> None:
    site.serve("return 200 ok;", "return 200 ok;")
    assert site.scan(http=False) == {}
    assert site.report.web is None


def test_an_honest_user_agent_with_a_contact_and_only_get(site: Site) -> None:
    site.serve("return 200 ok;")
    site.scan(replace(site.settings, http=HttpSettings(contact="https://provider.example/scan", per_address=0, rate=0.0)))
    log = (site.folder / "access.log").read_text().splitlines()
    assert len(log) == 2
    for line in log:
        assert '"GET / HTTP/1.1"' in line
        assert "certmgr/" in line
        assert "https://provider.example/scan" in line


def test_politeness_towards_one_address(site: Site) -> None:
    """5 a second after a burst of 2: eight fetches of four endpoints take more than a second."""
    import time

    site.serve("return 200 ok;")
    names = [f"s{i}.example.test" for i in range(4)]
    overrides = {(n, site.secure): ("127.0.0.1",) for n in names}
    started = time.monotonic()
    scan_targets(
        replace(site.settings, http=HttpSettings()), Options(overrides=overrides, http_port=site.plain), [Target(n, site.secure) for n in names], clock=clock)  # fmt: skip
    assert time.monotonic() - started > 1.0


# -- hostile servers ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def saying(talk: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """An HTTP server of the standard library whose answer is written by ``talk``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                talk(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _bytes(handler: http.server.BaseHTTPRequestHandler, head: bytes, chunks: Iterator[bytes]) -> None:
    handler.wfile.write(head)
    for chunk in chunks:
        handler.wfile.write(chunk)


def endless(chunk: bytes, most: int = 200_000_000) -> Iterator[bytes]:
    for _ in range(most // len(chunk)):
        yield chunk


_BOMB = gzip.compress(b"<p>" + b"A" * 50_000_000, 9)
HOSTILE: dict[str, tuple[Callable[[http.server.BaseHTTPRequestHandler], None], set[str]]] = {
    "a page of 200 MB": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<input type=password>", endless(b"A" * 65536)), {"http-collects-secrets"}),
    "a page of 200 MB without a field at its beginning": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", endless(b"A" * 65536)), {"http-served", "too-large"}),
    "a gzip bomb": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n", iter([_BOMB])), {"http-served", "too-large"}),
    "broken gzip": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n", iter([b"\x1f\x8bnothing"])), {"http-served", "too-large"}),
    "headers without end": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\n", endless(b"X-A: b\r\n")), {"http-unknown"}),
    "one header without end": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nX-A: ", endless(b"b" * 1000)), {"http-unknown"}),
    "no HTTP": (lambda h: _bytes(h, b"SSH-2.0-OpenSSH_9.2\r\n", iter([])), {"http-unknown"}),
    "nothing": (lambda h: None, {"http-unknown"}),
    "interim answers without end": (lambda h: _bytes(h, b"", endless(b"HTTP/1.1 100 Continue\r\n\r\n", 100_000)), {"http-unknown"}),
    "chunks of one byte": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n", endless(b"1;" + b"x" * 100 + b"\r\nA\r\n", 20_000_000)), {"http-served", "too-large"}),
    "invalid encoding": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=klingon\r\n\r\n", iter([b"\x80\xff\xfd<input type=password>\x80\x00"])), {"http-collects-secrets"}),
    "an URL that nobody can take apart": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", iter([b'<img src="http://[v1.' + b"a" * 300 + b']/x"><input type=password>'])), {"http-collects-secrets"}),
    "elements in elements": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", iter([b"<div>" * 200_000])), {"http-served", "too-large"}),
    "attributes without end": (lambda h: _bytes(h, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", iter([b"<input " + b" ".join(b"a%d" % i for i in range(140_000)) + b">"])), {"http-served", "too-large"}),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_answers_are_bounded(settings: Settings, what: str) -> None:
    talk, codes = HOSTILE[what]
    with saying(talk) as port:
        closed = free_port()
        chosen = replace(settings, http=HttpSettings(per_address=0, rate=0.0))
        report = scan_targets(
            chosen, Options(overrides={(HOST, closed): ("127.0.0.1",)}, http_port=port), [Target(HOST, closed)], clock=clock
        )[0]
    assert {f.code for f in report.findings} - {"https-missing"} == codes


def test_a_page_cannot_hide_its_endpoint(site: Site) -> None:
    """Facts of a page that are too long for a line, or a URL that cannot be parsed: the certificate is judged all the same."""
    long = "".join(
        f'<script src="http://x/{i}{chr(0x1F600) * 240}"></script><img src="http://[v1.{"a" * 300}]/{i}">' for i in range(12)
    )
    site.serve(REDIRECT, f"{HSTS} index page.html;", page=f"<!doctype html><meta charset=utf-8>{long}")
    found = site.scan()
    assert "scanner-error" not in found
    assert set(found) == {"mixed-content"}
    assert site.report.addresses[0].seen


def test_the_pages_of_an_address_share_one_deadline(settings: Settings) -> None:
    from certmgr.scan.examine import Job, Result, examine
    from certmgr.survey import setup_for

    asked: list[str] = []
    ended = threading.Event()

    def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        ended.wait()

    with saying(silent) as port:
        chosen = replace(settings, http=HttpSettings(per_address=0, rate=0.0), scan=replace(settings.scan, timeout=1.0))
        closed = free_port()
        setup = setup_for(chosen, Options(overrides={(HOST, closed): ("127.0.0.1",)}, http_port=port), guarded=False)
        setup.full = True
        found: list[Result] = []
        examine(setup, [Job(0, Target(HOST, closed), paths=tuple(f"/{i}" for i in range(10)))], found.append)
        ended.set()
    assert len(set(asked)) < 10, "the time is over before each page had a turn"
    assert found[0].report is not None
    assert "http-unknown" in {f.code for f in found[0].report.findings}


def test_a_drip_ends_with_the_deadline(settings: Settings) -> None:
    import time

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<input type=password>")
        while True:  # until the reader closes the connection
            time.sleep(0.1)
            handler.wfile.write(b".")

    with saying(drip) as port:
        closed = free_port()
        chosen = replace(settings, http=HttpSettings(per_address=0, rate=0.0))
        report = scan_targets(
            chosen, Options(overrides={(HOST, closed): ("127.0.0.1",)}, http_port=port), [Target(HOST, closed)], clock=clock
        )[0]
    assert "http-collects-secrets" in {f.code for f in report.findings}, "what was read before the deadline counts"


def test_titles_are_made_printable(site: Site) -> None:
    site.serve("index page.html;", page="<title>\x1b[31m{{7*7}}<script>alert(1)</script>\u202e=cmd()</title>")
    site.scan()
    title = str(site.http["title"] or site.http["visits"][0]["title"])  # type: ignore[index]
    assert "\x1b" not in title
    assert "\u202e" not in title
    assert "{{7*7}}" in title


def test_a_server_that_is_no_web_server_is_could_not_tell(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    server = Server(servers.tls(servers.server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    chosen = replace(settings, http=HttpSettings(per_address=0, rate=0.0))
    options = Options(overrides={(HOST, server.port): ("127.0.0.1",)}, http_port=free_port())
    report = scan_targets(chosen, options, [Target(HOST, server.port)], clock=clock)[0]
    assert {f.code for f in report.findings} == {"http-unknown"}
