"""Missing issuers that are fetched from the URL in a certificate (authority information access)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography import x509

from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server
from certmgr.inspection.issuers import MAX_SILENT, IssuerFetcher
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.net.downloads import Download, DownloadTarget
from certmgr.scan.resolve import Resolver
from inventory.certificates import Certificate, parse
from inventory.targets import Target
from tests.campaign import UNREACHED
from tests.certmgr.net.server import serving
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve_certificate
from tests.clock import clock


def _issue(issuer: Authority, port: int) -> IssuedCertificate:
    """Issue a certificate that names an URL on this machine for its issuer."""
    location = x509.UniformResourceIdentifier(f"http://127.0.0.1:{port}/issuer.cer")
    method = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS
    access = x509.AuthorityInformationAccess([x509.AccessDescription(method, location)])
    return issuer.issue(HOST, extensions=[(access, False)])


def _settings(settings: Settings, *, fetch: bool, allow: bool) -> Settings:
    return replace(
        settings,
        trust=replace(settings.trust, fetch_issuers=fetch),
        network=NetworkSettings(allow=("127.0.0.0/8",) if allow else ()),
    )


@pytest.mark.parametrize(
    ("fetch", "allow", "fetched"),
    [(False, True, False), (True, False, False), (True, True, True)],
)
def test_missing_issuer_is_fetched_only_if_the_configuration_allows_it(
    probe: Probe,
    settings: Settings,
    root: Authority,
    opened: Stack,
    fetch: bool,
    allow: bool,
    fetched: bool,
) -> None:
    hidden = Authority("Hidden Issuer", root)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    web = Server(servers.respond_with(head % len(hidden.der) + hidden.der))
    opened.callback(web.close)
    port = serve_certificate(opened, _issue(hidden, web.port), chain=())
    found = probe(f"{HOST}:{port}", changes=_settings(settings, fetch=fetch, allow=allow))
    assert found.codes["chain-incomplete"].evidence["held"] is fetched
    assert found.report.addresses[0].trusted is (True if fetched else None)
    assert (web.connections > 0) is fetched
    # Browsers download the issuer from the address that the certificate names.
    assert found.codes["chain-incomplete"].severity == "high"


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        # The target may answer browsers.
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "high"),
        # Browsers do not follow this one: HTTPS would need a certificate itself.
        (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\n\r\n", "critical"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "critical"),
        (b"garbage", "critical"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "critical"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", "critical"),
    ],
    ids=["redirect", "redirect-to-https", "large", "garbage", "missing", "text"],
)
def test_answer_that_is_no_certificate_leaves_the_chain_incomplete(
    probe: Probe, settings: Settings, root: Authority, opened: Stack, answer: bytes, severity: str
) -> None:
    web = Server(servers.respond_with(answer))
    opened.callback(web.close)
    issued = _issue(Authority("Hidden Issuer", root), web.port)
    port = serve_certificate(opened, issued, chain=())
    found = probe(f"{HOST}:{port}", changes=_settings(settings, fetch=True, allow=True))
    assert found.codes["chain-incomplete"].evidence["held"] is False
    # If the answer is final, browsers get no better one.
    assert found.codes["chain-incomplete"].severity == severity


@pytest.mark.parametrize("sent_by_another", [False, True])
def test_severity_does_not_depend_on_what_other_endpoints_send(
    settings: Settings, root: Authority, opened: Stack, sent_by_another: bool
) -> None:
    """One URL answers with a page, and two with the issuer: each gets the verdict it gets alone."""
    hidden = Authority("Hidden Issuer", root)
    answers = {"page": b"a page", "first": hidden.der, "second": hidden.der}
    ports = {}
    for name, body in answers.items():
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        web = Server(servers.respond_with(head + body))
        opened.callback(web.close)
        ports[name] = serve_certificate(opened, _issue(hidden, web.port), chain=())
    if sent_by_another:
        ports["whole"] = serve_certificate(opened, _issue(hidden, 1))
    targets = [Target(HOST, port) for port in ports.values()]
    options = ScanOptions(overrides={(t.host, t.port): ("127.0.0.1",) for t in targets})
    reports = scan_targets(
        _settings(settings, fetch=True, allow=True), options, targets, clock=clock
    )
    found = {r.target.port: {f.code: f.severity for f in r.findings} for r in reports}
    severities = [found[port].get("chain-incomplete") for port in ports.values()]
    assert severities == ["critical", "high", "high", None][: len(ports)]


class _Asked:
    """A download that answers by the URL, and counts."""

    def __init__(self, answer: Download) -> None:
        self.answer = answer
        self.urls: list[str] = []

    def __call__(self, target: DownloadTarget, *_: object, **__: object) -> Download:
        self.urls.append(target.url)
        return self.answer


def _fetch_all(
    monkeypatch: pytest.MonkeyPatch,
    answer: Download,
    leaves: Sequence[Certificate],
    askers: Sequence[str] = (),
) -> tuple[_Asked, list[int]]:
    """Fetch the issuers of leaves one after another; returns how many each of them got."""
    asking = askers or [""] * len(leaves)
    asked = _Asked(answer)
    monkeypatch.setattr("certmgr.inspection.issuers.download", asked)

    async def fetch() -> list[int]:
        resolver = Resolver(servers=("127.0.0.1:9",), timeout=1.0, allowed=(), guarded=True)
        fetcher = IssuerFetcher(resolver, ())
        try:
            pairs = zip(leaves, asking, strict=True)
            return [len(await fetcher.issuers(leaf, asker)) for leaf, asker in pairs]
        finally:
            await resolver.close()

    return asked, asyncio.run(fetch())


class _Redirects(_Asked):
    """A server that redirects up to a number of times, and then answers."""

    def __init__(self, answer: Download, redirects: int) -> None:
        super().__init__(answer)
        self.left = redirects

    def __call__(self, target: DownloadTarget, *_: object, **__: object) -> Download:
        super().__call__(target)
        self.left -= 1
        moved = Download(location=f"http://192.0.2.1/{self.left}")
        return moved if self.left >= 0 else self.answer


def _follow(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority, redirects: int
) -> tuple[int, int, bool]:
    """Return how many requests and issuers there were, and whether the answer is final."""
    asked = _Redirects(Download(issuer.der, final=True), redirects)
    monkeypatch.setattr("certmgr.inspection.issuers.download", asked)
    leaf = _naming(issuer, "http://192.0.2.1/x")

    async def fetch() -> tuple[int, int, bool]:
        resolver = Resolver(servers=("127.0.0.1:9",), timeout=1.0, allowed=(), guarded=True)
        fetcher = IssuerFetcher(resolver, ())
        try:
            found = await fetcher.issuers(leaf)
        finally:
            await resolver.close()
        return len(asked.urls), len(found), bool(fetcher.answered)

    return asyncio.run(fetch())


def test_as_many_redirects_are_followed_as_in_chrome(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    assert _follow(monkeypatch, issuer, 20) == (21, 1, True)
    # Chrome gets no issuer either.
    assert _follow(monkeypatch, issuer, 21) == (21, 0, True)


def test_redirects_count_for_the_site_that_redirects(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_SITE_FETCHES", 5)
    # Browsers have no such limit, so the answer is not final.
    assert _follow(monkeypatch, issuer, 10) == (5, 0, False)


def test_each_redirect_is_guarded_as_the_url_is(
    probe: Probe, settings: Settings, root: Authority, opened: Stack
) -> None:
    inside = Server(servers.respond_with(b"HTTP/1.1 200 OK\r\n\r\nx"), address="127.0.0.2")
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:%d/\r\n\r\n" % inside.port
    web = Server(servers.respond_with(moved))
    for server in (inside, web):
        opened.callback(server.close)
    port = serve_certificate(opened, _issue(Authority("Hidden", root), web.port), chain=())
    allowed = replace(
        _settings(settings, fetch=True, allow=True), network=NetworkSettings(allow=("127.0.0.1",))
    )
    probe(f"{HOST}:{port}", changes=allowed)
    assert (web.connections, inside.connections) == (1, 0)
    probe(f"{HOST}:{port}", changes=_settings(settings, fetch=True, allow=True))
    assert (web.connections, inside.connections) == (2, 1)


def test_redirects_share_the_time_of_one_url(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    monkeypatch.setattr("certmgr.inspection.issuers.TIMEOUT", 0.0)
    assert _follow(monkeypatch, issuer, 10) == (1, 0, False)


def _naming(issuer: Authority, *urls: str) -> Certificate:
    """Return a leaf that names several URLs for its issuer."""
    method = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS
    listed = [x509.AccessDescription(method, x509.UniformResourceIdentifier(u)) for u in urls]
    access = x509.AuthorityInformationAccess(listed)
    return parse(issuer.issue(HOST, extensions=[(access, False)]).der)


def _leaves(issuer: Authority, urls: Sequence[str]) -> list[Certificate]:
    return [_naming(issuer, url) for url in urls]


def test_site_that_answers_no_fetch_is_left_and_another_one_is_asked(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    silent = [f"http://192.0.2.1/{n}" for n in range(MAX_SILENT + 4)]
    asked, _ = _fetch_all(
        monkeypatch, Download(problem="silent"), _leaves(issuer, [*silent, "http://192.0.2.2/x"])
    )
    expected = [*silent[:MAX_SILENT], "http://192.0.2.2/x"]
    assert [u.replace(":80/", "/") for u in asked.urls] == expected


def test_one_site_gets_a_limited_number_of_fetches(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_SITE_FETCHES", 3)
    urls = [*(f"http://192.0.2.1:{80 + n}/" for n in range(5)), "http://192.0.2.2/x"]
    _, counts = _fetch_all(monkeypatch, Download(issuer.der, final=True), _leaves(issuer, urls))
    assert counts == [1, 1, 1, 0, 0, 1]


def test_certificates_that_name_silent_ports_of_a_ca_do_not_keep_others_from_it(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    silent = [f"http://192.0.2.1:81/{n}" for n in range(MAX_SILENT + 4)]
    leaves = _leaves(issuer, [*silent, "http://192.0.2.1/issuer"])
    asked, _ = _fetch_all(monkeypatch, Download(problem="silent"), leaves)
    assert asked.urls == [*silent[:MAX_SILENT], "http://192.0.2.1:80/issuer"]


def test_certificates_that_name_hosts_of_a_ca_without_address_do_not_keep_others_from_it(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority, opened: Stack
) -> None:
    asked = _Asked(Download(issuer.der, final=True))
    monkeypatch.setattr("certmgr.inspection.issuers.download", asked)
    resolver = opened.enter_context(serving({("real.ca.test", "A"): ["192.0.2.1"]}))
    urls = [f"http://x{n}.ca.test/" for n in range(MAX_SILENT + 1)]

    async def fetch() -> list[int]:
        names = Resolver(servers=(resolver.address,), timeout=UNREACHED, guarded=False)
        fetcher = IssuerFetcher(names, ())
        try:
            leaves = _leaves(issuer, [*urls, "http://real.ca.test/"])
            return [len(await fetcher.issuers(leaf)) for leaf in leaves]
        finally:
            await names.close()

    assert asyncio.run(fetch())[-1] == 1
    assert asked.urls == ["http://real.ca.test:80/"]


def test_one_domain_gets_a_limited_number_of_fetches_and_another_one_still_some(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_ASKER_FETCHES", 4)
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_SITE_FETCHES", 3)
    # The sites that the certificates of one domain name are many, or that of a real CA.
    urls = [
        *(f"http://192.0.2.{n}/" for n in range(1, 7)),
        *(f"http://192.0.2.9/{n}" for n in "abcd"),
    ]
    asking = ["a.test"] * 6 + ["b.test"] * 3 + ["c.test"]
    answer = Download(issuer.der, final=True)
    _, counts = _fetch_all(monkeypatch, answer, _leaves(issuer, urls), asking)
    assert counts == [1, 1, 1, 1, 0, 0, 1, 1, 1, 1]


def test_large_answer_is_used_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_KEPT", 100)
    leaves = _leaves(issuer, ["http://192.0.2.1/large"] * 2)
    asked, counts = _fetch_all(monkeypatch, Download(issuer.der, final=True), leaves)
    assert counts == [1, 1]
    assert len(asked.urls) == 2
    monkeypatch.setattr("certmgr.inspection.issuers.MAX_KEPT", 100_000)
    asked, counts = _fetch_all(monkeypatch, Download(issuer.der, final=True), leaves)
    assert counts == [1, 1]
    assert len(asked.urls) == 1


def test_first_five_urls_that_browsers_can_use_are_fetched(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    usable = [f"http://192.0.2.{n}/x" for n in range(1, 7)]
    leaf = _naming(issuer, "ldap://192.0.2.9/x", *usable, "https://192.0.2.9/x")
    asked, _ = _fetch_all(monkeypatch, Download(b"<p>moved", final=True), [leaf])
    assert [u.replace(":80/", "/") for u in asked.urls] == usable[:5]


def test_url_after_the_one_of_the_issuer_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority
) -> None:
    leaf = _naming(issuer, "http://192.0.2.1/x", "http://192.0.2.2/x")
    asked, counts = _fetch_all(monkeypatch, Download(issuer.der, final=True), [leaf])
    assert (len(asked.urls), counts) == (1, [1])


def test_only_the_first_certificate_of_a_pem_file_is_used(
    monkeypatch: pytest.MonkeyPatch, issuer: Authority, root: Authority
) -> None:
    text = "".join(map(ssl.DER_cert_to_PEM_cert, (root.der, issuer.der)))
    leaves = _leaves(issuer, ["http://192.0.2.1/x"])
    _, counts = _fetch_all(monkeypatch, Download(text.encode(), final=True), leaves)
    assert counts == [1]
