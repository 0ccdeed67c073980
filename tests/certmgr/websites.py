"""Websites on nginx over HTTP and HTTPS, and the results of scanning them.

:class:`Website` is one site for one test. :class:`Sites` are many sites with one nginx and one
scan, so that a test only costs its assertions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from certmgr.config.settings import HttpSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.target_scan import scan_targets
from certmgr.inspection.worker import scan_jobs
from inventory.targets import Target
from inventory.vocabulary import Finding
from tests.certmgr.tls_servers import HOST
from tests.clock import clock
from tests.servers import real

HSTS = 'add_header Strict-Transport-Security "max-age=31536000" always;'
REDIRECT = "return 301 https://$host:HTTPS_PORT$request_uri;"
GOOD = f"{HSTS} return 200 ok;"
NO_RATE_LIMIT = HttpSettings(per_address=0, rate=0.0)


def codes(report: EndpointReport) -> dict[str, Finding]:
    """Return the findings of a report by their code."""
    return {f.code: f for f in report.findings}


def document(report: EndpointReport) -> dict[str, Any]:
    """Return the document about the pages."""
    assert report.web is not None
    assert report.web.document is not None
    return report.web.document


class Website:
    """One nginx. ``plain`` and ``secure`` are its server blocks (tests/servers/real.py)."""

    def __init__(
        self,
        settings: Settings,
        issuer: Authority,
        folder: Path,
        stack: contextlib.ExitStack,
    ) -> None:
        self.settings = replace(settings, http=NO_RATE_LIMIT)
        self.folder, self.stack = folder, stack
        self.pair = real.write_pair(folder, issuer.issue(HOST))

    def serve(self, plain: str, secure: str = GOOD, page: str = "") -> None:
        (self.folder / "page.html").write_text(page)
        server = real.web(self.folder, self.pair, plain, secure)
        self.plain, self.secure = self.stack.enter_context(server)

    def options(self, *others: str, **options: Any) -> ScanOptions:
        """Return options that resolve the site, and ``others``, to this machine."""
        names = (HOST, *others)
        overrides = {(n, p): ("127.0.0.1",) for n in names for p in (self.plain, self.secure)}
        return ScanOptions(overrides=overrides, http_port=self.plain, **options)

    def scan(
        self,
        *others: str,
        settings: Settings | None = None,
        **options: Any,
    ) -> dict[str, Finding]:
        target = Target(HOST, self.secure)
        scan_options = self.options(*others, **options)
        (self.report,) = scan_targets(
            settings or self.settings, scan_options, [target], clock=clock
        )
        return codes(self.report)


@dataclass(frozen=True, slots=True)
class _Site:
    plain: str
    secure: str
    page: bytes
    purpose: str


@dataclass(slots=True)
class Scanned:
    """The reports of one scan by host."""

    plain: int
    secure: int
    reports: dict[str, EndpointReport]

    def codes(self, host: str) -> dict[str, Finding]:
        return codes(self.reports[host])


@dataclass(slots=True)
class Sites:
    """Sites that are declared next to their tests, and served and scanned together."""

    _sites: dict[str, _Site] = field(default_factory=dict)

    def add(
        self,
        plain: str,
        secure: str = GOOD,
        page: str | bytes = b"",
        purpose: str = "site",
        label: str = "site",
    ) -> str:
        """Declare a site and return its name. ``index page.html;`` serves the page."""
        host = f"{label}{len(self._sites)}.example.test"
        content = page if isinstance(page, bytes) else page.encode()
        self._sites[host] = _Site(plain, secure, content, purpose)
        return host

    def scan(self, settings: Settings, issuer: Authority, folder: Path) -> Scanned:
        pair = real.write_pair(folder, issuer.issue("*.example.test"))
        blocks = "\n".join(self._blocks(folder, pair))
        with real.web(folder, pair, "return 404;", "return 404;", http=blocks) as (plain, secure):
            options = ScanOptions(
                overrides={(h, p): ("127.0.0.1",) for h in self._sites for p in (plain, secure)}
                # Its handshake is completed, and nothing is requested there.
                | {("www.elsewhere.test", secure): ("127.0.0.1",)},
                http_port=plain,
                timeout=60,  # No site takes that long.
            )
            http_settings = replace(settings, http=NO_RATE_LIMIT)
            setup = setup_for(http_settings, options, guarded=False, clock=clock)
            setup.full = True
            hosts = list(self._sites)
            jobs = [
                ScanJob(
                    n,
                    Target(host, secure),
                    purpose=self._sites[host].purpose,
                )
                for n, host in enumerate(hosts)
            ]
            results: list[ScanResult] = []
            scan_jobs(setup, jobs, results.append)
        reports = {hosts[r.key]: r.report for r in results if r.report is not None}
        assert len(reports) == len(hosts)
        return Scanned(plain, secure, reports)

    def _blocks(self, folder: Path, pair: tuple[Path, Path]) -> Iterator[str]:
        tls = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
        for host, site in self._sites.items():
            (folder / host).mkdir()
            (folder / host / "page.html").write_bytes(site.page)
            common = f"server_name {host}; root {folder / host};"
            yield f"server {{ listen 127.0.0.1:HTTP_PORT; {common} {site.plain} }}"
            yield f"server {{ listen 127.0.0.1:HTTPS_PORT ssl; {common} {tls} {site.secure} }}"
