"""DNS queries whose answers are values: to resolvers, or to one authoritative server.

Synchronous and thread-safe. A :class:`DnsClient` lives for a run, sends each query once, and is
shared by the threads of the run. The resolver validates DNSSEC and reports it in the AD bit. The
bit is only as trustworthy as the path to that resolver (RFC 4035 4.9.3), so a local one is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from certmgr.config.settings import resolver_parts
from certmgr.net.addresses import Network, networks, refusal
from certmgr.net.dns_answers import Authoritative, DnsAnswer, NameServer, read
from inventory.names import as_ip
from inventory.text import printable

if TYPE_CHECKING:
    from dns.message import Message

    from certmgr.config.settings import Settings

# A UDP answer of this size is not fragmented (DNS flag day 2020). A larger one comes over TCP,
# where a message has at most 64 KB.
PAYLOAD = 1232
# One run asks a few questions per name. A larger inventory asks some of them twice, which is
# correct, and the memory stays bounded.
MAX_CACHE = 20_000
# Each server may have several addresses, and each is asked. More servers would only multiply the
# queries that a hostile zone causes.
MAX_SERVERS = 8
MAX_LABELS = 127  # RFC 1035 2.3.4: a name has 255 bytes, and each label takes at least two


class DnsClient:
    """A DNS client with a cache for one run.

    Args:
        resolvers: "ip", "ip:port" or "[ip]:port"; if empty, those of the system.
        timeout: Seconds for one try at one server.
        tries: Rounds over all servers.
        allowed: Internal networks whose name servers may be queried directly.
        port: The port of authoritative servers.
    """

    def __init__(
        self,
        resolvers: Sequence[str] = (),
        *,
        timeout: float = 2.0,
        tries: int = 2,
        allowed: Sequence[Network] = (),
        port: int = 53,
    ) -> None:
        self._given, self._timeout, self._tries = tuple(resolvers), timeout, max(1, tries)
        self._allowed, self._port = tuple(allowed), port
        self._lock = Lock()
        self._servers: tuple[tuple[str, int], ...] | None = None
        self._cache: dict[tuple[str, str], Future[DnsAnswer]] = {}
        self.asked = self.failed = (
            0  # queries that were sent, and those of them without a definite answer
        )

    @classmethod
    def of(cls, settings: Settings, **given: Any) -> DnsClient:
        """Return a client as configured: [scan] resolvers, [network] allow."""

        allowed = networks((*settings.network.allow, *settings.network.provider), "[network]")
        return cls(
            settings.scan.resolvers,
            timeout=min(2.0, settings.scan.timeout / 3),
            allowed=allowed,
            **given,
        )

    def ask(self, name: str, rdtype: str, *, fresh: bool = False) -> DnsAnswer:
        """Query the resolvers, once per name and type. Never raises.

        Args:
            name: The name in A-label form.
            fresh: Query again, and replace the cached answer.
        """
        key = (_normalised(name), rdtype.upper())
        with self._lock:
            pending = None if fresh else self._cache.get(key)
            result: Future[DnsAnswer] = Future()
            if pending is None:
                # Bounded memory: the oldest answer is dropped first.
                while len(self._cache) >= MAX_CACHE:
                    self._cache.pop(next(iter(self._cache)))
                self._cache[key] = result
        # Another thread sends the same query: wait for its answer outside the lock.
        if pending is not None:
            return pending.result()
        answer = DnsAnswer("servfail", reason="no query was sent")
        try:
            answer = self._query_resolvers(*key)
        finally:  # after any error too, other threads must not wait for this answer forever
            result.set_result(answer)
        return answer

    def ask_each(self, name: str, rdtype: str) -> list[tuple[str, DnsAnswer]]:
        """Query each resolver, without the cache, and return (resolver, answer) for each."""
        key = (_normalised(name), rdtype.upper())
        return [
            (f"{host}:{port}", self._query(*key, ((host, port),), recursive=True))
            for host, port in self._resolvers()[:MAX_SERVERS]
        ]

    def addresses(self, name: str) -> DnsAnswer:
        """Return A and AAAA records together, IPv4 first.

        If one family has records, the status is ``ok`` even if the other family did not answer. An
        address literal is returned unchanged.
        """
        if as_ip(name) is not None:
            return DnsAnswer("ok", (name,), canonical=name)
        first, second = self.ask(name, "A"), self.ask(name, "AAAA")
        records = (*first.records, *second.records)
        if records:
            return DnsAnswer(
                "ok",
                records,
                first.authentic and second.authentic,
                first.canonical or second.canonical,
            )
        # Without records a failed query wins: the other family may have addresses.
        return first if not first.determined else second if not second.determined else first

    def authoritative(self, name: str) -> Authoritative:
        """Find the zone of a name, its name servers and their addresses, through the resolvers.

        The zone is the first name upwards that has a SOA record. Aliases are not followed: pass
        ``DnsAnswer.canonical`` of an alias.
        """
        labels = _normalised(name).split(".")[-MAX_LABELS:]
        for start in range(len(labels)):
            zone = ".".join(labels[start:])
            answer = self.ask(zone, "SOA")
            if not answer.determined:
                return Authoritative(answer.status, reason=f"{zone}: {answer.reason}")
            # A SOA behind a CNAME belongs to another zone.
            if answer.status == "ok" and answer.canonical == zone:
                break
        else:
            return Authoritative("nxdomain", reason="no zone above the name was found")
        servers = self.ask(zone, "NS")
        if servers.status != "ok":
            return Authoritative(servers.status, zone, reason=f"NS of {zone}: {servers.reason}")
        return Authoritative(
            # A fixed order, so that two runs ask the same servers of a zone with many.
            "ok",
            zone,
            tuple(self._server(n) for n in sorted(servers.records)[:MAX_SERVERS]),
        )

    def ask_at(self, server: str, name: str, rdtype: str) -> DnsAnswer:
        """Query one server by its address ("ip", "ip:port"), without recursion and cache.

        The answer is ``servfail`` for an internal address that is not allowed, and for a referral:
        the server is not authoritative for the name.
        """
        address, port = resolver_parts(server)
        # A zone's administrator chose this address, so it must not lead into our network.
        if (why := _refused(address.strip("[]"), self._allowed)) is not None:
            return DnsAnswer(
                "servfail", reason=f"the name server {printable(server, 60)} is not queried: {why}"
            )
        # resolver_parts adds the default port 53, but an authoritative server may have another one
        # here.
        port = port if server != address else str(self._port)
        return self._query(
            _normalised(name), rdtype.upper(), ((address.strip("[]"), int(port)),), recursive=False
        )

    def _server(self, name: str) -> NameServer:
        answer = self.addresses(name)
        refused = [
            (a, why) for a in answer.records if (why := _refused(a, self._allowed)) is not None
        ]
        # Some refused addresses do not exclude the other addresses of the same server.
        good = tuple(a for a in answer.records if a not in dict(refused))
        return NameServer(name, good[:MAX_SERVERS], tuple(refused), answer.reason)

    def _query_resolvers(self, name: str, rdtype: str) -> DnsAnswer:
        servers = self._resolvers()
        if not servers:
            return DnsAnswer("servfail", reason="this machine has no resolver configured")
        return self._query(name, rdtype, servers, recursive=True)

    def _resolvers(self) -> tuple[tuple[str, int], ...]:
        # Read on first use: many runs send no query.
        if self._servers is None:
            if self._given:
                parts = [resolver_parts(r) for r in self._given]
                self._servers = tuple((host.strip("[]"), int(port)) for host, port in parts)
            else:
                self._servers = _system_resolvers()
        return self._servers

    def _query(
        self, name: str, rdtype: str, servers: Sequence[tuple[str, int]], *, recursive: bool
    ) -> DnsAnswer:
        """Query each server in turn until one answers definitely; else return the last failure."""

        # AD in the query asks for the AD bit in the answer (RFC 6840 5.7).
        flags = dns.flags.AD | (dns.flags.RD if recursive else 0)
        try:
            query = dns.message.make_query(
                # The DO bit (want_dnssec) also makes the answer larger, so TCP must be possible.
                name,
                rdtype,
                use_edns=0,
                payload=PAYLOAD,
                want_dnssec=True,
                flags=flags,
            )
        except (dns.exception.DNSException, ValueError):
            return DnsAnswer("servfail", reason=f"'{printable(name, 80)}' is not a valid DNS name")
        last = DnsAnswer("timeout", reason="no name server answered in time")
        # All servers are asked once before any is asked again, so that a dead one does not delay
        # the answer of the next by all of its tries.
        for _ in range(self._tries):
            for address, port in servers[:MAX_SERVERS]:
                answer = _send(query, address, port, self._timeout, recursive)
                if answer.determined:
                    self._count(failed=False)
                    return answer
                # A server failure has a reason, so a later time-out must not hide it.
                if answer.status == "servfail" or last.status == "timeout":
                    last = answer
        self._count(failed=True)
        return last

    def _count(self, *, failed: bool) -> None:
        with self._lock:
            self.asked += 1
            self.failed += failed


def _normalised(name: str) -> str:
    return name.rstrip(".").lower()


def _refused(address: str, allowed: Sequence[Network]) -> str | None:
    try:
        return refusal(address, allowed)
    except ValueError:
        return "it is not an IP address"


def _system_resolvers() -> tuple[tuple[str, int], ...]:
    try:
        resolver = dns.resolver.Resolver(configure=True)
    except (dns.resolver.NoResolverConfiguration, OSError, ValueError):
        return ()
    return tuple(
        (str(address), resolver.port)
        for address in resolver.nameservers
        if as_ip(str(address)) is not None
    )


class _UdpSocket(socket):
    """A socket that packets cannot keep busy.

    dnspython checks the time only while it waits: a server, or a stranger who forges its address,
    that sends packets without end would hold a query as long.
    """

    def __init__(self, family: int, end: float) -> None:
        super().__init__(family, SOCK_DGRAM)
        self._end = end
        self.setblocking(False)

    def recvfrom(self, *arguments: Any) -> Any:
        """Receive a packet.

        Raises:
            Timeout: The time is over.
        """
        if monotonic() > self._end:
            raise dns.exception.Timeout
        return super().recvfrom(*arguments)


def _send(query: Message, address: str, port: int, timeout: float, recursive: bool) -> DnsAnswer:
    """Send a query over UDP, and again over TCP if the answer did not fit.

    ``timeout`` covers both together.
    """

    end = monotonic() + timeout
    try:
        # A packet from another address, or one that does not match the query, may be spoofed. It
        # is ignored.
        with _UdpSocket(AF_INET6 if ":" in address else AF_INET, end) as sock:
            reply = dns.query.udp(
                *(query, address, timeout, port),
                ignore_unexpected=True,
                ignore_errors=True,
                sock=sock,
            )
        if reply.flags & dns.flags.TC:
            # At least 0.1 seconds, even if the UDP query used up the time.
            reply = dns.query.tcp(query, address, max(0.1, end - monotonic()), port)
        return read(reply, recursive=recursive)
    except dns.exception.Timeout:
        return DnsAnswer("timeout", reason="no name server answered in time")
    except OSError as error:
        reason = printable(error.strerror or "the connection failed", 100)
        return DnsAnswer("servfail", reason=f"the name server cannot be queried: {reason}")
    except (dns.exception.DNSException, EOFError, ValueError):
        return DnsAnswer("servfail", reason="the answer of the name server cannot be read")
