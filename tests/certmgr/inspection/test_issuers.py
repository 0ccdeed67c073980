"""Missing issuers that are fetched from the URL in a certificate (authority information access)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.targets import Target
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
        # Browsers follow the redirect, and may read what is not an answer here.
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "high"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "high"),
        (b"garbage", "high"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "critical"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", "critical"),
    ],
    ids=["redirect", "large", "garbage", "missing", "text"],
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
