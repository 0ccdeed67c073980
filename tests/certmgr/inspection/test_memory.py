"""Certificates of hostile servers are kept up to a number of bytes, in whatever structure."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator

import pytest

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.cli.inspect.scan_document import ScannedEndpoint, document_parts
from certmgr.cli.inspect.scan_spool import ScanSpool
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection import worker
from certmgr.inspection.report import EndpointReport, build_report
from certmgr.inspection.scan_job import ScanJob, ScanSetup
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_each
from certmgr.inspection.worker import ScanWorker
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.scan.prober import CertificateCache
from certmgr.x509 import trust
from certmgr.x509.trust import Issuers, TrustStore
from inventory.certificates import Certificate, parse
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST, Stack, serve_certificate
from tests.clock import clock

MB = 1_048_576


def copies(der: bytes, count: int) -> Iterator[bytes]:
    """Yield different certificates of the same content: each has another signature."""
    for number in range(count):
        yield der[:-4] + number.to_bytes(4, "big")


def kept_bytes(before: set[int]) -> int:
    """Return how much memory the certificates take that were made since, and are still alive."""
    gc.collect()
    alive = [c for c in gc.get_objects() if type(c) is Certificate and id(c) not in before]
    return sum(c.weight for c in alive)


@pytest.fixture(scope="module")
def leaf(issuer: Authority) -> bytes:
    """A leaf of 60 KB."""
    names = [f"n{n}.shop-with-a-long-name.example.test" for n in range(1400)]
    return issuer.issue(*names).der


class _Observed:
    """A prober that has observed this evidence."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    async def probe(self, *_: object) -> Evidence:
        return self._evidence


@pytest.mark.parametrize("kind", ["leaves", "leaves of an unknown issuer", "chains"])
def test_scan_of_many_large_certificates_keeps_few_bytes(
    issuer: Authority, leaf: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An eighth of the limits, so that an eighth of the certificates shows them.
    monkeypatch.setattr(trust, "MAX_VERDICT_BYTES", trust.MAX_VERDICT_BYTES // 8)
    monkeypatch.setattr(worker, "MAX_WAITING_BYTES", worker.MAX_WAITING_BYTES // 8)
    gc.collect()
    before = {id(c) for c in gc.get_objects() if type(c) is Certificate}
    number = 70
    ders = list(copies(leaf, number))
    total = sum(parse(d).weight for d in ders[:1]) * number
    rest = (issuer.der,) if kind == "leaves" else ()

    async def scan() -> ScanWorker:
        made = ScanWorker(ScanSetup(clock=clock), lambda result: None)
        made.prober.certificates._max_bytes //= 8
        made.judge.issuers.max_bytes //= 8
        for n, der in enumerate(ders):
            chain = (der, *rest, *(ders[n : n + 2] if kind == "chains" else ()))
            target = Target(f"s{n}.example.test", 443)
            address = AddressEvidence("192.0.2.1", chain=chain, tls_version="TLSv1.3")
            evidence = Evidence(target, clock(), Resolution("ok", ("192.0.2.1",)), (address,))

            made.prober = _Observed(evidence)  # type: ignore[assignment]
            await made.scan(ScanJob(n, target))
        return made

    made = asyncio.run(scan())
    assert total > 16 * MB
    assert kept_bytes(before) < 8 * MB
    # Those that wait for their issuer are kept as bytes.
    assert sum(len(d) for _, e in made._waiting for d in e.addresses[0].chain) <= 4 * MB
    made.dialler.close()


def test_cache_of_certificates_is_bounded_by_bytes_and_keeps_the_small_ones(
    issuer: Authority, leaf: bytes
) -> None:
    cache = CertificateCache(max_bytes=20 * MB)
    kept = cache.parse(issuer.der)
    for der in copies(leaf, 100):
        cache.parse(der)
        assert cache.bytes <= 20 * MB
    assert cache.parse(issuer.der) is kept


def test_certificate_that_would_take_much_of_the_cache_is_not_kept(leaf: bytes) -> None:
    cache = CertificateCache(max_bytes=MB)
    assert cache.parse(leaf) is not cache.parse(leaf)
    assert cache.bytes == 0


def test_issuers_are_bounded_by_bytes(root: Authority) -> None:
    issuers = Issuers(max_bytes=MB)
    ca = root.der
    assert all(issuers.add(parse(der)) for der in copies(ca, 10))
    for der in copies(ca, 2000):
        issuers.add(parse(der))
    assert issuers.kept_bytes <= MB
    assert issuers.kept_bytes == sum(c.weight for c in issuers.added)


def test_scan_of_targets_keeps_no_report(
    issuer: Authority, settings: Settings, opened: Stack
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    targets = [Target(HOST, port)] * 4
    options = ScanOptions(overrides={(HOST, port): ("127.0.0.1",)}, http=False)
    alive: list[int] = []
    numbers: list[int] = []

    def emit(number: int, report: EndpointReport) -> None:
        numbers.append(number)
        alive.append(sum(type(o) is EndpointReport for o in gc.get_objects()))
        assert report.good

    gc.collect()
    before = sum(type(o) is EndpointReport for o in gc.get_objects())
    scan_each(settings, options, targets, emit, clock=clock)
    assert sorted(numbers) == list(range(4))
    # The one that is passed on, and none of those before it.
    assert max(alive) - before == 1


def test_scanned_endpoints_are_kept_in_a_file_and_come_back_in_order(
    issuer: Authority, leaf: bytes
) -> None:
    endpoints = {}
    with ScanSpool.opened() as spool:
        for number in (2, 0, 1):
            address = AddressEvidence("192.0.2.1", chain=(leaf, issuer.der), tls_version="TLSv1.3")
            target = Target(f"s{number}.example.test", 443)
            evidence = Evidence(target, clock(), Resolution("ok", ("192.0.2.1",)), (address,))
            judgement = Judge(TrustStore([]), parse).judge(evidence, JudgingContext(), clock())
            endpoints[number] = ScannedEndpoint.of(build_report(judgement))
            spool.add(number, endpoints[number])
        expected = [endpoints[n] for n in range(3)]
        # Twice: the table reads them for its lines, and for the evidence.
        for _ in range(2):
            assert [e.as_row() for e in spool] == [json.loads(_json(e)) for e in expected]
            assert [n for n in range(4) if n in spool] == [0, 1, 2]
            assert spool.get(3) is None
        text = "".join(document_parts(clock(), clock(), spool))
    document = json.loads(text)
    assert document["endpoints"] == [json.loads(_json(e)) for e in expected]
    assert document["summary"]["endpoints"] == 3
    # The same text as that of the whole document.
    assert text == json.dumps(document, indent=2)
    assert len(endpoints[0].as_row()["certificate"]["names"]) == 1400


def _json(endpoint: ScannedEndpoint) -> str:
    return json.dumps(endpoint.as_row(), default=str)
