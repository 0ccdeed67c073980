"""What the DNS says of what is served and of what will be: TLSA (DANE) and CAA, of each endpoint, a
bounded number at once.

Judging is pure (certmgr/checks/caa.py, certmgr/checks/tlsa.py); here the questions are asked and
the findings changed, some endpoints at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from certmgr.checks import caa
from certmgr.checks.tlsa import announcement, match
from certmgr.checks.transport import finding
from certmgr.inspection.reconcile import FindingChanges, OpenFinding
from certmgr.net.dns import DnsAnswer, DnsClient
from certmgr.net.dns_records import TlsaRecord
from certmgr.revocation.settle import EndpointState, change
from inventory.certificates import Certificate, parse
from inventory.db.database import Database
from inventory.names import as_ip
from inventory.store import domains, endpoints, findings, scan_results
from inventory.store import revocation as store
from inventory.targets import Target
from inventory.vocabulary import Finding, Severity

CHUNK = 200
AT_ONCE = 16
# So few failures say nothing about our resolver.
LEAST = 5

Identities = tuple[Sequence[str], str | None, str | None]
IdentitiesFor = Callable[[Mapping[str, Any]], Identities | None]
"""From a row of endpoint and domain (host, domain, domain_id, client_id, and the parties) to
(issuer domain names of the CA that we would use for it, the URI of our account, the method: http-01
or dns-01). None: we get no certificate for it.
"""


@dataclass(slots=True)
class DnsPolicySummary:
    """How it went.

    ``asked`` and ``failed``: questions to the DNS. ``broken``: it was given up, since most failed.
    """

    endpoints: int = 0
    asked: int = 0
    failed: int = 0
    opened: int = 0
    closed: int = 0
    broken: bool = False


@dataclass(frozen=True, slots=True)
class DnsPolicyAnswers:
    """What the DNS said of an endpoint; None: not asked. ``name``: where TLSA stands."""

    name: str
    tlsa: DnsAnswer | None = None
    caa: caa.CaaSet | None = None


def announced_at(target: Target) -> str | None:
    """_443._tcp.host (RFC 6698 3); None for an address."""
    return None if as_ip(target.host) is not None else f"_{target.port}._tcp.{target.host}"


class DnsPolicyCheck:
    """``identities_for`` None: CAA is not asked."""

    def __init__(
        self,
        database: Database,
        asker: DnsClient,
        now: datetime,
        identities_for: IdentitiesFor | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.database, self.asker, self.now = database, asker, now
        self.identities_for, self.progress = identities_for, progress
        self.done = DnsPolicySummary()

    def run(self, client_id: int | None) -> DnsPolicySummary:
        with self.database.read() as conn:
            ids = endpoints.visited_ids(conn, client_id, None)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(ids), CHUNK):
                if self._hopeless():
                    self.done.broken = True
                    break
                self._chunk(pool, ids[start : start + CHUNK])
                if self.progress is not None:
                    self.progress(min(start + CHUNK, len(ids)), len(ids))
        self.done.asked, self.done.failed = self.asker.asked, self.asker.failed
        self.done.broken |= self._hopeless()
        return self.done

    def _hopeless(self) -> bool:
        return self.asker.failed >= LEAST and 2 * self.asker.failed > self.asker.asked

    def _chunk(self, pool: ThreadPoolExecutor, ids: Sequence[int]) -> None:
        with self.database.read() as conn:
            rows = endpoints.visited(conn, ids)
            served = store.served(conn, ids)
        ours = {
            r["id"]: None if self.identities_for is None else self.identities_for(r) for r in rows
        }
        told = dict(
            zip(
                ours,
                pool.map(lambda r: self._ask(r, bool(served.get(r["id"])), ours[r["id"]]), rows),
                strict=True,
            )
        )
        with self.database.write(self.now) as tx:
            known = scan_results.open_findings(tx.conn, ids)
            opened, updated, closed = [], [], []
            for row in rows:
                place = EndpointState(
                    row["id"],
                    Target(row["host"], row["port"], row["protocol"]),
                    domains.parties_of_row(row),
                    [OpenFinding(i, f) for i, f in known.get(row["id"], ())],
                    served.get(row["id"], ()),
                )
                changes = self._changes(tx.conn, place, told[row["id"]], ours[row["id"]])
                opened += [(place.id, f) for f in changes.opened]
                updated += changes.updated
                closed += changes.closed
            findings.settle(tx, opened, updated, closed)
        self.done.endpoints += len(rows)
        self.done.opened += len(opened)
        self.done.closed += len(closed)

    def _ask(
        self, row: Mapping[str, Any], serves: bool, ours: Identities | None
    ) -> DnsPolicyAnswers:
        """In a thread.

        Once most questions fail, nothing more is asked: each would only wait for its time-out.
        """
        name = announced_at(Target(row["host"], row["port"], row["protocol"]))
        if name is None or self._hopeless():
            return DnsPolicyAnswers("")
        tlsa = self.asker.ask(name, "TLSA") if serves else None
        return DnsPolicyAnswers(
            name, tlsa, caa.find(self.asker.ask, row["host"]) if ours is not None else None
        )

    def _changes(
        self,
        conn: Connection,
        place: EndpointState,
        told: DnsPolicyAnswers,
        ours: Identities | None,
    ) -> FindingChanges:
        changes = FindingChanges()
        if told.caa is not None and ours is not None:
            _caa(place, told.caa, ours, changes)
        elif self.identities_for is not None and ours is None:
            change(place, "caa-mismatch", None, changes)  # we get no certificate for it any more
        if told.tlsa is not None and told.tlsa.told and place.live:
            self._dane(conn, place, told, told.tlsa, changes)
        return changes

    def _dane(
        self,
        conn: Connection,
        place: EndpointState,
        told: DnsPolicyAnswers,
        answer: DnsAnswer,
        changes: FindingChanges,
    ) -> None:
        """Only records that were validated count; where there are none, or none that is validated,
        nothing is announced.
        """
        records = [r for r in answer.records if isinstance(r, TlsaRecord)]
        if not records or not answer.authentic:
            change(place, "dane-mismatch", None, changes)
            return
        ders = store.ders(conn, list({h for s in place.live for h in s.chain}))
        chains = {s.address: [parse(ders[h]) for h in s.chain if h in ders] for s in place.live}
        smtp = place.target.protocol == "smtp"
        verdicts = {
            s.address: match(
                records,
                chains[s.address],
                place.target.host,
                self.now,
                smtp=smtp,
                trusted=s.trusted,
            )
            for s in place.live
        }
        wrong = [a for a, v in verdicts.items() if v.state == "mismatch"]
        if not wrong and any(v.state == "unknown" for v in verdicts.values()):
            return
        made = None
        if wrong:
            made = _mismatch(
                told.name, wrong, verdicts[wrong[0]].reason, records, chains[wrong[0]][0], smtp=smtp
            )
        change(place, "dane-mismatch", made, changes)


def _mismatch(
    name: str,
    wrong: Sequence[str],
    reason: str,
    records: Sequence[TlsaRecord],
    leaf: Certificate,
    *,
    smtp: bool,
) -> Finding:
    severity = Severity.HIGH if smtp else Severity.INFO
    return finding(
        "dane-mismatch",
        wrong,
        severity,
        name=name,
        reason=reason,
        records=[str(r) for r in records[:8]],
        needed=str(announcement(leaf)),
        certificates=[leaf.sha256],
    )


def _caa(place: EndpointState, said: caa.CaaSet, ours: Identities, changes: FindingChanges) -> None:
    identities, account, method = ours
    permission = caa.permits(said, identities, account_uri=account, method=method)
    if permission.allowed is None:
        return
    made = None
    if not permission.allowed:
        made = finding(
            "caa-mismatch",
            (),
            ca=next(iter(identities), ""),
            found_at=said.found_at,
            reason=permission.reason,
            record=permission.record,
        )
    change(place, "caa-mismatch", made, changes)
