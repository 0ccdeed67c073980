"""The causes of findings, by severity. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from certmgr.dashboard.facts import DashboardInput
from certmgr.dashboard.model import CauseCard, SeverityGroup
from certmgr.inspection.causes import Cause, causes
from inventory.certificates import issuer_name
from inventory.names import display, registered_domain
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.dashboard import ACTORS, KINDS, SEVERITIES
from notifiers.wording.dashboard import DashboardPhrases as P
from notifiers.wording.sentences import instruction, sentence

# A page with more cards is not read; "certmgr status --causes" lists all.
MAX_CAUSES = 40
MAX_SITES, MAX_CLIENTS = 12, 6
# The colours of the verdicts that a severity leads to.
_STATES = {"critical": "fault", "high": "fault", "undetermined": "unknown"}


def severity_groups(facts: DashboardInput) -> tuple[SeverityGroup, ...]:
    """Return the causes by severity, in the order of ``certmgr status --causes``."""
    language = facts.language
    found = causes(facts.statuses, facts.assigned, facts.as_of)
    groups = []
    for severity, title in SEVERITIES.items():
        matching = [c for c in found if c.severity == severity]
        if not matching:
            continue
        # An endpoint may have several causes, and counts once.
        sites = len({t.key for c in matching for t in c.endpoints})
        summary = (
            f"{language.count(P.causes, P.causes_many, len(matching))},"
            f" {language.count(P.sites, P.sites_many, sites)}"
        )
        groups.append(
            SeverityGroup(
                severity=severity,
                state=_STATES.get(severity, "attention"),
                title=language(title),
                summary=summary,
                causes=tuple(_card(facts, c) for c in matching[:MAX_CAUSES]),
                more=max(0, len(matching) - MAX_CAUSES),
            )
        )
    return tuple(groups)


def _card(facts: DashboardInput, cause: Cause) -> CauseCard:
    language, first = facts.language, cause.endpoints[0]
    # The port of HTTPS needs no mention.
    sites = [
        display(t.host) if t.port == 443 else f"{display(t.host)}:{t.port}" for t in cause.endpoints
    ]
    clients = sorted(cause.clients)
    return CauseCard(
        code=cause.code,
        what=_what(cause, language),
        do=instruction(cause.example, first, language),
        place=printable(_place(cause, language), 200),
        actor=language(ACTORS[cause.actor]),
        sites_text=language.count(P.sites, P.sites_many, len(cause.endpoints)),
        sites=tuple(printable(s, 260) for s in sites[:MAX_SITES]),
        more=max(0, len(sites) - MAX_SITES),
        clients=named_clients(facts, clients[:MAX_CLIENTS]),
        more_clients=max(0, len(clients) - MAX_CLIENTS),
        assigned=tuple(
            language(P.fixed_by).format(person=printable(by, 100), date=language.date(until))
            for by, until in cause.assigned
        ),
    )


def _what(cause: Cause, language: Language) -> str:
    """Return what is wrong in one sentence: at the first site, or with the server."""
    if (down := cause.down) is None:
        return sentence(cause.example, cause.endpoints[0], language)
    phrase = P.server_silent if down.silent else P.server_refuses
    return language(phrase).format(server=printable(down.server, 200), port=down.port)


def _place(cause: Cause, language: Language) -> str:
    """Return what must be changed, in words of the reader."""
    kind = language(KINDS.get(cause.kind, cause.kind))
    match cause.kind:
        case "certificate":
            # A person recognises the issuer, and not the hash of the certificate.
            return f"{kind} ({issuer_name(cause.issuer)})" if cause.issuer else kind
        case "name server":
            return f"{kind} ({display(registered_domain(cause.endpoints[0].host))})"
        case _:
            return f"{kind} {cause.location}"


def named_clients(facts: DashboardInput, numbers: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return clients as number and name."""
    return tuple((printable(n, 60), printable(facts.client_names.get(n, ""), 100)) for n in numbers)
