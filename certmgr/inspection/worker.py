"""The scan worker of one process: it probes endpoints, judges the evidence, and reports.

The scanning processes of the pool use it, and so does a scan of a few targets in one process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from certmgr.checks.chain import without_sent_issuer
from certmgr.checks.http import NO_PAGE
from certmgr.checks.judge import Judge
from certmgr.checks.judgement import Judgement, JudgingContext
from certmgr.inspection.issuers import IssuerFetcher, usable_urls
from certmgr.inspection.judgement_basis import judgement_basis
from certmgr.inspection.report import build_report, certificate_row
from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.scan.dial import Dialler
from certmgr.scan.evidence import INTERNAL_ERROR, Evidence, Resolution
from certmgr.scan.internal_errors import is_internal
from certmgr.scan.page_fetcher import PageFetcher
from certmgr.scan.prober import CertificateCache, EndpointProber
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import digest
from certmgr.x509.trust import Issuers, TrustStore
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate
from inventory.errors import log_internal_error
from inventory.names import registered_domain
from inventory.vocabulary import Finding

_log = logging.getLogger(__name__)
# Verdicts on a path that another certificate of the same issuer may change.
_ANOTHER_PATH = frozenset({"untrusted-root", "intermediate-expired", "refused"})
MAX_FETCHED_LEVELS = 5  # public CAs have one or two intermediates above each other
# The limit for endpoints whose issuer is neither sent nor stored. They wait for the end of the run,
# when more issuers are known.
MAX_WAITING = 2000
MAX_WAITING_BYTES = 33_554_432  # of their certificates


def without_ignored(found: Iterable[Finding], ignored: frozenset[str]) -> tuple[Finding, ...]:
    """Return the findings without those of ``[checks] ignore``.

    A code may have a higher severity than usual. A fault is always reported.
    """
    return tuple(
        f
        for f in found
        if f.code not in ignored or f.severity in ("critical", "high", "undetermined")
    )


class ScanWorker:
    """Scans endpoints in one process.

    ``emit`` is called with each result as soon as it is ready.
    """

    def __init__(
        self,
        setup: ScanSetup,
        emit: Callable[[ScanResult], None],
        names: Callable[[int], frozenset[str]] | None = None,
    ) -> None:
        self.setup, self.emit = setup, emit
        certificates = CertificateCache()
        self.dialler = Dialler(setup.limits, ehlo_name=setup.ehlo_name)
        self.resolver = Resolver(
            servers=setup.resolvers,
            timeout=setup.dns_timeout,
            allowed=setup.allowed,
            guarded=setup.guarded,
            overrides=dict(setup.overrides),
        )
        self.fetcher = IssuerFetcher(self.resolver, setup.allowed)
        self.page_fetcher = None
        if setup.web is not None:
            # Even if the user chose the target, the server chooses where it redirects to. So the
            # resolver for redirects always refuses internal addresses.
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
            self.page_fetcher = PageFetcher(self.dialler, self.redirects, setup.allowed, setup.web)
        self.prober = EndpointProber(
            dialler=self.dialler,
            resolver=self.resolver,
            certificates=certificates,
            deep=setup.deep,
            page_fetcher=self.page_fetcher,
            clock=setup.clock,
        )
        trust = TrustStore.load(setup.store, setup.ca_files, cache=setup.cache)
        self.judge = Judge(trust, certificates.parse, Issuers(), rules=setup.rules)
        for der in setup.issuers:
            self.judge.issuers.add(certificates.parse(der))
        self._reported_issuers = len(self.judge.issuers.added)
        # A client has many endpoints, and its names cost a query.
        self._names = lru_cache(maxsize=256)(names) if names is not None else None
        self._basis = judgement_basis(setup, trust)
        self._waiting: list[tuple[ScanJob, Evidence]] = []
        self._waiting_bytes = self._fetching_bytes = 0
        # Thousands of endpoints share their issuers, so each certificate is sent once.
        self._sent: set[str] = set()

    async def scan(self, job: ScanJob) -> None:
        """Emit exactly one result, or keep the job for :meth:`finish`."""
        try:
            await self._scan(job)
        except BaseException as error:
            if not is_internal(error):
                raise
            # An internal error is reported as a finding (scanner-error) of this endpoint. The scan
            # of the others continues.
            self._emit_error(job)

    def _emit_error(self, job: ScanJob) -> None:
        log_internal_error(_log, "the scan of an endpoint")
        failed = Evidence(job.target, self.setup.clock(), Resolution("ok"), error=INTERNAL_ERROR)
        self._emit(job, self._judge(job, failed))

    async def _scan(self, job: ScanJob) -> None:
        paths = None if job.purpose in NO_PAGE else job.paths
        evidence = await self.prober.probe(
            job.target, job.fixed, job.evidence_key, paths, job.pages
        )
        if (
            job.evidence_key
            and not self.setup.full
            and self._evidence_key(job, evidence) == job.evidence_key
        ):
            # Equal evidence gives the findings of the last scan, so it is not judged again.
            result = ScanResult(
                key=job.key,
                at=evidence.at,
                good=True,
                was_good=job.was_good,
                undetermined=False,
                fingerprint=job.fingerprint,
                report=None,
            )
            # Pages with other bytes and the same facts need not be parsed in the next scan either.
            if evidence.pages != job.pages:
                result.evidence_key, result.recheck_at = job.evidence_key, job.recheck_at
                result.pages = evidence.pages
            self.emit(result)
            return
        judgement = self._judge(job, evidence)
        size = sum(len(der) for a in evidence.addresses for der in (*a.chain, *a.other_chain))
        # Few issuers are fetched at a time, and this evidence stays in memory until then.
        fits = self._fetching_bytes + size <= MAX_WAITING_BYTES
        if self.setup.fetch_issuers and fits and _gaps(judgement):
            # Before the endpoint waits for the end of the run: browsers fetch the issuer as well.
            self._fetching_bytes += size
            try:
                judgement = await self._with_fetched(job, judgement)
            finally:
                self._fetching_bytes -= size
        fits = self._waiting_bytes + size <= MAX_WAITING_BYTES
        if judgement.unresolved and fits and len(self._waiting) < MAX_WAITING:
            # Another endpoint of this run may send the missing issuer.
            self._waiting.append((job, evidence))
            self._waiting_bytes += size
        else:
            self._emit(job, judgement)

    async def _with_fetched(self, job: ScanJob, judgement: Judgement) -> Judgement:
        """Fetch the issuers that were not sent, and judge again, a limited number of levels up.

        An issuer that another endpoint has sent is fetched too: browsers do not know it, and so
        the verdict must not depend on it.
        """
        unavailable = set()
        asker = registered_domain(job.target.host) or job.target.host
        for _ in range(MAX_FETCHED_LEVELS):
            gaps = _gaps(judgement)
            for certificate in gaps:
                fetched = await self.fetcher.issuers(certificate, asker)
                for issuer in fetched:
                    self.judge.issuers.add(issuer)
                urls = usable_urls(certificate)
                # Browsers get the same answer. Without an answer, it may be our network that fails.
                useful = any(_continues(i, certificate, judgement) for i in fetched)
                if not useful and urls and self.fetcher.answered.issuperset(urls):
                    unavailable.add(certificate.sha256)
            # Another endpoint may have added the issuer while this one waited for it.
            self.judge.unavailable |= unavailable
            judgement = self._judge(job, judgement.evidence)
            if _gaps(judgement) == gaps:
                break
        return judgement

    def finish(self, issuers: Sequence[bytes] = ()) -> None:
        """Add the issuers that the whole run has observed, and judge the waiting endpoints."""
        known = self.judge.issuers
        all_reported = self._reported_issuers == len(known.added)
        for der in issuers:
            known.add(self.judge.parse(der))
        if all_reported:  # what came from the parent is not sent back
            self._reported_issuers = len(known.added)
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for job, evidence in waiting:
            try:
                self._emit(job, self._judge(job, evidence))
            except BaseException as error:  # as in scan(): exactly one result per job
                if not is_internal(error):
                    raise
                self._emit_error(job)

    def observed_issuers(self) -> list[bytes]:
        """Return the issuers that were observed since the last call, as DER."""
        added = self.judge.issuers.added[self._reported_issuers :]
        self._reported_issuers += len(added)
        return [c.der for c in added]

    def _evidence_key(self, job: ScanJob, evidence: Evidence, visits_digest: str = "") -> str:
        """Return a key of the evidence; empty if such evidence must always be judged.

        If two scans have the same key, the second needs no judgement.

        Args:
            job: The job of the endpoint.
            evidence: Its evidence.
            visits_digest: The digest of its visits, if it was computed before.
        """
        # Failures and unusual handshakes may change at any time, so they are always judged.
        if self.setup.deep or evidence.resolution.refused or not evidence.addresses:
            return ""
        if any(
            a.failure is not None or a.browser_failure is not None or a.without_sni is not None
            for a in evidence.addresses
        ):
            return ""
        # A visit without a clear end, or a page that was not read, may show something else next
        # time.
        visits = evidence.visits
        if visits and not all(v.determined and not (v.page and v.page.unread) for v in visits):
            return ""
        fixed = evidence.resolution.status == "fixed"
        expected = sorted(job.expected)
        basis = f"{self._basis}{job.target}{job.parties}{job.purpose}{expected}{fixed}"
        observed = " ".join(a.key() for a in evidence.addresses) + (
            "" if visits is None else " " + (visits_digest or digest(visits))
        )
        return f"{blake2b(basis.encode(), digest_size=6).hexdigest()} {observed}"

    def _judge(self, job: ScanJob, evidence: Evidence) -> Judgement:
        # The names of the client are read only if a check needs them: they cost a query.
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
        return self.judge.judge(evidence, context, evidence.at)

    def _emit(self, job: ScanJob, judgement: Judgement) -> None:
        report = build_report(judgement)
        report.deep = self.setup.deep
        report.findings = without_ignored(report.findings, self.setup.ignored)
        fingerprint = report.fingerprint()
        until = judgement.stable_until(report.at) if report.good else None
        # After a name mismatch the prober tries again without SNI. Its evidence may differ in the
        # next scan, so it gets no evidence key.
        mismatch = any(f.code == "name-mismatch" for f in report.findings)
        evidence_key = (
            self._evidence_key(job, judgement.evidence, report.web.digest if report.web else "")
            if until is not None and not mismatch
            else ""
        )
        recheck_at = int(until.timestamp()) if until is not None and evidence_key else None
        result = ScanResult(
            key=job.key,
            at=report.at,
            good=report.good,
            was_good=job.was_good,
            undetermined=report.undetermined,
            fingerprint=fingerprint,
            report=None,
            certificates=(),
            evidence_key=evidence_key,
            recheck_at=recheck_at,
            pages=judgement.evidence.pages if evidence_key else "",
        )
        result.no_route = report.families_without_route()
        # Most endpoints do not change between two runs; then the fingerprint is enough.
        if fingerprint == job.fingerprint and not self.setup.full:
            self.emit(result)
            return
        new_certificates = []
        for address in judgement.addresses:
            for certificate in address.chain[:32]:
                if certificate.sha256 not in self._sent:
                    # Bounded memory; the parent ignores a certificate that is stored already.
                    if len(self._sent) >= 100_000:
                        self._sent.clear()
                    self._sent.add(certificate.sha256)
                    new_certificates.append(certificate_row(certificate))
        result.report, result.certificates = report, tuple(new_certificates)
        self.emit(result)

    async def close(self) -> None:
        """Close all sockets and end the parser process."""
        self.dialler.close()
        await self.resolver.close()
        if self.page_fetcher is not None:
            await self.page_fetcher.close()
            await self.redirects.close()


async def _scan_all(
    setup: ScanSetup,
    jobs: Sequence[ScanJob],
    emit: Callable[[ScanResult], None],
    names: Callable[[int], frozenset[str]] | None,
) -> None:
    worker = ScanWorker(setup, emit, names)
    try:
        await asyncio.gather(*[worker.scan(job) for job in jobs])
        worker.finish()
    finally:
        await worker.close()


def scan_jobs(
    setup: ScanSetup,
    jobs: Sequence[ScanJob],
    emit: Callable[[ScanResult], None],
    names: Callable[[int], frozenset[str]] | None = None,
) -> None:
    """Scan a few endpoints in this process.

    Args:
        setup: The settings of the scan.
        jobs: The endpoints.
        emit: Called with each result.
        names: Returns the names of a client by its id.
    """
    asyncio.run(_scan_all(setup, jobs, emit, names))


def _continues(issuer: Certificate, child: Certificate, judgement: Judgement) -> bool:
    """Return whether a fetched certificate has issued ``child``, and continues a path above it.

    It does not if the path leads through it already: two CAs above each other lead to no root.
    """
    verdicts = [a.verdict for a in judgement.addresses if a.verdict is not None]
    paths = [v.path[: v.path.index(child) + 1] for v in verdicts if child in v.path]
    return issued_by(child, issuer) and not all(issuer in path for path in paths)


def _gaps(judgement: Judgement) -> list[Certificate]:
    """Return the certificates whose issuer browsers look for at the URLs that they name.

    It was not sent; or the one that was sent leads to no path, and there may be another.
    """
    wanted: list[Certificate] = []
    for verdict in (a.verdict for a in judgement.addresses if a.verdict is not None):
        if verdict.reason == "missing":
            wanted += verdict.path
        elif verdict.reason == "incomplete":
            wanted += without_sent_issuer(verdict)
        elif verdict.reason in _ANOTHER_PATH:
            wanted += verdict.path[:-1]
    return [c for c in dict.fromkeys(wanted) if usable_urls(c)]
