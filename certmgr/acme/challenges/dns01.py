"""dns-01: the record, wherever a CNAME says that it lies, and the wait until the zone's own servers
show it. An edge.

How a record is set is a Zone's matter: RFC 2136, a provider of dns-lexicon, or a program.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.net.dns import DnsClient
from inventory.errors import CertmgrError
from inventory.text import printable

PAUSE = 1.0


class Zone(Protocol):
    """Sets and takes away one TXT record; others of that name stay.

    ``record``: where it lies, after CNAMEs. Raises :class:`CertmgrError`.
    """

    def add(self, record: str, value: str) -> None: ...

    def remove(self, record: str, value: str) -> None: ...


@dataclass(slots=True)
class Dns01:
    """``propagation``: for so many seconds the zone's servers are asked; after that the CA is (we
    may not reach them, and it may).
    """

    zone: Zone
    asker: Callable[[], DnsClient]
    propagation: float
    wait: Callable[[float], None] = time.sleep
    challenge: str = "dns-01"

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        placed = []
        asker = self.asker()
        for one in proofs:
            where = place(asker, one.record)
            self.zone.add(where, one.txt)
            placed.append((where, one.txt))
        end = time.monotonic() + self.propagation
        while (
            missing := [p for p in placed if not shown(self.asker(), *p)]
        ) and time.monotonic() < end:
            placed = missing
            self.wait(PAUSE)

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        asker = self.asker()
        for one in proofs:
            with contextlib.suppress(CertmgrError):
                self.zone.remove(place(asker, one.record), one.txt)


def place(asker: DnsClient, record: str) -> str:
    """Where the record lies: a CNAME at ``_acme-challenge`` hands the zone to somebody who may
    change it. Raises :class:`CertmgrError` where nobody can tell.
    """
    answer = asker.ask(record, "TXT")
    if answer.status in ("ok", "nodata", "nxdomain"):
        return answer.canonical or record
    raise CertmgrError(
        f"Nobody can tell where {record} lies",
        answer.reason or f"the DNS answered {answer.status}",
        "It is tried again; look at the zone's name servers.",
    )


def shown(asker: DnsClient, record: str, value: str) -> bool:
    """Whether every server of the zone that answers shows the record; where none of them can be
    asked from here, whether a resolver does.
    """
    servers = asker.authoritative(record).addresses
    told = [a for a in (asker.ask_at(server, record, "TXT") for server in servers) if a.told]
    if not told:
        return value in asker.ask(record, "TXT", fresh=True).records
    return all(value in a.records for a in told)


def snippet(record: str, value: str) -> str:
    """As a line of a zone file."""
    return f'{printable(record, 253)}. 60 IN TXT "{printable(value, 100)}"'
