"""The ends of certificates, and who replaces them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from certmgr.dashboard.causes import named_clients
from certmgr.dashboard.facts import DashboardInput
from certmgr.dashboard.model import LosingCover, Week
from certmgr.inspection.status import EndpointStatus
from certmgr.x509.trust_rules import BROWSER_NAMES
from inventory.dates import SHORT_LIVED, days_left
from inventory.db.database import from_epoch
from inventory.names import display
from inventory.text import printable
from notifiers.wording.dashboard import RENEWALS
from notifiers.wording.dashboard import DashboardPhrases as P
from notifiers.wording.report import ReportPhrases

WEEK = timedelta(days=7)
# The time in which a renewal by hand becomes urgent.
SOON = timedelta(days=30)
MAX_LOSING, MAX_NAMES = 60, 4


def is_automatic(facts: DashboardInput, client_id: int, host: str) -> bool:
    """Return whether a name is renewed automatically. Without facts about it, it is not."""
    return facts.renewers is not None and facts.renewers.renewer(client_id, host).automatic


def _is_certificate_automatic(facts: DashboardInput, status: EndpointStatus) -> bool:
    """Return whether the served certificate is replaced automatically, as far as is known.

    The life of some is so short that people could not renew them. Until the last quarter of it,
    their automation is in time, though it was not seen to replace one yet.
    """
    if is_automatic(facts, status.client_id, status.target.host):
        return True
    start, end = facts.starts.get(status.leaf or ""), status.not_after
    if start is None or end is None or end - start >= SHORT_LIVED.total_seconds():
        return False
    return end - facts.as_of.timestamp() > (end - start) / 4


def _by_certificate(facts: DashboardInput) -> dict[tuple[str, int], list[EndpointStatus]]:
    """Return the endpoints per served certificate. The key is SHA-256 and end in epoch seconds."""
    found: dict[tuple[str, int], list[EndpointStatus]] = {}
    for status in facts.statuses:
        # An endpoint that never gave a certificate has no end. Its fault is in the list of causes.
        if status.not_after is not None and status.last_good is not None:
            # Endpoints without a fingerprint may have different certificates, so they are not
            # merged.
            leaf = status.leaf or f"endpoint {status.id}"
            found.setdefault((leaf, status.not_after), []).append(status)
    return found


def weeks_ahead(facts: DashboardInput, number: int) -> tuple[Week, ...]:
    """Return how many certificates end in each of the next weeks, from today on."""
    totals = [[0, 0] for _ in range(number)]
    for (_, end), statuses in _by_certificate(facts).items():
        index = int((end - facts.as_of.timestamp()) // WEEK.total_seconds())
        # A certificate that has ended has a negative index. It is counted by ended_count().
        if 0 <= index < number:
            # A certificate is replaced automatically only if that holds for all its sites.
            automatic = all(_is_certificate_automatic(facts, s) for s in statuses)
            totals[index][0 if automatic else 1] += 1
    weeks = []
    for index, (renewed, by_hand) in enumerate(totals):
        start = facts.language.date(facts.as_of + index * WEEK)
        weeks.append(Week(start, renewed, by_hand))
    return tuple(weeks)


def ended_count(facts: DashboardInput) -> int:
    """Return the number of certificates that are served after their end."""
    return sum(end < facts.as_of.timestamp() for _, end in _by_certificate(facts))


def losing_cover(facts: DashboardInput) -> tuple[tuple[LosingCover, ...], int]:
    """Return the certificates that end soon and that nothing is known to replace in time.

    An automation that has trouble, and one that has not replaced an ended certificate, count too:
    staff must check both. A browser that stops trusting a certificate ends it for its users.

    Returns:
        The certificates, the first end first, and how many are not listed.
    """
    found: list[tuple[datetime, LosingCover]] = []
    for (_, epoch), statuses in _by_certificate(facts).items():
        end, reason = from_epoch(epoch), ""
        if end is None:
            continue
        for status in statuses:
            trust = facts.trust.get(status.id)
            for early in trust.early() if trust else ():
                # The earliest end counts: the visitors with that browser see an error first.
                if early.at < end:
                    end = early.at
                    about = early.rule is not None and early.rule.approximate
                    words = P.trust_reason_about if about else P.trust_reason
                    reason = facts.language(words).format(browser=BROWSER_NAMES[early.browser])
        # An end may lie at the edge of the calendar, where a sum would overflow.
        if end - facts.as_of > SOON:
            continue
        reason = reason or _lapse_reason(facts, statuses, ended=end < facts.as_of)
        if reason:
            found.append((end, _row(facts, statuses, end, reason)))
    found.sort(key=lambda f: (f[0], f[1].names))
    return tuple(row for _, row in found[:MAX_LOSING]), max(0, len(found) - MAX_LOSING)


def _lapse_reason(facts: DashboardInput, statuses: list[EndpointStatus], *, ended: bool) -> str:
    """Return who must renew the certificate; empty if an automation does it in time."""
    # Who renewed what in the past is not known, so the end is shown without a reason.
    if facts.renewers is None:
        return "?"
    for status in statuses:
        # Its case is open or a person has it: it is replaced in time.
        if status.planned is not None and status.planned.begun and not ended:
            continue
        renewer = facts.renewers.renewer(status.client_id, status.target.host)
        if ended or renewer.trouble or not _is_certificate_automatic(facts, status):
            text = facts.language(RENEWALS[renewer.method])
            return printable(f"{text}: {renewer.trouble}" if renewer.trouble else text, 300)
    return ""


def _row(
    facts: DashboardInput, statuses: list[EndpointStatus], end: datetime, reason: str
) -> LosingCover:
    language = facts.language
    names = sorted({display(s.target.host) for s in statuses})
    days = days_left(end, facts.as_of)
    ended = end < facts.as_of
    left = language.count(ReportPhrases.days_left, ReportPhrases.days_left_many, days)
    return LosingCover(
        names=tuple(printable(n, 260) for n in names[:MAX_NAMES]),
        more=max(0, len(names) - MAX_NAMES),
        clients=named_clients(facts, sorted({s.client for s in statuses})[:MAX_NAMES]),
        state="fault" if ended else "attention",
        end_text=language.date(end),
        days_text=language(ReportPhrases.expired) if ended else left,
        reason=reason,
    )
