"""DNS queries: a value per answer, TCP if needed, one query per question, no internal servers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network

import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest

from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import MAX_RECORDS, read
from certmgr.net.dns_records import CaaRecord, TlsaRecord
from tests.campaign import UNREACHED
from tests.certmgr.net.server import NameServer, serving

LOOPBACK = (IPv4Network("127.0.0.0/8"),)


ZONE = {
    ("shop.example", "A"): ["192.0.2.1"],
    ("shop.example", "AAAA"): ["2001:db8::1"],
    ("www.shop.example", "CNAME"): ["shop.example."],
    ("shop.example", "CAA"): ['0 issue "ca.example; accounturi=https://ca.example/1"'],
    ("_443._tcp.shop.example", "TLSA"): ["3 1 1 " + "ab" * 32],
    ("shop.example", "TXT"): ['"one " "two"'],
    ("shop.example", "SOA"): ["ns1.host.example. root.shop.example. 1 2 3 4 5"],
    ("shop.example", "NS"): ["ns1.host.example.", "ns2.host.example."],
    ("ns1.host.example", "A"): ["127.0.0.1"],
    ("ns2.host.example", "A"): ["10.0.0.53"],
    ("many.example", "TXT"): [f'"{i:04}{"x" * 200}"' for i in range(150)],
    ("loop.example", "CNAME"): ["loop.example."],
    ("broken.example", "A"): "SERVFAIL",
    ("closed.example", "A"): "REFUSED",
    ("silent.example", "A"): "SILENT",
}


def dns_client(
    server: NameServer, *, timeout: float = UNREACHED, allowed: Sequence[IPv4Network] = ()
) -> DnsClient:
    return DnsClient((server.address,), timeout=timeout, tries=1, allowed=allowed)


@pytest.mark.parametrize(
    ("name", "kind", "status", "records"),
    [
        ("shop.example", "A", "ok", ("192.0.2.1",)),
        ("SHOP.example.", "a", "ok", ("192.0.2.1",)),
        (
            "shop.example",
            "CAA",
            "ok",
            (CaaRecord(0, "issue", "ca.example; accounturi=https://ca.example/1"),),
        ),
        ("_443._tcp.shop.example", "TLSA", "ok", (TlsaRecord(3, 1, 1, b"\xab" * 32),)),
        ("shop.example", "TXT", "ok", ("one two",)),
        ("shop.example", "NS", "ok", ("ns1.host.example", "ns2.host.example")),
        ("shop.example", "MX", "nodata", ()),
        ("nowhere.example", "A", "nxdomain", ()),
        ("broken.example", "A", "servfail", ()),
        ("closed.example", "A", "servfail", ()),
        ("loop.example", "A", "servfail", ()),
        ("silent.example", "A", "timeout", ()),
        ("a" * 64 + ".example", "A", "servfail", ()),
        ("shop.example", "NOSUCHTYPE", "servfail", ()),
    ],
)
def test_each_answer_has_a_status_and_records(
    name: str, kind: str, status: str, records: tuple[object, ...]
) -> None:
    with serving(ZONE) as server:
        # Only the silent server makes the client wait until its time-out.
        answer = dns_client(server, timeout=0.4 if status == "timeout" else UNREACHED).ask(
            name, kind
        )
    assert (answer.status, answer.records) == (status, records)
    assert bool(answer.reason) == (status != "ok")
    assert answer.determined == (status in ("ok", "nodata", "nxdomain"))


def test_alias_is_followed_to_its_canonical_name() -> None:
    with serving(ZONE) as server:
        answer = dns_client(server).ask("www.shop.example", "A")
    assert (answer.records, answer.canonical) == (("192.0.2.1",), "shop.example")


def test_answer_is_authentic_if_the_resolver_sets_ad() -> None:
    with serving(ZONE, authentic=("shop.example",)) as server:
        client = dns_client(server)
        assert client.ask("shop.example", "A").authentic
        assert not client.ask("ns1.host.example", "A").authentic


def test_large_answer_comes_over_tcp_and_is_bounded() -> None:
    with serving(ZONE) as server:
        answer = dns_client(server).ask("many.example", "TXT")
    assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]
    assert len(answer.records) == MAX_RECORDS


def test_query_is_sent_once_for_many_threads() -> None:
    with serving(ZONE) as server:
        client = dns_client(server)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.ask("shop.example", "A"), range(40)))
        assert {a.records for a in answers} == {("192.0.2.1",)}
        assert len(server.asked) == 1
        server.records["shop.example", "A"] = ["192.0.2.9"]
        assert client.ask("shop.example", "A", fresh=True).records == ("192.0.2.9",)
        assert client.ask("shop.example", "A").records == ("192.0.2.9",)
    assert (client.asked, client.failed) == (2, 0)


def test_next_resolver_is_queried_if_one_fails() -> None:
    with serving({("shop.example", "A"): "SERVFAIL"}) as bad, serving(ZONE) as good:
        answer = DnsClient((bad.address, good.address), timeout=UNREACHED).ask("shop.example", "A")
    assert answer.records == ("192.0.2.1",)


def test_answer_with_another_id_is_ignored() -> None:
    """An attacker who guesses the port must also guess the ID of the query."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def forge() -> None:
            data, peer = sock.recvfrom(4096)
            sock.sendto(bytes([data[0] ^ 255]) + data[1:2] + b"\x81\x80" + data[4:], peer)
            sock.sendto(b"nonsense", peer)

        thread = threading.Thread(target=forge)
        thread.start()
        answer = DnsClient((f"127.0.0.1:{sock.getsockname()[1]}",), timeout=0.4, tries=1).ask(
            "shop.example", "A"
        )
        thread.join()
    assert answer.status == "timeout"


def test_packets_without_end_do_not_hold_a_query() -> None:
    """The library checks the time only while no packet is there."""
    stop = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def flood() -> None:
            data, peer = sock.recvfrom(4096)
            reply = dns.message.make_response(dns.message.from_wire(data))
            reply.id ^= 1
            # Reading a packet takes longer than sending it, so that the next one is always there.
            addresses = [f"192.0.2.{n}" for n in range(200)]
            reply.answer = [dns.rrset.from_text("shop.example.", 60, "IN", "A", *addresses)]
            packet = reply.to_wire(max_size=65_535)
            while not stop.is_set():
                # The client closes its socket.
                with contextlib.suppress(OSError):
                    sock.sendto(packet, peer)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            answer = DnsClient((f"127.0.0.1:{sock.getsockname()[1]}",), timeout=0.4, tries=1).ask(
                "shop.example", "A"
            )
        finally:
            stop.set()
            thread.join()
    assert answer.status == "timeout"


def test_servers_of_the_zone_are_found_and_internal_ones_refused() -> None:
    with serving(ZONE) as server:
        result = dns_client(server, allowed=LOOPBACK).authoritative("_acme-challenge.shop.example")
        strict = dns_client(server).authoritative("shop.example")
    assert (result.status, result.zone, result.addresses) == ("ok", "shop.example", ("127.0.0.1",))
    assert dict(result.servers[1].refused) == {"10.0.0.53": "private"}
    assert strict.addresses == ()


def test_failing_zone_is_not_replaced_by_its_parent() -> None:
    with serving(
        {
            ("shop.example", "SOA"): "SERVFAIL",
            ("example", "SOA"): ["a.example. b.example. 1 2 3 4 5"],
        }
    ) as server:
        result = dns_client(server).authoritative("shop.example")
    assert (result.status, result.servers) == ("servfail", ())


def test_authoritative_server_is_queried_by_its_address() -> None:
    records = {("_acme-challenge.shop.example", "TXT"): ['"token"']}
    with serving(records, authoritative=True) as server:
        port = int(server.address.rpartition(":")[2])
        client = DnsClient(
            ("127.0.0.1:1",), timeout=UNREACHED, tries=1, allowed=LOOPBACK, port=port
        )
        assert client.ask_at(server.address, "_acme-challenge.shop.example", "TXT").records == (
            "token",
        )
        server.records["_acme-challenge.shop.example", "TXT"] = ['"newer"']
        assert client.ask_at("127.0.0.1", "_acme-challenge.shop.example", "TXT").records == (
            "newer",
        )
        refused = DnsClient(timeout=UNREACHED).ask_at(
            server.address, "_acme-challenge.shop.example", "TXT"
        )
    assert refused.status == "servfail"
    assert "loopback" in refused.reason
    assert len(server.asked) == 2


def test_referral_is_no_answer_of_an_authoritative_server() -> None:
    query = dns.message.make_query("shop.example", "TXT")
    reply = dns.message.make_response(query)
    reply.authority.append(
        dns.rrset.from_text_list(
            dns.name.from_text("shop.example"), 60, "IN", "NS", ["ns1.host.example."]
        )
    )
    assert read(reply, recursive=False).status == "servfail"
    assert read(reply).status == "nodata"


def test_literal_address_resolves_to_itself() -> None:
    assert DnsClient().addresses("192.0.2.7").records == ("192.0.2.7",)


@pytest.mark.parametrize("records", [(), ("192.0.2.1",)])
def test_part_of_an_answer_proves_nothing(records: tuple[str, ...]) -> None:
    """A missing CAA or TLSA record would permit what the whole answer forbids."""
    reply = dns.message.make_response(dns.message.make_query("shop.example", "A"))
    name = dns.name.from_text("shop.example")
    if records:
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *records))
    # The parser makes the index of the records.
    assert read(dns.message.from_wire(reply.to_wire())).status == ("ok" if records else "nodata")
    reply.flags |= dns.flags.TC
    answer = read(dns.message.from_wire(reply.to_wire()))
    assert (answer.status, answer.records) == ("servfail", ())
