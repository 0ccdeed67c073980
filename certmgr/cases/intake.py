"""Keys, CSRs, and what comes back from vendors, in a case.

Each step is one transaction, or nothing.

Order of durability: a key is on disk and synced before its CSR is recorded (keys.py), so that a run
that died in between finds it again; a certificate is stored before the case says that it came.
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
    judge,
    key_of,
)
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, CaseState, after
from certmgr.config.settings import KEY_TYPES
from certmgr.inspection.issuers import IssuerFetcher
from certmgr.inspection.report import certificate_row
from certmgr.inspection.scan_run import ScanOptions, setup_for
from certmgr.purchases.terms import DCV_REUSE, organisation_rules, valid_for
from certmgr.scan.resolve import Resolver
from certmgr.x509 import csr as requests
from certmgr.x509 import key_store as keystore
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.upload import VendorUpload, read_files, unpack
from inventory.certificates import Certificate, describe_key, parse
from inventory.db.database import Database, Tx, from_epoch
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.models.tables import order as order_table
from inventory.names import display
from inventory.store import cases, purchases, records, scan_results
from inventory.store.records import Row
from inventory.text import printable
from notifiers.wording.cases import MATERIAL, filled

# -- key and CSR


def key_type_of(key: str) -> str:
    """``EC P-256`` -> ec-p256, ``RSA 2048`` -> rsa-2048."""
    return key.lower().replace("ec p-", "ec-p").replace(" ", "-")


def make_csr(
    desk: CaseService, reference: str, key_types: Sequence[str] = (), **subject: str
) -> list[str]:
    """Makes key and CSR, one a key type.

    A key that is there already (of a run that died before it was recorded) is the one that is used.
    """
    row = desk.read(reference)
    chosen = tuple(dict.fromkeys(key_types)) or (desk.settings.cases.key_type,)
    if unknown := [t for t in chosen if t not in KEY_TYPES]:
        raise UsageError(
            f"'{printable(unknown[0], 30)}' is not a kind of key",
            f"known are {', '.join(KEY_TYPES)}",
        )
    if len({t.partition("-")[0] for t in chosen}) < len(chosen):
        raise UsageError(
            "Two keys of the same kind",
            "a server has one RSA and one EC certificate for a name at most",
            "Give one of each.",
        )
    with desk.database.read() as conn:
        had = cases.issuances(conn, [row["id"]]).get(row["id"], [])
    if after(row["state"], CaseAction.CSR) is None:
        with desk.database.read() as conn:
            raise desk.not_allowed(Tx(conn, "", desk.now), row, CaseAction.CSR)
    made = []
    for key_type in chosen:
        path, key = desk.keys.make(row["reference"], key_type)
        pem = requests.make(key, row["names"], **subject).decode()
        made.append((key_type, requests.spki(key.public_key()), pem, keystore.key_reference(path)))
    with desk.database.write(desk.now) as tx:
        known = {i["spki"] for i in had if i["sha256"] is not None}
        cases.drop_issuances(tx, row["id"], also_received=True)
        for key_type, spki, pem, where in made:
            if spki in known:
                raise Conflict(
                    "The key of this case has a certificate already",
                    "a new one is asked for with a new key",
                    "Move the old key file away first, or open a new case.",
                )
            cases.add_issuance(
                tx,
                {
                    "case_id": row["id"],
                    "order_id": row["order_id"],
                    "key_type": key_type,
                    "spki": spki,
                    "csr": pem,
                    "key_reference": where,
                },
            )
        desk.move(
            tx, row, CaseAction.CSR, f"key and CSR made: {', '.join(chosen)}", own_csr=0, said="[]"
        )
    return [pem for _, _, pem, _ in made]


def take_csr(desk: CaseService, reference: str, data: bytes) -> requests.SigningRequest:
    """The client's own CSR. One with problems is not taken; the caller shows them."""
    row = desk.read(reference)
    request = requests.read(data, row["names"])
    with desk.database.read() as conn:
        ours = [
            i
            for i in cases.issuances(conn, [row["id"]]).get(row["id"], [])
            if i["spki"] == request.spki and i["key_reference"]
        ]
    if ours:
        raise Conflict(
            "This is the CSR that we made ourselves",
            "its key is with us",
            f"certmgr case send {row['reference']}",
        )
    if row["kind"] == "incident" and request.spki in _old_keys(desk, row):
        request = replace(request, problems=(*request.problems, ("csr-old-key", {})))
    if any(code != "csr-extra" for code, _ in request.problems):
        return request
    kind = key_type_of(request.key)
    with desk.database.write(desk.now) as tx:
        cases.drop_issuances(tx, row["id"])
        cases.add_issuance(
            tx,
            {
                "case_id": row["id"],
                "order_id": row["order_id"],
                "key_type": kind,
                "spki": request.spki,
                "csr": request.pem,
                "key_reference": None,
            },
        )
        desk.move(
            tx,
            row,
            CaseAction.CSR,
            f"the client's own CSR ({request.key}); the key stays with the client",
            own_csr=1,
            said="[]",
        )
    return request


def _old_keys(desk: CaseService, row: Row) -> set[str]:
    """Keys of what is replaced: in an incident they may be the reason for it."""
    with desk.database.read() as conn:
        ders = cases.chain_of(conn, (row["replaces"] or "").split())
    return {key_of(parse(d)) for d in ders} - {""}


def drop(desk: CaseService, reference: str, key_type: str) -> Row:
    """Does without a certificate that was asked for and has not come."""
    row = desk.read(reference)
    with desk.database.read() as conn:
        waiting = [
            i for i in cases.issuances(conn, [row["id"]]).get(row["id"], []) if i["sha256"] is None
        ]
    if key_type not in {i["key_type"] for i in waiting}:
        raise Conflict(
            f"The case {row['reference']} waits for no certificate of the kind {key_type[:30]}",
            "",
            f"See certmgr case show {row['reference']}.",
        )
    with desk.database.write(desk.now) as tx:
        cases.drop_issuances(tx, row["id"], key_type=key_type)
        return cases.change(tx, row, "drop", {}, f"done without a certificate for {key_type}")


def send(desk: CaseService, reference: str, text: str = "") -> Row:
    row = desk.read(reference)
    with desk.database.write(desk.now) as tx:
        return desk.move(
            tx, row, CaseAction.SEND, text or "the CSR goes to whoever buys, with the next notice"
        )


# -- what comes back


def receive(
    desk: CaseService, reference: str, material: VendorUpload, *, use_key: bool = False
) -> UploadReview:
    """Judges what came back, and records it with what is wrong with it.

    ``use_key``: take a key that came with it in the place of ours.
    """
    row = desk.read(reference)
    if after(row["state"], CaseAction.RECEIVE) is None:
        with desk.database.read() as conn:
            raise desk.not_allowed(Tx(conn, "", desk.now), row, CaseAction.RECEIVE)
    verdict, asked = _judge(desk, row, material)
    if not asked and not use_key:
        raise Conflict(
            f"The case {row['reference']} has no CSR yet",
            "so no certificate can be the one that was asked for",
            f"certmgr case csr {row['reference']}; or --use-key, where its key comes with it.",
        )
    if verdict.refused:
        _refuse_strangers(desk, row, verdict)
    enclosed = None
    if not verdict.good and use_key and (enclosed := _enclosed(material)) is not None:
        verdict, asked = _judge(
            desk, row, material, [ExpectedCertificate(0, enclosed[0], enclosed[1])]
        )
    with desk.database.write(desk.now) as tx:
        if enclosed is not None and not verdict.refused:
            path = desk.keys.keep(row["reference"], enclosed[0], enclosed[2], enclosed=True)
            cases.drop_issuances(tx, row["id"])
            values = {
                "case_id": row["id"],
                "order_id": row["order_id"],
                "key_type": enclosed[0],
                "spki": enclosed[1],
                "key_reference": keystore.key_reference(path),
            }
            ids = {0: cases.add_issuance(tx, values)}
        else:
            ids = {a.issuance_id: a.issuance_id for a in asked}
        _record(desk, tx, row, verdict, ids, material, use_key)
    return verdict


def judge_only(
    desk: CaseService, reference: str, material: VendorUpload, *, use_key: bool = False
) -> UploadReview:
    """Says what :func:`receive` would say, and records nothing."""
    row = desk.read(reference)
    verdict = _judge(desk, row, material)[0]
    if not verdict.good and use_key and (enclosed := _enclosed(material)) is not None:
        return _judge(desk, row, material, [ExpectedCertificate(0, enclosed[0], enclosed[1])])[0]
    return verdict


def _refuse_strangers(desk: CaseService, row: Row, verdict: UploadReview) -> None:
    """A certificate of another client is a slip of ours: nothing of it is recorded, and the client
    of this case reads nothing of it.
    """
    with desk.database.read() as conn:
        leaves = [
            x
            for x in verdict.leaves[:20]
            if not (verdict.good and set(x.names) & set(row["names"]))
        ]
        for name in [n for leaf in leaves for n in leaf.names[:50]]:
            owner = purchases.owner_of(conn, name.removeprefix("*."))
            if owner is not None and owner["client_id"] != row["client_id"]:
                raise Conflict(
                    f"This is a certificate of the client {owner['number']}",
                    f"it is for {display(name)}, and the case is of the client {row['client']}",
                    "Nothing was recorded. Name the right file, or the right case.",
                )


def _judge(
    desk: CaseService,
    row: Row,
    material: VendorUpload,
    asked: Sequence[ExpectedCertificate] | None = None,
) -> tuple[UploadReview, Sequence[ExpectedCertificate]]:
    with desk.database.read() as conn:
        if asked is None:
            known = cases.issuances(conn, [row["id"]]).get(row["id"], [])
            asked = [
                ExpectedCertificate(i["id"], i["key_type"], i["spki"], i["sha256"] is not None)
                for i in known
                if i["spki"]
            ]
        issuers = Issuers()
        for der in scan_results.issuers(conn):
            issuers.add(parse(der))
    for certificate in missing_issuers(desk, material):
        issuers.add(certificate)
    trust = desk.settings.trust
    return (
        judge(
            material,
            asked,
            row["names"],
            TrustStore.load(trust.store, trust.ca_files),
            issuers,
            desk.now,
            ends=from_epoch(row["ends_at"]),
        ),
        asked,
    )


def missing_issuers(desk: CaseService, material: VendorUpload) -> list[Certificate]:
    """Issuers by AIA, where [trust] fetch_issuers allows it: of the leaves that came without
    theirs, and of what was fetched.
    """
    if not desk.settings.trust.fetch_issuers:
        return []
    subjects = {c.subject_der for c in material.certificates}
    waiting = [
        c
        for c in material.certificates
        if c.parsed is not None and not c.self_issued and c.issuer_der not in subjects
    ]
    return asyncio.run(_fetch(desk, waiting[:5])) if waiting else []


async def _fetch(desk: CaseService, waiting: list[Certificate]) -> list[Certificate]:
    setup = setup_for(desk.settings, ScanOptions(), guarded=True)
    resolver = Resolver(servers=setup.resolvers, timeout=setup.dns_timeout, allowed=setup.allowed)
    fetcher, found = IssuerFetcher(resolver, setup.allowed), []
    try:
        for _ in range(3):  # a few floors up at most
            new = [c for one in waiting for c in await fetcher.issuers(one)]
            waiting = [c for c in new if c.is_ca and not c.self_issued and c not in found]
            found += new
    finally:
        await resolver.close()
    return found


def _enclosed(material: VendorUpload) -> tuple[str, str, Any] | None:
    """(key type, fingerprint, key) of a key that came with a certificate of its own."""

    leaves = {key_of(c) for c in material.certificates if not c.is_ca}
    for data in material.keys:
        key: Any = load_pem_private_key(data, None)
        spki = requests.spki(key.public_key())
        kind = key_type_of(describe_key(key.public_key())[0])
        if spki in leaves and kind in KEY_TYPES:
            return kind, spki, key
    return None


def _record(
    desk: CaseService,
    tx: Tx,
    row: Row,
    verdict: UploadReview,
    ids: Mapping[int, int],
    material: VendorUpload,
    use_key: bool,
) -> None:
    said = json.dumps([[s.code, s.values, s.refuses] for s in verdict.said])
    seen = [f"serial {c.serial}, SHA-256 {c.sha256}" for c in verdict.leaves[:5]]
    if verdict.refused and row["state"] == CaseState.CHECKED:
        # What is there already is good, and stays.
        words = " ".join(sentences(verdict.said, refusing=True))
        cases.change(
            tx,
            row,
            "refuse",
            {},
            f"received: {'; '.join(seen) or 'no certificate of its own'}. {words}",
        )
        return
    now_ = desk.move(
        tx,
        row,
        CaseAction.RECEIVE,
        f"received: {'; '.join(seen) or 'no certificate of its own'}",
        said=said,
    )
    if verdict.refused:
        desk.move(tx, now_, CaseAction.REFUSE, " ".join(sentences(verdict.said, refusing=True)))
        return
    for good in verdict.good:
        store(tx, good.chain)
        if use_key:
            _keep_theirs(desk, tx, row, material, good)
        cases.received(
            tx, ids[good.issuance_id], good.leaf.sha256, [c.sha256 for c in good.chain[1:]]
        )
    _validated(desk, tx, row, verdict)
    desk.move(
        tx, now_, CaseAction.ACCEPT, " ".join(sentences(verdict.said)) or "it is what was asked for"
    )


def _keep_theirs(
    desk: CaseService, tx: Tx, row: Row, material: VendorUpload, good: MatchedCertificate
) -> None:
    """The key of the client's own CSR, which came with its certificate: stored before the case says
    that we have it.
    """

    known = next(
        i
        for i in cases.issuances(tx.conn, [row["id"]])[row["id"]]
        if i["spki"] == key_of(good.leaf)
    )
    if known["key_reference"] is not None:
        return
    for data in material.keys:
        key: Any = load_pem_private_key(data, None)
        kind = key_type_of(describe_key(key.public_key())[0])
        if requests.spki(key.public_key()) == key_of(good.leaf) and kind in KEY_TYPES:
            path = desk.keys.keep(row["reference"], kind, key, enclosed=True)
            cases.has_key(tx, known["id"], keystore.key_reference(path))


def _validated(desk: CaseService, tx: Tx, row: Row, verdict: UploadReview) -> None:
    """A certificate that could not have been issued without a new validation says that there was
    one.
    """
    if row["order_id"] is None:
        return
    purchase = purchases.find(tx.conn, f"#{row['order_id']}")
    at = max(
        (g.leaf.not_before for g in verdict.good if g.leaf.not_before is not None), default=desk.now
    )
    values: dict[str, Any] = {}
    if not valid_for(DCV_REUSE, from_epoch(purchase["dcv_at"]), at):
        values["dcv_at"] = int(at.timestamp())
    rules = organisation_rules(purchase["validation"])
    if rules is not None and not valid_for(rules, from_epoch(purchase["organisation_at"]), at):
        values["organisation_at"] = int(at.timestamp())
    if values:
        records.edit(tx, order_table, {k: v for k, v in purchase.items() if k != "client"}, values)


def store(tx: Tx, certificates: Sequence[Certificate]) -> None:
    scan_results.add_certificates(tx, [asdict(certificate_row(c)) for c in certificates])


def sentences(said: Sequence[ReviewMessage], *, refusing: bool = False) -> list[str]:
    """In English; of the refusing ones alone where asked."""
    return [
        filled(MATERIAL.get(s.code, s.code), s.values) for s in said if s.refuses or not refusing
    ]


def attach(database: Database, now: datetime, order_key: str, given: str) -> str:
    """Links a certificate (a file, a fingerprint or a serial number) to an order.

    Returns its SHA-256.
    """
    path = Path(given)
    with database.write(now) as tx:
        purchase = purchases.find(tx.conn, order_key)
        if path.is_file():
            leaves = [c for c in unpack(read_files([given])).certificates if not c.is_ca]
            if len(leaves) != 1:
                raise CertmgrError(
                    f"{given} holds {len(leaves)} certificates of a server",
                    "one is linked at a time",
                    "Name a file with one.",
                )
            store(tx, leaves)
            sha256 = leaves[0].sha256
        else:
            sha256 = purchases.find_certificate(tx.conn, given)["sha256"]
        purchases.attach(tx, purchase["id"], sha256)
    return sha256
