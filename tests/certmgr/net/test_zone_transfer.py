"""Zone transfers from a name server that sends without end."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial

import dns.message
import dns.rrset
import dns.tsig
import pytest

from certmgr.demo.servers import Server
from certmgr.net import zone_transfer
from certmgr.net.zone_transfer import host_names
from inventory.errors import CertmgrError
from tests.campaign import UNREACHED

ZONE = "rosen.example"
KEY = dns.tsig.Key("transfer.", b"secret-of-the-zone", "hmac-sha256")
Names = Callable[[int], str]


def send(connection: socket.socket, wire: bytes) -> None:
    connection.sendall(struct.pack("!H", len(wire)) + wire)


def hostile(connection: socket.socket, names: Names, *, repeat: bool, zone: str = ZONE) -> None:
    """Answer a query with a valid begin of a zone, and with records without end."""
    with contextlib.suppress(OSError):
        (size,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
        query = dns.message.from_wire(
            connection.recv(size, socket.MSG_WAITALL), keyring={KEY.name: KEY}
        )
        first = dns.message.make_response(query)
        first.answer = [dns.rrset.from_text(f"{ZONE}.", 60, "IN", "SOA", "ns1. root. 1 2 3 4 5")]
        send(connection, first.to_wire(multi=True))
        # Messages between two signed ones need no signature (RFC 8945 5.3.1).
        for number in itertools.count():
            answer = dns.message.make_response(query)
            answer.tsig = None
            answer.answer = [
                dns.rrset.from_text(
                    f"{names(number * 100 + n)}.{zone}.", 60, "IN", "A", "192.0.2.1"
                )
                for n in range(100)
            ]
            wire = answer.to_wire(max_size=65_535)
            send(connection, wire)
            # Sent faster than it is read, so that the next message is always there.
            while repeat:
                send(connection, wire)


def transfer(
    names: Names, timeout: float, *, repeat: bool = False, zone: str = ZONE
) -> Iterator[str]:
    serve = partial(hostile, names=names, repeat=repeat, zone=zone)
    with contextlib.closing(Server(serve)) as server:
        yield from host_names(ZONE, "127.0.0.1", server.port, KEY, timeout)


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_RECORDS", 2000, "more than 2,000 records"),
        ("MAX_NAMES", 3 << 10, "names have more than"),
    ],
)
def test_transfer_without_end_is_bounded_in_size(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str
) -> None:
    monkeypatch.setattr(zone_transfer, limit, value)
    with pytest.raises(CertmgrError, match=reason) as caught:
        list(transfer("w{}".format, UNREACHED))
    assert "Nothing was imported" in str(caught.value)


@pytest.mark.parametrize("zone", ["other.example", "example", f"x{ZONE}"])
def test_transfer_with_names_of_another_zone_is_refused(zone: str) -> None:
    reason = f"w0.{zone}, which is outside of the zone"
    with pytest.raises(CertmgrError, match=reason) as caught:
        list(transfer("w{}".format, UNREACHED, zone=zone))
    assert "Nothing was imported" in str(caught.value)


def test_transfer_that_never_pauses_ends_in_time() -> None:
    """The library checks the time only while it waits for the server."""
    with pytest.raises(CertmgrError, match="did not end in time"):
        list(transfer("w{}".format, 0.5, repeat=True))
