"""Derive the outcome of a diagnosis from its findings. Pure.

There are three outcomes. Each has a cause in one sentence, and an instruction for the party that
must act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from certmgr.checks.api_hosts import PAGE_MISSING
from certmgr.diagnose.address_records import delete_all, lead_to, listed
from certmgr.diagnose.chrome import ERRORS
from certmgr.inspection.report import EndpointReport
from certmgr.renewers.plan import EXPIRING
from inventory.finding_codes import CODES, Layer
from inventory.names import display
from inventory.vocabulary import (
    FOREIGN_ADDRESS,
    SAME_CERTIFICATE,
    SEVERITY_ORDER,
    VALID_CERTIFICATE,
    Acceptance,
    Finding,
)
from notifiers.wording import diagnose as words
from notifiers.wording.catalogue import ENGLISH, Language
from notifiers.wording.sentences import client_instruction, instruction, sentence

# The order in which a visit passes the layers.
# What other vantage points see comes last: it does not explain this visit.
_LAYERS = (
    Layer.DNS,
    Layer.TRANSPORT,
    Layer.TLS,
    Layer.CERTIFICATE,
    Layer.REVOCATION,
    Layer.POLICY,
    Layer.HTTP,
    Layer.ZONES,
)
_RELEVANT_SEVERITIES = ("critical", "high", "medium")
# Faults of one address among several: its record is wrong, or its server is down.
_OF_ADDRESS = frozenset(
    {
        "https-missing",
        "connection-failed",
        "unreachable",
        "not-tls",
        "handshake-failed",
        "default-certificate",
        "name-mismatch",
        "tls-legacy-only",
        "handshake-incompatible",
    }
)
# Faults that are expected if a name points to the wrong server.
_OF_ANOTHER_SERVER = frozenset(
    {
        "default-certificate",
        "name-mismatch",
        "https-missing",
        "not-tls",
        "self-signed",
        "http-served",
    }
)


@dataclass(frozen=True, slots=True)
class OutcomeFacts:
    """Facts about the host, in addition to the report of the scan.

    Attributes:
        known: Whether the host is in the inventory.
        dns_is_ours: Whether the provider manages its DNS.
        own_addresses: The addresses of its server, to which the host should point.
        ours: Those of its resolved addresses that belong to the provider.
        we_install: Whether the provider installs certificates there.
        assigned: Which staff member fixes which code, and by when.
        clock: What the clock of the visitor's device shows, if it is known.
        planned: The renewal of the certificate is due and in time, so that its end is no fault.
    """

    known: bool = False
    dns_is_ours: bool = False
    own_addresses: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()
    we_install: bool = False
    assigned: tuple[Acceptance, ...] = ()
    clock: datetime | None = None
    planned: bool = False


@dataclass(frozen=True, slots=True)
class DiagnosisOutcome:
    """The outcome of a diagnosis.

    Attributes:
        outcome: you-act, we-act or escalated.
        code: The code of the decisive finding; empty if nothing was found.
        cause: The cause in one sentence.
        instruction: What to do.
        who: Who acts: client, provider or staff.
        person: The staff member to whom the fault is assigned.
        by: When it will be fixed.
        partial: The affected addresses, if others are fine.
    """

    outcome: str
    code: str
    cause: str
    instruction: str
    who: str
    person: str = ""
    by: datetime | None = None
    partial: tuple[str, ...] = ()


def decisive(findings: Sequence[Finding], *, plain: bool) -> Finding | None:
    """Return the finding that explains best what a visitor sees.

    That is the worst one. Of several, it is the one that a visit meets first, and of those one for
    which Chrome has an error page.

    Args:
        findings: All findings.
        plain: Whether the visitor opens http://.
    """
    relevant = [
        f for f in findings if f.severity in _RELEVANT_SEVERITIES or f.severity == "undetermined"
    ]
    # The name mismatch is only a consequence of the default certificate.
    if any(f.code == "default-certificate" for f in relevant):
        relevant = [f for f in relevant if f.code != "name-mismatch"]
    over_plain = {"http-collects-secrets", "http-collects-input", "http-served"}
    if plain and any(f.code in over_plain for f in relevant):
        # This visitor sees a page over plain HTTP, and never the certificate.
        relevant = [
            f
            for f in relevant
            if CODES[f.code].layer not in (Layer.CERTIFICATE, Layer.TLS, Layer.REVOCATION)
            and f.code != "https-missing"
        ]
    # A visitor of https:// does not see the faults of plain HTTP; they are the cause only if there
    # is no other.
    if not plain:
        secure = [f for f in relevant if f.code not in over_plain | {"redirect-missing"}]
        relevant = secure or relevant
    # A certain fault explains more than an undetermined one.
    sure = [f for f in relevant if f.severity != "undetermined"]

    # If our own server is broken too, the visit fails also without the foreign record.
    own_broken = any(f.severity == "critical" and f.code != FOREIGN_ADDRESS for f in sure)

    def rank(f: Finding) -> tuple[int, bool, int, bool]:
        return (
            SEVERITY_ORDER[f.severity],
            own_broken and f.code == FOREIGN_ADDRESS,
            _LAYERS.index(CODES[f.code].layer),
            f.code not in ERRORS,
        )

    return min(sure or relevant, key=rank, default=None)


def decide(
    report: EndpointReport,
    findings: Sequence[Finding],
    facts: OutcomeFacts,
    language: Language = ENGLISH,
    *,
    plain: bool = False,
    error: tuple[str, int] | None = None,
) -> DiagnosisOutcome:
    """Decide on the outcome.

    Args:
        report: The result of the scan.
        findings: All findings with their actors. Accepted ones count too: a visitor sees the fault
            even if it was accepted.
        facts: Further facts about the host.
        language: The language of the texts.
        plain: Whether the visitor opens http://.
        error: (URL, status) of a page that answers with an error of the site.
    """
    if facts.planned:
        findings = [f for f in findings if f.code != EXPIRING]
    finding = decisive(findings, plain=plain)
    if (wrong_clock := _wrong_clock(report, finding, facts, language)) is not None:
        return wrong_clock
    # A severe fault of TLS comes before the page, so the visitor never sees the error page. For a
    # host of programs, an error may be its usual answer, and the finding explains that.
    if error is not None and (
        finding is None
        or (finding.severity in ("medium", "undetermined") and finding.code != PAGE_MISSING)
    ):
        return _page_error(facts, language, *error)
    # The visitor has a problem that this machine cannot reproduce, so level 2 must ask.
    if finding is None:
        return DiagnosisOutcome("escalated", "", "", "", "staff")
    all_addresses = {a.address for a in report.addresses}
    # If all addresses are affected, naming them would suggest that some are fine.
    partial = (
        tuple(a for a in finding.addresses if a in all_addresses)
        if set(finding.addresses) < all_addresses
        else ()
    )
    if finding.code == FOREIGN_ADDRESS and finding.evidence.get("variant") != SAME_CERTIFICATE:
        return _foreign_address(report, finding, facts, language)
    if (
        partial
        and finding.code in _OF_ADDRESS
        and (record := _record(report, finding, facts, partial, language)) is not None
    ):
        return record
    if (
        finding.code in _OF_ANOTHER_SERVER
        and (elsewhere := _points_elsewhere(report, findings, facts, language)) is not None
    ):
        return elsewhere
    return _by_actor(report, finding, facts, partial, language)


def _wrong_clock(
    report: EndpointReport, finding: Finding | None, facts: OutcomeFacts, language: Language
) -> DiagnosisOutcome | None:
    """Return the outcome if the clock of the visitor's device explains the error; else None."""
    leaf = report.certificate
    if (
        facts.clock is None
        or leaf is None
        or leaf.not_before is None
        or leaf.not_after is None
        or leaf.not_before <= facts.clock <= leaf.not_after
        # A severe fault explains the error better than the clock.
        or (finding is not None and finding.severity in ("critical", "high"))
    ):
        return None
    host = display(report.target.host)
    cause = language(words.CLOCK_CAUSE).format(
        clock=language.timestamp(facts.clock),
        host=host,
        start=language.date(leaf.not_before),
        end=language.date(leaf.not_after),
    )
    return DiagnosisOutcome(
        "you-act", "clock", cause, language(words.CLOCK_DO).format(host=host), "client"
    )


def _page_error(facts: OutcomeFacts, language: Language, url: str, status: int) -> DiagnosisOutcome:
    """Return the outcome for a site that answers with an error.

    An error of the server (5xx) at a site that the provider hosts is for the provider. All others
    are for the client, who built the site.
    """
    cause = language(words.PAGE_ERROR_CAUSE).format(url=url, status=status)
    if status >= 500 and (facts.we_install or (facts.ours and not facts.known)):
        return DiagnosisOutcome(
            "escalated",
            "page-error",
            cause,
            "Check the error logs of the site and of its application server.",
            "provider",
        )
    return DiagnosisOutcome("you-act", "page-error", cause, language(words.PAGE_ERROR_DO), "client")


def _foreign_address(
    report: EndpointReport, finding: Finding, facts: OutcomeFacts, language: Language
) -> DiagnosisOutcome:
    """Return the outcome if the DNS has a record of an address that is not the provider's.

    The party that runs the DNS deletes it. A new certificate would not help, and the instruction
    states that: what the foreign address serves often looks like an expired certificate.
    """
    cause = sentence(finding, report.target, language)
    who = str(finding.actor)
    if not facts.known:
        who = "client"
    # No operator of the DNS is recorded, so staff have to find out who it is.
    elif who not in words.DNS_OPERATORS:
        who = "staff"
    records = tuple(finding.evidence.get("delete", finding.addresses))
    kept = tuple(finding.evidence.get("keep", ()))
    if finding.evidence.get("variant") == VALID_CERTIFICATE:
        texts = [language(words.CHECK_RECORD).format(addresses=listed(records))]
    else:
        texts = [delete_all(report.target.host, records, language)]
    if kept:
        texts.append(language(words.KEEP_RECORD).format(addresses=listed(kept)))
    texts += [language(words.DNS_OPERATORS[who]), language(words.NO_RENEWAL)]
    outcome = "you-act" if who == "client" else "escalated"
    found = DiagnosisOutcome(outcome, finding.code, cause, " ".join(texts), who, partial=records)
    return found if who == "client" else _assigned(found, facts)


def _assigned(outcome: DiagnosisOutcome, facts: OutcomeFacts) -> DiagnosisOutcome:
    """Return the outcome as we-act if its fault is assigned.

    Only a fault that is assigned with a date may be promised to the client.
    """
    assignment = next((a for a in facts.assigned if a.code == outcome.code), None)
    if assignment is None:
        return outcome
    return replace(outcome, outcome="we-act", person=assignment.by, by=assignment.until)


def _record(
    report: EndpointReport,
    finding: Finding,
    facts: OutcomeFacts,
    partial: tuple[str, ...],
    language: Language,
) -> DiagnosisOutcome | None:
    """Return the outcome if some addresses of several are wrong and not ours; else None.

    Their DNS records must be deleted. If an address is ours, the server must be fixed instead.
    """
    foreign = [a for a in partial if a not in facts.ours]
    if not foreign:
        return None
    host = report.target.host
    cause = language(words.RECORD_CAUSE).format(host=display(host), address=listed(foreign))
    instruction_text = delete_all(host, foreign, language)
    if not facts.known or not facts.ours:
        # Without the inventory it is unknown whether the record is wrong. A server of the client
        # may be down, so the instruction offers both.
        instruction_text += " " + language(words.OR_SERVE)
    # The provider changes the record itself, and does not ask the client to.
    if facts.dns_is_ours:
        return DiagnosisOutcome(
            "escalated",
            finding.code,
            cause,
            delete_all(host, foreign, ENGLISH),
            "provider",
            partial=partial,
        )
    return DiagnosisOutcome(
        "you-act", finding.code, cause, instruction_text, "client", partial=partial
    )


def _points_elsewhere(
    report: EndpointReport, findings: Sequence[Finding], facts: OutcomeFacts, language: Language
) -> DiagnosisOutcome | None:
    """Return the outcome if the name points to a foreign server, but belongs to one of ours.

    Then the DNS record is the cause, and not what the foreign server serves. None if it does not.
    """
    elsewhere = next((f for f in findings if f.code == "points-elsewhere"), None)
    if elsewhere is None or not facts.own_addresses:
        return None
    host = report.target.host
    cause = language(words.ELSEWHERE_CAUSE).format(
        host=display(host), addresses=listed(elsewhere.addresses)
    )
    instruction_text = lead_to(host, elsewhere.addresses, facts.own_addresses, language)
    if facts.dns_is_ours:
        return DiagnosisOutcome(
            "escalated", "points-elsewhere", cause, instruction_text, "provider"
        )
    return DiagnosisOutcome("you-act", "points-elsewhere", cause, instruction_text, "client")


def _by_actor(
    report: EndpointReport,
    finding: Finding,
    facts: OutcomeFacts,
    partial: tuple[str, ...],
    language: Language,
) -> DiagnosisOutcome:
    target = report.target
    cause = sentence(finding, target, language)
    # A failed probe is no reason to ask the client for a change.
    if finding.severity == "undetermined":
        return DiagnosisOutcome(
            "escalated", finding.code, cause, instruction(finding, target), "staff", partial=partial
        )
    who = str(finding.actor)
    if not facts.known:
        # The inventory does not name a responsible party. Staff check a server of ours; any other
        # server is for its owner.
        who = "staff" if facts.ours else "client"
    if who == "client":
        return DiagnosisOutcome(
            "you-act",
            finding.code,
            cause,
            client_instruction(finding, target, language, we_install=facts.we_install),
            "client",
            partial=partial,
        )
    escalated = DiagnosisOutcome(
        "escalated", finding.code, cause, instruction(finding, target), who, partial=partial
    )
    return _assigned(escalated, facts)
