"""Keys and CSRs of a case: made here, or made by the client and checked.

Order of durability: a key is on disk and synced before its CSR is recorded
(certmgr/x509/key_store.py). A process that dies in between leaves a key that the next call uses.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from certmgr.cases.check import (
    messages_to_json,
    public_key_fingerprint,
)
from certmgr.cases.service import CaseService
from certmgr.cases.states import ENDED, CaseAction, next_state
from certmgr.config.checks import KEY_TYPES
from certmgr.x509 import csr as requests
from certmgr.x509 import key_store as keystore
from inventory.certificates import parse
from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.records import CaseRecord, IssuanceRecord
from inventory.store import (
    case_changes,
    certificates,
    issuances,
)
from inventory.store.issuances import NewIssuance
from inventory.text import printable
from inventory.vocabulary import CaseKind

_log = logging.getLogger(__name__)
# A new CSR makes the messages about the last upload obsolete.
NO_MESSAGES = messages_to_json(())


def key_type_of(key: str) -> str:
    """Convert the description of a key to its type: ``EC P-256`` -> ec-p256."""
    return key.lower().replace("ec p-", "ec-p").replace(" ", "-")


def make_csr(
    service: CaseService, reference: str, key_types: Sequence[str] = (), **subject: str
) -> list[str]:
    """Create a key and a CSR for each key type.

    If a process died after it wrote a key, that key is used.

    Args:
        service: The service for cases.
        reference: The reference of the case.
        key_types: The types of the keys; empty for the default of the configuration.
        **subject: Fields of the CSR's subject.

    Returns:
        The CSRs in PEM form.

    Raises:
        UsageError: A key type is unknown, or two are of one kind.
        Conflict: The state does not allow a CSR, or the key has a certificate already.
    """
    row = service.read(reference)
    chosen = _chosen_key_types(service, key_types)
    with service.context.read() as conn:
        earlier = issuances.of_case(conn, row.id)
        if next_state(row.state, CaseAction.CSR) is None:
            raise service.not_allowed(Tx(conn, "", service.now), row, CaseAction.CSR)
    # The keys are on disk before the transaction begins. If it fails, the next call uses them.
    created = [_create(service, row, key_type, subject) for key_type in chosen]
    certified = {i.spki for i in earlier if i.sha256 is not None}
    with service.context.write() as tx:
        # What was received belongs to the keys that are replaced here. What was live stays.
        issuances.drop(tx, row.id, also_received=True)
        for request in created:
            # A key that is replaced is often replaced because it may be known to others.
            if request.spki in certified:
                raise Conflict(
                    "The key of this case has a certificate already",
                    "a new certificate is requested with a new key",
                    "Move the old key file away first, or open a new case.",
                )
            issuances.add(tx, request)
        text = f"key and CSR created: {', '.join(chosen)}"
        service.transition(tx, row, CaseAction.CSR, text, own_csr=0, said=NO_MESSAGES)
    return [request.csr for request in created if request.csr is not None]


def _chosen_key_types(service: CaseService, key_types: Sequence[str]) -> tuple[str, ...]:
    """Return the requested key types, or that of the configuration.

    Raises:
        UsageError: A type is unknown, or two are of one algorithm.
    """
    chosen = tuple(dict.fromkeys(key_types)) or (service.context.settings.cases.key_type,)
    if unknown := [t for t in chosen if t not in KEY_TYPES]:
        raise UsageError(
            f"'{printable(unknown[0], 30)}' is not a key type",
            "certmgr cannot generate such a key",
            f"Choose one of {', '.join(KEY_TYPES)}.",
        )
    # Servers select one certificate per key algorithm, so that two RSA certificates are useless.
    if len({t.partition("-")[0] for t in chosen}) < len(chosen):
        raise UsageError(
            "Two key types have the same algorithm",
            "a server uses at most one RSA and one EC certificate per name",
            "Give one of each.",
        )
    return chosen


def _create(
    service: CaseService, row: CaseRecord, key_type: str, subject: Mapping[str, str]
) -> NewIssuance:
    """Make the key of a case, or read the one that exists, and sign a CSR with it."""
    path, key = service.keys.make(row.reference, key_type)
    _log.info("case %s: the key %s is stored", row.reference, key_type)
    return NewIssuance(
        case_id=row.id,
        order_id=row.order_id,
        key_type=key_type,
        spki=requests.spki(key.public_key()),
        csr=requests.make(key, row.names, **subject).decode(),
        key_reference=keystore.key_reference(path),
    )


def record_client_csr(
    service: CaseService, reference: str, data: bytes, ordered: Sequence[str] = ()
) -> requests.SigningRequest:
    """Record the client's own CSR.

    A CSR with problems is not recorded. The caller shows the problems of the result.

    Args:
        service: The service for cases.
        reference: The reference of the case.
        data: The CSR in PEM or DER form.
        ordered: Names that the buyer enters at the vendor, because the CSR does not have them.

    Raises:
        Conflict: The CSR was created by the provider, or the state does not allow a CSR.
    """
    row = service.read(reference)
    request = requests.read(data, row.names, ordered)
    with service.context.read() as conn:
        ours = [
            i for i in issuances.of_case(conn, row.id) if i.spki == request.spki and i.key_reference
        ]
    # Recorded as the client's CSR, the case would lose the reference to its key.
    if ours:
        raise Conflict(
            "This CSR was created by certmgr",
            "the provider has its key, so that it is not the client's CSR",
            f"certmgr case send {row.reference}",
        )
    # In an incident the old key may be compromised, so that it must not be used again.
    if row.kind is CaseKind.INCIDENT and request.spki in _old_keys(service, row):
        request = replace(request, problems=(*request.problems, ("csr-old-key", {})))
    if request.refused:
        return request
    with service.context.write() as tx:
        # Only open requests: a certificate that was received may be one that the client paid for.
        issuances.drop(tx, row.id)
        issuances.add(
            tx,
            # Without a key reference the case knows that the client has the key.
            NewIssuance(
                case_id=row.id,
                order_id=row.order_id,
                key_type=key_type_of(request.key),
                spki=request.spki,
                csr=request.pem,
            ),
        )
        text = f"the client's own CSR ({request.key}); the client keeps the key"
        for code, values in request.problems:
            # The names to enter at the vendor must be found again when the case is ordered.
            if code == "csr-names-ordered":
                text += f"; to be entered at the vendor: {values['names']}"
        service.transition(tx, row, CaseAction.CSR, text, own_csr=1, said=NO_MESSAGES)
    return request


def _old_keys(service: CaseService, row: CaseRecord) -> set[str]:
    """Return the public keys of the certificates that the case replaces."""
    with service.context.read() as conn:
        ders = certificates.ders_in_order(conn, row.replaces or ())
    return {public_key_fingerprint(parse(d)) for d in ders} - {""}


def drop_certificate(service: CaseService, reference: str, key_type: str) -> CaseRecord:
    """Drop one of several certificates of a case, such as the RSA one that no server needs.

    A certificate that was received is dropped too: the case no longer expects servers to present
    it. The certificate and its key are kept.

    Raises:
        Conflict: The case has ended, it has no other certificate, or the certificate was verified
            live.
    """
    row = service.read(reference)
    if row.state in ENDED:
        raise Conflict(
            f"The case {row.reference} is '{row.state}'",
            "a case that has ended waits for no certificate",
            f"See certmgr case show {row.reference}.",
        )
    with service.context.read() as conn:
        issued = issuances.of_case(conn, row.id)
    dropped = _droppable(row, key_type, issued)
    received = [i.sha256 for i in dropped if i.sha256 is not None]
    text = f"dropped the certificate for {key_type}"
    if received:
        text += f", which had been received (SHA-256 {received[0]})"
    with service.context.write() as tx:
        issuances.drop(tx, row.id, key_type=key_type, also_received=bool(received))
        return case_changes.change(tx, row, "drop", {}, text)


def _droppable(
    row: CaseRecord, key_type: str, issued: Sequence[IssuanceRecord]
) -> list[IssuanceRecord]:
    """Return the certificates of a key type that a case can do without. Pure.

    Args:
        row: The case.
        key_type: The key type.
        issued: All certificates of the case, requested or received.

    Raises:
        Conflict: There is none, with the reason.
    """
    chosen = [i for i in issued if i.key_type == key_type]
    if not chosen:
        known = ", ".join(dict.fromkeys(i.key_type for i in issued)) or "none"
        raise Conflict(
            f"The case {row.reference} has no certificate with the key type"
            f" '{printable(key_type, 30)}'",
            f"its key types: {known}",
            f"See certmgr case show {row.reference}.",
        )
    # A client may have sent a new CSR for the key type of a received certificate: then the request
    # is meant, and the certificate stays.
    dropped = [i for i in chosen if i.sha256 is None] or [i for i in chosen if i.live_at is None]
    rest = [i for i in issued if i not in dropped]
    if not dropped:
        # It is a part of the history, and a revocation may need it.
        why = "it was verified live"
    elif not rest:
        why = "the case has no other certificate"
    elif all(i.sha256 is None for i in rest) and any(i.sha256 is not None for i in dropped):
        # Otherwise a case could be approved and installed with nothing to install.
        why = "no other certificate of the case was received yet"
    else:
        return dropped
    raise Conflict(
        f"The certificate for {key_type} cannot be dropped",
        why,
        f"To replace it, make a new key and CSR: certmgr case csr {row.reference} --key-type"
        f" {key_type}. If nothing is to be installed: certmgr case cancel {row.reference}"
        " --reason TEXT.",
    )


def send_csr(service: CaseService, reference: str, text: str = "") -> CaseRecord:
    """Hand over the CSR to the buyer. The next notification run sends it to the client.

    Raises:
        Conflict: The case has no CSR, or its state does not allow it.
    """
    row = service.read(reference)
    with service.context.write() as tx:
        return service.transition(
            tx, row, CaseAction.SEND, text or "the next notice sends the CSR to the buyer"
        )
