"""Answers of the DNS as values, and how they are read from a message. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.rcode
import dns.rdatatype

from certmgr.net.dns_records import CaaRecord, TlsaRecord

if TYPE_CHECKING:
    from dns.message import Message

# A hostile zone may list any number of records, and each is compared with others and stored.
MAX_RECORDS = 100


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The answer to one query.

    Attributes:
        status: ok (there are records), nxdomain, nodata, servfail (also refused, malformed, not
            allowed), or timeout.
        records: :class:`CaaRecord`, :class:`TlsaRecord` or text: an address, a decoded TXT, a name
            in lower case without its last dot, or the presentation form. At most ``MAX_RECORDS``.
        authentic: The AD bit.
        canonical: The name after CNAMEs.
        reason: A text if the status is not ok.
    """

    status: str
    records: tuple[Any, ...] = ()
    authentic: bool = False
    canonical: str = ""
    reason: str = ""

    @property
    def determined(self) -> bool:
        """Whether the DNS answered definitely, including that there is no record."""
        return self.status in ("ok", "nxdomain", "nodata")


@dataclass(frozen=True, slots=True)
class NameServer:
    """One name server of a zone.

    Attributes:
        addresses: The addresses that may be queried.
        refused: (address, reason) of internal addresses that are not queried.
        reason: Why there is no address.
    """

    name: str
    addresses: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Authoritative:
    """The name servers of the zone of a name.

    ``status`` is ok, or the status of the query that failed, with its ``reason``.
    """

    status: str
    zone: str = ""
    servers: tuple[NameServer, ...] = ()
    reason: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all name servers, without duplicates."""
        return tuple(dict.fromkeys(a for s in self.servers for a in s.addresses))


REASONS = {"nxdomain": "the name does not exist (NXDOMAIN)", "nodata": "there is no such record"}


def read(reply: Message, *, recursive: bool = True) -> DnsAnswer:
    """Convert a message to an answer.

    Raises:
        DNSException: The message contradicts itself (a loop of CNAMEs).
    """

    # dnspython gives other classes to other opcodes, such as UPDATE.
    if not hasattr(reply, "resolve_chaining"):
        return DnsAnswer("servfail", reason="the answer is to another kind of query")
    # Over TCP every answer fits (RFC 7766). A part of it is no proof that there is no record.
    if reply.flags & dns.flags.TC:
        return DnsAnswer("servfail", reason="a name server answered with a part of the records")
    # A validating resolver answers SERVFAIL for data that fails DNSSEC validation (RFC 4035 5.5).
    # So it is no proof that there is no record.
    code = reply.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return DnsAnswer("servfail", reason=f"a name server answered {dns.rcode.to_text(code)}")
    chain = reply.resolve_chaining()
    # The AD bit covers the whole answer section, and so each CNAME of the chain (RFC 4035 3.2.3).
    authentic, canonical = (
        bool(reply.flags & dns.flags.AD),
        chain.canonical_name.to_text(omit_final_dot=True).lower(),
    )
    if chain.answer is not None:
        # Servers rotate the order of their records, and equal sets must compare equal.
        records = tuple(record_value(r) for r in sorted(chain.answer)[:MAX_RECORDS])
        return DnsAnswer("ok", records, authentic, canonical)
    if code == dns.rcode.NXDOMAIN:
        return DnsAnswer("nxdomain", (), authentic, canonical, REASONS["nxdomain"])
    # Without AA, NS records without a SOA refer to the servers of a zone below (RFC 2308 2.2).
    referral = any(r.rdtype == dns.rdatatype.NS for r in reply.authority) and not any(
        r.rdtype == dns.rdatatype.SOA for r in reply.authority
    )
    # A referral from a resolver is only a nodata answer; from a zone's server it is an error.
    if not recursive and referral and not reply.flags & dns.flags.AA:
        return DnsAnswer(
            "servfail", (), False, canonical, "the name server is not authoritative for the name"
        )
    return DnsAnswer("nodata", (), authentic, canonical, REASONS["nodata"])


def record_value(record: Any) -> Any:
    """Convert one record of dnspython to a value of this project."""

    kind = dns.rdatatype.to_text(record.rdtype)
    # RFC 8659 4.1: tags are compared without case.
    if kind == "CAA":
        return CaaRecord(
            record.flags,
            record.tag.decode("ascii", "replace").lower(),
            record.value.decode("utf-8", "backslashreplace"),
        )
    if kind == "TLSA":
        return TlsaRecord(record.usage, record.selector, record.mtype, bytes(record.cert))
    if kind == "TXT":
        # RFC 7208 3.3: several strings of a TXT record form one text without separators.
        return b"".join(record.strings).decode("utf-8", "backslashreplace")
    # RFC 4343: names are compared without case.
    if kind in ("NS", "CNAME", "PTR", "DNAME"):
        return str(record.target.to_text(omit_final_dot=True)).lower()
    return str(record.to_text())
