"""The reports of all clients, and the page that links them. Nothing is written to a disk here.

A command writes what this module renders, in its own process or by workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from certmgr.compliance.load import all_deadlines
from certmgr.config.context import Context
from certmgr.dashboard.html import ReportLink
from certmgr.dashboard.html import render as render_dashboard
from certmgr.dashboard.load import load_dashboard_input
from certmgr.dashboard.view import build as build_dashboard
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.report import badge, html, pdf, tabular
from certmgr.report.load import load_report_input
from certmgr.report.view import build
from certmgr.report.write import file_name
from notifiers.wording.report import STATES

if TYPE_CHECKING:
    from certmgr.compliance.milestones import Deadline
    from certmgr.report.model import ClientReport
    from notifiers.wording.catalogue import Language


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What the reports of a command have in common.

    Attributes:
        output_format: html, pdf, csv, json or badge.
        as_of: The day of the reports; None: now.
        language_code: The language; None: that of each client.
    """

    output_format: str
    as_of: datetime | None = None
    language_code: str | None = None

    def file_name(self, number: str) -> str:
        """Return the name of the file with the report of a client."""
        extension = "svg" if self.output_format == "badge" else self.output_format
        return file_name(number, extension)


@dataclass(frozen=True, slots=True)
class LinkedReport:
    """A report as the page of all clients links it.

    Attributes:
        number: The number of the client.
        state: ok, attention, fault or unknown.
        label: The state in words.
    """

    number: str
    state: str
    label: str


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """A report. ``content`` is None if the client gets no badge, since it would not be true."""

    link: LinkedReport
    content: bytes | None


class ClientReports:
    """Renders the reports of one command; its clock should stand still."""

    def __init__(self, context: Context, options: ReportOptions) -> None:
        self.context, self.options = context, options

    @cached_property
    def _past(self) -> datetime | None:
        """The day of the reports, if it is past."""
        at = self.options.as_of
        return at if at is not None and at <= self.context.now() else None

    @cached_property
    def _deadlines(self) -> tuple[Deadline, ...]:
        # The deadlines of a past day are those that were known then; for a day ahead, those of
        # today.
        return all_deadlines(self.context.database, self._past)

    @cached_property
    def _trust(self) -> StoredTrust:
        # Anchors and CA certificates are the same for all clients.
        with self.context.read() as conn:
            return StoredTrust.of(conn, self.context.settings)

    def report(self, number: str) -> tuple[ClientReport, Language]:
        """Return the report of a client, and its language."""
        report_input = load_report_input(
            self.context,
            number,
            as_of=self.options.as_of,
            deadlines=self._deadlines,
            chosen_language=self.options.language_code,
            trust=None if self._past else self._trust,
        )
        return build(report_input), report_input.language

    def content(self, client_report: ClientReport, language: Language) -> bytes:
        """Return the content of the file of a report.

        Raises:
            CertmgrError: A badge would not be true.
        """
        match self.options.output_format:
            case "json":
                return tabular.to_json(client_report).encode()
            case "csv":
                return tabular.to_csv(client_report).encode()
            case "badge":
                return badge.render(client_report, language).encode()
        # The PDF is rendered from the HTML page, so both have the same content.
        page = html.render(client_report, language)
        if self.options.output_format == "pdf":
            return pdf.render(page, client_report, language)
        return page.encode()

    def render(self, number: str) -> RenderedReport:
        """Return the rendered report of a client."""
        client_report, language = self.report(number)
        state = client_report.state
        link = LinkedReport(number, state, language(STATES[state]))
        if self.options.output_format == "badge" and badge.why_not(client_report):
            return RenderedReport(link, None)
        return RenderedReport(link, self.content(client_report, language))

    def index(self, links: Iterable[LinkedReport]) -> bytes:
        """Return the page of all clients, with a link to each report."""
        options = self.options
        facts = load_dashboard_input(
            self.context, as_of=options.as_of, language_code=options.language_code
        )
        by_number = {
            x.number: ReportLink(options.file_name(x.number), x.state, x.label) for x in links
        }
        # Each report is linked, so no client is left out.
        view = build_dashboard(facts, max_clients=None)
        return render_dashboard(view, facts.language, by_number).encode()
