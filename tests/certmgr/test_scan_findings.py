"""Each finding code of the scan, shown by a real server: nginx, openssl s_server, or a TLS server with certificates of a real CA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from certmgr.config import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.servers import Server, server_context
from tests.clock import clock
from tests.conftest import Look
from tests.servers import real
from tests.servers.ports import free_port

HOST = "shop.example.test"
Stack = contextlib.ExitStack
Looker = Callable[..., Look]


def serve(opened: Stack, issued: object, **options: object) -> int:
    """A TLS server for one certificate; its port."""
    server = Server(servers.tls(server_context(issued, **options)))  # type: ignore[arg-type]
    opened.callback(server.close)
    return server.port


def test_nginx_with_a_good_chain_is_ok(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)]))
    seen = look(f"{HOST}:{port}")
    assert seen.report.findings == ()
    address = seen.report.addresses[0]
    assert address.trusted is True
    assert address.error is None
    assert (address.tls_version, address.group, len(address.chain)) == ("TLSv1.3", "X25519", 2)
    assert seen.report.certificate is not None
    assert seen.report.certificate.names == (HOST,)


def test_nginx_negotiates_h2_by_alpn(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    port = opened.enter_context(real.nginx(tmp_path, [(f"{HOST}", *pair)], extra="http2_max_requests 10;"))
    assert look(f"{HOST}:{port}").report.addresses[0].alpn in ("h2", "http/1.1")


def test_expired(look: Looker, issuer: Authority, opened: Stack) -> None:
    now = clock()
    issued = issuer.issue(HOST, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))
    seen = look(f"{HOST}:{serve(opened, issued)}")
    assert seen.severe() == {"certificate-expired"}, "an expired leaf of a trusted CA has one fault, not several"
    assert seen.report.addresses[0].trusted is False


@pytest.mark.parametrize(
    ("days_left", "life", "severity"), [(5, 90, "high"), (20, 90, "medium"), (3, 100, "high"), (25, 200, "medium")]
)
def test_expiring(look: Looker, issuer: Authority, opened: Stack, days_left: int, life: int, severity: str) -> None:
    now = clock()
    issued = issuer.issue(HOST, not_before=now - timedelta(days=life - days_left), days=days_left)
    assert look(f"{HOST}:{serve(opened, issued)}").codes["certificate-expiring"].severity == severity


def test_not_yet_valid(look: Looker, issuer: Authority, opened: Stack) -> None:
    now = clock()
    seen = look(f"{HOST}:{serve(opened, issuer.issue(HOST, not_before=now + timedelta(days=2), days=60))}")
    assert seen.severe() == {"certificate-not-yet-valid"}
    assert "our_clock" in seen.codes["certificate-not-yet-valid"].evidence


def test_name_mismatch_and_default_certificate(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue("panel.provider.test"))
    port = opened.enter_context(real.nginx(tmp_path, [("panel.provider.test", *pair)]))
    assert look(f"{HOST}:{port}").severe() == {"name-mismatch", "default-certificate"}


def test_a_mismatch_within_the_registered_domain_is_no_default_certificate(
    look: Looker, issuer: Authority, opened: Stack
) -> None:
    assert look(f"{HOST}:{serve(opened, issuer.issue('www.example.test'))}").severe() == {"name-mismatch"}


def test_a_mismatch_only_with_sni_is_no_default_certificate(look: Looker, issuer: Authority, opened: Stack) -> None:
    default = server_context(issuer.issue("panel.provider.test"))
    server = Server(servers.tls(default, {HOST: server_context(issuer.issue("other.customer.test"))}))
    opened.callback(server.close)
    assert look(f"{HOST}:{server.port}").severe() == {"name-mismatch"}


def test_san_missing(look: Looker, issuer: Authority, opened: Stack) -> None:
    seen = look(f"{HOST}:{serve(opened, issuer.issue(HOST, san=False))}")
    assert seen.severe() == {"san-missing"}


def test_self_signed(look: Looker, opened: Stack) -> None:
    seen = look(f"{HOST}:{serve(opened, self_signed(HOST, clock=clock))}")
    assert seen.severe() == {"self-signed"}
    assert seen.report.addresses[0].trusted is False


def test_self_signed_that_is_an_anchor_is_trusted(look: Looker, settings: Settings, tmp_path: Path, opened: Stack) -> None:
    issued = self_signed(HOST, days=80, clock=clock)
    (tmp_path / "own.pem").write_bytes(issued.chain_pem)
    seen = look(f"{HOST}:{serve(opened, issued)}", ca_files=(str(tmp_path / "own.pem"),))
    assert seen.report.addresses[0].trusted is not False
    assert "self-signed" not in seen.codes


def test_intermediate_not_sent_and_unknown(look: Looker, root: Authority, opened: Stack) -> None:
    hidden = Authority("Hidden Issuer", root)
    seen = look(f"{HOST}:{serve(opened, hidden.issue(HOST), chain=())}")
    assert seen.severe() == {"chain-incomplete"}
    assert seen.report.addresses[0].trusted is None, "neither sent nor held: nobody can tell"
    assert "Hidden Issuer" in seen.codes["chain-incomplete"].evidence["missing"]


def test_intermediate_not_sent_but_seen_in_the_run(settings: Settings, root: Authority, opened: Stack) -> None:
    from certmgr.survey import Options, scan_targets
    from inventory.targets import parse

    hidden = Authority("Hidden Issuer", root)
    without = serve(opened, hidden.issue("a.example.test"), chain=())
    whole = serve(opened, hidden.issue("b.example.test"))
    overrides = {("a.example.test", without): ("127.0.0.1",), ("b.example.test", whole): ("127.0.0.1",)}
    first, second = scan_targets(
        settings,
        Options(overrides=overrides),
        [parse(f"a.example.test:{without}"), parse(f"b.example.test:{whole}")],
        clock=clock,
    )
    assert [f.code for f in first.findings] == ["chain-incomplete"]
    assert first.findings[0].evidence["held"] is True
    assert first.addresses[0].trusted is True, "it verifies with the issuer that another server sent"
    assert second.findings == ()


def test_untrusted_root(look: Looker, opened: Stack) -> None:
    private = Authority("Private Root", clock=clock)
    middle = Authority("Private Issuer", private)
    issued = middle.issue(HOST)
    with_root = (middle.der, private.der)
    assert look(f"{HOST}:{serve(opened, issued, chain=with_root)}").severe() == {"untrusted-root"}


def test_an_untrusted_root_that_is_not_sent_is_undetermined(look: Looker, opened: Stack) -> None:
    private = Authority("Private Root", clock=clock)
    seen = look(f"{HOST}:{serve(opened, Authority('Private Issuer', private).issue(HOST))}")
    assert seen.severe() == {"chain-incomplete"}
    assert seen.report.addresses[0].trusted is None


def test_chain_in_the_wrong_order(look: Looker, root: Authority, opened: Stack) -> None:
    upper = Authority("Upper", root)
    lower = Authority("Lower", upper)
    seen = look(f"{HOST}:{serve(opened, lower.issue(HOST), chain=(upper.der, lower.der))}")
    assert (seen.codes["chain-disordered"].severity, seen.severe()) == ("low", set())


def test_a_surplus_certificate_and_the_root_are_remarks(look: Looker, root: Authority, issuer: Authority, opened: Stack) -> None:
    other = Authority("Unrelated", clock=clock)
    surplus = look(f"{HOST}:{serve(opened, issuer.issue(HOST), chain=(issuer.der, other.der))}")
    rooted = look(f"{HOST}:{serve(opened, issuer.issue(HOST), chain=(issuer.der, root.der))}")
    assert [f.severity for f in surplus.report.findings] == ["info"]
    assert [f.severity for f in rooted.report.findings] == ["info"]


def test_intermediate_expired(look: Looker, root: Authority, opened: Stack) -> None:
    now = clock()
    old = Authority("Old Issuer", root, not_before=now - timedelta(days=900), not_after=now - timedelta(days=2))
    seen = look(f"{HOST}:{serve(opened, old.issue(HOST))}")
    assert seen.severe() == {"intermediate-expired"}


def test_an_expired_cross_sign_is_no_fault_where_another_path_is_valid(look: Looker, root: Authority, opened: Stack) -> None:
    now = clock()
    key = ec.generate_private_key(ec.SECP256R1())
    fresh = Authority("Crossed Issuer", root, key=key)
    expired = Authority("Crossed Issuer", root, key=key, not_before=now - timedelta(days=900), not_after=now - timedelta(days=2))
    seen = look(f"{HOST}:{serve(opened, fresh.issue(HOST), chain=(expired.der, fresh.der))}")
    assert seen.severe() == set()
    assert seen.report.addresses[0].trusted is True


def test_key_weak(look: Looker, issuer: Authority, opened: Stack) -> None:
    issued = issuer.issue(HOST, key=rsa.generate_private_key(65537, 1024))
    assert look(f"{HOST}:{serve(opened, issued)}").severe() == {"key-weak"}


@pytest.mark.parametrize(
    "key", [dsa.generate_private_key(2048), ec.generate_private_key(ec.SECP256K1())], ids=["DSA", "secp256k1"]
)
def test_keys_that_no_handshake_completes_with(issuer: Authority, key: object) -> None:
    """The client offers neither, as browsers do; the certificate is judged as it would be read from the Certificate message."""
    from certmgr.checks.certificate import _key
    from inventory.certificates import parse

    assert [f.code for f in _key(parse(issuer.issue(HOST, key=key).der), ())] == ["key-weak"]


def test_signature_weak(look: Looker, root: Authority, opened: Stack) -> None:
    from tests.certificates import resigned

    issued = resigned(root.issue(HOST), root, "sha1")
    seen = look(f"{HOST}:{serve(opened, issued, chain=())}")
    assert "signature-weak" in seen.severe()


def test_a_leaf_that_is_not_for_servers_is_malformed(look: Looker, issuer: Authority, opened: Stack) -> None:
    usage = (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    issued = issuer.issue(HOST, server_auth=False, extensions=[usage])
    assert look(f"{HOST}:{serve(opened, issued)}").severe() == {"certificate-malformed"}


def test_a_broken_name_constraint_is_malformed(look: Looker, root: Authority, opened: Stack) -> None:
    narrow = (x509.NameConstraints([x509.DNSName("allowed.test")], None), True)
    seen = look(f"{HOST}:{serve(opened, Authority('Narrow', root, extensions=[narrow]).issue(HOST))}")
    assert seen.severe() == {"certificate-malformed"}
    assert seen.report.addresses[0].trusted is False


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets a test CA stand in the place of the browsers' root programme."""
    import certifi

    return lambda path: monkeypatch.setattr(certifi, "where", lambda: str(path))


def test_validity_too_long_and_scts(
    look: Looker, root_file: Path, issuer: Authority, opened: Stack, browsers: Callable[[Path], None]
) -> None:
    now = clock()
    port = serve(opened, issuer.issue(HOST, not_before=now - timedelta(days=10), days=300))
    private = look(f"{HOST}:{port}")
    assert {"validity-too-long", "sct-missing"} & set(private.codes) == set(), "a private CA is not bound by either"
    browsers(root_file)
    seen = look(f"{HOST}:{port}")
    assert seen.codes["validity-too-long"].severity == "high"
    assert seen.codes["validity-too-long"].evidence["allowed"] == 200
    assert seen.codes["sct-missing"].severity == "undetermined", "more SCTs may have come in the TLS extension"


def test_ca_distrusted(look: Looker, tmp_path: Path, opened: Stack, browsers: Callable[[Path], None]) -> None:
    entrust = Authority("Entrust Test Root", organisation="Entrust, Inc.", clock=clock)
    (tmp_path / "entrust.pem").write_bytes(entrust.pem)
    port = serve(opened, Authority("Entrust Issuer", entrust).issue(HOST))
    browsers(tmp_path / "entrust.pem")
    seen = look(f"{HOST}:{port}")
    assert seen.codes["ca-distrusted"].evidence["ca"] == "Entrust"


def test_verification_disputed(look: Looker, root: Authority, opened: Stack) -> None:
    """A leaf with a path length: OpenSSL does not mind, the Web PKI profile refuses a CA bit in a leaf."""
    from tests.certificates import ca_leaf

    seen = look(f"{HOST}:{serve(opened, ca_leaf(root, HOST), chain=())}")
    assert seen.codes["verification-disputed"].severity == "undetermined"
    assert seen.report.addresses[0].trusted is None
    assert seen.severe() == set()


def test_inconsistent_deployment(look: Looker, issuer: Authority, opened: Stack) -> None:
    first = Server(servers.tls(server_context(issuer.issue(HOST, days=80))))
    second = Server(servers.tls(server_context(issuer.issue(HOST, days=50))), address="127.0.0.2", port=first.port)
    opened.callback(first.close)
    opened.callback(second.close)
    seen = look(f"{HOST}:{first.port}", at=("127.0.0.1", "127.0.0.2"))
    assert seen.codes["inconsistent-deployment"].severity == "high"
    assert seen.codes["inconsistent-deployment"].addresses == ("127.0.0.1", "127.0.0.2")


def test_the_same_certificate_reissued_with_the_same_facts_is_a_remark(look: Looker, issuer: Authority, opened: Stack) -> None:
    end = clock().replace(microsecond=0) + timedelta(days=80)
    first = Server(servers.tls(server_context(issuer.issue(HOST, not_after=end))))
    second = Server(servers.tls(server_context(issuer.issue(HOST, not_after=end))), address="127.0.0.2", port=first.port)
    opened.callback(first.close)
    opened.callback(second.close)
    assert look(f"{HOST}:{first.port}", at=("127.0.0.1", "127.0.0.2")).codes["inconsistent-deployment"].severity == "info"


def test_ipv6_is_looked_at_and_judged_on_its_own(look: Looker, issuer: Authority, opened: Stack) -> None:
    first = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(first.close)
    seen = look(f"{HOST}:{first.port}", at=("127.0.0.1", "::1"))
    assert [a.address for a in seen.report.addresses] == ["127.0.0.1", "::1"]
    assert seen.codes["https-missing"].addresses == ("::1",)
    assert seen.report.addresses[0].trusted is True


def test_an_ipv6_endpoint_with_an_address_in_its_certificate(
    look: Looker, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue("::1", "127.0.0.1"))
    port = opened.enter_context(real.nginx(tmp_path, [("_", *pair)], address="::1"))
    assert look(f"[::1]:{port}").report.findings == ()


def test_https_missing(look: Looker) -> None:
    seen = look(f"{HOST}:{free_port()}")
    assert seen.severe() == {"https-missing"}
    assert seen.codes["https-missing"].evidence["looks"] == 2, "a transient failure is looked at a second time"
    assert seen.report.certificate is None


def test_connection_failed_for_another_protocol(look: Looker) -> None:
    assert look(f"{HOST}:{free_port()}/imap").severe() == {"connection-failed"}


def test_not_tls(look: Looker, opened: Stack) -> None:
    server = Server(servers.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    opened.callback(server.close)
    seen = look(f"{HOST}:{server.port}")
    assert seen.severe() == {"not-tls"}
    assert seen.report.addresses[0].trusted is None, "a transport failure is no verdict about trust"


def test_connection_timeout_is_undetermined(look: Looker, opened: Stack) -> None:
    server = Server(servers.silent)
    opened.callback(server.close)
    seen = look(f"{HOST}:{server.port}", timeout=1.5)
    assert {f.code: f.severity for f in seen.report.findings} == {"connection-timeout": "undetermined"}
    assert server.connections == 2, "a silent address is tried a second time"


def test_handshake_failed_keeps_alert_and_reason(look: Looker, opened: Stack) -> None:
    server = Server(servers.saying(bytes.fromhex("15030300020250")))  # fatal alert 80, internal_error
    opened.callback(server.close)
    seen = look(f"{HOST}:{server.port}")
    assert seen.severe() == {"handshake-failed"}
    assert seen.codes["handshake-failed"].evidence["alert"] == 80


def test_reset_in_the_handshake(look: Looker, opened: Stack) -> None:
    server = Server(servers.reset)
    opened.callback(server.close)
    assert look(f"{HOST}:{server.port}").severe() == {"handshake-failed"}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_certificate_required(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack, version: str) -> None:
    port = opened.enter_context(real.s_server(*real.write_pair(tmp_path, issuer.issue(HOST)), "-Verify", "1", version))
    seen = look(f"{HOST}:{port}")
    assert {f.code: f.severity for f in seen.report.findings} == {"client-certificate-required": "info"}
    assert seen.report.certificate is not None, "the chain is still read"


def test_tls_legacy_only(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    options = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    seen = look(f"{HOST}:{port}")
    assert seen.severe() == {"tls-legacy-only"}
    assert seen.codes["tls-legacy-only"].evidence["version"] == "TLSv1.1"
    assert seen.report.addresses[0].trusted is True


def test_tls_legacy_offered_is_seen_by_a_deep_look(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    options = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    assert "tls-legacy-offered" not in look(f"{HOST}:{port}").codes
    deep = look(f"{HOST}:{port}", deep=True)
    assert (deep.codes["tls-legacy-offered"].severity, deep.codes["tls-legacy-offered"].evidence["versions"]) == (
        "low",
        ["TLSv1", "TLSv1.1"],
    )


def test_a_deep_look_judges_the_other_key_type(look: Looker, issuer: Authority, opened: Stack) -> None:
    now = clock()
    good = issuer.issue(HOST)
    stale = issuer.issue(
        HOST, key=rsa.generate_private_key(65537, 2048), not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    port = serve(opened, good, extra=(stale,))
    assert look(f"{HOST}:{port}").severe() == set()
    deep = look(f"{HOST}:{port}", deep=True)
    assert "certificate-expired" in deep.severe()
    assert deep.codes["certificate-expired"].evidence["key"] == "RSA 2048"


def test_ciphers_obsolete(look: Looker, issuer: Authority, tmp_path: Path, opened: Stack) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST, key=rsa.generate_private_key(65537, 2048)))
    options = "ssl_protocols TLSv1.2; ssl_ciphers ARIA256-GCM-SHA384:CAMELLIA256-SHA:@SECLEVEL=0;"
    port = opened.enter_context(real.nginx(tmp_path, [(HOST, *pair)], extra=options))
    assert look(f"{HOST}:{port}").severe() == {"ciphers-obsolete"}


def test_names_on_port_25_are_remarks(issuer: Authority) -> None:
    """Port 25 cannot be bound by an ordinary user, so the evidence of another port is judged as if it were 25."""
    from certmgr.checks.judge import Context, Judge
    from certmgr.checks.trust import TrustStore
    from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
    from inventory.certificates import parse
    from inventory.targets import Target

    now = clock()
    seen = AddressEvidence("192.0.2.1", (self_signed("other.test", clock=clock).der,), "TLSv1.3", "TLS_AES_256_GCM_SHA384")
    judge = Judge(TrustStore([]), parse)
    at_25, at_587 = (
        judge.judge(Evidence(Target(HOST, port, "smtp"), now, Resolution("fixed", ("192.0.2.1",)), (seen,)), Context(), now)
        for port in (25, 587)
    )
    assert {f.severity for f in at_25.findings} == {"info"}
    assert "critical" in {f.severity for f in at_587.findings}


# -- DNS ------------------------------------------------------------------------------------------------------------


def asking(settings: Settings, resolver: str) -> Settings:
    return replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))


@pytest.mark.parametrize(
    ("answer", "code", "severity"),
    [
        ("NXDOMAIN", "name-not-found", "high"),
        ("NODATA", "name-not-found", "high"),
        ("SERVFAIL", "dns-failure", "undetermined"),
        ("SILENT", "dns-failure", "undetermined"),
    ],
)
def test_dns(settings: Settings, opened: Stack, answer: str, code: str, severity: str) -> None:
    from certmgr.survey import Options, scan_targets
    from inventory.targets import parse

    resolver = opened.enter_context(real.dns({HOST: answer}))
    (report,) = scan_targets(asking(settings, resolver), Options(timeout=2.0), [parse(HOST)], clock=clock)
    assert [(f.code, f.severity) for f in report.findings] == [(code, severity)]
    assert report.addresses == ()


def test_every_address_of_a_name_is_visited(settings: Settings, issuer: Authority, opened: Stack) -> None:
    from certmgr.survey import Options, scan_targets
    from inventory.targets import parse

    first = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(first.close)
    resolver = opened.enter_context(real.dns({HOST: ["127.0.0.1", "127.0.0.9", "::1"]}))
    (report,) = scan_targets(asking(settings, resolver), Options(), [parse(f"{HOST}:{first.port}")], clock=clock)
    assert [a.address for a in report.addresses] == ["127.0.0.1", "127.0.0.9", "::1"]
    assert [(f.code, f.addresses) for f in report.findings] == [("https-missing", ("127.0.0.9", "::1"))]


def test_points_elsewhere(look: Looker, settings: Settings, issuer: Authority, opened: Stack) -> None:
    port = serve(opened, issuer.issue(HOST))
    ours = replace(settings, network=NetworkSettings(provider=("127.0.0.0/24",)))
    others = replace(settings, network=NetworkSettings(provider=("198.51.100.0/24",)))
    assert look(f"{HOST}:{port}", changes=ours).codes == {}
    assert look(f"{HOST}:{port}", changes=others).codes["points-elsewhere"].severity == "info"


def test_the_unparseable_certificate_keeps_its_der(look: Looker, issuer: Authority, opened: Stack) -> None:
    """A leaf whose key OpenSSL cannot read: the handshake fails, and the chain is read from the Certificate message."""
    from tests.certificates import raw_server

    der = issuer.issue(HOST).der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030109"), 1)
    server = raw_server(issuer, der)
    opened.callback(server.close)
    seen = look(f"{HOST}:{server.port}")
    assert "certificate-malformed" in seen.severe() or "handshake-failed" in seen.severe()


# -- AIA --------------------------------------------------------------------------------------------------------------


def _aia(url: str) -> tuple[x509.ExtensionType, bool]:
    location = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, location)]
    ), False


def _issuer_over_http(opened: Stack, der: bytes) -> Server:
    server = Server(servers.saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(der) + der))
    opened.callback(server.close)
    return server


@pytest.mark.parametrize(("fetch", "allow", "fetched"), [(False, True, False), (True, False, False), (True, True, True)])
def test_a_missing_issuer_is_fetched_only_where_the_configuration_allows_it(
    look: Looker, settings: Settings, root: Authority, opened: Stack, fetch: bool, allow: bool, fetched: bool
) -> None:
    hidden = Authority("Hidden Issuer", root)
    web = _issuer_over_http(opened, hidden.der)
    issued = hidden.issue(HOST, extensions=[_aia(f"http://127.0.0.1:{web.port}/issuer.cer")])
    changes = replace(
        settings,
        trust=replace(settings.trust, fetch_issuers=fetch),
        network=NetworkSettings(allow=("127.0.0.0/8",) if allow else ()),
    )
    seen = look(f"{HOST}:{serve(opened, issued, chain=())}", changes=changes)
    assert seen.codes["chain-incomplete"].evidence["held"] is fetched
    assert seen.report.addresses[0].trusted is (True if fetched else None)
    assert (web.connections > 0) is fetched


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, b"garbage"],
)
def test_what_an_issuer_url_answers_is_bounded(
    look: Looker, settings: Settings, root: Authority, opened: Stack, answer: bytes
) -> None:
    web = Server(servers.saying(answer))
    opened.callback(web.close)
    issued = Authority("Hidden Issuer", root).issue(HOST, extensions=[_aia(f"http://127.0.0.1:{web.port}/x")])
    changes = replace(
        settings, trust=replace(settings.trust, fetch_issuers=True), network=NetworkSettings(allow=("127.0.0.0/8",))
    )
    seen = look(f"{HOST}:{serve(opened, issued, chain=())}", changes=changes)
    assert seen.codes["chain-incomplete"].evidence["held"] is False


# -- what a reviewer found once ---------------------------------------------------------------------------------------


def test_a_private_store_is_not_public(
    look: Looker, settings: Settings, root_file: Path, issuer: Authority, opened: Stack
) -> None:
    now = clock()
    port = serve(opened, issuer.issue(HOST, not_before=now - timedelta(days=10), days=300))
    changes = replace(settings, trust=replace(settings.trust, store=str(root_file), ca_files=()))
    seen = look(f"{HOST}:{port}", changes=changes)
    assert seen.codes == {}
    assert seen.report.addresses[0].trusted is True


def test_an_underscore_is_no_dispute(look: Looker, issuer: Authority, opened: Stack) -> None:
    seen = look(f"my_shop.example.test:{serve(opened, issuer.issue('my_shop.example.test'))}")
    assert seen.codes == {}
    assert seen.report.addresses[0].trusted is True


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_issuer_seen_later_in_the_run_counts(
    settings: Settings, root: Authority, opened: Stack, order: tuple[int, int]
) -> None:
    from certmgr.survey import Options, scan_targets
    from inventory.targets import parse

    now = clock()
    key = ec.generate_private_key(ec.SECP256R1())
    fresh = Authority("Renewed Issuer", root, key=key)
    expired = Authority("Renewed Issuer", root, key=key, not_before=now - timedelta(days=900), not_after=now - timedelta(days=2))
    ports = (serve(opened, fresh.issue("a.example.test"), chain=(expired.der,)), serve(opened, fresh.issue("b.example.test")))
    targets = [parse(f"{name}.example.test:{port}") for name, port in zip("ab", ports, strict=True)]
    overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets}
    reports = {
        r.target: r for r in scan_targets(settings, Options(overrides=overrides), [targets[i] for i in order], clock=clock)
    }
    assert {f.code for f in reports[targets[0]].findings if f.severity != "info"} == {"chain-incomplete"}
    assert reports[targets[0]].addresses[0].trusted is True


def test_a_family_that_is_not_answered_is_said(settings: Settings, issuer: Authority, opened: Stack) -> None:
    from certmgr.survey import Options, scan_targets
    from inventory.targets import parse

    port = serve(opened, issuer.issue(HOST))
    resolver = opened.enter_context(real.dns({HOST: ["127.0.0.1"]}, broken_family="AAAA"))
    (report,) = scan_targets(asking(settings, resolver), Options(), [parse(f"{HOST}:{port}")], clock=clock)
    assert [(f.code, f.severity) for f in report.findings] == [("dns-failure", "undetermined")]
    assert report.addresses[0].trusted is True
    assert report.resolved is False
