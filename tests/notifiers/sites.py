"""A simulated inventory: what each site serves, which faults it has, and scans over time.

The rows are written by the same code as those of a real scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from certmgr.checks.certificate import date_findings_of
from certmgr.notices.gather import TopicRules, gather
from certmgr.notices.run import freeze_of
from inventory.db.database import Database, to_epoch
from inventory.models import Endpoint, Notice
from inventory.records import TicketRecord
from inventory.store import (
    certificates,
    clients,
    contacts,
    decisions,
    domains,
    findings,
    proposals,
    recipients,
    runs,
    scan_results,
)
from inventory.store.proposals import ProposedChanges
from inventory.store.scan_results import CacheKeys
from inventory.vocabulary import Finding
from notifiers.pipeline.message import Sender
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.run import NoticeRun
from notifiers.pipeline.run_outcome import RunOutcome
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 10, tzinfo=UTC)  # a Monday


@dataclass(frozen=True, slots=True)
class Leaf:
    sha256: str
    not_before: datetime
    not_after: datetime


@dataclass(slots=True)
class Site:
    """One endpoint.

    Attributes:
        leaves: The certificate by address.
        faults: Findings by code, in addition to those about dates.
        blind: Whether scans and rechecks fail.
    """

    id: int
    host: str
    client_id: int
    domain_id: int
    leaves: dict[str, Leaf] = field(default_factory=dict)
    faults: dict[str, Finding] = field(default_factory=dict)
    blind: bool = False

    @property
    def key(self) -> str:
        return f"cover:{self.id}:{self.client_id}"

    def fault_key(self, code: str) -> str:
        return f"fault:{self.id}:{code}:{self.client_id}"

    def serve(
        self,
        start: datetime,
        life: timedelta,
        addresses: Sequence[str] = ("192.0.2.1",),
        *,
        keep: bool = False,
    ) -> Leaf:
        """Install a new certificate at these addresses, and at no others unless ``keep``."""
        identity = f"{self.host} {start} {life} {addresses}".encode()
        leaf = Leaf(hashlib.sha256(identity).hexdigest(), start, start + life)
        if not keep:
            self.leaves = {}
        self.leaves |= dict.fromkeys(addresses, leaf)
        return leaf


class SiteSimulation:
    """Clients, staff and sites at a simulated time.

    Keyword arguments replace those of :class:`notifiers.pipeline.record.NoticeSettings`.
    """

    def __init__(
        self,
        database: Database,
        now: datetime = START,
        policy: NoticePolicy | None = None,
        **rules: Any,
    ) -> None:
        self.database, self.now = database, now
        database.clock = lambda: self.now
        self.sites: dict[str, Site] = {}
        config: dict[str, Any] = {
            "sender": Sender("Example Hosting", "one working day"),
            "zone": UTC,
            "confirm_above": 10_000,
        }
        self.rules = NoticeSettings(policy or NoticePolicy(), **config | rules)
        self.templates = Templates()
        self.expected: int | None = None
        self.rechecked = 0
        self._queued = 0

    def client(self, number: str, methods: Sequence[str] = (), **given: Any) -> int:
        with self.database.write(self.now) as tx:
            values = {
                "number": number,
                "name": f"Client {number}",
                "buys": "client",
                "renews": "client",
                "hosts": "us",
            }
            row_id = clients.add(tx, values | given)
            for method in methods or [f"email:owner{number}@client{number}.example"]:
                owner = {"name": f"Owner of {number}", "role": "owner"}
                contacts.add(tx, number, owner, (method,))
        return row_id

    def staff(
        self,
        name: str = "Ada",
        method: str = "email:ada@provider.example",
        **given: Any,
    ) -> int:
        with self.database.write(self.now) as tx:
            return contacts.add(
                tx, None, {"name": name, "role": "administrator", **given}, (method,)
            )

    def site(self, host: str, number: str, *, tag: str = "", **given: Any) -> Site:
        with self.database.write(self.now) as tx:
            domain_id = domains.add(tx, host, {"client": number, **given}, (tag,) if tag else ())
            client_id = clients.find(tx.conn, number).id
            query = select(Endpoint.id).where(Endpoint.domain_id == domain_id)
            row_id = tx.conn.execute(query).scalar()
        assert row_id is not None
        self.sites[host] = Site(row_id, host, client_id, domain_id)
        return self.sites[host]

    def scan(self, state: str = "complete", scope: str = "", reason: str | None = None) -> int:
        """Record a scan of every site as it is now."""
        with self.database.write(self.now) as tx:
            run_id = runs.start(tx, scope, len(self.sites))
            seen = [s for s in self.sites.values() if not s.blind]
            self._facts(tx, run_id, seen)
            known = findings.open_findings(tx.conn, [s.id for s in seen])
            proposed = []
            for site in seen:
                now_ = {f.code: f for f in self._findings(site)}
                before = {f.code: i for i, f in known.get(site.id, ())}
                change = ProposedChanges(
                    at=tx.at,
                    closed=tuple(i for c, i in before.items() if c not in now_),
                    opened=tuple(f for c, f in now_.items() if c not in before),
                    updated=tuple((before[c], f) for c, f in now_.items() if c in before),
                )
                proposed.append((CacheKeys(site.id, "f", "", None), change))
            if state == "complete":
                proposals.propose(tx, run_id, proposed)
                proposals.apply_proposals(tx, run_id)
            runs.finish(tx, run_id, state, reason, len(seen), 0)
        return run_id

    def _facts(self, tx: Any, run_id: int, seen: Sequence[Site]) -> None:
        leaves = {leaf.sha256: (site, leaf) for site in seen for leaf in site.leaves.values()}
        certificates.add(
            tx,
            [
                {
                    "sha256": sha,
                    "der": b"",
                    "serial": sha[:16],
                    "subject": f"CN={site.host}",
                    "issuer": "CN=Test CA, O=Test CA",
                    "not_before": to_epoch(leaf.not_before),
                    "not_after": to_epoch(leaf.not_after),
                    "names": "[]",
                    "key": "EC P-256",
                    "is_ca": 0,
                }
                for sha, (site, leaf) in leaves.items()
            ],
        )
        rows, spans = [], {}
        for site in seen:
            first = min(site.leaves.values(), key=lambda leaf: leaf.not_after, default=None)
            good = first is not None
            rows.append(
                {
                    "endpoint_id": site.id,
                    "fingerprint": "",
                    "memo": "",
                    "recheck_at": None,
                    "judged_at": tx.at,
                    "last_run_id": run_id,
                    "last_attempt": tx.at,
                    "error_layer": None,
                    "error_reason": None,
                    "failing_since": None,
                    "failing_runs": 0,
                    "last_good": tx.at if good else None,
                    "leaf": first.sha256 if first else None,
                    "not_after": to_epoch(first.not_after) if first else None,
                    "issuer": "CN=Test CA" if first else None,
                }
            )
            spans[site.id] = {
                address: {
                    "at": tx.at,
                    "chain": leaf.sha256,
                    "leaf": leaf.sha256,
                    "tls_version": "TLSv1.3",
                    "cipher": "x",
                    "group_name": "x",
                    "alpn": "",
                    "ocsp": None,
                    "trusted": 1,
                    "public": 1,
                }
                for address, leaf in site.leaves.items()
            }
        scan_results.write_endpoint_status(tx, rows)
        scan_results.write_observations(tx, spans)

    def _findings(self, site: Site) -> list[Finding]:
        found = list(site.faults.values())
        first = min(site.leaves.values(), key=lambda leaf: leaf.not_after, default=None)
        if first is not None:
            found += [
                Finding(f.code, f.severity, f.addresses, f.evidence, "client")
                for f in date_findings_of(first.not_before, first.not_after, self.now, ())
            ]
        return found

    def gather(self, now: datetime, tickets_by_key: Mapping[str, TicketRecord]) -> NoticeSource:
        policy = self.rules.policy
        rules = TopicRules(thresholds=policy.thresholds, freeze=freeze_of(policy))
        return gather(self.database, now, tickets_by_key, rules)

    def recheck(self, topics: Sequence[Topic]) -> dict[tuple[str, str], Recheck]:
        """Recheck the sites themselves, and not what a scan stored of them."""
        by_id = {s.id: s for s in self.sites.values()}
        found: dict[tuple[str, str], Recheck] = {}
        self.rechecked += len(topics)
        for topic in topics:
            site = by_id.get(topic.endpoint_id or 0)
            if site is None:
                found[topic.mark] = Recheck(RecheckState.SAME, "not rechecked")
            elif site.blind:
                found[topic.mark] = Recheck(RecheckState.UNKNOWN, "no resolver answered")
            elif topic.kind is TopicKind.COVER:
                old = [leaf for leaf in site.leaves.values() if leaf.sha256 == topic.revision]
                new = [leaf for leaf in site.leaves.values() if leaf.sha256 != topic.revision]
                seen = (
                    RecheckState.PARTIAL
                    if old and new
                    else RecheckState.SAME
                    if old
                    else RecheckState.GONE
                )
                found[topic.mark] = Recheck(
                    seen,
                    {
                        "partial": "replaced on some",
                        "same": "still served",
                        "gone": "replaced on every address",
                    }[seen],
                )
            else:
                found[topic.mark] = Recheck(
                    RecheckState.SAME if topic.code in site.faults else RecheckState.GONE,
                    "rechecked",
                )
        return found

    def notify(self, *, dry_run: bool = False) -> RunOutcome:
        """Decide which notices are due now, and queue them."""
        run = NoticeRun(
            self.database,
            self.gather,
            self.recheck,
            self.templates,
            self.rules,
            self.now,
            expected=self.expected,
        )
        outcome = run.decide(dry_run=dry_run)
        if not dry_run:
            self._queued += outcome.queued
        return outcome

    def baseline(self) -> None:
        """Complete the first scan: only what comes later counts as new."""
        self.scan()
        self.notify()

    def advance(self, days: float = 0, hours: float = 0) -> None:
        self.now += timedelta(days=days, hours=hours)

    def day(self, days: float = 1, *, scan: bool = True) -> RunOutcome:
        """Let time pass, then scan and notify."""
        self.advance(days)
        if scan:
            self.scan()
        return self.notify()

    def days(self, count: int) -> list[tuple[str, str, str]]:
        """Scan, notify and send daily. Return what clients got, as :func:`sent_items` does."""
        found = []
        for _ in range(count):
            found += sent_items(self.day())
            self.mark_sent()
        return found

    def mark_sent(self) -> None:
        """Mark all queued notices as sent."""
        if not self._queued:
            return
        with self.database.write(self.now) as tx:
            queued = update(Notice).where(Notice.state == "queued")
            tx.conn.execute(queued.values(state="sent", sent_at=tx.at))
        self._queued = 0


def fault(
    code: str = "mixed-content",
    severity: str = "high",
    actor: str = "client",
    **evidence: Any,
) -> Finding:
    return Finding(code, severity, (), evidence, actor)


def sent_items(outcome: RunOutcome) -> list[tuple[str, str, str]]:
    """Return topic key, threshold and step of each item that was sent to clients."""
    return [(i.topic.key, i.label, i.step) for d, _ in outcome.drafts for i in d.items]


def reasons(simulation: SiteSimulation, key: str) -> list[str]:
    """Return the decisions about a topic with their reasons, newest first."""
    with simulation.database.read() as conn:
        return [f"{r.action}: {r.reason}" for r in decisions.listing(conn, [key])]


def add_expiring_site(
    simulation: SiteSimulation,
    number: str = "1",
    host: str = "shop.example",
    left: float = 100,
    life: float = 398,
) -> str:
    """Add a site whose certificate ends in ``left`` days, and complete the first scan.

    Returns:
        The key of the topic.
    """
    with simulation.database.read() as conn:
        known = {c.number for c in recipients.clients(conn).values()}
    if number not in known:
        simulation.client(number)
    site = simulation.site(host, number)
    site.serve(simulation.now - (life - left) * DAY, life * DAY)
    simulation.baseline()
    return site.key
