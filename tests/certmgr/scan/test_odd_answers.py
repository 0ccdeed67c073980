"""Odd HTTP answers: certmgr reads them as the installed Chromium does."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.diagnose.chrome import ERRORS
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.worker import scan_jobs
from inventory.targets import Target
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.scan.odd_answers import answer, answers
from tests.certmgr.tls_servers import refusing_port
from tests.certmgr.websites import codes
from tests.clock import clock
from tests.once import once_per_run
from tests.servers import chromium

ANSWERS = answers()
HOSTS = {case: f"case{n}.example.test" for n, case in enumerate(ANSWERS)}
BROKEN = {"answer-invalid", "redirect-broken", "redirect-loop"}


@dataclass(frozen=True, slots=True)
class Judged:
    """What Chromium shows for each case, and what certmgr reports."""

    chromium: dict[str, tuple[str, bool]]
    reports: dict[str, EndpointReport]


class OddServer:
    """A server that sends one odd answer per host name, byte by byte as it is given."""

    def __init__(self, stack: ExitStack) -> None:
        self._by_host = {host: ANSWERS[case] for case, host in HOSTS.items()}
        self._socket = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(65536)
                if not data:
                    return
                request += data
            path = request.split(b" ")[1]
            host = re.search(rb"(?i)\nhost: *([^\r:]+)", request)
            assert host is not None
            name = host[1].decode()
            odd = self._by_host.get(name, b"") if path == b"/" else answer()
            connection.sendall(odd.replace(b"HOST", f"{name}:{self.port}".encode()))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@pytest.fixture(scope="session")
def judged(root: Authority, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Ask Chromium and certmgr about all answers, once per run."""
    return once_per_run(
        tmp_path_factory, "odd-answers", lambda: judge_all(root, tmp_path_factory.mktemp("odd"))
    )


def judge_all(root: Authority, folder: Path) -> Judged:
    """Serve all answers, and ask both about them."""
    with ExitStack() as stack:
        server, refusing = OddServer(stack), refusing_port(stack)
        rules = "--host-resolver-rules=MAP *.example.test 127.0.0.1 , MAP * ~NOTFOUND"
        shown = {}
        with chromium.browser(rules) as browser:
            for case, host in HOSTS.items():
                shown[case] = browser.visit(f"http://{host}:{server.port}/")
        options = ScanOptions(
            overrides={(h, p): ("127.0.0.1",) for h in HOSTS.values() for p in (refusing, 25)},
            http_port=server.port,
            timeout=60,
            always_http=True,
        )
        settings = loopback_settings(root, folder)
        setup = setup_for(settings, options, guarded=False, clock=clock)
        setup.full = True
        jobs = [ScanJob(n, Target(h, refusing)) for n, h in enumerate(HOSTS.values())]
        results: list[ScanResult] = []
        scan_jobs(setup, jobs, results.append)
    cases = list(HOSTS)
    reports = {cases[r.key]: r.report for r in results if r.report is not None}
    assert len(reports) == len(cases)
    return Judged(shown, reports)


@pytest.mark.parametrize("case", ANSWERS)
def test_odd_answer_is_read_as_chromium_reads_it(judged: Judged, case: str) -> None:
    error, field = judged.chromium[case]
    found = codes(judged.reports[case])
    assert ("http-collects-secrets" in found) is field
    # The page before stays if the answer has no content or is stored as a file.
    broken = [f for code, f in found.items() if code in BROKEN]
    expected = [] if error in ("", "ERR_ABORTED") else [error]
    named = [f.evidence.get("browser_error") or ERRORS[f.code] for f in broken]
    assert named == expected
    assert all(f.severity == "critical" for f in broken)


def test_most_odd_answers_show_the_form(judged: Judged) -> None:
    """The comparison would be empty if Chromium opened nothing."""
    shown = [case for case, (error, field) in judged.chromium.items() if field and not error]
    assert len(shown) > len(ANSWERS) // 2
