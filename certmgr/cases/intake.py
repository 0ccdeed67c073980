"""Vendor uploads of a case: reviewed, and recorded with all their problems.

Each function is one transaction, or changes nothing.

Order of durability: an enclosed key is on disk and synced before the case refers to it, and a
certificate is stored before the case is marked as received.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from certmgr.cases.check import (
    ExpectedCertificate,
    MatchedCertificate,
    ReviewMessage,
    UploadReview,
    messages_to_json,
    public_key_fingerprint,
    review_upload,
)
from certmgr.cases.missing_issuers import fetch_missing_issuers
from certmgr.cases.service import CaseService
from certmgr.cases.signing_requests import key_type_of
from certmgr.cases.states import CaseAction, next_state
from certmgr.config.checks import KEY_TYPES
from certmgr.config.context import Context
from certmgr.inspection.report import certificate_row
from certmgr.purchases.terms import DCV_REUSE, is_reusable, organisation_rules
from certmgr.x509 import csr as requests
from certmgr.x509 import key_store as keystore
from certmgr.x509.private_keys import load_pem
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.trust_data import load_rules, rules_path
from certmgr.x509.upload import VendorUpload, read_files, unpack
from inventory.certificate_fields import describe_key
from inventory.certificates import Certificate, parse
from inventory.db.database import Tx, from_epoch
from inventory.errors import CertmgrError, Conflict
from inventory.files import refuse_special
from inventory.models import StoredPurchase
from inventory.names import display
from inventory.records import CaseRecord
from inventory.store import (
    case_changes,
    certificates,
    domain_owners,
    editing,
    issuances,
    purchases,
)
from inventory.vocabulary import CaseState
from notifiers.wording.cases import UPLOAD_MESSAGES, filled

_log = logging.getLogger(__name__)


def receive(
    service: CaseService, reference: str, upload: VendorUpload, *, use_key: bool = False
) -> UploadReview:
    """Review a vendor's upload and record it with all problems.

    Args:
        service: The service for cases.
        reference: The reference of the case.
        upload: The parsed files.
        use_key: Whether to use a private key of the upload instead of the key of the case.

    Raises:
        Conflict: The state does not allow it, the case has no CSR, or the certificate belongs to
            another client.
    """
    row = service.read(reference)
    # The state is checked first, because the review may fetch issuers from the network.
    if next_state(row.state, CaseAction.RECEIVE) is None:
        with service.context.read() as conn:
            raise service.not_allowed(Tx(conn, "", service.now), row, CaseAction.RECEIVE)
    review, expected = _review(service, row, upload)
    if not expected and not use_key:
        raise Conflict(
            f"The case {row.reference} has no CSR yet",
            "without a CSR no certificate matches the request",
            f"certmgr case csr {row.reference}; or --use-key, if the upload contains the key.",
        )
    if review.refused:
        _refuse_certificate_of_another_client(service, row, review)
    enclosed = None
    # Some vendors generate the key. With --use-key the case adopts it, if it fits a certificate.
    if not review.matched and use_key and (enclosed := _enclosed_key(upload)) is not None:
        review, expected = _review(
            service, row, upload, [ExpectedCertificate(0, enclosed.key_type, enclosed.spki)]
        )
    _log.info(
        "case %s: the upload is %s",
        row.reference,
        "refused" if review.refused else "accepted",
    )
    with service.context.write() as tx:
        if enclosed is not None and not review.refused:
            ids = {0: _adopt_key(service, tx, row, enclosed)}
        else:
            ids = {e.issuance_id: e.issuance_id for e in expected}
        _record(service, tx, row, review, ids, upload, use_key)
    return review


def _adopt_key(service: CaseService, tx: Tx, row: CaseRecord, enclosed: _EnclosedKey) -> int:
    """Store the vendor's key as that of the case, and return the id of its issuance."""
    # On disk before the commit: a rollback can leave a key without a case, but never a case
    # without its key.
    path = service.keys.store_key(row.reference, enclosed.key_type, enclosed.key, enclosed=True)
    # The open requests are obsolete: the certificate was issued for the vendor's key.
    issuances.drop(tx, row.id)
    new = issuances.NewIssuance(
        case_id=row.id,
        order_id=row.order_id,
        key_type=enclosed.key_type,
        spki=enclosed.spki,
        key_reference=keystore.key_reference(path),
    )
    return issuances.add(tx, new)


def preview_upload(
    service: CaseService, reference: str, upload: VendorUpload, *, use_key: bool = False
) -> UploadReview:
    """Return the review that :func:`receive` would return, without recording it."""
    row = service.read(reference)
    review = _review(service, row, upload)[0]
    if not review.matched and use_key and (enclosed := _enclosed_key(upload)) is not None:
        return _review(
            service, row, upload, [ExpectedCertificate(0, enclosed.key_type, enclosed.spki)]
        )[0]
    return review


def _refuse_certificate_of_another_client(
    service: CaseService, row: CaseRecord, review: UploadReview
) -> None:
    """Raise :class:`Conflict` if a certificate of the upload belongs to another client.

    This is a mistake of the provider. Nothing is recorded, so that the client of this case cannot
    read anything about the other client.
    """
    with service.context.read() as conn:
        # A matched certificate with a name of the case is the right one, even if it is shared.
        leaves = [
            x for x in review.leaves[:20] if not (review.matched and set(x.names) & set(row.names))
        ]
        # The limits bound the queries that one upload can cause.
        for name in [n for leaf in leaves for n in leaf.names[:50]]:
            owner = domain_owners.owner_of(conn, name.removeprefix("*."))
            if owner is not None and owner.client_id != row.client_id:
                raise Conflict(
                    f"This is a certificate of the client {owner.number}",
                    f"it is for {display(name)}, but the case belongs to the client {row.client}",
                    "Nothing was recorded. Choose the correct file or the correct case.",
                )


def _review(
    service: CaseService,
    row: CaseRecord,
    upload: VendorUpload,
    expected: Sequence[ExpectedCertificate] | None = None,
) -> tuple[UploadReview, Sequence[ExpectedCertificate]]:
    """Review an upload with the trust store of the configuration.

    Returns:
        The review, and the certificates that were expected: ``expected`` or those of the case.
    """
    with service.context.read() as conn:
        if expected is None:
            requested = issuances.of_case(conn, row.id)
            expected = [
                ExpectedCertificate(i.id, i.key_type, i.spki, i.sha256 is not None)
                for i in requested
                if i.spki
            ]
        # Intermediates from scans complete a chain that the vendor left out.
        issuers = Issuers()
        for der in certificates.issuers(conn):
            issuers.add(parse(der))
    # Outside of the connection above: a slow host must not keep the database busy.
    for certificate in fetch_missing_issuers(service, upload):
        issuers.add(certificate)
    trust = service.context.settings.trust
    return (
        review_upload(
            upload,
            expected,
            row.names,
            TrustStore.load(trust.store, trust.ca_files),
            issuers,
            service.now,
            ends=from_epoch(row.ends_at),
            rules=load_rules(rules_path(trust.rules)),
        ),
        expected,
    )


@dataclass(frozen=True, slots=True)
class _EnclosedKey:
    """A private key that an upload contains.

    Attributes:
        key_type: Such as ``ec-p256``.
        spki: SHA-256 of its public key.
        key: The key.
    """

    key_type: str
    spki: str
    key: Any


def _keys_of(upload: VendorUpload) -> Iterator[_EnclosedKey]:
    """Return the private keys of an upload that a case can have."""
    for data in upload.keys:
        # The sandbox that unpacked the upload has decrypted its keys.
        key: Any = load_pem(data)
        key_type = key_type_of(describe_key(key.public_key())[0])
        if key_type in KEY_TYPES:
            yield _EnclosedKey(key_type, requests.spki(key.public_key()), key)


def _enclosed_key(upload: VendorUpload) -> _EnclosedKey | None:
    """Return the private key of the upload that belongs to one of its leaves, if there is one."""
    leaves = {public_key_fingerprint(c) for c in upload.certificates if not c.is_ca}
    return next((k for k in _keys_of(upload) if k.spki in leaves), None)


def _record(
    service: CaseService,
    tx: Tx,
    row: CaseRecord,
    review: UploadReview,
    ids: Mapping[int, int],
    upload: VendorUpload,
    use_key: bool,
) -> None:
    """Record a reviewed upload: the transitions of the case, the certificates and their keys.

    Args:
        service: The service for cases.
        tx: The transaction.
        row: The row of the case.
        review: The review of the upload.
        ids: Issuance id of the review -> id of the row.
        upload: The parsed files.
        use_key: Whether to store a private key of the upload.
    """
    messages = messages_to_json(review.messages)
    leaves = [f"serial {c.serial}, SHA-256 {c.sha256}" for c in review.leaves[:5]]
    event_text = f"received: {'; '.join(leaves) or 'no leaf certificate'}"
    # A checked case has a usable certificate. A later upload that is refused must not replace it.
    if review.refused and row.state == CaseState.CHECKED:
        problems = " ".join(message_sentences(review.messages, refusing=True))
        case_changes.change(tx, row, "refuse", {}, f"{event_text}. {problems}")
        return
    # A refused upload is recorded as received too, so that the history shows the upload.
    received = service.transition(tx, row, CaseAction.RECEIVE, event_text, said=messages)
    if review.refused:
        problems = " ".join(message_sentences(review.messages, refusing=True))
        service.transition(tx, received, CaseAction.REFUSE, problems)
        return
    for match in review.matched:
        store_certificates(tx, match.chain)
        if use_key:
            _store_client_key(service, tx, row, upload, match)
        issuances.record_received(
            tx, ids[match.issuance_id], match.leaf.sha256, [c.sha256 for c in match.chain[1:]]
        )
    _record_validation(service, tx, row, review)
    # The last step: a case is `checked` only with its certificates and keys stored.
    remarks = " ".join(message_sentences(review.messages))
    service.transition(tx, received, CaseAction.ACCEPT, remarks or "it matches the request")


def _store_client_key(
    service: CaseService, tx: Tx, row: CaseRecord, upload: VendorUpload, match: MatchedCertificate
) -> None:
    """Store the key of the client's own CSR, if the upload contains it.

    The key is on disk before the case refers to it.
    """
    fingerprint = public_key_fingerprint(match.leaf)
    issuance = next(i for i in issuances.of_case(tx.conn, row.id) if i.spki == fingerprint)
    # The case has its key already, so that a second copy is not needed.
    if issuance.key_reference is not None:
        return
    for enclosed in _keys_of(upload):
        if enclosed.spki == fingerprint:
            path = service.keys.store_key(
                row.reference, enclosed.key_type, enclosed.key, enclosed=True
            )
            issuances.set_key_reference(tx, issuance.id, keystore.key_reference(path))


def _record_validation(service: CaseService, tx: Tx, row: CaseRecord, review: UploadReview) -> None:
    """Record the validations that the purchase must have had for these certificates.

    If the recorded validation is too old to be reused, the CA must have validated again.
    """
    # Validations are recorded per purchase.
    if row.order_id is None:
        return
    purchase = purchases.find(tx.conn, f"#{row.order_id}")
    # A vendor does not report when the CA validated. The begin of the certificate is the nearest
    # date that is known.
    at = max(
        (m.leaf.not_before for m in review.matched if m.leaf.not_before is not None),
        default=service.now,
    )
    values: dict[str, Any] = {}
    if not is_reusable(DCV_REUSE, from_epoch(purchase.dcv_at), at):
        values["dcv_at"] = int(at.timestamp())
    rules = organisation_rules(purchase.validation)
    if rules is not None and not is_reusable(rules, from_epoch(purchase.organisation_at), at):
        values["organisation_at"] = int(at.timestamp())
    if values:
        editing.edit(tx, StoredPurchase, purchase, values)


def store_certificates(tx: Tx, parsed: Sequence[Certificate]) -> None:
    """Store certificates in the database, if they are new."""
    certificates.add(tx, [asdict(certificate_row(c)) for c in parsed])


def message_sentences(messages: Sequence[ReviewMessage], *, refusing: bool = False) -> list[str]:
    """Return the messages as English sentences; only the refusing ones if ``refusing`` is set."""
    return [
        filled(UPLOAD_MESSAGES.get(m.code, m.code), m.values)
        for m in messages
        if m.refuses or not refusing
    ]


def attach_certificate(context: Context, purchase_key: str, certificate: str) -> str:
    """Link a certificate to a purchase.

    Args:
        context: The inventory and the clock.
        purchase_key: The key of the purchase.
        certificate: A file, a fingerprint or a serial number.

    Returns:
        The SHA-256 fingerprint of the certificate.

    Raises:
        NotFound: The purchase or the certificate does not exist.
        CertmgrError: The file does not contain exactly one leaf certificate.
    """
    path = Path(certificate)
    # Reading a pipe or a device might never end.
    refuse_special(path)
    with context.write() as tx:
        purchase = purchases.find(tx.conn, purchase_key)
        if path.is_file():
            leaves = [c for c in unpack(read_files([certificate])).certificates if not c.is_ca]
            if len(leaves) != 1:
                raise CertmgrError(
                    f"{certificate} contains {len(leaves)} leaf certificates",
                    "one certificate is linked at a time",
                    "Choose a file with one leaf certificate.",
                )
            store_certificates(tx, leaves)
            sha256 = leaves[0].sha256
        else:
            sha256 = certificates.find(tx.conn, certificate).sha256
        issuances.attach(tx, purchase.id, sha256)
    return sha256
