"""The solver of dns-persist-01: it changes nothing, and checks that the record is published.

This module performs I/O. An order is not placed in vain: a record that is missing, or that names
another account, is reported before the CA is asked to validate it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from certmgr.acme.challenges.interface import ChallengeProof, Leftover
from certmgr.acme.challenges.persist import (
    CHALLENGE,
    PersistRecord,
    PersistState,
    PersistVerdict,
    judge,
)
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import DnsAnswer
from inventory.clock import Clock
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError
from inventory.names import display

# Time for the client to renew a record with persistUntil, before a certificate fails.
WARN_SECONDS = 30 * 86_400


@dataclass(slots=True)
class Persisted:
    """The dns-persist-01 solver.

    Attributes:
        create_dns_client: Return a new DNS client with an empty cache.
        clock: The current time, for persistUntil.
        challenge: The challenge type.
        persistent: The records stay; nothing is removed.
    """

    create_dns_client: Callable[[], DnsClient]
    clock: Clock
    challenge: str = CHALLENGE
    persistent: bool = True

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Check the record of each name.

        If no server can be reached from here, the order continues: the CA may reach them.

        Raises:
            CertmgrError: A record is missing or would be refused.
        """
        for proof in proofs:
            assert proof.persist is not None
            verdict = check(self.create_dns_client(), proof.persist, self.clock)
            if not verdict.accepted and verdict.state is not PersistState.UNKNOWN:
                raise CertmgrError(
                    f"{display(proof.name)} cannot be validated by {CHALLENGE}",
                    verdict.reason,
                    f"Add this record: {proof.persist.zone_line}",
                )

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove nothing: the records belong to the client, and serve the next renewals."""
        return ()


def check(dns_client: DnsClient, record: PersistRecord, clock: Clock) -> PersistVerdict:
    """Return the verdict of the authoritative servers and of several resolvers.

    A CA may ask any of them, so that the worst definite answer counts.
    """
    now = to_epoch(clock())
    verdicts = [
        (place, judge(record, answer.records, now, WARN_SECONDS))
        for place, answer in _answers(dns_client, record.owner)
        if answer.determined
    ]
    if not verdicts:
        reason = f"no name server answered about {record.owner}"
        return PersistVerdict(PersistState.UNKNOWN, reason)
    # An accepted answer at one server does not help if another one refuses: CAs ask from several
    # places (Baseline Requirements 3.2.2.9).
    place, worst = min(verdicts, key=lambda v: (v[1].accepted, v[1].state is PersistState.VALID))
    if all(v.state is worst.state for _, v in verdicts):
        return worst
    return PersistVerdict(worst.state, f"{worst.reason}, at {place}", worst.until)


def _answers(dns_client: DnsClient, owner: str) -> list[tuple[str, DnsAnswer]]:
    """Return the answers of the authoritative servers and of each resolver, by place."""
    resolved = dns_client.ask_each(owner, "TXT")
    canonical = next((a.canonical for _, a in resolved if a.canonical), owner)
    servers = dns_client.authoritative(canonical).addresses
    asked = [(f"the name server {s}", dns_client.ask_at(s, canonical, "TXT")) for s in servers]
    return [*asked, *((f"the resolver {r}", answer) for r, answer in resolved)]
