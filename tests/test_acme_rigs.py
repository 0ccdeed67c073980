"""The servers that the tests of ACME use work: pebble, BIND and acme2certifier."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dns.flags
import dns.rcode
import dns.tsig
import pytest
from acme import errors, messages
from cryptography import x509
from josepy.json_util import field as josepy_field

from inventory.clock import system_clock
from tests.servers import faults
from tests.servers.acme2certifier import acme2certifier
from tests.servers.acme_client import challenge, connect, csr, issue, key_of, leaf, register
from tests.servers.bind import Named, named
from tests.servers.bind import real_clock as binds_clock
from tests.servers.challtestsrv import challtestsrv
from tests.servers.faults import Rule
from tests.servers.faulty import faulty
from tests.servers.pebble import Pebble, mac_key, pebble
from tests.servers.pebble import real_clock as pebbles_clock
from tests.servers.sessions import session


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
