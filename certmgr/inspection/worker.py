"""Jobs -> reports: looks and judges inside one process.

The scan's processes and a scan of a few targets both use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b

from certmgr.checks.http import NO_PAGE
from certmgr.checks.judge import Judge, Judgement, JudgingContext
from certmgr.checks.transport import FailureHistory
from certmgr.inspection.issuers import IssuerFetcher
from certmgr.inspection.report import CertificateRow, EndpointReport, certificate_row, make
from certmgr.net.addresses import Network
from certmgr.scan.dial import Dialler, DialLimits
from certmgr.scan.evidence import Evidence, Resolution
from certmgr.scan.page_fetcher import PageFetcher, WebOptions
from certmgr.scan.prober import CertificateCache, EndpointProber
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import digest
from certmgr.x509.trust import Issuers, TrustStore
from inventory.clock import Clock, system_clock
from inventory.targets import Target
from inventory.vocabulary import Parties

# Changes with every change of a check: judgements that were remembered are made again.
RULES = 6
# Endpoints whose issuer is neither sent nor held wait for the end of the run, when more issuers are
# known; at most so many.
MAX_WAITING = 2000


@dataclass(slots=True)
class ScanJob:
    """One endpoint to look at.

    ``key``: its row id, or its position on the command line. ``fingerprint``: of the last run.
    """

    key: int
    target: Target
    fixed: tuple[str, ...] = ()
    client_id: int | None = None
    parties: Parties | None = None
    history: FailureHistory | None = None
    ever_good: bool = False
    was_good: bool = False
    fingerprint: str = ""
    memo: str = ""  # what was seen the last time, while the same evidence gives the same findings
    purpose: str = "site"
    paths: tuple[str, ...] = ()  # visited over HTTP and HTTPS beside the home page
    expected: frozenset[str] = frozenset()  # SHA-256 of the leaves that we installed there


@dataclass(slots=True)
class ScanResult:
    """``report`` None: nothing changed since the fingerprint of the job.

    ``certificates``: ones that this process had not sent yet.

    ``memo``, ``recheck_at``: for the next job; the same as in this one where ``report`` is None and
    ``memo`` is empty.
    """

    key: int
    at: datetime
    good: bool
    was_good: bool
    undetermined: bool
    fingerprint: str
    report: EndpointReport | None
    certificates: tuple[CertificateRow, ...] = ()
    memo: str = ""
    recheck_at: int | None = None
    no_route: frozenset[int] = frozenset()


@dataclass(slots=True)
class ScanSetup:
    """What a scanning process needs to know, as values that can be sent to it."""

    limits: DialLimits = field(default_factory=DialLimits)
    store: str = "mozilla"
    ca_files: tuple[str, ...] = ()
    cache: bool = True
    deep: bool = False
    full: bool = False  # report every endpoint, changed or not
    guarded: bool = True
    resolvers: tuple[str, ...] = ()
    dns_timeout: float = 2.0
    allowed: tuple[Network, ...] = ()
    provider: tuple[Network, ...] = ()
    servers: frozenset[str] = frozenset()
    overrides: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    issuers: tuple[bytes, ...] = ()
    fetch_issuers: bool = False
    web: WebOptions | None = None  # None: plain HTTP is not asked
    clock: Clock = system_clock  # dates each observation, and so each judgement


class ScanWorker:
    """``emit`` is called with each result, in the order in which they are ready."""

    def __init__(
        self,
        setup: ScanSetup,
        emit: Callable[[ScanResult], None],
        names: Callable[[int], frozenset[str]] | None = None,
    ) -> None:
        self.setup, self.emit = setup, emit
        certificates = CertificateCache()
        self.dialler = Dialler(setup.limits)
        self.resolver = Resolver(
            servers=setup.resolvers,
            timeout=setup.dns_timeout,
            allowed=setup.allowed,
            guarded=setup.guarded,
            overrides=dict(setup.overrides),
        )
        self.fetcher = IssuerFetcher(self.resolver, setup.allowed)
        self.visitor = None
        if setup.web is not None:
            # A redirect is the server's word also where the target was the user's own choice, so
            # this one is always guarded.
            self.redirects = (
                self.resolver
                if setup.guarded
                else Resolver(
                    servers=setup.resolvers,
                    timeout=setup.dns_timeout,
                    allowed=setup.allowed,
                    overrides=dict(setup.overrides),
                )
            )
            self.visitor = PageFetcher(self.dialler, self.redirects, setup.allowed, setup.web)
        self.looker = EndpointProber(
            dialler=self.dialler,
            resolver=self.resolver,
            certificates=certificates,
            deep=setup.deep,
            visitor=self.visitor,
            clock=setup.clock,
        )
        trust = TrustStore.load(setup.store, setup.ca_files, cache=setup.cache)
        self.judge = Judge(trust, certificates.parse, Issuers())
        for der in setup.issuers:
            self.judge.issuers.add(certificates.parse(der))
        self._names = lru_cache(maxsize=256)(names) if names is not None else None
        # What beside the evidence a judgement rests on: with another store, other networks or rules
        # it is made anew.
        basis = (
            RULES,
            setup.store,
            setup.ca_files,
            sorted(trust.anchors),
            setup.provider,
            sorted(setup.servers),
            setup.deep,
            setup.web and setup.web.port,
        )
        self._basis = blake2b(repr(basis).encode(), digest_size=8).hexdigest()
        self._waiting: list[tuple[ScanJob, Evidence]] = []
        self._sent: set[str] = set()

    async def examine(self, job: ScanJob) -> None:
        """Emits exactly one result, or keeps the job for :meth:`finish`.

        An error of ours is a finding of this endpoint and of no other.
        """
        try:
            await self._examine(job)
        except (
            Exception
        ) as error:  # whatever it is, it is said as scanner-error, and the other endpoints go on
            self._emit_error(job, error)

    def _emit_error(self, job: ScanJob, error: Exception) -> None:
        words = f"{type(error).__name__}: {error}"[:300]
        failed = Evidence(job.target, self.setup.clock(), Resolution("ok"), error=words)
        self._emit(job, self._judge(job, failed))

    async def _examine(self, job: ScanJob) -> None:
        paths = None if job.purpose in NO_PAGE else job.paths
        evidence = await self.looker.look(job.target, job.fixed, job.memo, paths)
        if job.memo and not self.setup.full and self._memo(job, evidence) == job.memo:
            self.emit(
                ScanResult(
                    key=job.key,
                    at=evidence.at,
                    good=True,
                    was_good=job.was_good,
                    undetermined=False,
                    fingerprint=job.fingerprint,
                    report=None,
                )
            )
            return
        judgement = self._judge(job, evidence)
        if judgement.unresolved and self.setup.fetch_issuers:
            judgement = await self._with_fetched(job, judgement)
        if judgement.unresolved and len(self._waiting) < MAX_WAITING:
            self._waiting.append((job, evidence))
        else:
            self._emit(job, judgement)

    async def _with_fetched(self, job: ScanJob, judgement: Judgement) -> Judgement:
        """Judged again with what the missing issuers' URLs give, a few floors up at most."""
        for _ in range(3):
            ends = [
                a.verdict.path[-1]
                for a in judgement.addresses
                if a.verdict is not None and a.verdict.reason == "missing"
            ]
            fetched = [c for end in ends for c in await self.fetcher.issuers(end)]
            added = [self.judge.issuers.add(c) for c in fetched]
            if not any(added):
                break
            judgement = self._judge(job, judgement.evidence)
        return judgement

    def finish(self, issuers: Sequence[bytes] = ()) -> None:
        """Judges again what waited for an issuer, with those that the whole run has seen."""
        for der in issuers:
            self.judge.issuers.add(self.judge.parse(der))
        waiting, self._waiting = self._waiting, []
        for job, evidence in waiting:
            try:
                self._emit(job, self._judge(job, evidence))
            except Exception as error:  # as in examine: one result for each job
                self._emit_error(job, error)

    def _memo(self, job: ScanJob, evidence: Evidence) -> str:
        """Equal for two probes of which the second needs no judgement; empty if it always does."""
        if self.setup.deep or evidence.resolution.refused or not evidence.addresses:
            return ""
        if any(
            a.failure is not None or a.legacy_needed or a.without_sni is not None
            for a in evidence.addresses
        ):
            return ""
        visits = evidence.visits
        if visits and not all(v.told and not (v.page and v.page.note) for v in visits):
            return ""
        fixed = evidence.resolution.status == "fixed"
        expected = sorted(job.expected)
        about = f"{self._basis}{job.target}{job.parties}{job.purpose}{expected}{fixed}"
        seen = " ".join(a.key() for a in evidence.addresses) + (
            "" if visits is None else " " + digest(visits)
        )
        return f"{blake2b(about.encode(), digest_size=6).hexdigest()} {seen}"

    def _judge(self, job: ScanJob, evidence: Evidence) -> Judgement:
        def names() -> frozenset[str]:
            if self._names is not None and job.client_id is not None:
                return self._names(job.client_id)
            return frozenset({job.target.host})

        setup = self.setup
        context = JudgingContext(
            parties=job.parties,
            networks=setup.provider,
            servers=setup.servers,
            history=job.history,
            ever_good=job.ever_good,
            client_names=names,
            purpose=job.purpose,
            expected=job.expected,
        )
        try:
            return self.judge.judge(evidence, context, evidence.at)
        except (
            Exception
        ) as error:  # our own fault is a finding of its own and stops no other endpoint
            failed = Evidence(
                evidence.target,
                evidence.at,
                evidence.resolution,
                error=f"{type(error).__name__}: {error}"[:300],
            )
            return self.judge.judge(failed, context, evidence.at)

    def _emit(self, job: ScanJob, judgement: Judgement) -> None:
        report = make(judgement)
        report.deep = self.setup.deep
        fingerprint = report.fingerprint()
        until = judgement.stable_until(report.at) if report.good else None
        # A name that does not fit asks a question without SNI, which may be answered another time.
        mismatch = any(f.code == "name-mismatch" for f in report.findings)
        memo = self._memo(job, judgement.evidence) if until is not None and not mismatch else ""
        recheck_at = int(until.timestamp()) if until is not None and memo else None
        result = ScanResult(
            key=job.key,
            at=report.at,
            good=report.good,
            was_good=job.was_good,
            undetermined=report.undetermined,
            fingerprint=fingerprint,
            report=None,
            certificates=(),
            memo=memo,
            recheck_at=recheck_at,
        )
        result.no_route = report.families_without_route()
        if fingerprint == job.fingerprint and not self.setup.full:
            self.emit(result)
            return
        fresh = []
        for address in judgement.addresses:
            for certificate in address.chain[:32]:
                if certificate.sha256 not in self._sent:
                    if len(self._sent) >= 100_000:
                        self._sent.clear()
                    self._sent.add(certificate.sha256)
                    fresh.append(certificate_row(certificate))
        result.report, result.certificates = report, tuple(fresh)
        self.emit(result)

    async def close(self) -> None:
        self.dialler.close()
        await self.resolver.close()
        if self.visitor is not None:
            await self.visitor.close()
            await self.redirects.close()


async def _examine_all(
    setup: ScanSetup,
    jobs: Sequence[ScanJob],
    emit: Callable[[ScanResult], None],
    names: Callable[[int], frozenset[str]] | None,
) -> None:
    examiner = ScanWorker(setup, emit, names)
    try:
        await asyncio.gather(*[examiner.examine(job) for job in jobs])
        examiner.finish()
    finally:
        await examiner.close()


def examine(
    setup: ScanSetup,
    jobs: Sequence[ScanJob],
    emit: Callable[[ScanResult], None],
    names: Callable[[int], frozenset[str]] | None = None,
) -> None:
    """A few jobs in this process."""
    asyncio.run(_examine_all(setup, jobs, emit, names))
