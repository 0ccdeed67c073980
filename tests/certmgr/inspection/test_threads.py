"""Scans in several threads of one process, as workers and renewals run them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.worker import scan_jobs
from inventory.targets import Target
from tests.clock import clock
from tests.servers.real import nginx, write_pair

HOSTS = [f"h{n}.threads.example" for n in range(8)]
THREADS, ROUNDS = 4, 20


def test_each_thread_sees_the_certificates_of_its_own_handshakes(
    root: Authority, settings: Settings, tmp_path: Path
) -> None:
    """Calls of OpenSSL release the GIL, so memory that threads share would mix their bytes."""
    sites = [(host, *write_pair(tmp_path, root.issue(host), host)) for host in HOSTS]
    with nginx(tmp_path, sites) as port:
        options = ScanOptions(
            overrides={(host, port): ("127.0.0.1",) for host in HOSTS},
            http=False,
            full=True,
            timeout=300,
        )

        def scan(_thread: int) -> list[tuple[str, tuple[str, ...], list[str]]]:
            setup = setup_for(settings, options, guarded=False, clock=clock)
            results: list[ScanResult] = []
            jobs = [
                ScanJob(n, Target(HOSTS[n % len(HOSTS)], port)) for n in range(ROUNDS * len(HOSTS))
            ]
            scan_jobs(setup, jobs, results.append)
            found = []
            for result in results:
                report = result.report
                assert report is not None
                names = report.certificate.names if report.certificate else ()
                serious = [f.code for f in report.findings if f.severity in ("critical", "high")]
                found.append((report.target.host, tuple(names), serious))
            return found

        with ThreadPoolExecutor(THREADS) as pool:
            seen = [one for found in pool.map(scan, range(THREADS)) for one in found]
    assert len(seen) == THREADS * ROUNDS * len(HOSTS)
    assert [one for one in seen if one != (one[0], (one[0],), [])] == []
