"""dns-01: a TXT record, after CNAMEs, and the wait until the zone's name servers publish it.

This module performs I/O. A :class:`Zone` sets the record: by RFC 2136, a provider of dns-lexicon or
a program.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from certmgr.acme.challenges.interface import ChallengeProof, Leftover, NotPublished
from certmgr.net.dns import DnsClient
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

# Seconds. Short, because the record is removed soon, and resolvers must not keep it for the next
# order.
TTL = 60
# Secondary servers take seconds to minutes; a shorter interval would only load them.
POLL_INTERVAL = 1.0
# Records whose removal fails before the others are left for a later run.
MAX_FAILURES = 3


class Zone(Protocol):
    """Adds and removes single TXT records. Other records of the same name stay.

    ``record`` is the name of the record after CNAMEs. Both methods raise :class:`CertmgrError`.
    """

    def add(self, record: str, value: str) -> None:
        """Add a TXT record."""

    def remove(self, record: str, value: str) -> None:
        """Remove a TXT record."""

    def removal(self, record: str, value: str) -> str:
        """Return how an administrator removes a TXT record. Pure."""


@dataclass(slots=True)
class Dns01:
    """The dns-01 solver.

    Attributes:
        zone: Sets the records.
        create_dns_client: Return a new DNS client with an empty cache.
        propagation: The maximum seconds to wait until the zone's servers publish the records.
        wait: Sleep for a number of seconds.
        challenge: The challenge type.
        persistent: The answers stay published after the process ends.
    """

    zone: Zone
    create_dns_client: Callable[[], DnsClient]
    propagation: float
    wait: Callable[[float], None] = time.sleep
    challenge: str = "dns-01"
    persistent: bool = True

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        """Return the answers with the names of their records, after CNAMEs.

        Raises:
            CertmgrError: The DNS does not answer.
        """
        dns_client = self.create_dns_client()
        return [replace(p, location=record_location(dns_client, p.record)) for p in proofs]

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Set the records and wait until they are published, or the time is over.

        If no name server of a zone answers this machine, the order continues after the time limit:
        the CA may reach them. If one answers without the record, the CA may ask just that one, and
        the authorization would fail and count.

        Raises:
            NotPublished: A name server of a zone does not have a record after the time limit.
            CertmgrError: A record cannot be set.
        """
        pending = []
        for proof in proofs:
            location = proof.location or record_location(self.create_dns_client(), proof.record)
            _log.info("setting the TXT record %s", location)
            self.zone.add(location, proof.txt)
            # All records are set before the first wait, so that they propagate at the same time.
            pending.append((location, proof.txt))
        self._await_publication(pending)

    def _await_publication(self, pending: Sequence[tuple[str, str]]) -> None:
        """Wait until the records, given as (name, value), are published."""
        # Without a time to wait nothing is checked: the CA may see other servers than this machine.
        if not self.propagation:
            return
        end = time.monotonic() + self.propagation
        while True:
            # Each check has a new client: a cached answer would hide the new record.
            found = {p: publication(self.create_dns_client(), *p) for p in pending}
            pending = [p for p, state in found.items() if not state.published]
            if not pending or time.monotonic() >= end:
                break
            self.wait(POLL_INTERVAL)
        lacking = {p[0]: found[p].without for p in pending if found[p].without}
        if lacking:
            record, servers = next(iter(lacking.items()))
            more = f", and {len(lacking) - 1} more record(s)" if len(lacking) > 1 else ""
            raise NotPublished(
                f"The record {record} is not published everywhere yet",
                f"after {self.propagation:g} seconds {', '.join(servers[:4])} answers without it"
                + more,
                "The record stays set, and the order is continued automatically. Check the transfer"
                " of the zone to that server. If the CA asks other servers than this machine"
                " (split DNS): propagation = 0.",
            )

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove the records. Those that are not in the DNS are not left, whatever failed."""
        left: list[Leftover] = []
        for proof in proofs:
            # A provider that does not answer costs a time limit per record, and the order waits.
            if len(left) >= MAX_FAILURES:
                left.append(self._leftover(proof, "not tried, because others failed before"))
                continue
            try:
                location = proof.location or record_location(self.create_dns_client(), proof.record)
                self.zone.remove(location, proof.txt)
            except CertmgrError as error:
                if not is_gone(self.create_dns_client(), proof.location or proof.record, proof.txt):
                    left.append(self._leftover(proof, f"{error.what}: {error.why}"))
        return left

    def _leftover(self, proof: ChallengeProof, reason: str) -> Leftover:
        location = proof.location or proof.record
        _log.warning("the TXT record %s is left: %s", location, reason)
        what = f'the TXT record {location} with the value "{proof.txt}"'
        return Leftover(proof, what, reason, self.zone.removal(location, proof.txt))


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Where the TXT record of a challenge must be set.

    Attributes:
        name: The name of the record.
        wildcard_cname: The target of a wildcard CNAME that covers the record; empty without one.
    """

    name: str
    wildcard_cname: str = ""


def record_location(dns_client: DnsClient, record: str) -> str:
    """Return the name at which a record must be set, as :func:`find_location` does."""
    return find_location(dns_client, record).name


def find_location(dns_client: DnsClient, record: str) -> RecordLocation:
    """Return where a record must be set, after CNAMEs.

    A CNAME at ``_acme-challenge`` delegates the challenge to a zone that the provider can change. A
    wildcard CNAME (``*.shop.test``, for subdomains at a website builder) delegates nothing: its
    target is a foreign zone, and a record at the name itself takes precedence over it (RFC 4592
    2.2.1). It is recognised by a random name next to the record, which leads to the same target.

    Raises:
        CertmgrError: The DNS does not answer.
    """
    answer = dns_client.ask(record, "TXT")
    if answer.determined:
        target = answer.canonical or record
        if target == record:
            return RecordLocation(record)
        parent = record.partition(".")[2]
        sibling = dns_client.ask(f"_{secrets.token_hex(8)}.{parent}", "TXT")
        if sibling.determined:
            same = sibling.canonical == target
            return RecordLocation(record, target) if same else RecordLocation(target)
        # Undetermined: the foreign zone of a wildcard must not be written to.
        answer = sibling
    raise CertmgrError(
        f"The location of the record {record} cannot be determined",
        answer.reason or f"the DNS answered {answer.status}",
        "Check the name servers of the zone. The order is retried automatically.",
    )


def is_gone(dns_client: DnsClient, record: str, value: str) -> bool:
    """Return whether the DNS answers, and no answer has the record. Silence proves nothing."""
    servers = dns_client.authoritative(record).addresses
    answers = [a for a in (dns_client.ask_at(s, record, "TXT") for s in servers) if a.determined]
    if not answers:
        answers = [a for a in (dns_client.ask(record, "TXT", fresh=True),) if a.determined]
    return bool(answers) and all(value not in a.records for a in answers)


@dataclass(frozen=True, slots=True)
class Publication:
    """Whether a record is published.

    Attributes:
        published: Every name server of the zone that answers has it. If none can be reached from
            here, the resolver's answer decides.
        without: The name servers that answer without it.
    """

    published: bool
    without: tuple[str, ...] = ()


def publication(dns_client: DnsClient, record: str, value: str) -> Publication:
    """Return whether a record is published, as far as this machine can see."""
    servers = dns_client.authoritative(record).addresses
    answers = {s: a for s in servers if (a := dns_client.ask_at(s, record, "TXT")).determined}
    if not answers:
        # Its answer may be an old one from its cache, so that it never shows that a record lacks.
        return Publication(value in dns_client.ask(record, "TXT", fresh=True).records)
    without = tuple(s for s, a in answers.items() if value not in a.records)
    return Publication(not without, without)
