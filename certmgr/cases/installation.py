"""Installation of a case and its verification.

A case is done only when every server of its names presents the new certificate. What an
administrator reports counts as "installed", and only a verification as "live".
"""

from __future__ import annotations

import logging

from certmgr.cases import window as windows
from certmgr.cases.service import RESET_ON_REOPEN, CaseService
from certmgr.cases.states import CaseAction, next_state
from certmgr.inspection.live_check import (
    MAX_TARGETS,
    live_check_targets,
)
from certmgr.inspection.reload_patience import until_live
from certmgr.inspection.verification import Observation, Verification, verify
from certmgr.inspection.zone_checks import Overrides, observe, with_zones
from inventory.certificates import parse
from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.records import CaseRecord
from inventory.store import (
    case_changes,
    cases,
    endpoints,
    issuances,
    zones,
)
from inventory.store.case_changes import CaseColumns
from inventory.vocabulary import CaseState, VerificationState
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

_log = logging.getLogger(__name__)


def mark_installed(service: CaseService, reference: str, text: str = "") -> CaseRecord:
    """Record that the certificate was installed.

    Args:
        reference: The reference of the case.
        text: The reason; required if no window was agreed.

    Raises:
        UsageError: No window was agreed and no reason is given.
        Conflict: The state does not allow it, or a certificate is missing.
    """
    row = service.read(reference)
    # An installation without a window was not announced to the client.
    if row.state == CaseState.CHECKED and not text:
        raise UsageError(
            "No window was agreed",
            "",
            "Agree on one (certmgr case window), or give the reason with --reason TEXT.",
        )
    require_certificates(service, row)
    with service.context.write() as tx:
        return service.transition(
            tx, row, CaseAction.INSTALL, text or "installed", installed_at=tx.at
        )


def require_certificates(service: CaseService, row: CaseRecord) -> dict[str, str]:
    """Return the expected certificates of a case (:func:`expected_certificates`).

    Raises:
        Conflict: A certificate is missing.
    """
    expected = expected_certificates(service, row)
    with service.context.read() as conn:
        requested = issuances.of_case(conn, row.id)
    # With two key types, a server that has only one of them fails for some of its visitors.
    if waiting := [i.key_type for i in requested if i.sha256 is None]:
        raise Conflict(
            f"The certificate for {', '.join(waiting)} has not been received yet",
            "a case is installed and verified as a whole",
            f"certmgr case receive {row.reference} FILE; or drop it: certmgr case csr"
            f" {row.reference} --drop {waiting[0]}.",
        )
    if not expected:
        raise Conflict(
            f"The case {row.reference} has no certificate yet",
            "there is nothing to install or verify",
            f"certmgr case receive {row.reference} FILE",
        )
    return expected


def expected_certificates(service: CaseService, row: CaseRecord) -> dict[str, str]:
    """Return key type (EC, RSA) -> SHA-256 of the leaf that servers must present.

    If there are several of a type, the one that was received last counts.
    """
    with service.context.read() as conn:
        requested = issuances.of_case(conn, row.id)
    return {
        parse(i.der).key_type: i.sha256
        for i in requested
        if i.der is not None and i.sha256 is not None
    }


def verify_case(
    service: CaseService,
    reference: str,
    overrides: Overrides | None = None,
    *,
    patience: float = 0.0,
) -> tuple[CaseRecord, Verification]:
    """Probe all endpoints of a case, and record the result.

    If all of them present the certificate, the case is closed. Only the last of several probes is
    recorded: what a server shows during its reload is no result.

    Args:
        reference: The reference of the case.
        overrides: (host, port) -> addresses to probe instead of those of the resolvers. Such a
            check does not show what visitors reach, so that nothing is recorded.
        patience: How long to wait for servers that are reloading, in seconds.

    Returns:
        The row of the case and the verification.
    """
    row = service.read(reference)
    expected = require_certificates(service, row)
    with service.context.read() as conn:
        visited = endpoints.of_clients(conn, [row.client_id])
        zones_of = zones.of_hosts(conn, row.client_id)
    targets = with_zones(live_check_targets(row.names, visited.get(row.client_id, [])), zones_of)
    _log.info("verifying the case %s at %d targets", row.reference, len(targets))
    # Targets beyond the limit are not probed. One failed observation keeps the case open.
    not_probed = [
        Observation(
            host=t.target.host,
            port=t.target.port,
            address="its addresses",
            key_type="EC",
            sha256=None,
            error="too many targets for one verification",
        )
        for t in targets[MAX_TARGETS:][:1]
    ]

    def check() -> Verification:
        observations = observe(
            service.context, targets[:MAX_TARGETS], overrides or {}, here=service.prober
        )
        return verify(expected, [*observations, *not_probed], row.replaces or ())

    verification = until_live(
        check, patience, service.wait, settled=lambda v: not _may_be_reloading(row, v)
    )
    _log.info("the case %s is %s", row.reference, verification.state)
    if overrides:
        return row, verification
    return record_verification(service, row, verification), verification


def _may_be_reloading(row: CaseRecord, verification: Verification) -> bool:
    """Return whether the result may be that of a server in the middle of its reload."""
    if verification.state is VerificationState.LIVE:
        return False
    # Before the installation is reported, the old certificate is what every server should serve.
    reported = row.state not in (CaseState.CHECKED, CaseState.WINDOW)
    return reported or verification.state is not VerificationState.ABSENT


def record_verification(
    service: CaseService, row: CaseRecord, verification: Verification
) -> CaseRecord:
    """Apply the result of a verification to the case, and return its row.

    An undetermined result changes nothing: the last known state of the case stays.
    """
    state = CaseState(row.state)
    with service.context.write() as tx:
        is_live = verification.state is VerificationState.LIVE
        if is_live and next_state(state, CaseAction.VERIFY) is not None:
            values = windows.cancelled_if_future(row, service.now)
            values["live_at"] = tx.at
            # What is live was installed, even if no administrator reported it.
            values["installed_at"] = row.installed_at or tx.at
            row = service.transition(tx, row, CaseAction.VERIFY, verification.sentence, **values)
            # From now on the certificate is part of the history, which a new CSR does not delete.
            issuances.record_live(tx, row.id)
        # Some servers already present it, so that the installation has begun without a report.
        elif verification.state is VerificationState.PARTIAL and state in (
            CaseState.CHECKED,
            CaseState.WINDOW,
        ):
            text = _begun_text(verification)
            row = service.transition(tx, row, CaseAction.INSTALL, text, installed_at=tx.at)
        # The client was notified that the work is done, and now it is undone.
        elif verification.old and state in (CaseState.CLOSED, CaseState.LIVE):
            row = _reopen(service, tx, row, verification)
        elif _is_new(tx, row, verification):
            row = case_changes.change(tx, row, "look", {}, verification.sentence)
        # After the verification no person has to act, so the case closes in the same transaction.
        if row.state == CaseState.LIVE:
            text = "closed: it was verified live everywhere"
            row = service.transition(tx, row, CaseAction.CLOSE, text)
    return row


def _reopen(
    service: CaseService, tx: Tx, row: CaseRecord, verification: Verification
) -> CaseRecord:
    """Reopen a case whose replaced certificate is served again."""
    places = "; ".join(verification.old[:8])
    values: CaseColumns = {**RESET_ON_REOPEN, **windows.reset(row, service.now)}
    values["reason"] = OLD_CERTIFICATE_SERVED
    return service.transition(
        tx,
        row,
        CaseAction.REOPEN,
        f"the old certificate is served again (unexpected-certificate) at {places}",
        **values,
    )


def _begun_text(verification: Verification) -> str:
    """Return the event text of an installation that a verification found to have begun."""
    return f"it is {verification.sentence}"


def _is_new(tx: Tx, row: CaseRecord, verification: Verification) -> bool:
    """Return whether the result differs from the last one."""
    # A verification runs in every run of certmgr. Equal results would bury the rest of the history.
    checks = [e for e in cases.events(tx.conn, row.id) if e.action in ("look", "see", "install")]
    equal_texts = (verification.sentence, _begun_text(verification))
    return not checks or checks[-1].text not in equal_texts
