"""Why a connection failed: errors of the system, before and after a packet was sent."""

from __future__ import annotations

import errno

import pytest

from certmgr.scan.connection_failures import from_errno
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
