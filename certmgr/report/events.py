"""The dates ahead: rules, deadlines, certificates, purchases and cases. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from certmgr.compliance.assessment import ComplianceRow
from certmgr.compliance.facts import ComplianceState
from certmgr.compliance.milestones import Deadline
from certmgr.report.facts import ReportInput
from certmgr.report.model import ReportEvent
from certmgr.report.names import ports_of_names, site_names
from inventory.db.database import from_epoch
from inventory.names import display
from notifiers.wording.cases import filled
from notifiers.wording.report import STEPS, WHO
from notifiers.wording.report import ReportPhrases as P

# Dates further ahead are not shown.
AHEAD = timedelta(days=800)


def events_ahead(report_input: ReportInput) -> tuple[ReportEvent, ...]:
    """Return the dates ahead: rules, the provider's deadlines, certificates, purchases, cases."""
    now, latest = report_input.as_of, datetime.max.replace(tzinfo=UTC)
    # A report for a day near the year 9999 would otherwise overflow.
    horizon = now + AHEAD if now < latest - AHEAD else latest
    events = [
        *_deadline_events(report_input, horizon),
        *_certificate_events(report_input, horizon),
        *_dated_events(report_input, horizon),
    ]
    return tuple(sorted(events, key=lambda e: (e.at, e.kind, e.title)))


def _deadline_events(report_input: ReportInput, horizon: datetime) -> Iterator[ReportEvent]:
    """Yield the dated rules and the provider's deadlines that concern the client."""
    language = report_input.language
    for deadline in report_input.deadlines:
        rows = [r for r in report_input.rows if r.deadline is deadline]
        if not report_input.as_of < deadline.at <= horizon or not _concerns(
            report_input, deadline, rows
        ):
            continue
        failing = [r for r in rows if r.state is ComplianceState.WILL_FAIL]
        # A deadline of the provider ends with its day there, and a rule of the industry in UTC.
        when = (
            language.day(deadline.at, report_input.zone if deadline.own else UTC)
            if deadline.precision == "day"
            else language.month(deadline.at)
        )
        yield ReportEvent(
            at=deadline.at,
            at_text=when,
            kind="own" if deadline.own else "rule",
            title=deadline.title if deadline.own else language(deadline.title),
            note=deadline.text or (language(deadline.affects) if deadline.affects else ""),
            confirmed=deadline.confirmed,
            affected=tuple(dict.fromkeys(display(r.subject.name) for r in failing)),
            steps=_steps(failing, report_input),
        )


def _concerns(report_input: ReportInput, deadline: Deadline, rows: Sequence[ComplianceRow]) -> bool:
    """Return whether the report shows a deadline."""
    # A deadline of the provider is shown only to the clients that it is for.
    if (
        not deadline.for_clients
        or (deadline.own and not rows)
        or not (rows or deadline.is_for(report_input.number, frozenset()))
    ):
        return False
    # A rule about one CA concerns only clients with a certificate of that CA.
    return not deadline.issuer or any(
        deadline.issuer in (s.issuer or "") for s in report_input.statuses
    )


def _certificate_events(report_input: ReportInput, horizon: datetime) -> Iterator[ReportEvent]:
    """Yield the ends of certificates. Those that expire at the same moment share one event."""
    language = report_input.language
    ends: dict[datetime, list[tuple[str, str]]] = {}
    targets = [s.target for s in report_input.statuses]
    ports = ports_of_names((display(t.host), str(t)) for t in targets)
    for status in report_input.statuses:
        end = from_epoch(status.not_after)
        if end is not None and report_input.as_of < end <= horizon:
            member = (display(status.target.host), str(status.target))
            ends.setdefault(end, []).append(member)
    for end, members in ends.items():
        yield ReportEvent(
            at=end,
            at_text=language.date(end),
            kind="certificate",
            title=language(P.certificate_ends),
            note="",
            confirmed=True,
            affected=site_names(members, ports),
            steps=(),
        )


def _dated_events(report_input: ReportInput, horizon: datetime) -> Iterator[ReportEvent]:
    """Yield the dates of purchases and cases."""
    language = report_input.language
    for date in report_input.dates:
        if report_input.as_of < date.at <= horizon:
            # A window is an hour of a day; all other dates are days.
            when = language.timestamp(date.at) if date.kind == "window" else language.date(date.at)
            yield ReportEvent(
                at=date.at,
                at_text=when,
                kind=date.kind,
                title=filled(language(date.template), date.values),
                note="",
                confirmed=True,
                # A purchase can cover hundreds of names, which would hide the other dates.
                affected=tuple(display(n) for n in date.names[:20]),
                steps=(),
            )


def _steps(rows: Sequence[ComplianceRow], report_input: ReportInput) -> tuple[str, ...]:
    """Return the steps that lead to compliance, in their order.

    If sites have different steps, the names of the sites precede their steps.
    """
    language = report_input.language
    sites: dict[str, list[str]] = {}
    for row in rows:
        step_texts = []
        for step in row.steps:
            words = language(P.step_late if step.late else P.step)
            date = language.day(step.by, report_input.zone)
            step_texts.append(
                words.format(
                    step=language(STEPS[step.name]), date=date, who=language(WHO[step.actor])
                )
            )
        if step_texts:
            sites.setdefault("; ".join(step_texts), []).append(display(row.subject.name))
    # If all sites have the same steps, their names are not repeated.
    if len(sites) <= 1:
        return tuple(sites)
    return tuple(f"{', '.join(names)}: {steps}" for steps, names in sites.items())
