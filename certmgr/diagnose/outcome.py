"""Findings -> exactly one of three outcomes, with its cause in one sentence and the instruction for
whoever acts. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certmgr.checks.codes import CODES
from certmgr.diagnose.chrome import ERRORS
from certmgr.inspection.report import EndpointReport
from inventory.names import display
from inventory.vocabulary import SEVERITY_ORDER, Acceptance, Finding
from notifiers.wording import diagnose as words
from notifiers.wording.catalogue import ENGLISH, Language
from notifiers.wording.sentences import client_instruction, instruction, sentence

_LAYERS = ("dns", "transport", "tls", "certificate", "revocation", "policy", "http")
_WORTH = ("critical", "high", "medium")
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
    }
)
# What shows that a name points to the wrong machine.
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
    """What is known beside the look.

    ``known``: the host is in the inventory. ``own_addresses``: where the host should point, of its
    server. ``ours``: resolved addresses that are ours; ``we_install``: we install there. ``taken``:
    who mends which code by when. ``clock``: the visitor's.
    """

    known: bool = False
    dns_is_ours: bool = False
    own_addresses: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()
    we_install: bool = False
    taken: tuple[Acceptance, ...] = ()
    clock: datetime | None = None


@dataclass(frozen=True, slots=True)
class DiagnosisOutcome:
    """``outcome``: you-act, we-act or escalated.

    ``who``: client, provider or staff. ``code``: the finding that decides; empty: nothing found.
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
    """The finding that explains best what a visitor sees: the worst, of those the first on the way,
    and of those what Chrome has an error page for. ``plain``: http:// was opened.
    """
    worth = [f for f in findings if f.severity in _WORTH or f.severity == "undetermined"]
    if any(f.code == "default-certificate" for f in worth):
        worth = [f for f in worth if f.code != "name-mismatch"]
    over_plain = {"http-collects-secrets", "http-collects-input", "http-served"}
    if plain and any(f.code in over_plain for f in worth):
        # This visitor meets a page over plain HTTP and never the certificate.
        worth = [
            f
            for f in worth
            if CODES[f.code].layer not in ("certificate", "tls", "revocation")
            and f.code != "https-missing"
        ]
    if not plain:
        secure = [f for f in worth if f.code not in over_plain | {"redirect-missing"}]
        worth = secure or worth
    sure = [f for f in worth if f.severity != "undetermined"]

    def rank(f: Finding) -> tuple[int, int, bool]:
        return SEVERITY_ORDER[f.severity], _LAYERS.index(CODES[f.code].layer), f.code not in ERRORS

    return min(sure or worth, key=rank, default=None)


def decide(
    report: EndpointReport,
    findings: Sequence[Finding],
    facts: OutcomeFacts,
    language: Language = ENGLISH,
    *,
    plain: bool = False,
    error: tuple[str, int] | None = None,
) -> DiagnosisOutcome:
    """``findings``: with their actors; accepted ones too, since a visitor knows nothing of that.

    ``error``: (URL, status) of a page that answers with an error of its own.
    """
    host = display(report.target.host)
    leaf = report.certificate
    finding = decisive(findings, plain=plain)
    if (
        facts.clock is not None
        and leaf is not None
        and leaf.not_before is not None
        and leaf.not_after is not None
    ):
        wrong = not leaf.not_before <= facts.clock <= leaf.not_after
        if wrong and (finding is None or finding.severity not in ("critical", "high")):
            dates = {"start": language.date(leaf.not_before), "end": language.date(leaf.not_after)}
            cause = language(words.CLOCK_CAUSE).format(
                clock=language.instant(facts.clock), host=host, **dates
            )
            return DiagnosisOutcome(
                "you-act", "clock", cause, language(words.CLOCK_DO).format(host=host), "client"
            )
    if error is not None and (finding is None or finding.severity in ("medium", "undetermined")):
        return _page_error(facts, language, *error)
    if finding is None:
        return DiagnosisOutcome("escalated", "", "", "", "staff")
    every = {a.address for a in report.addresses}
    partial = (
        tuple(a for a in finding.addresses if a in every) if set(finding.addresses) < every else ()
    )
    if (
        partial
        and finding.code in _OF_ADDRESS
        and (record := _record(report, finding, facts, partial, language)) is not None
    ):
        return record
    if (
        finding.code in _OF_ANOTHER_SERVER
        and (change := _points_elsewhere(report, findings, facts, language)) is not None
    ):
        return change
    return _by_actor(report, finding, facts, partial, language)


def _page_error(facts: OutcomeFacts, language: Language, url: str, status: int) -> DiagnosisOutcome:
    """The site itself answers with an error: whoever builds it looks; an error of the server (5xx)
    where we host is for us.
    """
    cause = language(words.PAGE_ERROR_CAUSE).format(url=url, status=status)
    if status >= 500 and (facts.we_install or (facts.ours and not facts.known)):
        return DiagnosisOutcome(
            "escalated",
            "page-error",
            cause,
            "Look in the error log of the site and of its application server.",
            "provider",
        )
    return DiagnosisOutcome("you-act", "page-error", cause, language(words.PAGE_ERROR_DO), "client")


def _record(
    report: EndpointReport,
    finding: Finding,
    facts: OutcomeFacts,
    partial: tuple[str, ...],
    language: Language,
) -> DiagnosisOutcome | None:
    """One address of several is wrong.

    Where it is not ours, its record goes; where it is ours, the server there is mended.
    """
    strange = [a for a in partial if a not in facts.ours]
    if not strange:
        return None
    host, address = display(report.target.host), strange[0]
    kind = "AAAA" if ":" in address else "A"
    cause = language(words.RECORD_CAUSE).format(host=host, address=", ".join(strange))
    do = " ".join(
        language(words.DELETE_RECORD).format(kind="AAAA" if ":" in a else "A", address=a, host=host)
        for a in strange
    )
    if not facts.known or not facts.ours:
        do += " " + language(
            words.OR_SERVE
        )  # nobody said that the record is wrong; a machine of theirs may be down
    if facts.dns_is_ours:
        return DiagnosisOutcome(
            "escalated",
            finding.code,
            cause,
            f"Delete the {kind} record {address} of {host}.",
            "provider",
            partial=partial,
        )
    return DiagnosisOutcome("you-act", finding.code, cause, do, "client", partial=partial)


def _points_elsewhere(
    report: EndpointReport, findings: Sequence[Finding], facts: OutcomeFacts, language: Language
) -> DiagnosisOutcome | None:
    """The name points to none of our machines although it belongs on one: then that is the cause,
    and not what the stranger serves.
    """
    elsewhere = next((f for f in findings if f.code == "points-elsewhere"), None)
    if elsewhere is None or not facts.own_addresses:
        return None
    host = display(report.target.host)
    old = [a for a in elsewhere.addresses if ":" not in a] or list(elsewhere.addresses)
    new = [a for a in facts.own_addresses if (":" in a) == (":" in old[0])] or list(
        facts.own_addresses
    )
    kind = "AAAA" if ":" in old[0] else "A"
    cause = language(words.ELSEWHERE_CAUSE).format(
        host=host, addresses=", ".join(elsewhere.addresses)
    )
    do = language(words.CHANGE_RECORD).format(kind=kind, host=host, old=old[0], new=new[0])
    if facts.dns_is_ours:
        return DiagnosisOutcome("escalated", "points-elsewhere", cause, do, "provider")
    return DiagnosisOutcome("you-act", "points-elsewhere", cause, do, "client")


def _by_actor(
    report: EndpointReport,
    finding: Finding,
    facts: OutcomeFacts,
    partial: tuple[str, ...],
    language: Language,
) -> DiagnosisOutcome:
    target = report.target
    cause = sentence(finding, target, language)
    if finding.severity == "undetermined":
        return DiagnosisOutcome(
            "escalated", finding.code, cause, instruction(finding, target), "staff", partial=partial
        )
    who = str(finding.actor)
    if not facts.known:
        # Nobody said whose it is: where the machine is ours we look, else it is its owner's.
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
    taken = next((t for t in facts.taken if t.code == finding.code), None)
    if taken is not None:
        return DiagnosisOutcome(
            outcome="we-act",
            code=finding.code,
            cause=cause,
            instruction=instruction(finding, target),
            who=who,
            person=taken.by,
            by=taken.until,
            partial=partial,
        )
    return DiagnosisOutcome(
        "escalated", finding.code, cause, instruction(finding, target), who, partial=partial
    )
