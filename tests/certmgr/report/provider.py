"""A provider whose clients have sites on loopback, and the reports of these clients."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from certmgr.compliance.load import all_deadlines
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import RULES
from certmgr.config.context import Context
from certmgr.config.settings import HttpSettings, ProviderSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.pages import PageResponse, page, plain, redirect, secure
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.status import EndpointStatus
from certmgr.report.facts import ReportInput
from certmgr.report.load import load_report_input
from certmgr.report.model import ClientReport
from certmgr.report.view import build
from inventory.clock import Clock
from inventory.store import clients, deadlines, domains, endpoints, findings
from inventory.targets import Target
from inventory.vocabulary import Finding, FindingDecision, Verdict
from notifiers.wording.catalogue import Language, language
from tests.clock import clock as test_clock
from tests.databases import open_sqlite

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class ReportProvider:
    """A provider with clients and sites on loopback.

    Attributes:
        plain: Response of a host over HTTP. Other hosts redirect to HTTPS.
        ports: HTTPS port of each host.
    """

    def __init__(
        self,
        settings: Settings,
        issuer: Authority,
        folder: Path,
        stack: contextlib.ExitStack,
        clock: Clock = test_clock,
    ) -> None:
        self.issuer, self.folder, self.stack, self.clock = issuer, folder, stack, clock
        self.plain: dict[str, PageResponse] = {}
        self.ports: dict[str, int] = {}
        http = Server(
            plain(
                lambda host, path: (
                    self.plain.get(host) or redirect(f"https://{host}:{self.ports.get(host, 1)}/")
                )
            )
        )
        stack.callback(http.close)
        self.settings = replace(
            settings, http=HttpSettings(port=http.port, per_address=0, rate=0.0)
        )
        self.path = folder / "inventory.db"
        self.database = open_sqlite(self.path, clock=clock)
        stack.callback(self.database.close)

    def client(self, number: str, name: str, **fields: Any) -> None:
        with self.database.write() as tx:
            clients.add(
                tx,
                {"number": number, "name": name, "account_manager": f"Manager of {name}"} | fields,
            )

    def site(
        self, client: str, host: str, context: Any, answer: PageResponse | None = None
    ) -> None:
        self.sites(client, (host,), context, answer)

    def sites(
        self, client: str, hosts: Sequence[str], context: Any, answer: PageResponse | None = None
    ) -> None:
        """Add sites that one server serves with one certificate."""
        server = Server(secure(context, lambda h, p: answer or page("Welcome")))
        self.stack.callback(server.close)
        self.ports |= dict.fromkeys(hosts, server.port)
        with self.database.write() as tx:
            for host in hosts:
                domains.add(tx, host, {"client": client})
                endpoints.edit(tx, Target(host), {"port": server.port, "addresses": ["127.0.0.1"]})

    def scan(self) -> None:
        ScanRun(Context(self.database, self.settings, self.database.clock), ScanOptions()).run()

    def report(
        self, number: str, as_of: datetime | None = None, language_code: str | None = None
    ) -> tuple[ClientReport, Language]:
        past = as_of if as_of is not None and as_of <= self.clock() else None
        settings = Settings(provider=ProviderSettings(name="Example Hosting"))
        report_input = load_report_input(
            Context(self.database, settings, self.clock),
            number,
            as_of=as_of,
            deadlines=all_deadlines(self.database, past),
            chosen_language=language_code,
        )
        return build(report_input), report_input.language


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.skip = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.skip = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self.skip:
            self.parts.append(data)


def text_of(page_html: str) -> str:
    """Return the visible text of the page."""
    parser = _Text()
    parser.feed(page_html)
    return " ".join(" ".join(parser.parts).split())


def pdf_text(data: bytes, path: Path) -> str:
    """Write the PDF to ``path`` and return its text."""
    path.write_bytes(data)
    return " ".join(
        subprocess.run(
            # In the order of the content: the order by position mixes the columns of a table.
            ["pdftotext", "-raw", str(path), "-"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    )


def hostile_input(**changes: Any) -> ReportInput:
    """Return report input whose texts are HTML, templates, control characters and formulas."""
    evil = "<script>alert(1)</script>{{ 7*7 }}{% for x in y %}\x1b[31m\u202e=cmd()"
    finding = Finding(
        "redirect-loop",
        "high",
        ("192.0.2.1",),
        {"url": f"http://x/{evil}", "why": evil, "path": [evil]},
        "client",
        "you-act",
    )
    status = EndpointStatus(
        1,
        Target("shop.example.test"),
        "1001",
        1,
        None,
        None,
        None,
        evil,
        1,
        1,
        evil,
        Verdict.FAULT,
        [finding],
    )
    values: dict[str, Any] = {
        "number": evil,
        "name": evil,
        "provider": evil,
        "contact": evil,
        "language": language("en"),
        "as_of": NOW,
        "domains": [],
        "statuses": [status],
        "rows": [],
        "deadlines": [Deadline("x", NOW + timedelta(days=5), evil, affects=evil, text=evil)],
        "assigned": [],
        "measured": NOW,
    }
    return ReportInput(**values | changes)


States = tuple[ReportProvider, dict[str, tuple[ClientReport, Language]]]
"""Type of the fixture ``all_states``: the provider, and the report of each client."""


def states(provider: ReportProvider) -> dict[str, tuple[ClientReport, Language]]:
    """Return a report in each state.

    The states are: good, action by the client, action by the provider and by level 2, unknown,
    without a site, and in German.
    """
    now = provider.clock()
    issue = provider.issuer.issue
    provider.client("good", "Good")
    provider.site("good", "good.example.test", server_context(issue("good.example.test")))
    provider.client("act", "Acts", hosts="us", dns="client", buys="client", renews="client")
    provider.site(
        "act",
        "old.example.test",
        server_context(
            issue(
                "old.example.test",
                not_before=now - timedelta(days=60),
                not_after=now - timedelta(days=1),
            )
        ),
    )
    provider.site(
        "act",
        "xn--grten-gra.example.test",
        server_context(
            issue("xn--grten-gra.example.test", not_before=now - timedelta(days=85), days=5)
        ),
    )
    provider.client("ours", "Ours", hosts="us", dns="us", buys="us", renews="us")
    provider.site("ours", "login.example.test", server_context(issue("login.example.test")))
    provider.plain["login.example.test"] = page("Login", "<input type=password>", hsts=False)
    provider.site("ours", "mixed.example.test", server_context(issue("other.test")))
    provider.client("unknown", "Unknown")
    provider.site(
        "unknown",
        "guarded.example.test",
        server_context(issue("guarded.example.test")),
        PageResponse(403),
    )
    with provider.database.write() as tx:
        due = {
            "at": now + timedelta(days=60),
            "rule": "https-only",
            "title": "All on HTTPS",
            "text": "Order in time",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=[], tags=[])
        row = clients.find(tx.conn, "ours")
        findings.accept(
            tx,
            "http-collects-secrets",
            frozenset({"http-collects-secrets"}),
            now + timedelta(days=3),
            "x",
            client_id=row.id,
            kind=FindingDecision.ASSIGN,
            by="Ines",
        )
    provider.client("none", "Without Sites")
    provider.scan()
    reports = {
        number: provider.report(number) for number in ("good", "act", "ours", "unknown", "none")
    }
    reports["act-de"] = provider.report("act", language_code="de")
    return reports
