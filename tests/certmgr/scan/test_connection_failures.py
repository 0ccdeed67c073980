"""Why a connection failed: errors of the system, before and after a packet was sent."""

from __future__ import annotations

import errno

import pytest

from certmgr.scan.connection_failures import NOT_TEXT, from_errno, from_first_bytes
from certmgr.scan.evidence import FailureKind


@pytest.mark.parametrize(
    ("code", "sent", "kind", "layer"),
    [
        # connect() itself fails: this machine has no route.
        (errno.ENETUNREACH, False, FailureKind.NO_ROUTE, "local"),
        (errno.EADDRNOTAVAIL, False, FailureKind.NO_ROUTE, "local"),
        # A router answered to our packet (ICMP).
        (errno.ENETUNREACH, True, FailureKind.UNREACHABLE, "connect"),
        (errno.EHOSTUNREACH, True, FailureKind.UNREACHABLE, "connect"),
        (errno.ECONNREFUSED, True, FailureKind.REFUSED, "connect"),
        # Only this machine knows these, whenever they come.
        (errno.EADDRNOTAVAIL, True, FailureKind.NO_ROUTE, "local"),
        (errno.EMFILE, True, FailureKind.LOCAL, "local"),
    ],
)
def test_unreachable_network_is_the_servers_only_if_a_packet_was_sent(
    code: int, sent: bool, kind: FailureKind, layer: str
) -> None:
    failure = from_errno(code, "connect", answered=False, sent=sent)
    assert (failure.kind, failure.layer) == (kind, layer)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "the server sent: SSH-2.0-OpenSSH_9.9"),
        (b"\r\n220 ready\r\nmore", "the server sent: 220 ready"),
        (b"\n", NOT_TEXT),
        (b"\xc3\0\1\2", NOT_TEXT),
        (b"\x4a\0\0\0\n8.4.3\0", NOT_TEXT),
    ],
)
def test_first_line_of_another_protocol_is_shown_if_it_is_text(first: bytes, reason: str) -> None:
    failure = from_first_bytes(first)
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.NOT_TLS, reason)


@pytest.mark.parametrize("first", [b"\x16", b"\x16\3\1", b"\x15\3\3\0\2"])
def test_tls_record_may_be_tls(first: bytes) -> None:
    assert from_first_bytes(first) is None
