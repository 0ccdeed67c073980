"""What a report states about one site. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from certmgr.checks.folding import parent_of
from certmgr.checks.http import NO_PAGE
from certmgr.compliance.assessment import ComplianceRow, DomainFacts
from certmgr.compliance.facts import ComplianceState
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.trust_ends import trust_row
from certmgr.renewers.plan import EXPIRING
from certmgr.renewers.renewer import RenewalMethod
from certmgr.report.facts import ReportInput
from certmgr.report.model import Bar, ReportAction, ReportSite
from certmgr.report.names import ports_of_names, site_names
from certmgr.x509.trust_rules import BROWSER_NAMES
from inventory.certificates import organisation
from inventory.dates import days_left
from inventory.db.database import from_epoch
from inventory.names import display
from notifiers.wording.catalogue import Language
from notifiers.wording.renewals import PLANNED_SENTENCE
from notifiers.wording.report import NOTES, STATES
from notifiers.wording.report import ReportPhrases as P
from notifiers.wording.scope import may_be_foreign
from notifiers.wording.sentences import sentence
from notifiers.wording.verdicts import OUTCOMES

# More bars than this are not readable; the table has all sites.
MAX_BARS = 25


def site_view(
    report_input: ReportInput,
    status: EndpointStatus,
    actions: Sequence[ReportAction],
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> ReportSite:
    """Return what the report states about one site.

    Args:
        actions: The actions that the findings of the site need.
        domain: The domain of the site, if it is known.
        rows: Compliance of the domain.
    """
    language = report_input.language
    undetermined = _undetermined_rules(status, rows)
    facts = [
        *_certificate_facts(report_input, status),
        *_renewal_facts(report_input, status),
        *_trust_facts(report_input, status),
        *_finding_facts(report_input, status, domain, good=not undetermined),
    ]
    untested = _untested(report_input, status, undetermined)
    # What is not tested now was tested earlier, and that result is still shown.
    end, measured = from_epoch(status.not_after), from_epoch(status.last_attempt)
    good = from_epoch(status.last_good)
    if untested and measured is not None and good is not None and good < measured:
        facts.append(language(P.known_since).format(date=language.timestamp(good)))
    # A good verdict with an undetermined rule is reported as unknown.
    state = "unknown" if status.verdict == "ok" and undetermined else str(status.verdict)
    trust = report_input.trust.get(status.id)
    return ReportSite(
        name=display(status.target.host),
        target=str(status.target),
        state=state,
        state_text=language(STATES[state]),
        outcome=next((o for o in OUTCOMES if any(a.outcome == o for a in actions)), ""),
        facts=tuple(facts),
        untested=tuple(untested),
        remarks=tuple(
            sentence(f, status.target, language) for f in status.findings if f.severity == "low"
        ),
        expires=end,
        expires_text=language.date(end) if end else "",
        days_left=days_left(end, report_input.as_of) if end else None,
        measured=measured,
        measured_text=language.timestamp(measured) if measured else "",
        trusted_until=trust_row(
            trust.ends if trust else (), report_input.as_of, report_input.trust_rules
        ),
    )


def _certificate_facts(report_input: ReportInput, status: EndpointStatus) -> list[str]:
    """Return a sentence with the end of the certificate, if one was served."""
    language, end = report_input.language, from_epoch(status.not_after)
    if end is None or status.last_good is None:
        return []
    is_over = end < report_input.as_of
    # The issuer may be unknown, or belong to a certificate of another client.
    if status.issuer is None:
        words = P.certificate_ended_of if is_over else P.certificate_until_of
    else:
        words = P.certificate_ended if is_over else P.certificate_until
    issuer = organisation(status.issuer or "") or "?"
    return [language(words).format(issuer=issuer, date=language.date(end))]


def _renewal_facts(report_input: ReportInput, status: EndpointStatus) -> list[str]:
    """Return a sentence about who renews the certificate, if one was served."""
    if report_input.renewers is None or status.not_after is None or status.last_good is None:
        return []
    # The certificate of another site is no concern of this client.
    if may_be_foreign(status.codes_found):
        return []
    language = report_input.language
    # A renewal that is due is stated with its date.
    if status.planned is not None:
        return [language(PLANNED_SENTENCE).format(plan=status.planned.text(language))]
    renewer = report_input.renewers.renewer(status.client_id, status.target.host)
    match renewer.method:
        case RenewalMethod.LINEAGE:
            # A promise is made only if nothing is known that breaks it.
            text = P.renewed_by_us_trouble if renewer.trouble else P.renewed_by_us
        case RenewalMethod.PANEL:
            text = P.renewed_by_panel
        case RenewalMethod.CDN:
            text = P.renewed_by_cdn
        case RenewalMethod.STATED | RenewalMethod.LEARNED:
            text = P.renewed_by_automation
        case RenewalMethod.PURCHASE:
            end = language.date(renewer.not_after) if renewer.not_after else "?"
            return [language(P.renewed_by_purchase).format(order=renewer.reference, date=end)]
        case RenewalMethod.NONE:
            text = P.renewed_by_none
        case _:
            assert_never(renewer.method)
    return [language(text)]


def _finding_facts(
    report_input: ReportInput,
    status: EndpointStatus,
    domain: DomainFacts | None,
    *,
    good: bool,
) -> list[str]:
    """Return a sentence per reported finding, and per acceptance.

    Args:
        good: Whether no rule is undetermined for the site.
    """
    language, codes = report_input.language, {f.code for f in status.findings}
    # A consequence is fixed with its cause, and not shown. What plain HTTP does is shown although
    # HTTPS is missing, since it is what visitors get until then.
    facts = [
        sentence(f, status.target, language)
        for f in status.findings
        if f.severity not in ("info", "undetermined")
        # A renewal that is in time is no fault; the end of the certificate is stated above.
        and not (status.planned is not None and f.code == EXPIRING)
        and parent_of(f.code, codes) in ("", "https-missing")
    ]
    # A mail name, for example, has no pages that could be checked.
    if domain is not None and domain.purpose in NO_PAGE:
        facts.append(language(P.no_page))
    elif status.verdict == "ok" and not status.accepted and good:
        facts.append(language(P.site_ok))
    for finding, acceptance in status.accepted:
        facts.append(
            language(P.accepted).format(
                what=sentence(finding, status.target, language),
                # The login and the reason are for staff, and the client reads this.
                provider=report_input.provider or language(P.your_provider),
                date=language.date(acceptance.until),
            )
        )
    return facts


def _untested(
    report_input: ReportInput, status: EndpointStatus, undetermined: Sequence[str]
) -> list[str]:
    """Return what could not be tested, one sentence each.

    Args:
        undetermined: Why rules are undetermined, from :func:`_undetermined_rules`.
    """
    language, host = report_input.language, display(status.target.host)
    # An accepted finding stays undetermined, so it is listed as not tested as well.
    findings = [*status.findings, *(f for f, _ in status.accepted)]
    untested = [
        sentence(f, status.target, language) for f in findings if f.severity == "undetermined"
    ]
    if status.never:
        untested.append(language(P.never).format(host=host))
    elif status.differs:
        untested.append(language(P.differs).format(host=host))
    else:
        untested += [f"{host}: {language(NOTES[n])}" for n in undetermined if n in NOTES]
    return untested


def _trust_facts(report_input: ReportInput, status: EndpointStatus) -> list[str]:
    """Return a sentence per browser that stops trusting the certificate before it expires."""
    language, trust = report_input.language, report_input.trust.get(status.id)
    # The finding about it has a sentence itself.
    named = {"ca-distrusted", "trust-ending"} & {f.code for f in status.findings}
    if trust is None or named:
        return []
    facts = []
    for end in trust.early():
        text = P.trust_ends_about if end.rule and end.rule.approximate else P.trust_ends
        values = {"browser": BROWSER_NAMES[end.browser], "date": language.date(end.at)}
        facts.append(language(text).format(**values))
    return facts


def _undetermined_rules(status: EndpointStatus, rows: Sequence[ComplianceRow]) -> tuple[str, ...]:
    """Return why a rule is undetermined for this site, apart from its findings.

    Its pages were not requested, for example, or it was not scanned yet.
    """
    # The rules for pages do not apply to mail and other protocols.
    if status.target.protocol != "https":
        return ()
    return tuple(
        dict.fromkeys(r.note for r in rows if r.state is ComplianceState.UNKNOWN and r.note)
    )


def bars(sites: Sequence[ReportSite], language: Language) -> tuple[Bar, ...]:
    expiring = sorted((s for s in sites if s.days_left is not None), key=lambda s: s.days_left or 0)
    ports = ports_of_names((s.name, s.target) for s in sites)
    bars = []
    for site in expiring[:MAX_BARS]:
        days = site.days_left or 0
        text = (
            language.count(P.days_left, P.days_left_many, days)
            if days >= 0
            else language(P.expired)
        )
        (name,) = site_names([(site.name, site.target)], ports)
        bars.append(Bar(name, days, text))
    return tuple(bars)
