"""Check the TLSA (DANE) and CAA records of each endpoint, a bounded number at once.

The decisions are pure (certmgr/checks/caa.py, certmgr/checks/tlsa.py). This module sends the
queries and changes the findings, some endpoints at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from certmgr.checks import caa
from certmgr.checks.tlsa import match, recommended_record
from certmgr.checks.transport import finding
from certmgr.inspection.reconcile import FindingChanges, OpenFinding
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import DnsAnswer
from certmgr.net.dns_records import TlsaRecord
from certmgr.revocation.settle import EndpointState, update_finding
from inventory.certificates import Certificate, parse
from inventory.db.database import Database
from inventory.names import as_ip
from inventory.records import VisitedEndpoint
from inventory.store import certificates, endpoints, findings
from inventory.store import revocation as store
from inventory.targets import Target
from inventory.threads import thread_pool
from inventory.vocabulary import Finding, Severity

CHUNK_SIZE = 200  # endpoints per transaction
AT_ONCE = 16  # queries at once
# With fewer failures, the resolver is not considered broken.
MIN_FAILURES = 5

Identities = tuple[Sequence[str], str | None, str | None]
IdentitiesFor = Callable[[VisitedEndpoint], Identities | None]
"""Returns how the next certificate of an endpoint would be issued.

The argument is a row of endpoint and domain: host, domain, domain_id, client_id, and the parties.
The result is (issuer domain names of the CA, the URI of the ACME account, the validation method:
http-01 or dns-01), or None if the provider issues no certificate for it.
"""


@dataclass(slots=True)
class DnsPolicySummary:
    """The result of one pass over the DNS.

    Attributes:
        endpoints: The endpoints that were checked.
        asked: DNS queries that were sent.
        failed: Those that failed.
        opened: Findings that were opened.
        closed: Findings that were closed.
        broken: Whether the pass was aborted, since most queries failed.
    """

    endpoints: int = 0
    asked: int = 0
    failed: int = 0
    opened: int = 0
    closed: int = 0
    broken: bool = False


@dataclass(frozen=True, slots=True)
class DnsPolicyAnswers:
    """The DNS answers for an endpoint; None: not queried. ``name``: the name of the TLSA record."""

    name: str
    tlsa: DnsAnswer | None = None
    caa: caa.CaaSet | None = None


def tlsa_name(target: Target) -> str | None:
    """Return the name of the TLSA record, such as ``_443._tcp.host`` (RFC 6698 3).

    None for an IP address, which has no such record.
    """
    return None if as_ip(target.host) is not None else f"_{target.port}._tcp.{target.host}"


class DnsPolicyCheck:
    """One pass over the DNS. ``identities_for`` None: CAA is not checked."""

    def __init__(
        self,
        database: Database,
        dns_client: DnsClient,
        now: datetime,
        identities_for: IdentitiesFor | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.database, self.dns_client, self.now = database, dns_client, now
        self.identities_for, self.progress = identities_for, progress
        self.summary = DnsPolicySummary()

    def run(self, client_id: int | None) -> DnsPolicySummary:
        """Check the endpoints of one client (or of all), and change their findings."""
        with self.database.read() as conn:
            ids = endpoints.visited_ids(conn, client_id, None)
        with thread_pool(AT_ONCE) as pool:
            # The answers of one chunk are stored before the next queries are sent.
            for start in range(0, len(ids), CHUNK_SIZE):
                if self._mostly_failing():
                    self.summary.broken = True
                    break
                self._chunk(pool, ids[start : start + CHUNK_SIZE])
                if self.progress is not None:
                    self.progress(min(start + CHUNK_SIZE, len(ids)), len(ids))
        self.summary.asked, self.summary.failed = self.dns_client.asked, self.dns_client.failed
        self.summary.broken |= self._mostly_failing()
        return self.summary

    def _mostly_failing(self) -> bool:
        """Return whether most queries failed, so that the resolver is the likely cause."""
        return (
            self.dns_client.failed >= MIN_FAILURES
            and 2 * self.dns_client.failed > self.dns_client.asked
        )

    def _chunk(self, pool: ThreadPoolExecutor, ids: Sequence[int]) -> None:
        with self.database.read() as conn:
            rows = endpoints.visited(conn, ids)
            served = store.served(conn, ids)
        identities = {
            r.id: None if self.identities_for is None else self.identities_for(r) for r in rows
        }
        answers = dict(
            zip(
                identities,
                pool.map(lambda r: self._query(r, bool(served.get(r.id)), identities[r.id]), rows),
                strict=True,
            )
        )
        # No transaction is open while the queries run: they may take seconds.
        with self.database.write(self.now) as tx:
            known = findings.open_findings(tx.conn, ids)
            opened, updated, closed = [], [], []
            for row in rows:
                endpoint = EndpointState(
                    row.id,
                    Target(row.host, row.port, row.protocol),
                    row.parties,
                    [OpenFinding(i, f) for i, f in known.get(row.id, ())],
                    served.get(row.id, ()),
                )
                changes = self._changes(tx.conn, endpoint, answers[row.id], identities[row.id])
                opened += [(endpoint.id, f) for f in changes.opened]
                updated += changes.updated
                closed += changes.closed
            findings.settle(tx, opened, updated, closed)
        self.summary.endpoints += len(rows)
        self.summary.opened += len(opened)
        self.summary.closed += len(closed)

    def _query(
        self, row: VisitedEndpoint, serves: bool, identities: Identities | None
    ) -> DnsPolicyAnswers:
        """Send the queries for one endpoint; runs in a thread."""
        name = tlsa_name(Target(row.host, row.port, row.protocol))
        # Once most queries fail, no more are sent: each would only wait for its time-out.
        if name is None or self._mostly_failing():
            return DnsPolicyAnswers("")
        # Without a certificate there is nothing that a TLSA record could match.
        tlsa = self.dns_client.ask(name, "TLSA") if serves else None
        return DnsPolicyAnswers(
            name,
            tlsa,
            caa.find(self.dns_client.ask, row.host) if identities is not None else None,
        )

    def _changes(
        self,
        conn: Connection,
        endpoint: EndpointState,
        answers: DnsPolicyAnswers,
        identities: Identities | None,
    ) -> FindingChanges:
        changes = FindingChanges()
        if answers.caa is not None and identities is not None:
            _update_caa(endpoint, answers.caa, identities, changes)
        elif self.identities_for is not None and identities is None:
            # The provider issues no certificate for it any more, so its CA does not matter.
            update_finding(endpoint, "caa-mismatch", None, changes)
        if answers.tlsa is not None and answers.tlsa.determined and endpoint.live:
            self._update_dane(conn, endpoint, answers, answers.tlsa, changes)
        return changes

    def _update_dane(
        self,
        conn: Connection,
        endpoint: EndpointState,
        answers: DnsPolicyAnswers,
        answer: DnsAnswer,
        changes: FindingChanges,
    ) -> None:
        # Only validated records count (RFC 6698 4.1): an attacker could forge others.
        records = [r for r in answer.records if isinstance(r, TlsaRecord)]
        if not records or not answer.authentic:
            update_finding(endpoint, "dane-mismatch", None, changes)
            return
        ders = certificates.ders(conn, list({h for s in endpoint.live for h in s.chain}))
        chains = {s.address: [parse(ders[h]) for h in s.chain if h in ders] for s in endpoint.live}
        # A client may connect to any address, so one record must match at each of them.
        smtp = endpoint.target.protocol == "smtp"
        verdicts = {
            s.address: match(
                records,
                chains[s.address],
                endpoint.target.host,
                self.now,
                smtp=smtp,
                trusted=s.trusted,
            )
            for s in endpoint.live
        }
        wrong = [a for a, v in verdicts.items() if v.state == "mismatch"]
        if not wrong and any(v.state == "unknown" for v in verdicts.values()):
            return  # an undetermined result changes nothing
        current = None
        if wrong:
            current = _mismatch(
                answers.name,
                wrong,
                verdicts[wrong[0]].reason,
                records,
                chains[wrong[0]][0],
                smtp=smtp,
            )
        update_finding(endpoint, "dane-mismatch", current, changes)


def _mismatch(
    name: str,
    wrong: Sequence[str],
    reason: str,
    records: Sequence[TlsaRecord],
    leaf: Certificate,
    *,
    smtp: bool,
) -> Finding:
    # Mail servers refuse delivery if no record matches (RFC 7672). Elsewhere it needs no action.
    severity = Severity.HIGH if smtp else Severity.INFO
    return finding(
        "dane-mismatch",
        wrong,
        severity,
        name=name,
        reason=reason,
        # Evidence is shown to people, so it holds a few records only.
        records=[str(r) for r in records[:8]],
        needed=str(recommended_record(leaf)),
        certificates=[leaf.sha256],
    )


def _update_caa(
    endpoint: EndpointState, caa_set: caa.CaaSet, identities: Identities, changes: FindingChanges
) -> None:
    issuer_names, account, method = identities
    permission = caa.permits(caa_set, issuer_names, account_uri=account, method=method)
    if permission.allowed is None:
        return  # a failed query changes nothing
    current = None
    if not permission.allowed:
        current = finding(
            "caa-mismatch",
            (),
            ca=next(iter(issuer_names), ""),
            found_at=caa_set.found_at,
            reason=permission.reason,
            record=permission.record,
        )
    update_finding(endpoint, "caa-mismatch", current, changes)
