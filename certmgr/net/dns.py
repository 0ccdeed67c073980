"""Questions to the DNS whose answers are values: to resolvers, and to one authoritative server by
its address.

Synchronous and thread-safe: an :class:`DnsClient` lives for a run, asks each question once, and is
shared by the threads of it. Whether an answer was validated (DNSSEC) is the resolver's word, its AD
bit: only as trustworthy as the way to that resolver (RFC 4035 4.9.3), so a local one is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
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
from certmgr.net.dns_records import CaaRecord, TlsaRecord
from inventory.names import as_ip
from inventory.text import printable

if TYPE_CHECKING:
    from dns.message import Message

    from certmgr.config.settings import Settings

# A UDP answer that no path fragments (DNS flag day 2020); what does not fit comes over TCP, where a
# message has 64 KB at most.
PAYLOAD = 1232
MAX_RECORDS = 100
MAX_CACHE = 20_000
MAX_SERVERS = 8
MAX_LABELS = 127


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """``status``: ok (there are records), nxdomain, nodata, servfail (also refused, malformed, not
    allowed), timeout.

    ``records``: texts (an address, a TXT joined and decoded, a name in lower case without its last
    dot; else the presentation form); :class:`CaaRecord`, :class:`TlsaRecord`. At most
    ``MAX_RECORDS``. ``authentic``: the AD bit. ``canonical``: the name after CNAMEs. ``reason``:
    words where it is not ok.
    """

    status: str
    records: tuple[Any, ...] = ()
    authentic: bool = False
    canonical: str = ""
    reason: str = ""

    @property
    def told(self) -> bool:
        """Whether the DNS answered definitely, also that there is nothing."""
        return self.status in ("ok", "nxdomain", "nodata")


@dataclass(frozen=True, slots=True)
class NameServer:
    """``addresses``: those that may be asked.

    ``refused``: (address, why) of those that a stranger's DNS points inside. ``reason``: why there
    is none.
    """

    name: str
    addresses: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Authoritative:
    """The name servers of the zone of a name.

    ``status``: ok, or what kept us from it, with ``reason``.
    """

    status: str
    zone: str = ""
    servers: tuple[NameServer, ...] = ()
    reason: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(a for s in self.servers for a in s.addresses))


_WORDS = {"nxdomain": "the name does not exist (NXDOMAIN)", "nodata": "there is no such record"}


class DnsClient:
    """``resolvers``: "ip", "ip:port" or "[ip]:port"; none: the system's.

    ``timeout``: seconds for one try at one server; ``tries``: rounds over all of them.

    ``allowed``: internal networks whose name servers may be asked directly. ``port``: of
    authoritative servers.
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
            0  # questions that left this machine, and those of them that got no answer
        )

    @classmethod
    def of(cls, settings: Settings, **given: Any) -> DnsClient:
        """As the configuration says: [scan] resolvers, [network] allow."""

        allowed = networks((*settings.network.allow, *settings.network.provider), "[network]")
        return cls(
            settings.scan.resolvers,
            timeout=min(2.0, settings.scan.timeout / 3),
            allowed=allowed,
            **given,
        )

    def ask(self, name: str, rdtype: str, *, fresh: bool = False) -> DnsAnswer:
        """``name``: A-labels.

        Each question is asked once; ``fresh`` asks again and is remembered in its place. Never
        raises.
        """
        key = (_plain(name), rdtype.upper())
        with self._lock:
            waiting = None if fresh else self._cache.get(key)
            mine: Future[DnsAnswer] = Future()
            if waiting is None:
                while len(self._cache) >= MAX_CACHE:
                    self._cache.pop(next(iter(self._cache)))
                self._cache[key] = mine
        if waiting is not None:
            return waiting.result()
        answer = DnsAnswer("servfail", reason="it was not asked")
        try:
            answer = self._resolved(*key)
        finally:  # whatever happens, those who wait for this answer must not wait for ever
            mine.set_result(answer)
        return answer

    def addresses(self, name: str) -> DnsAnswer:
        """A and AAAA together, IPv4 first; ``ok`` with what one family gave where the other did not
        answer. A literal address is itself.
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
        return first if not first.told else second if not second.told else first

    def authoritative(self, name: str) -> Authoritative:
        """Up from ``name`` to the zone that it lies in (the first name with a SOA of its own), its
        NS and their addresses, guarded.

        Asked of the resolvers. An alias is not followed: give the ``Answer.canonical`` of it.
        """
        labels = _plain(name).split(".")[-MAX_LABELS:]
        for start in range(len(labels)):
            zone = ".".join(labels[start:])
            answer = self.ask(zone, "SOA")
            if not answer.told:
                return Authoritative(answer.status, reason=f"{zone}: {answer.reason}")
            if answer.status == "ok" and answer.canonical == zone:
                break
        else:
            return Authoritative("nxdomain", reason="no zone was found above it")
        servers = self.ask(zone, "NS")
        if servers.status != "ok":
            return Authoritative(servers.status, zone, reason=f"NS of {zone}: {servers.reason}")
        return Authoritative(
            "ok", zone, tuple(self._server(n) for n in sorted(servers.records)[:MAX_SERVERS])
        )

    def ask_at(self, server: str, name: str, rdtype: str) -> DnsAnswer:
        """One server by its address ("ip", "ip:port"), not recursively and not remembered.

        An internal address that is not allowed is not asked: ``servfail`` says so. A referral is no
        answer: the server is not authoritative for the name.
        """
        address, port = resolver_parts(server)
        if (why := _refused(address.strip("[]"), self._allowed)) is not None:
            return DnsAnswer(
                "servfail", reason=f"the name server {printable(server, 60)} is not asked: {why}"
            )
        port = port if server != address else str(self._port)
        return self._question(
            _plain(name), rdtype.upper(), ((address.strip("[]"), int(port)),), recursive=False
        )

    def _server(self, name: str) -> NameServer:
        answer = self.addresses(name)
        refused = [
            (a, why) for a in answer.records if (why := _refused(a, self._allowed)) is not None
        ]
        good = tuple(a for a in answer.records if a not in dict(refused))
        return NameServer(name, good[:MAX_SERVERS], tuple(refused), answer.reason)

    # -- one question

    def _resolved(self, name: str, rdtype: str) -> DnsAnswer:
        servers = self._resolvers()
        if not servers:
            return DnsAnswer("servfail", reason="this machine has no resolver configured")
        return self._question(name, rdtype, servers, recursive=True)

    def _resolvers(self) -> tuple[tuple[str, int], ...]:
        if self._servers is None:
            if self._given:
                parts = [resolver_parts(r) for r in self._given]
                self._servers = tuple((host.strip("[]"), int(port)) for host, port in parts)
            else:
                self._servers = _system()
        return self._servers

    def _question(
        self, name: str, rdtype: str, servers: Sequence[tuple[str, int]], *, recursive: bool
    ) -> DnsAnswer:
        """Each server in turn until one answers definitely; then what the last one said instead."""

        flags = dns.flags.AD | (dns.flags.RD if recursive else 0)
        try:
            query = dns.message.make_query(
                name, rdtype, use_edns=0, payload=PAYLOAD, want_dnssec=True, flags=flags
            )
        except (dns.exception.DNSException, ValueError) as error:
            return DnsAnswer(
                "servfail", reason=f"that cannot be asked: {printable(str(error), 100)}"
            )
        last = DnsAnswer("timeout", reason="no name server answered in time")
        for _ in range(self._tries):
            for address, port in servers[:MAX_SERVERS]:
                answer = _send(query, address, port, self._timeout, recursive)
                if answer.told:
                    self._count(failed=False)
                    return answer
                if answer.status == "servfail" or last.status == "timeout":
                    last = answer
        self._count(failed=True)
        return last

    def _count(self, *, failed: bool) -> None:
        with self._lock:
            self.asked += 1
            self.failed += failed


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _refused(address: str, allowed: Sequence[Network]) -> str | None:
    try:
        return refusal(address, allowed)
    except ValueError:
        return "it is no address"


def _system() -> tuple[tuple[str, int], ...]:
    try:
        found = dns.resolver.Resolver(configure=True)
    except (dns.resolver.NoResolverConfiguration, OSError, ValueError):
        return ()
    return tuple(
        (str(address), found.port)
        for address in found.nameservers
        if as_ip(str(address)) is not None
    )


def _send(query: Message, address: str, port: int, timeout: float, recursive: bool) -> DnsAnswer:
    """Over UDP, and over TCP where the answer did not fit.

    ``timeout`` is the time of both together.
    """

    end = monotonic() + timeout
    try:
        # What comes from elsewhere, or does not fit the question, is somebody else's: it is left
        # aside.
        reply = dns.query.udp(
            query, address, timeout, port, ignore_unexpected=True, ignore_errors=True
        )
        if reply.flags & dns.flags.TC:
            reply = dns.query.tcp(query, address, max(0.1, end - monotonic()), port)
        return read(reply, recursive=recursive)
    except dns.exception.Timeout:
        return DnsAnswer("timeout", reason="no name server answered in time")
    except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
        return DnsAnswer("servfail", reason=f"{type(error).__name__}: {printable(str(error), 100)}")


def read(reply: Message, *, recursive: bool = True) -> DnsAnswer:
    """A message -> an answer.

    Raises dnspython's exceptions for one that contradicts itself (a loop of CNAMEs).
    """

    if not hasattr(reply, "resolve_chaining"):
        return DnsAnswer("servfail", reason="the answer is to another kind of question")
    code = reply.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return DnsAnswer("servfail", reason=f"a name server answered {dns.rcode.to_text(code)}")
    found = reply.resolve_chaining()
    authentic, canonical = (
        bool(reply.flags & dns.flags.AD),
        found.canonical_name.to_text(omit_final_dot=True).lower(),
    )
    if found.answer is not None:
        records = tuple(value(r) for r in sorted(found.answer)[:MAX_RECORDS])
        return DnsAnswer("ok", records, authentic, canonical)
    if code == dns.rcode.NXDOMAIN:
        return DnsAnswer("nxdomain", (), authentic, canonical, _WORDS["nxdomain"])
    referral = any(r.rdtype == dns.rdatatype.NS for r in reply.authority) and not any(
        r.rdtype == dns.rdatatype.SOA for r in reply.authority
    )
    if not recursive and referral and not reply.flags & dns.flags.AA:
        return DnsAnswer(
            "servfail", (), False, canonical, "the name server is not authoritative for the name"
        )
    return DnsAnswer("nodata", (), authentic, canonical, _WORDS["nodata"])


def value(record: Any) -> Any:
    """One record of dnspython as a value of ours."""

    kind = dns.rdatatype.to_text(record.rdtype)
    if kind == "CAA":
        return CaaRecord(
            record.flags,
            record.tag.decode("ascii", "replace").lower(),
            record.value.decode("utf-8", "backslashreplace"),
        )
    if kind == "TLSA":
        return TlsaRecord(record.usage, record.selector, record.mtype, bytes(record.cert))
    if kind == "TXT":
        return b"".join(record.strings).decode("utf-8", "backslashreplace")
    if kind in ("NS", "CNAME", "PTR", "DNAME"):
        return str(record.target.to_text(omit_final_dot=True)).lower()
    return str(record.to_text())
