"""A small name server over UDP and TCP with dnspython.

It is a resolver that sets AD, or an authoritative server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.campaign import UNREACHED
from tests.servers.ports import stop_receiving

Records = Mapping[tuple[str, str], Sequence[str] | str]
"""(name, type) -> texts of records, or "SERVFAIL", "REFUSED", "SILENT".

A CNAME of a name answers every type. A name with a record of any type exists.
"""


@dataclass(slots=True)
class NameServer:
    """The state of a running name server.

    Attributes:
        address: The value for [scan] resolvers.
        authentic: Zones whose answers have the AD bit.
        asked: The queries in order: name, type, udp or tcp.
    """

    records: dict[tuple[str, str], Sequence[str] | str]
    authentic: tuple[str, ...] = ()
    authoritative: bool = False
    address: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def reply(self, data: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = (
            question.name.to_text(omit_final_dot=True).lower(),
            dns.rdatatype.to_text(question.rdtype),
        )
        self.asked.append((name, kind, transport))
        response = dns.message.make_response(query, recursion_available=not self.authoritative)
        if self.authoritative:
            response.flags |= dns.flags.AA
        if (
            any(name == z or name.endswith(f".{z}") for z in self.authentic)
            and query.flags & dns.flags.AD
        ):
            response.flags |= dns.flags.AD
        result = self._fill(response, name, kind)
        if result == "SILENT":
            return None
        if result:
            response.set_rcode(dns.rcode.from_text(result))
        size = query.payload if query.edns >= 0 else 512
        if transport == "tcp":
            return response.to_wire(max_size=65535)
        try:
            return response.to_wire(max_size=size or 512)
        except dns.exception.TooBig:
            short = dns.message.make_response(query, recursion_available=True)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> str:
        for _ in range(20):
            answer = self.records.get((name, kind))
            if isinstance(answer, str):
                return answer
            if answer:
                response.answer.append(
                    dns.rrset.from_text_list(dns.name.from_text(name), 60, "IN", kind, list(answer))
                )
                return ""
            alias = self.records.get((name, "CNAME"))
            if not alias or isinstance(alias, str):
                return (
                    ""
                    if any(n == name or n.endswith(f".{name}") for n, _ in tuple(self.records))
                    else "NXDOMAIN"
                )
            response.answer.append(
                dns.rrset.from_text_list(dns.name.from_text(name), 60, "IN", "CNAME", list(alias))
            )
            name = alias[0].rstrip(".").lower()
        return ""


@contextmanager
def serving(
    records: Records,
    authentic: Sequence[str] = (),
    *,
    authoritative: bool = False,
    address: str = "127.0.0.1",
) -> Iterator[NameServer]:
    udp, tcp = _sockets(address)
    server = NameServer(
        dict(records), tuple(authentic), authoritative, f"{address}:{udp.getsockname()[1]}"
    )

    def packets() -> None:
        while True:
            # The socket may be closed while an answer is made.
            try:
                data, peer = udp.recvfrom(4096)
                if not data:
                    return  # it was shut down
                if (reply := server.reply(data, "udp")) is not None:
                    udp.sendto(reply, peer)
            except OSError:
                return

    def connections() -> None:
        while True:
            try:
                conn, _ = tcp.accept()
            except OSError:
                return
            with conn, suppress(OSError):
                conn.settimeout(UNREACHED)
                stream = conn.makefile("rb")
                # The client may leave without a question.
                data = stream.read(int.from_bytes(stream.read(2)))
                if data and (reply := server.reply(data, "tcp")) is not None:
                    conn.sendall(len(reply).to_bytes(2) + reply)

    for work in (packets, connections):
        threading.Thread(target=work, daemon=True).start()
    try:
        yield server
    finally:
        tcp.shutdown(socket.SHUT_RDWR)
        tcp.close()
        stop_receiving(udp)


def _sockets(address: str) -> tuple[socket.socket, socket.socket]:
    """Return sockets for UDP and TCP with the same free port."""
    for _ in range(20):
        tcp = socket.create_server((address, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((address, tcp.getsockname()[1]))
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp
    raise AssertionError("no port is free over both UDP and TCP")
