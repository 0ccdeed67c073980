"""dns-01: a TXT record, after CNAMEs, and the wait until the zone's name servers publish it.

This module performs I/O. A :class:`Zone` sets the record: by RFC 2136, a provider of dns-lexicon or
a program.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.net.dns import DnsClient
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0


class Zone(Protocol):
    """Adds and removes single TXT records. Other records of the same name stay.

    ``record`` is the name of the record after CNAMEs. Both methods raise :class:`CertmgrError`.
    """

    def add(self, record: str, value: str) -> None:
        """Add a TXT record."""

    def remove(self, record: str, value: str) -> None:
        """Remove a TXT record."""


@dataclass(slots=True)
class Dns01:
    """The dns-01 solver.

    Attributes:
        zone: Sets the records.
        create_dns_client: Return a new DNS client with an empty cache.
        propagation: The maximum seconds to wait until the zone's servers publish the records.
        wait: Sleep for a number of seconds.
        challenge: The challenge type.
    """

    zone: Zone
    create_dns_client: Callable[[], DnsClient]
    propagation: float
    wait: Callable[[float], None] = time.sleep
    challenge: str = "dns-01"

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Set the records and wait until they are published, or the time is over.

        After the time limit the order continues: the CA may reach servers that this machine cannot.
        """
        pending = []
        dns_client = self.create_dns_client()
        for proof in proofs:
            location = record_location(dns_client, proof.record)
            _log.info("setting the TXT record %s", location)
            self.zone.add(location, proof.txt)
            pending.append((location, proof.txt))
        end = time.monotonic() + self.propagation
        # Each check has a new client: a cached answer would hide the new record.
        while (
            missing := [p for p in pending if not is_published(self.create_dns_client(), *p)]
        ) and time.monotonic() < end:
            pending = missing
            self.wait(POLL_INTERVAL)

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        """Remove the records as far as that is possible."""
        dns_client = self.create_dns_client()
        for proof in proofs:
            with contextlib.suppress(CertmgrError):
                self.zone.remove(record_location(dns_client, proof.record), proof.txt)


def record_location(dns_client: DnsClient, record: str) -> str:
    """Return the name at which a record must be set, after CNAMEs.

    A CNAME at ``_acme-challenge`` delegates the challenge to a zone that the provider can change.

    Raises:
        CertmgrError: The DNS does not answer.
    """
    answer = dns_client.ask(record, "TXT")
    if answer.status in ("ok", "nodata", "nxdomain"):
        return answer.canonical or record
    raise CertmgrError(
        f"The location of the record {record} cannot be determined",
        answer.reason or f"the DNS answered {answer.status}",
        "Check the name servers of the zone. The order is retried automatically.",
    )


def is_published(dns_client: DnsClient, record: str, value: str) -> bool:
    """Return whether every name server of the zone that answers publishes the record.

    If none of them can be reached from here, the resolver's answer decides.
    """
    servers = dns_client.authoritative(record).addresses
    answers = [a for a in (dns_client.ask_at(s, record, "TXT") for s in servers) if a.determined]
    if not answers:
        return value in dns_client.ask(record, "TXT", fresh=True).records
    return all(value in a.records for a in answers)
