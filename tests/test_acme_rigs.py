"""The servers that the tests of ACME use work: pebble, BIND, the faulty proxy, acme2certifier."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dns.flags
import dns.rcode
import dns.tsig
import pytest
import requests
from acme import client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.json_util import field as josepy_field
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from inventory.clock import system_clock
from tests.servers import faulty as faults
from tests.servers.acme2certifier import acme2certifier
from tests.servers.bind import Named, named
from tests.servers.bind import real_clock as binds_clock
from tests.servers.faulty import Proxy, Rule, faulty
from tests.servers.pebble import Pebble, challtestsrv, mac_key, pebble, session
from tests.servers.pebble import real_clock as pebbles_clock


def connect(directory: str, ca_file: Path, key: JWK | None = None) -> client.ClientV2:
    """Return a client of the ACME library without an account."""
    key = key or JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    verify: Any = str(ca_file)
    network = client.ClientNetwork(key, alg=ES256, verify_ssl=verify)
    network.session.trust_env = False
    return client.ClientV2(client.ClientV2.get_directory(directory, network), network)


def register(acme: client.ClientV2, **values: Any) -> str:
    """Register an account and return its URL."""
    return str(
        acme.new_account(messages.NewRegistration(terms_of_service_agreed=True, **values)).uri
    )


def key_of(acme: client.ClientV2) -> JWK:
    assert isinstance(acme.net.key, JWK)
    return acme.net.key


def csr(*names: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    key_format = serialization.PrivateFormat.PKCS8
    return crypto_util.make_csr(
        key.private_bytes(serialization.Encoding.PEM, key_format, serialization.NoEncryption()),
        list(names),
    )


def challenge(authorization: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    return next(c for c in authorization.body.challenges if c.chall.typ == kind)


def answering(port: int, answers: dict[str, bytes]) -> HTTPServer:
    """Start an HTTP server with responses by path, such as those of http-01."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def issue(acme: client.ClientV2, port: int, *names: str) -> messages.OrderResource:
    """Issue a certificate by http-01 on ``port``."""
    order = acme.new_order(csr(*names))
    answers: dict[str, bytes] = {}
    server = answering(port, answers)
    try:
        for authorization in order.authorizations:
            chosen = challenge(authorization, "http-01")
            response, validation = chosen.response_and_validation(acme.net.key)
            answers[chosen.chall.path] = validation.encode()
            acme.answer_challenge(chosen, response)
        return acme.poll_and_finalize(order)
    finally:
        server.shutdown()
        server.server_close()


def leaf(order: messages.OrderResource) -> x509.Certificate:
    return x509.load_pem_x509_certificates(order.fullchain_pem.encode())[0]


@pytest.fixture(scope="module")
def short_ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A pebble that validates challenges. Its certificates are valid for six days."""
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(folder, validity=timedelta(days=6), nonce_reject=0, alternate_roots=1) as ca:
        yield ca


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("bind"), "example.test", "acme.test") as server:
        yield server


@pebbles_clock
def test_pebble_issues_by_http_01(short_ca: Pebble) -> None:
    ca, before = short_ca, short_ca.order_count()
    acme = connect(ca.directory, ca.ca_file)
    account = register(acme)
    issued = leaf(issue(acme, ca.http_port, "a.example.test", "b.example.test"))
    ca.add_a("c.example.test", "127.0.0.2")  # No server listens there.
    with pytest.raises(errors.ValidationError):
        issue(acme, ca.http_port, "c.example.test")
    names = issued.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)
    assert sorted(names) == ["a.example.test", "b.example.test"]
    assert issued.not_valid_after_utc - system_clock() < timedelta(days=6)
    issuer, roots = (
        (x509.load_pem_x509_certificate(p.encode()) for p in (ca.intermediates(), ca.root())),
        {ca.root(0), ca.root(1)},
    )
    intermediate, root = issuer
    issued.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    assert len(roots) == 2
    assert ca.status(issued.serial_number)["Status"] == "Valid"
    assert len(ca.orders(account, key_of(acme))) == 1, "the invalid order is not listed"
    assert ca.order_count() == before + 2
    assert "AAAA" in ca.questions("a.example.test")
    ca.clear_history("a.example.test")
    assert ca.questions("a.example.test") == []


@pebbles_clock
def test_pebble_issues_by_dns_01_through_a_cname(short_ca: Pebble) -> None:
    ca = short_ca
    acme = connect(ca.directory, ca.ca_file)
    register(acme)
    order = acme.new_order(csr("*.example.test"))
    chosen = challenge(order.authorizations[0], "dns-01")
    response, validation = chosen.response_and_validation(acme.net.key)
    ca.add_cname("_acme-challenge.example.test", "example.test.acme.invalid")
    ca.set_txt("example.test.acme.invalid", validation)
    acme.answer_challenge(chosen, response)
    assert leaf(acme.poll_and_finalize(order))


@pebbles_clock
def test_pebble_requires_its_binding_and_refuses_blocked_names(tmp_path: Path) -> None:
    mac = mac_key()
    with pebble(tmp_path, eab={"kid-1": mac}, always_valid=True, blocked=("blocked.test",)) as ca:
        acme = connect(ca.directory, ca.ca_file)
        with pytest.raises(messages.Error):
            register(acme)
        binding = messages.ExternalAccountBinding.from_data(
            key_of(acme).public_key(), "kid-1", mac, acme.directory
        )
        register(acme, external_account_binding=binding)
        with pytest.raises(messages.Error, match="rejectedIdentifier"):
            acme.new_order(csr("www.blocked.test"))
        order = acme.new_order(csr("open.test"))
        chosen = challenge(order.authorizations[0], "http-01")
        acme.answer_challenge(chosen, chosen.response(acme.net.key))
        assert leaf(acme.poll_and_finalize(order)), "valid without a response to the challenge"


@binds_clock
def test_bind_accepts_updates_only_with_its_key(bind: Named) -> None:
    server = bind
    server.add("_acme-challenge.example.test", "TXT", "one")
    server.add("_acme-challenge.example.test", "TXT", "two")
    server.add("elsewhere.acme.test", "TXT", "three")
    server.add("_acme-challenge.other.example.test", "CNAME", "elsewhere.acme.test.")
    assert sorted(server.txt("_acme-challenge.example.test")) == ["one", "two"]
    followed = server.ask("_acme-challenge.other.example.test", "TXT", resolver=True)
    assert "three" in str(followed), "the resolver follows a CNAME into another zone"
    server.delete("_acme-challenge.example.test", "TXT")
    assert server.txt("_acme-challenge.example.test") == []
    server = replace(bind, secret="AAAA" + bind.secret[4:])
    with pytest.raises(dns.tsig.PeerBadSignature):
        server.add("_acme-challenge.example.test", "TXT", "forged")
    assert server.txt("_acme-challenge.example.test") == []


@binds_clock
def test_bind_signs_and_its_resolver_validates(tmp_path: Path) -> None:
    with named(tmp_path, "example.test", dnssec=True, unsigned=("plain.test",)) as server:
        server.add("a.example.test", "TXT", "true")
        server.add("b.example.test", "TXT", "true")
        server.add("c.plain.test", "TXT", "true")
        server.tamper("b.example.test")
        a, b, c = (
            server.ask(f"{n}.test", "TXT", resolver=True, dnssec=True)
            for n in ("a.example", "b.example", "c.plain")
        )
        assert (a.rcode(), a.flags & dns.flags.AD) == (dns.rcode.NOERROR, dns.flags.AD)
        assert b.rcode() == dns.rcode.SERVFAIL
        assert (c.rcode(), c.flags & dns.flags.AD) == (dns.rcode.NOERROR, 0)
        absent = server.ask("none.example.test", "A", resolver=True, dnssec=True)
        assert (absent.rcode(), absent.flags & dns.flags.AD) == (dns.rcode.NXDOMAIN, dns.flags.AD)
        assert server.ask("b.example.test", "TXT").rcode() == dns.rcode.NOERROR, (
            "the authoritative server does not validate"
        )


@pebbles_clock
def test_pebble_validates_through_bind(bind: Named, tmp_path: Path) -> None:
    with pebble(tmp_path, resolver=bind.resolver) as ca:
        acme = connect(ca.directory, ca.ca_file)
        register(acme)
        order = acme.new_order(csr("*.by-bind.example.test"))
        chosen = challenge(order.authorizations[0], "dns-01")
        response, validation = chosen.response_and_validation(acme.net.key)
        bind.add("_acme-challenge.by-bind.example.test", "CNAME", "by-bind.acme.test.")
        bind.add("by-bind.acme.test", "TXT", validation)
        acme.answer_challenge(chosen, response)
        assert leaf(acme.poll_and_finalize(order))


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A pebble that accepts every challenge without validation."""
    with pebble(tmp_path_factory.mktemp("pebble"), always_valid=True) as ca:
        yield ca


@pytest.fixture
def proxy(valid: Pebble, tmp_path: Path) -> Iterator[Proxy]:
    with faulty(tmp_path, valid.directory, valid.ca_file) as made:
        yield made


def tls(proxy: Proxy) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", int(proxy.base.rpartition(":")[2])))
    return ssl.create_default_context(cafile=str(proxy.ca_file)).wrap_socket(
        plain, server_hostname="localhost"
    )


@pebbles_clock
def test_proxy_forwards_a_complete_order_and_records_it(proxy: Proxy, valid: Pebble) -> None:
    acme = connect(proxy.directory, proxy.ca_file)
    account = register(acme)
    order = acme.new_order(csr("a.example.test"))
    for authorization in order.authorizations:
        chosen = challenge(authorization, "http-01")
        acme.answer_challenge(chosen, chosen.response(acme.net.key))
    finished = acme.poll_and_finalize(order)
    assert leaf(finished)
    assert account.startswith(proxy.base) and finished.uri.startswith(proxy.base)
    assert len(valid.orders(account, key_of(acme))) == 1
    recorded = proxy.to("/order-plz", "POST")
    assert [s.payload["identifiers"] for s in recorded] == [
        [{"type": "dns", "value": "a.example.test"}]
    ]
    assert recorded[0].protected["url"] == f"{proxy.base}/order-plz"
    assert recorded[0].status == 201 and recorded[0].at < proxy.requests[-1].at


@pebbles_clock
def test_proxy_refuses_by_number_method_and_path(proxy: Proxy) -> None:
    before = system_clock().replace(microsecond=0)
    proxy.rules = [
        Rule(faults.problem(503), "/dir", "GET", nth=(1, 3)),
        Rule(faults.rate_limited(120), "/nonce-plz", "HEAD"),
        Rule(faults.rate_limited(120, as_date=True), "/nonce-plz", "GET"),
        Rule(faults.answer(200, "\x1b[31m{", "application/json"), "/escape"),
    ]
    after = system_clock()
    with session(proxy.ca_file) as http:
        assert [http.get(proxy.directory).status_code for _ in range(4)] == [503, 200, 503, 200]
        limited = http.head(f"{proxy.base}/nonce-plz")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "120")
        dated = http.get(f"{proxy.base}/nonce-plz")
        begun = parsedate_to_datetime(dated.headers["Retry-After"]) - timedelta(seconds=120)
        assert before <= begun <= after
        assert dated.json()["type"] == "urn:ietf:params:acme:error:rateLimited"
        assert http.get(f"{proxy.base}/escape").content == b"\x1b[31m{"
    assert [r.fired for r in proxy.rules] == [2, 1, 1, 1]


@pebbles_clock
def test_proxy_refuses_with_a_nonce_and_with_a_reproducible_probability(
    proxy: Proxy, valid: Pebble, tmp_path: Path
) -> None:
    def run(seed: int) -> list[int]:
        with faulty(
            tmp_path,
            valid.directory,
            valid.ca_file,
            [Rule(faults.problem(500), chance=0.5)],
            seed=seed,
        ) as made:
            return [session(made.ca_file).get(made.directory).status_code for _ in range(12)]

    assert run(1) == run(1) != run(2)
    proxy.rules = [Rule(faults.rate_limited(5), "/sign-me-up", nth=1)]
    with session(proxy.ca_file) as http:
        refused = http.post(f"{proxy.base}/sign-me-up", data="{}")
        assert refused.status_code == 429 and refused.headers["Replay-Nonce"]


@pebbles_clock
def test_proxy_breaks_connections(proxy: Proxy) -> None:
    proxy.rules = [
        Rule(faults.truncated(), "/dir", nth=1),
        Rule(faults.reset(), "/dir", nth=2),
        Rule(faults.mistyped(), "/dir", nth=3),
        Rule(faults.delayed(0.5), "/dir", nth=4),
        Rule(faults.dropped(), "/sign-me-up", nth=1),
    ]
    with session(proxy.ca_file) as http:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            http.get(proxy.directory)
        with tls(proxy) as secure:
            secure.sendall(b"GET /dir HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with socket.socket(fileno=secure.detach()) as raw, pytest.raises(ConnectionResetError):
                while raw.recv(4096):  # Python's TLS module reports RST as the end of the stream.
                    pass
        assert http.get(proxy.directory).headers["Content-Type"] == "text/html"
        begun = time.monotonic()
        assert "newOrder" in http.get(proxy.directory).json()
        assert time.monotonic() - begun >= 0.5
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    acme = connect(proxy.directory, proxy.ca_file, key)
    with pytest.raises(requests.ConnectionError):
        register(acme)
    with pytest.raises(errors.ConflictError):  # The CA has created the account anyway.
        register(acme)


@pebbles_clock
def test_proxy_sends_slow_and_huge_responses(proxy: Proxy) -> None:
    proxy.rules = [
        Rule(faults.dripping(0.05), "/body"),
        Rule(faults.dripping(0.05, headers=True), "/head"),
        Rule(faults.huge(), "/huge"),
        Rule(faults.huge(3_000_000, chunked=True), "/chunked"),
        Rule(faults.huge(3_000_000, zipped=True), "/zipped"),
    ]
    with session(proxy.ca_file) as http:
        begun = time.monotonic()
        with http.get(f"{proxy.base}/body", stream=True, timeout=30) as dripping:
            assert dripping.raw.read(10) == b" " * 10
        assert time.monotonic() - begun > 0.4, (
            "each byte arrives within the timeout, and the body does not"
        )
        with http.get(f"{proxy.base}/huge", stream=True) as answer:
            assert answer.headers["Content-Length"] == "50000000"
            assert sum(len(part) for part in answer.iter_content(1 << 20)) == 50_000_000
        assert len(http.get(f"{proxy.base}/chunked").json()["filling"]) > 2_999_000
        zipped = http.get(f"{proxy.base}/zipped")
        assert int(zipped.headers["Content-Length"]) < 50_000 and len(zipped.content) == 3_000_000
        with tls(proxy) as raw:
            raw.sendall(b"GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.settimeout(30)
            received = b"".join(raw.recv(100) for _ in range(6))
            assert (
                received.startswith(b"HTTP/1.1 200 OK\r\nX-Drip: ") and b"\r\n\r\n" not in received
            )


class NewOrder(messages.NewOrder):
    """A new order with the field ``replaces`` (RFC 9773 section 5)."""

    replaces: str | None = josepy_field("replaces", omitempty=True)


def ari_id(certificate: x509.Certificate) -> str:
    """Return the identifier of a certificate for ARI (RFC 9773 section 4.1)."""
    key = certificate.extensions.get_extension_for_class(
        x509.AuthorityKeyIdentifier
    ).value.key_identifier
    serial = certificate.serial_number
    parts = (key or b"", serial.to_bytes(serial.bit_length() // 8 + 1))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_acme2certifier_issues_renews_and_revokes(tmp_path: Path) -> None:
    with (
        challtestsrv(tmp_path) as (dns_server, _),
        acme2certifier(tmp_path, days=6, threshold=50, resolver=dns_server) as ca,
    ):
        acme = connect(ca.directory, ca.ca_file)
        register(acme)
        assert set(acme.directory.meta.profiles) == {"classic", "shortlived"}
        order = issue(acme, ca.http_port, "a.example.test")
        chain = x509.load_pem_x509_certificates(order.fullchain_pem.encode())
        chain[0].verify_directly_issued_by(chain[1])
        chain[1].verify_directly_issued_by(x509.load_pem_x509_certificate(ca.root.encode()))
        with session(ca.ca_file) as http:
            info = http.get(f"{acme.directory['renewalInfo']}/{ari_id(chain[0])}")
        start, end = (
            datetime.fromisoformat(info.json()["suggestedWindow"][edge])
            for edge in ("start", "end")
        )
        assert end == chain[0].not_valid_after_utc
        assert abs(start - (end - timedelta(days=3))) < timedelta(seconds=5)
        assert info.headers["Retry-After"] == "21600"
        assert ca.revoked() == []
        acme.revoke(chain[0], 4)
        assert ca.revoked() == [chain[0].serial_number]


def test_acme2certifier_has_profiles_and_proxy_refuses_a_replaced_certificate(
    tmp_path: Path,
) -> None:
    with (
        acme2certifier(tmp_path, renew_now=True) as ca,
        faulty(tmp_path, ca.directory, ca.ca_file) as proxy,
    ):
        acme = connect(proxy.directory, proxy.ca_file)
        register(acme)
        names = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value="a.example.test")]

        def new(**values: str) -> None:
            order = NewOrder(identifiers=names, **values)
            acme.net.post(
                acme.directory["newOrder"], order, new_nonce_url=acme.directory["newNonce"]
            )

        with pytest.raises(messages.Error, match="invalidProfile"):
            new(profile="unknown")
        new(profile="classic", replaces="AAAA.AAAA")  # acme2certifier ignores replaces.
        proxy.rules = [
            Rule(
                faults.problem(409, "alreadyReplaced"),
                "/acme/neworders",
                when=lambda seen: "replaces" in seen.payload,
            )
        ]
        with pytest.raises(errors.ConflictError):
            new(replaces="AAAA.AAAA")
        order = acme.new_order(csr("a.example.test"), profile="shortlived")
        chosen = challenge(order.authorizations[0], "http-01")
        acme.answer_challenge(chosen, chosen.response(acme.net.key))
        issued = leaf(acme.poll_and_finalize(order))
        with session(proxy.ca_file) as http:
            window = http.get(f"{acme.directory['renewalInfo']}/{ari_id(issued)}").json()[
                "suggestedWindow"
            ]
            assert datetime.fromisoformat(window["start"]) < system_clock()
            proxy.rules.append(
                Rule(
                    faults.answer(200, '{"suggestedWindow": {}}', "application/json"),
                    "/acme/renewal-info/",
                )
            )
            assert http.get(f"{proxy.base}/acme/renewal-info/{ari_id(issued)}").json() == {
                "suggestedWindow": {}
            }
