"""Keys, CSRs and vendor uploads of a case.

Each function is one transaction, or changes nothing.

Order of durability: a key is on disk and synced before its CSR is recorded
(certmgr/x509/key_store.py). A process that dies in between leaves a key that the next call uses.
A certificate is stored before the case is marked as received.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.cases.check import (
    ExpectedCertificate,
    MatchedCertificate,
    ReviewMessage,
    UploadReview,
    public_key_fingerprint,
    review_upload,
)
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, next_state
from certmgr.config.checks import KEY_TYPES
from certmgr.inspection.issuers import IssuerFetcher
from certmgr.inspection.report import certificate_row
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.purchases.terms import DCV_REUSE, is_reusable, organisation_rules
from certmgr.scan.resolve import Resolver
from certmgr.x509 import csr as requests
from certmgr.x509 import key_store as keystore
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.trust_data import load_rules, rules_path
from certmgr.x509.upload import VendorUpload, read_files, unpack
from inventory.certificates import Certificate, describe_key, parse
from inventory.db.database import Database, Tx, from_epoch
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.models import StoredPurchase
from inventory.names import display
from inventory.records import CaseRecord
from inventory.store import cases, certificates, editing, purchases
from inventory.text import printable
from inventory.vocabulary import CaseState
from notifiers.wording.cases import UPLOAD_MESSAGES, filled

# -- key and CSR


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
    chosen = tuple(dict.fromkeys(key_types)) or (service.settings.cases.key_type,)
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
    with service.database.read() as conn:
        earlier = cases.issuances(conn, [row.id]).get(row.id, [])
    if next_state(row.state, CaseAction.CSR) is None:
        with service.database.read() as conn:
            raise service.not_allowed(Tx(conn, "", service.now), row, CaseAction.CSR)
    created = []
    for key_type in chosen:
        path, key = service.keys.make(row.reference, key_type)
        pem = requests.make(key, row.names, **subject).decode()
        created.append(
            (key_type, requests.spki(key.public_key()), pem, keystore.key_reference(path))
        )
    with service.database.write(service.now) as tx:
        certified = {i.spki for i in earlier if i.sha256 is not None}
        cases.drop_issuances(tx, row.id, also_received=True)
        for key_type, spki, pem, key_reference in created:
            if spki in certified:
                raise Conflict(
                    "The key of this case has a certificate already",
                    "a new certificate is requested with a new key",
                    "Move the old key file away first, or open a new case.",
                )
            cases.add_issuance(
                tx,
                {
                    "case_id": row.id,
                    "order_id": row.order_id,
                    "key_type": key_type,
                    "spki": spki,
                    "csr": pem,
                    "key_reference": key_reference,
                },
            )
        service.transition(
            tx,
            row,
            CaseAction.CSR,
            f"key and CSR created: {', '.join(chosen)}",
            own_csr=0,
            said="[]",
        )
    return [pem for _, _, pem, _ in created]


def record_client_csr(service: CaseService, reference: str, data: bytes) -> requests.SigningRequest:
    """Record the client's own CSR.

    A CSR with problems is not recorded. The caller shows the problems of the result.

    Args:
        service: The service for cases.
        reference: The reference of the case.
        data: The CSR in PEM or DER form.

    Raises:
        Conflict: The CSR was created by the provider, or the state does not allow a CSR.
    """
    row = service.read(reference)
    request = requests.read(data, row.names)
    with service.database.read() as conn:
        ours = [
            i
            for i in cases.issuances(conn, [row.id]).get(row.id, [])
            if i.spki == request.spki and i.key_reference
        ]
    # Recorded as the client's CSR, the case would lose the reference to its key.
    if ours:
        raise Conflict(
            "This CSR was created by certmgr",
            "the provider has its key, so that it is not the client's CSR",
            f"certmgr case send {row.reference}",
        )
    # In an incident the old key may be compromised, so that it must not be used again.
    if row.kind == "incident" and request.spki in _old_keys(service, row):
        request = replace(request, problems=(*request.problems, ("csr-old-key", {})))
    # Additional names do no harm; every other problem prevents a usable certificate.
    if any(code != "csr-extra" for code, _ in request.problems):
        return request
    key_type = key_type_of(request.key)
    with service.database.write(service.now) as tx:
        cases.drop_issuances(tx, row.id)
        cases.add_issuance(
            tx,
            {
                "case_id": row.id,
                "order_id": row.order_id,
                "key_type": key_type,
                "spki": request.spki,
                "csr": request.pem,
                "key_reference": None,
            },
        )
        service.transition(
            tx,
            row,
            CaseAction.CSR,
            f"the client's own CSR ({request.key}); the client keeps the key",
            own_csr=1,
            said="[]",
        )
    return request


def _old_keys(service: CaseService, row: CaseRecord) -> set[str]:
    """Return the public keys of the certificates that the case replaces."""
    with service.database.read() as conn:
        ders = cases.chain_of(conn, (row.replaces or "").split())
    return {public_key_fingerprint(parse(d)) for d in ders} - {""}


def drop_certificate(service: CaseService, reference: str, key_type: str) -> CaseRecord:
    """Drop a requested certificate that has not been received.

    Raises:
        Conflict: The case does not wait for a certificate of this key type.
    """
    row = service.read(reference)
    with service.database.read() as conn:
        waiting = [i for i in cases.issuances(conn, [row.id]).get(row.id, []) if i.sha256 is None]
    # A received certificate is part of the case and stays.
    if key_type not in {i.key_type for i in waiting}:
        raise Conflict(
            f"The case {row.reference} does not wait for a certificate with the key type"
            f" {key_type[:30]}",
            "",
            f"See certmgr case show {row.reference}.",
        )
    with service.database.write(service.now) as tx:
        cases.drop_issuances(tx, row.id, key_type=key_type)
        return cases.change(tx, row, "drop", {}, f"dropped the certificate for {key_type}")


def send_csr(service: CaseService, reference: str, text: str = "") -> CaseRecord:
    """Hand over the CSR to the buyer. The next notification run sends it to the client."""
    row = service.read(reference)
    with service.database.write(service.now) as tx:
        return service.transition(
            tx, row, CaseAction.SEND, text or "the next notice sends the CSR to the buyer"
        )


# -- vendor uploads


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
    if next_state(row.state, CaseAction.RECEIVE) is None:
        with service.database.read() as conn:
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
            service, row, upload, [ExpectedCertificate(0, enclosed[0], enclosed[1])]
        )
    with service.database.write(service.now) as tx:
        if enclosed is not None and not review.refused:
            path = service.keys.store_key(row.reference, enclosed[0], enclosed[2], enclosed=True)
            cases.drop_issuances(tx, row.id)
            values = {
                "case_id": row.id,
                "order_id": row.order_id,
                "key_type": enclosed[0],
                "spki": enclosed[1],
                "key_reference": keystore.key_reference(path),
            }
            ids = {0: cases.add_issuance(tx, values)}
        else:
            ids = {e.issuance_id: e.issuance_id for e in expected}
        _record(service, tx, row, review, ids, upload, use_key)
    return review


def preview_upload(
    service: CaseService, reference: str, upload: VendorUpload, *, use_key: bool = False
) -> UploadReview:
    """Return the review that :func:`receive` would return, without recording it."""
    row = service.read(reference)
    review = _review(service, row, upload)[0]
    if not review.matched and use_key and (enclosed := _enclosed_key(upload)) is not None:
        return _review(service, row, upload, [ExpectedCertificate(0, enclosed[0], enclosed[1])])[0]
    return review


def _refuse_certificate_of_another_client(
    service: CaseService, row: CaseRecord, review: UploadReview
) -> None:
    """Raise :class:`Conflict` if a certificate of the upload belongs to another client.

    This is a mistake of the provider. Nothing is recorded, so that the client of this case cannot
    read anything about the other client.
    """
    with service.database.read() as conn:
        # A matched certificate with a name of the case is the right one, even if it is shared.
        leaves = [
            x for x in review.leaves[:20] if not (review.matched and set(x.names) & set(row.names))
        ]
        for name in [n for leaf in leaves for n in leaf.names[:50]]:
            owner = purchases.owner_of(conn, name.removeprefix("*."))
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
    with service.database.read() as conn:
        if expected is None:
            issuances = cases.issuances(conn, [row.id]).get(row.id, [])
            expected = [
                ExpectedCertificate(i.id, i.key_type, i.spki, i.sha256 is not None)
                for i in issuances
                if i.spki
            ]
        # Intermediates from scans complete a chain that the vendor left out.
        issuers = Issuers()
        for der in certificates.issuers(conn):
            issuers.add(parse(der))
    for certificate in fetch_missing_issuers(service, upload):
        issuers.add(certificate)
    trust = service.settings.trust
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


def fetch_missing_issuers(service: CaseService, upload: VendorUpload) -> list[Certificate]:
    """Fetch the missing issuers of an upload from their AIA URLs (RFC 5280, 4.2.2.1).

    Nothing is fetched unless ``[trust] fetch_issuers`` allows it.
    """
    # The URLs come from the certificate, so that an administrator has to allow these requests.
    if not service.settings.trust.fetch_issuers:
        return []
    subjects = {c.subject_der for c in upload.certificates}
    # A self-issued certificate has no further issuer.
    waiting = [
        c
        for c in upload.certificates
        if c.parsed is not None and not c.self_issued and c.issuer_der not in subjects
    ]
    return asyncio.run(_fetch(service, waiting[:5])) if waiting else []


async def _fetch(service: CaseService, waiting: list[Certificate]) -> list[Certificate]:
    """Fetch the issuers of these certificates, and then the issuers of those."""
    setup = setup_for(service.settings, ScanOptions(), guarded=True)
    resolver = Resolver(servers=setup.resolvers, timeout=setup.dns_timeout, allowed=setup.allowed)
    fetcher, fetched = IssuerFetcher(resolver, setup.allowed), []
    try:
        # Three levels bound the requests that a hostile certificate can cause.
        for _ in range(3):
            new = [c for certificate in waiting for c in await fetcher.issuers(certificate)]
            waiting = [c for c in new if c.is_ca and not c.self_issued and c not in fetched]
            fetched += new
    finally:
        await resolver.close()
    return fetched


def _enclosed_key(upload: VendorUpload) -> tuple[str, str, Any] | None:
    """Return the private key of the upload that belongs to one of its leaves.

    Returns:
        Key type, fingerprint and key; None if there is no such key.
    """
    leaves = {public_key_fingerprint(c) for c in upload.certificates if not c.is_ca}
    for data in upload.keys:
        key: Any = load_pem_private_key(data, None)
        spki = requests.spki(key.public_key())
        key_type = key_type_of(describe_key(key.public_key())[0])
        if spki in leaves and key_type in KEY_TYPES:
            return key_type, spki, key
    return None


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
    messages = json.dumps([[m.code, m.values, m.refuses] for m in review.messages])
    leaves = [f"serial {c.serial}, SHA-256 {c.sha256}" for c in review.leaves[:5]]
    event_text = f"received: {'; '.join(leaves) or 'no leaf certificate'}"
    # A checked case has a usable certificate. A later upload that is refused must not replace it.
    if review.refused and row.state == CaseState.CHECKED:
        problems = " ".join(message_sentences(review.messages, refusing=True))
        cases.change(tx, row, "refuse", {}, f"{event_text}. {problems}")
        return
    received = service.transition(tx, row, CaseAction.RECEIVE, event_text, said=messages)
    if review.refused:
        problems = " ".join(message_sentences(review.messages, refusing=True))
        service.transition(tx, received, CaseAction.REFUSE, problems)
        return
    for match in review.matched:
        store_certificates(tx, match.chain)
        if use_key:
            _store_client_key(service, tx, row, upload, match)
        cases.received(
            tx, ids[match.issuance_id], match.leaf.sha256, [c.sha256 for c in match.chain[1:]]
        )
    _record_validation(service, tx, row, review)
    remarks = " ".join(message_sentences(review.messages))
    service.transition(tx, received, CaseAction.ACCEPT, remarks or "it matches the request")


def _store_client_key(
    service: CaseService, tx: Tx, row: CaseRecord, upload: VendorUpload, match: MatchedCertificate
) -> None:
    """Store the key of the client's own CSR, if the upload contains it.

    The key is on disk before the case refers to it.
    """
    fingerprint = public_key_fingerprint(match.leaf)
    issuance = next(i for i in cases.issuances(tx.conn, [row.id])[row.id] if i.spki == fingerprint)
    # The case has its key already, so that a second copy is not needed.
    if issuance.key_reference is not None:
        return
    for data in upload.keys:
        key: Any = load_pem_private_key(data, None)
        key_type = key_type_of(describe_key(key.public_key())[0])
        if requests.spki(key.public_key()) == fingerprint and key_type in KEY_TYPES:
            path = service.keys.store_key(row.reference, key_type, key, enclosed=True)
            cases.has_key(tx, issuance.id, keystore.key_reference(path))


def _record_validation(service: CaseService, tx: Tx, row: CaseRecord, review: UploadReview) -> None:
    """Record the validations that the purchase must have had for these certificates.

    If the recorded validation is too old to be reused, the CA must have validated again.
    """
    # Validations are recorded per purchase.
    if row.order_id is None:
        return
    purchase = purchases.find(tx.conn, f"#{row.order_id}")
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


def attach_certificate(
    database: Database, now: datetime, purchase_key: str, certificate: str
) -> str:
    """Link a certificate to a purchase.

    Args:
        database: The database of the inventory.
        now: The current time.
        purchase_key: The key of the purchase.
        certificate: A file, a fingerprint or a serial number.

    Returns:
        The SHA-256 fingerprint of the certificate.

    Raises:
        NotFound: The purchase or the certificate does not exist.
        CertmgrError: The file does not contain exactly one leaf certificate.
    """
    path = Path(certificate)
    with database.write(now) as tx:
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
            sha256 = purchases.find_certificate(tx.conn, certificate).sha256
        purchases.attach(tx, purchase.id, sha256)
    return sha256
