"""From the facts about one client to a :class:`ClientReport`. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from certmgr.compliance.assessment import ComplianceRow
from certmgr.report.actions import case_action, site_actions
from certmgr.report.events import events_ahead
from certmgr.report.facts import ReportInput
from certmgr.report.model import ClientReport, ReportAction, ReportEvent
from certmgr.report.sites import bars, site_view
from inventory.finding_codes import CODES, Layer
from inventory.names import display
from inventory.vocabulary import SEVERITY_ORDER
from notifiers.wording.catalogue import Language
from notifiers.wording.report import ReportPhrases as P
from notifiers.wording.scope import for_client, may_be_foreign
from notifiers.wording.verdicts import OUTCOMES


def build(report_input: ReportInput) -> ClientReport:
    """Return the report of one client."""
    # Data of other clients is removed first, so that no later step can show it.
    report_input = _scoped(report_input)
    language = report_input.language
    by_domain = {s.domain_id: s for s in report_input.domains}
    rows: dict[int, list[ComplianceRow]] = {}
    for row in report_input.rows:
        rows.setdefault(row.subject.domain_id, []).append(row)
    actions: list[ReportAction] = []
    sites = []
    # Sorting by name makes two reports of the same client comparable.
    for status in sorted(report_input.statuses, key=lambda s: (s.target.host, s.target.port)):
        domain, site_rows = by_domain.get(status.domain_id), rows.get(status.domain_id, [])
        needed = site_actions(report_input, status, domain, site_rows)
        actions += needed
        sites.append(site_view(report_input, status, needed, domain, site_rows))
    actions += [
        a for s in report_input.case_topics if (a := case_action(report_input, s)) is not None
    ]
    # Actions without a date are due now, so they sort with the date of the report.
    actions.sort(key=lambda a: (a.by or report_input.as_of, SEVERITY_ORDER[a.severity], a.site))
    events = events_ahead(report_input)
    # A reason that several sites share is stated once.
    untested = tuple(dict.fromkeys(t for s in sites for t in s.untested))
    counts = {
        "sites": len(sites),
        **{k: sum(s.state == k for s in sites) for k in ("ok", "attention", "fault", "unknown")},
    }
    grouped = {o: tuple(a for a in actions if a.outcome == o) for o in OUTCOMES}
    summary, state = _summary(
        language,
        counts,
        grouped,
        events,
        {s.target.host for s in report_input.statuses if s.accepted},
        {s.name for s in sites if s.state == "fault"},
    )
    return ClientReport(
        client=report_input.number,
        client_name=report_input.name,
        provider=report_input.provider,
        contact=report_input.contact,
        language=language.code,
        as_of=report_input.as_of,
        as_of_text=language.timestamp(report_input.as_of),
        title=language(P.title),
        summary=summary,
        state=state,
        counts=counts,
        you_act=grouped["you-act"],
        we_act=grouped["we-act"],
        escalated=grouped["escalated"],
        events=events,
        sites=tuple(sites),
        bars=bars(sites, language),
        why=_why(report_input),
        method=_method(report_input),
        untested=untested,
    )


def _scoped(report_input: ReportInput) -> ReportInput:
    """Remove what a certificate reveals about other clients.

    If a virtual host is missing, the server presents the certificate of another site. Findings
    about that certificate are then removed, apart from the finding that it is presented.
    """
    own_names = {s.name for s in report_input.domains} | {
        s.target.host for s in report_input.statuses
    }
    scoped = partial(
        for_client,
        client_names=own_names,
        owners=report_input.owners,
        client_id=report_input.client_id,
    )
    statuses = []
    for status in report_input.statuses:
        codes = {f.code for f in status.findings}
        found = status.codes_found
        findings = [
            scoped(f, codes=found)
            for f in status.findings
            if "default-certificate" not in codes
            or f.code == "default-certificate"
            or f.code not in CODES
            or CODES[f.code].layer not in (Layer.CERTIFICATE, Layer.REVOCATION)
        ]
        accepted = [(scoped(f, codes=found), a) for f, a in status.accepted]
        issuer = None if may_be_foreign(found) else status.issuer
        statuses.append(
            dataclasses.replace(status, findings=findings, accepted=accepted, issuer=issuer)
        )
    return dataclasses.replace(report_input, statuses=statuses)


def _summary(
    language: Language,
    counts: dict[str, int],
    grouped: dict[str, tuple[ReportAction, ...]],
    events: Sequence[ReportEvent],
    accepted: set[str],
    faulty: set[str],
) -> tuple[str, str]:
    """Return the summary sentence and its state.

    The state is never good if a result is undetermined or a site has a fault.

    Args:
        accepted: The sites with an accepted fault.
        faulty: The sites with a fault, even if no action is listed, such as one that a case
            handles.
    """
    sites = counts["sites"]
    # A client without sites has no facts, so the state is not good.
    if not sites:
        return language(P.no_sites), "unknown"
    # The client's actions come first, because the report is written for the client.
    if you := grouped["you-act"]:
        count = len({a.site for a in you})
        first = min((a.by for a in you if a.by is not None and not a.late), default=None)
        if any(a.by is None for a in you):
            return language.count(P.you_now, P.you_now_many, count), "fault"
        assert first is not None
        return (
            language.count(P.you_by, P.you_by_many, count).replace("{date}", language.date(first)),
            "attention",
        )
    # Visitors see an error at these sites.
    state = "fault" if counts["fault"] else "attention"
    handled = {a.site for a in (*grouped["we-act"], *grouped["escalated"])} | faulty
    if handled:
        assigned = {a.site for a in grouped["we-act"]} - {a.site for a in grouped["escalated"]}
        # A fault without an assignment, or whose case has none, is not promised to be fixed.
        one, many = (P.ours, P.ours_many) if assigned >= handled else (P.level_2, P.level_2_many)
        return language.count(one, many, len(handled)), state
    if counts["unknown"]:
        return language.count(P.some_unknown, P.some_unknown_many, counts["unknown"]), "unknown"
    # The sites comply today and will not comply with a rule that is already announced.
    if any(e.affected and e.kind in ("rule", "own") for e in events):
        return language(P.good_until), "attention"
    # An accepted fault is still a fault, so the sentence does not state full compliance.
    if accepted:
        count = len(accepted)
        return language.count(P.accepted_fault, P.accepted_fault_many, count), "attention"
    return language(P.all_good), "ok"


def _why(report_input: ReportInput) -> tuple[str, str, str]:
    """Return three sentences, chosen by the findings of the sites."""
    language = report_input.language
    codes: dict[str, str] = {}
    for status in report_input.statuses:
        for finding in status.findings:
            codes.setdefault(finding.code, display(status.target.host))
    first = language(P.why_first)
    second, third = language(P.why_good), language(P.why_announced)
    # The worst consequence first: passwords, other input, and then any page.
    for code, words in (
        ("http-collects-secrets", P.why_secrets),
        ("http-collects-input", P.why_inputs),
        ("http-served", P.why_served),
    ):
        if code in codes:
            second = language(words).format(host=codes[code])
            break
    return first, second, third


def _method(report_input: ReportInput) -> tuple[str, ...]:
    language = report_input.language
    lines = []
    if report_input.measured is not None:
        lines.append(language(P.measured).format(date=language.timestamp(report_input.measured)))
    visited = any(k.visited for domain in report_input.domains for k in domain.known)
    lines += [language(P.how if visited else P.how_without_pages), language(P.limits)]
    return tuple(lines)
