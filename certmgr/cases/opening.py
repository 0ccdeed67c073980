"""The periodic run of cases: it opens, verifies and reopens them automatically.

A case opens for a reissue or renewal of a purchase, and for a certificate without a purchase that
was installed through an earlier case and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.cases import incident_progress, installation, new_case
from certmgr.cases.new_case import CaseOptions
from certmgr.cases.service import CaseService, Overrides
from certmgr.cases.states import CaseAction
from certmgr.purchases.load import lead_times, load
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, term_of
from certmgr.renewers.load import load_facts
from certmgr.x509.names import name_covers
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.records import CaseRecord, IssuanceRecord
from inventory.store import cases, certificates, findings, issuances, jobs
from inventory.vocabulary import CaseKind, CaseState, VerificationState
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

# Each case opens in a separate transaction under the lock of this job. A process that dies in
# between leaves open cases, and names with an open case are skipped by the next run.
JOB = "cases"


@dataclass(frozen=True, slots=True)
class DueCase:
    """A case that has to be opened.

    Attributes:
        client: The number of the client.
        names: The names of the case.
        options: What is stated about the new case.
        reason: Why it is due, as text.
    """

    client: str
    names: tuple[str, ...]
    options: CaseOptions
    reason: str


def due_for_purchase(
    purchase: Purchase, now: datetime, leads: LeadTimes, ahead: timedelta
) -> DueCase | None:
    """Return the case that is due for a purchase.

    This is its first certificate, a reissue, or the renewal of the purchase. The function is pure.

    Args:
        purchase: The purchase.
        now: The current time.
        leads: The lead times.
        ahead: How long before the date a case opens.
    """
    # A purchase that is over or cancelled pays for no further certificate.
    if purchase.state != "active" or purchase.ends < now:
        return None
    steps = plan(term_of(purchase), now, leads.reissue)
    if steps and steps[0].issue <= now + ahead:
        first = not purchase.issued
        reason = (
            "the first certificate of the purchase"
            if first
            else f"reissue {steps[0].number} of the purchase, due {steps[0].issue:%Y-%m-%d}"
        )
        return DueCase(
            purchase.client,
            purchase.names,
            CaseOptions(order=f"#{purchase.id}", kind=CaseKind.NEW if first else CaseKind.REISSUE),
            reason,
        )
    # A purchase without a further reissue has to be bought again, unless that happened already.
    if not steps and not purchase.renewed and purchase.ends - leads.buy <= now + ahead:
        return DueCase(
            purchase.client,
            purchase.names,
            CaseOptions(order=f"#{purchase.id}", kind=CaseKind.RENEWAL),
            f"the purchase ends on {purchase.ends:%Y-%m-%d}",
        )
    return None


def due_for_closed_case(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    now: datetime,
    leads: LeadTimes,
    ahead: timedelta,
) -> DueCase | None:
    """Return the renewal that is due for a closed case without a purchase.

    It is due before the certificate of the case ends. The function is pure.

    Args:
        row: The row of the closed case.
        issued: The issuances of the case.
        now: The current time.
        leads: The lead times.
        ahead: How long before the date a case opens.
    """
    ends = [i.not_after for i in issued if i.sha256 is not None and i.not_after is not None]
    end = from_epoch(max(ends)) if ends else None
    # A certificate that ended more than 60 days ago is no longer in use, so that none replaces it.
    if (
        row.order_id is not None
        or row.state != CaseState.CLOSED
        or end is None
        or end - now > leads.buy + ahead
        or end < now - 60 * DAY
    ):
        return None
    options = CaseOptions(
        kind=CaseKind.RENEWAL,
        bought_by=row.bought_by,
        own_csr=bool(row.own_csr),
        price=row.price,
        fee=row.fee,
        currency=row.currency,
    )
    return DueCase(
        row.client,
        tuple(row.names),
        options,
        f"the certificate of {row.reference} ends on {end:%Y-%m-%d}",
    )


def due_cases(
    database: Database, now: datetime, leads: LeadTimes, ahead: timedelta
) -> list[DueCase]:
    """Return all cases that are due.

    Names with an open case and names that automation renews are left out.

    Args:
        database: The database of the inventory.
        now: The current time.
        leads: The lead times.
        ahead: How long before the date a case opens.
    """
    with database.read() as conn:
        active_purchases = load(conn, ended=False)
        open_names = cases.open_names(conn)
        # A retired client gets no case, and would be reported as a problem in each run.
        closed = [r for r in cases.listing(conn, states=("closed",)) if r.client_state != "retired"]
        client_ids = {p.client_id for p in active_purchases} | {r.client_id for r in closed}
        # Purchases and cases that recur at regular dates look like automation in scans, so that
        # only what is recorded or arranged keeps a case from being opened.
        facts = load_facts(conn, now, learned=False)
        served_until = certificates.served_until(conn, client_ids)
        issued = issuances.of_cases(conn, [r.id for r in closed])
    due_now: list[DueCase] = []
    taken_names: dict[str, set[str]] = {}
    ids_by_client = {p.client: p.client_id for p in active_purchases} | {
        r.client: r.client_id for r in closed
    }
    superseded = _superseded(closed)
    # Purchases come first: if a closed case has the same names, the new case is for the purchase.
    candidates = [due_for_purchase(p, now, leads, ahead) for p in active_purchases]
    candidates += [
        due_for_closed_case(r, issued.get(r.id, ()), now, leads, ahead)
        for r in closed
        if r.id not in superseded
    ]
    for candidate in candidates:
        if candidate is None:
            continue
        client_id = ids_by_client[candidate.client]
        names = set(candidate.names)
        # One installation per name at a time, also among the cases of this run.
        if names & set(open_names.get(client_id, {})) or names & taken_names.get(
            candidate.client, set()
        ):
            continue
        # The client's domains left the inventory, or automation renews their certificates.
        if not facts.needs_person(client_id, names):
            continue
        # The servers already present certificates that last longer, from whatever source.
        ends = [
            end
            for n in names
            for host, end in served_until.get(client_id, {}).items()
            if name_covers(n, host)
        ]
        if ends and min(ends) > to_epoch(now + leads.buy + ahead):
            continue
        taken_names.setdefault(candidate.client, set()).update(names)
        due_now.append(candidate)
    return due_now


def _superseded(closed: Sequence[CaseRecord]) -> set[int]:
    """Return the ids of cases that have a name for which a later case was closed."""
    latest: dict[tuple[int, str], int] = {}
    # Ids grow with time, so that the last case of a name is its latest one.
    for row in sorted(closed, key=lambda r: int(r.id)):
        for name in row.names:
            latest[(row.client_id, name)] = row.id
    return {r.id for r in closed if any(latest[(r.client_id, n)] != r.id for n in r.names)}


@dataclass(slots=True)
class OpeningResult:
    """The result of one run.

    Attributes:
        opened: References of the opened cases.
        closed: References of the closed cases.
        reopened: References of the reopened cases.
        problems: Errors, as texts. An error of one case does not stop the others.
    """

    opened: list[str]
    closed: list[str]
    reopened: list[str]
    problems: list[str]


def run(service: CaseService, overrides: Overrides | None = None) -> OpeningResult:
    """Open due cases, verify waiting ones, and reopen cases whose old certificate is served again.

    Only one run per database is active at a time.

    Args:
        service: The service for cases.
        overrides: (host, port) -> addresses to probe instead of those of the resolvers.

    Raises:
        Busy: Another run is active.
    """
    result = OpeningResult([], [], [], [])
    with jobs.alone(service.database, JOB):
        ahead = timedelta(days=service.settings.cases.open_ahead)
        for due in due_cases(service.database, service.now, lead_times(service.settings), ahead):
            try:
                result.opened.append(
                    new_case.open_case(
                        service,
                        due.client,
                        due.names,
                        due.options,
                        text=f"opened automatically: {due.reason}",
                    ).reference
                )
            except CertmgrError as error:
                result.problems.append(f"client {due.client}: {error}")
        _verify_waiting(service, overrides or {}, result)
        _reopen_if_old_certificate_is_served(service, result)
        # After the verifications, which may have resolved the last item of an incident.
        incident_progress.close_resolved(service.database, service.now)
        # The last write: a run that died before it does not count as a success.
        with service.database.write(service.now) as tx:
            jobs.succeeded(tx, JOB)
    return result


def awaiting_verification(rows: Sequence[CaseRecord], now: datetime) -> list[CaseRecord]:
    """Return the cases that wait for their verification.

    These are installed cases, and cases whose window is over: the administrator may have installed
    the certificate without a report. The function is pure.
    """
    at = now.timestamp()
    return [
        r
        for r in rows
        if r.state in (CaseState.INSTALLED, CaseState.LIVE, CaseState.REOPENED)
        or (r.state == CaseState.WINDOW and r.window_end is not None and r.window_end <= at)
    ]


def _verify_waiting(service: CaseService, overrides: Overrides, result: OpeningResult) -> None:
    """Verify all cases that wait for it."""
    with service.database.read() as conn:
        rows = awaiting_verification(cases.listing(conn, states=cases.OPEN), service.now)
    for row in rows:
        try:
            # A case that was reopened before a certificate was received has nothing to verify.
            if row.state == CaseState.REOPENED and not installation.expected_certificates(
                service, row
            ):
                continue
            after, verification = installation.verify_case(service, row.reference, overrides)
        except CertmgrError as error:
            result.problems.append(f"{row.reference}: {error}")
            continue
        if after.state == CaseState.CLOSED and verification.state is VerificationState.LIVE:
            result.closed.append(row.reference)


def _reopen_if_old_certificate_is_served(service: CaseService, result: OpeningResult) -> None:
    """Reopen closed cases if a scan found a certificate that they had replaced."""
    with service.database.read() as conn:
        unexpected = [f for f in findings.listing(conn) if f.code == "unexpected-certificate"]
        if not unexpected:
            return
        closed = [r for r in cases.listing(conn, states=("closed",)) if r.replaces]
        superseded = _superseded(closed)
    for row in closed:
        # A later case is responsible for these names.
        if row.id in superseded:
            continue
        old = set(row.replaces or ())
        # Findings from before the verification describe the state that the case changed.
        matching = [
            f
            for f in unexpected
            if f.client == row.client
            and old & set(f.evidence.get("sha256", ()))
            and any(name_covers(n, f.host) for n in row.names)
            and f.opened_at >= (row.live_at or 0)
        ]
        if not matching:
            continue
        addresses = dict.fromkeys(a for f in matching for a in f.addresses)
        detail = (
            "the old certificate is served again (unexpected-certificate) at"
            f" {', '.join(addresses)} of {matching[0].host}"
        )
        try:
            reopened = service.end(
                row.reference, CaseAction.REOPEN, OLD_CERTIFICATE_SERVED, detail=detail[:1000]
            )
            result.reopened.append(reopened.reference)
        except CertmgrError as error:
            result.problems.append(f"{row.reference}: {error}")
