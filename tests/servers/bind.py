"""BIND's named on free loopback ports: zones that accept RFC 2136 updates with TSIG, optionally
signed, and a resolver for them.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from tests.campaign import PATIENCE
from tests.servers.pebble import new_folder
from tests.servers.ports import TRIES, held_port, may_start
from tests.servers.processes import stop
from tests.servers.real import program

ALGORITHM = "hmac-sha256"
KEY_NAME = "certmgr-acme."

BINDS_CLOCK = (
    "named does not start below libfaketime: its allocator, jemalloc, reads the clock first"
)
real_clock = pytest.mark.real_clock(reason=BINDS_CLOCK)
"""Marks a test that uses BIND, whose answers are signed and verified with the system clock."""


@dataclass
class Named:
    """A running authoritative server and resolver.

    Attributes:
        address: The address of both.
        port: The port of the authoritative server.
        zone: The first zone.
        zones: All zones.
        key_name: The name of the TSIG key.
        secret: The TSIG key in base64.
        algorithm: The TSIG algorithm.
        resolver: HOST:PORT of the resolver, which follows a CNAME into another zone and validates.
        log: The log of the authoritative server.
        anchors: Zone -> its key as a trust anchor.
    """

    address: str
    port: int
    zone: str
    zones: tuple[str, ...]
    key_name: str
    secret: str
    algorithm: str
    resolver: str
    log: Path
    anchors: dict[str, str] = field(default_factory=dict)
    _tampered: set[dns.name.Name] = field(default_factory=set, repr=False)

    @property
    def server(self) -> str:
        """HOST:PORT of the authoritative server, which follows no CNAME into another zone."""
        return f"{self.address}:{self.port}"

    def ask(
        self, name: str, kind: str, *, resolver: bool = False, dnssec: bool = False
    ) -> dns.message.Message:
        """Return the answer of the server, or of the resolver.

        With ``dnssec`` the question has the flags DO and AD.
        """
        host, _, port = (self.resolver if resolver else self.server).rpartition(":")
        question = dns.message.make_query(name, kind, want_dnssec=dnssec)
        if dnssec:
            question.flags |= dns.flags.AD
        return dns.query.udp_with_fallback(question, host, PATIENCE, int(port))[0]

    def txt(self, name: str) -> list[str]:
        """Return the TXT values at ``name`` from the authoritative server."""
        return [
            b"".join(r.strings).decode()
            for rrset in self.ask(name, "TXT").answer
            if rrset.rdtype == dns.rdatatype.TXT and rrset.name == dns.name.from_text(name)
            for r in rrset
        ]

    def add(self, name: str, kind: str, *values: str, ttl: int = 1) -> None:
        """Add records by a signed update. ``values`` have the syntax of a zone file."""
        update = self._update(name)
        update.add(dns.name.from_text(name), ttl, kind, *values)
        self._send(update)

    def delete(self, name: str, kind: str) -> None:
        """Delete records by a signed update."""
        update = self._update(name)
        update.delete(dns.name.from_text(name), kind)
        self._send(update)

    def tamper(self, *names: str) -> None:
        """Break the signatures of answers at exactly these names before the resolver gets them."""
        self._tampered.update(dns.name.from_text(n) for n in names)

    def _update(self, name: str) -> dns.update.UpdateMessage:
        at = dns.name.from_text(name)
        zone = max((z for z in self.zones if at.is_subdomain(dns.name.from_text(z))), key=len)
        keyring = dns.tsigkeyring.from_text({self.key_name: (self.algorithm, self.secret)})
        return dns.update.UpdateMessage(zone, keyring=keyring)

    def _send(self, update: dns.update.UpdateMessage) -> None:
        rcode = dns.query.tcp(update, self.address, PATIENCE, self.port).rcode()
        assert rcode == dns.rcode.NOERROR, dns.rcode.to_text(rcode)


@contextmanager
def named(
    folder: Path, zone: str, *more: str, dnssec: bool = False, unsigned: Sequence[str] = ()
) -> Iterator[Named]:
    """Run an authoritative server and a resolver.

    The resolver caches nothing, and knows no name outside the zones.

    Args:
        folder: The directory below which their files are created.
        zone: A zone, with only SOA and NS.
        more: Further zones.
        dnssec: Whether all zones except ``unsigned`` are signed (ECDSA P-256, NSEC), including new
            records. The resolver has their keys as trust anchors.
        unsigned: Further zones that are never signed.
    """
    folder = new_folder(folder, "named")
    zones = tuple(z.rstrip(".") for z in (zone, *more, *unsigned))
    signed = zones[: len(zones) - len(unsigned)] if dnssec else ()
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    with ExitStack() as stack:
        parts = [f'key "{KEY_NAME}" {{ algorithm {ALGORITHM}; secret "{secret}"; }};']
        for each in zones:
            (folder / f"{each}.zone").write_text(
                f"$TTL 60\n@ IN SOA ns.{each}. root.{each}. 1 3600 600 86400 1\n@ IN NS"
                f" ns.{each}.\nns IN A 127.0.0.1\n"
            )
            sign = "dnssec-policy default;" if each in signed else ""
            parts.append(
                f'zone "{each}" {{ type primary; file "{each}.zone"; allow-update {{ key'
                f' "{KEY_NAME}"; }}; allow-transfer {{ key "{KEY_NAME}"; }}; {sign} }};'
            )
        port, log = stack.enter_context(
            _named(folder, "recursion no; notify no;", "\n".join(parts))
        )
        made = Named("127.0.0.1", port, zones[0], zones, KEY_NAME, secret, ALGORITHM, "", log)
        made.anchors = {each: _trust_anchor(made, each) for each in signed}
        between = stack.enter_context(_tampering_relay(made))
        anchors = " ".join(f'"{each}" static-key {key};' for each, key in made.anchors.items())
        # Every question goes to this server, and none to the internet.
        options = (
            f"recursion yes; dnssec-validation {'yes' if signed else 'no'}; forward only;"
            f" forwarders {{ 127.0.0.1 port {between}; }};max-cache-ttl 0; max-ncache-ttl 0;"
            " servfail-ttl 0; lame-ttl 0; empty-zones-enable no;"
        )
        at = stack.enter_context(
            _named(
                folder / "resolver", options, f"trust-anchors {{ {anchors} }};" if signed else ""
            )
        )[0]
        made.resolver = f"127.0.0.1:{at}"
        yield made


@contextmanager
def _named(folder: Path, options: str, rest: str) -> Iterator[tuple[int, Path]]:
    """Run named, and yield its port and log."""
    folder.mkdir(parents=True, exist_ok=True)
    # The AppArmor profile of /usr/sbin/named denies access to a test's folder; a copy has none.
    copy = folder / "named"
    shutil.copy(program("named", "bind9"), copy)
    with ExitStack() as stack:
        for attempt in range(TRIES):
            port = held_port(stack, udp=True)
            token = secrets.token_hex(8)
            (folder / "named.conf").write_text(
                f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }};'
                f' listen-on-v6 {{ none; }}; version "{token}";\npid-file none; session-keyfile'
                f' "{folder}/session.key"; managed-keys-directory "{folder}"; allow-query {{ any;'
                f" }};\n{options} }};\ncontrols {{ }};\n{rest}\n"
            )
            log = folder / f"named{attempt}.log"
            stream = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(
                [str(copy), "-g", "-n", "1", "-c", str(folder / "named.conf")],
                stdout=stream,
                stderr=stream,
            )
            stack.callback(stop, process)
            # If the port is in use, named only logs that and continues.
            if _is_ready(process, port, token, log):
                yield port, log
                return
        raise AssertionError(
            f"named does not answer: {(folder / f'named{TRIES - 1}.log').read_text()[-3000:]}"
        )


def _is_ready(process: subprocess.Popen[bytes], port: int, token: str, log: Path) -> bool:
    question = dns.message.make_query("version.bind.", "TXT", "CH")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and may_start(process, log):
        with suppress(OSError, dns.exception.DNSException):
            asked = (
                dns.query.udp(question, "127.0.0.1", 0.3, port),
                dns.query.tcp(question, "127.0.0.1", 1, port),
            )
            if all(token in str(answer) for answer in asked):
                return True
        time.sleep(0.05)
    return False


def _trust_anchor(server: Named, zone: str) -> str:
    """Return the key of a zone in the syntax of trust-anchors, after the zone is signed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = server.ask(zone, "DNSKEY", dnssec=True).answer
        keys = [
            r
            for rrset in answer
            if rrset.rdtype == dns.rdatatype.DNSKEY
            for r in rrset
            if r.flags & 1
        ]
        denial = server.ask(f"nothing.{zone}", "TXT", dnssec=True).authority
        if (
            keys
            and any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer)
            and any(r.rdtype == dns.rdatatype.NSEC for r in denial)
        ):
            key = keys[0]
            return (
                f"{key.flags} {key.protocol} {int(key.algorithm)}"
                f' "{base64.b64encode(key.key).decode()}"'
            )
        time.sleep(0.05)
    raise AssertionError(f"{zone} is not signed: {server.log.read_text()[-3000:]}")


@contextmanager
def _tampering_relay(server: Named) -> Iterator[int]:
    """Run a relay that breaks the signatures at the tampered names, and yield its port."""

    def answer(wire: bytes) -> bytes:
        question = dns.message.from_wire(wire)
        found = dns.query.udp_with_fallback(question, server.address, PATIENCE, server.port)[0]
        if question.question and question.question[0].name in server._tampered:
            for section in (found.answer, found.authority):
                section[:] = [_with_broken_signature(rrset) for rrset in section]
        return found.to_wire(max_size=65535)

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            with suppress(OSError, dns.exception.DNSException):
                sock.sendto(answer(data), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, dns.exception.DNSException):
                while head := self.rfile.read(2):
                    reply = answer(self.rfile.read(int.from_bytes(head)))
                    self.wfile.write(len(reply).to_bytes(2) + reply)

    class Tcp(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    class Udp(socketserver.ThreadingUDPServer):
        daemon_threads = True

    with ExitStack() as stack:
        port = held_port(stack, udp=True)
        servers: list[Any] = [Udp(("127.0.0.1", port), Datagram), Tcp(("127.0.0.1", port), Stream)]
        for each in servers:
            threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(each.server_close)
            stack.callback(each.shutdown)
        yield port


def _with_broken_signature(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    if rrset.rdtype != dns.rdatatype.RRSIG:
        return rrset
    broken = [r.replace(signature=r.signature[:-1] + bytes([r.signature[-1] ^ 1])) for r in rrset]
    return dns.rrset.from_rdata_list(rrset.name, rrset.ttl, broken)
