"""Keys, CSRs, and what comes back from vendors, in a case. Each step is one transaction, or nothing.

Order of durability: a key is on disk and synced before its CSR is recorded (keys.py), so that a run that died in between finds it again; a certificate is
stored before the case says that it came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from certmgr.cases import csr as requests
from certmgr.cases import keys as keystore
from certmgr.cases.check import Asked, Said, Verdict, judge, key_of
from certmgr.cases.material import Material, read_files, unpack
from certmgr.cases.states import Action, after
from certmgr.cases.work import Desk
from certmgr.checks.trust import Issuers, TrustStore
from certmgr.config import KEY_TYPES
from certmgr.orders.terms import DCV_REUSE, organisation_rules, valid_for
from certmgr.scan.fetch import Fetcher
from certmgr.scan.report import certificate_row
from certmgr.scan.resolve import Resolver
from certmgr.survey import Options, setup_for
from inventory.certificates import Certificate, describe_key, parse
from inventory.database import Database, Tx, from_epoch
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.store import cases, orders, records, results
from inventory.store.records import Row
from inventory.tables import order as order_table
from notifiers.wording.cases import MATERIAL, filled

# -- key and CSR --------------------------------------------------------------------------------------------------------------


def make_csr(desk: Desk, reference: str, key_types: Sequence[str] = (), **subject: str) -> list[str]:
    """Makes key and CSR, one a key type. A key that is there already (of a run that died before it was recorded) is the one that is used."""
    row = desk.read(reference)
    chosen = tuple(dict.fromkeys(key_types)) or (desk.settings.cases.key_type,)
    if len({t.partition("-")[0] for t in chosen}) < len(chosen):
        raise UsageError(
            "Two keys of the same kind", "a server has one RSA and one EC certificate for a name at most", "Give one of each."
        )
    with desk.database.read() as conn:
        had = cases.issuances(conn, [row["id"]]).get(row["id"], [])
    if after(row["state"], Action.CSR) is None:
        with desk.database.read() as conn:
            raise desk.not_allowed(Tx(conn, "", desk.now), row, Action.CSR)
    made = []
    for key_type in chosen:
        path, key = desk.keys.make(row["reference"], key_type)
        pem = requests.make(key, row["names"], **subject).decode()
        made.append((key_type, requests.spki(key.public_key()), pem, keystore.key_reference(path)))
    with desk.database.write(desk.now) as tx:
        cases.drop_issuances(tx, row["id"])
        known = {i["spki"] for i in had if i["sha256"] is not None}
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
        desk.move(tx, row, Action.CSR, f"key and CSR made: {', '.join(chosen)}", own_csr=0, said="[]")
    return [pem for _, _, pem, _ in made]


def take_csr(desk: Desk, reference: str, data: bytes) -> requests.Request:
    """The client's own CSR. One with problems is not taken; the caller shows them."""
    row = desk.read(reference)
    request = requests.read(data, row["names"])
    if any(code != "csr-extra" for code, _ in request.problems):
        return request
    kind = request.key.lower().replace(" ", "-")
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
            tx, row, Action.CSR, f"the client's own CSR ({request.key}); the key stays with the client", own_csr=1, said="[]"
        )
    return request


def send(desk: Desk, reference: str, text: str = "") -> Row:
    row = desk.read(reference)
    with desk.database.write(desk.now) as tx:
        return desk.move(tx, row, Action.SEND, text or "the CSR goes to whoever buys, with the next notice")


# -- what comes back ------------------------------------------------------------------------------------------------------------


def receive(desk: Desk, reference: str, material: Material, *, use_key: bool = False) -> Verdict:
    """Judges what came back, and records it with what is wrong with it. ``use_key``: take a key that came with it in the place of ours."""
    row = desk.read(reference)
    if after(row["state"], Action.RECEIVE) is None:
        with desk.database.read() as conn:
            raise desk.not_allowed(Tx(conn, "", desk.now), row, Action.RECEIVE)
    verdict, asked = _judge(desk, row, material)
    enclosed = None
    if not verdict.good and use_key and (enclosed := _enclosed(material)) is not None:
        verdict, asked = _judge(desk, row, material, [Asked(0, enclosed[0], enclosed[1])])
    with desk.database.write(desk.now) as tx:
        if enclosed is not None and not verdict.refused:
            path = desk.keys.keep(row["reference"], enclosed[0], enclosed[2])
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
        _record(desk, tx, row, verdict, ids)
    return verdict


def judge_only(desk: Desk, reference: str, material: Material) -> Verdict:
    """Says what :func:`receive` would say, and records nothing."""
    return _judge(desk, desk.read(reference), material)[0]


def _judge(desk: Desk, row: Row, material: Material, asked: Sequence[Asked] | None = None) -> tuple[Verdict, Sequence[Asked]]:
    with desk.database.read() as conn:
        if asked is None:
            known = cases.issuances(conn, [row["id"]]).get(row["id"], [])
            asked = [Asked(i["id"], i["key_type"], i["spki"]) for i in known if i["spki"]]
        issuers = Issuers()
        for der in results.issuers(conn):
            issuers.add(parse(der))
    for certificate in missing_issuers(desk, material):
        issuers.add(certificate)
    trust = desk.settings.trust
    return judge(
        material,
        asked,
        row["names"],
        TrustStore.load(trust.store, trust.ca_files),
        issuers,
        desk.now,
        ends=from_epoch(row["ends_at"]),
    ), asked


def missing_issuers(desk: Desk, material: Material) -> list[Certificate]:
    """Issuers by AIA, where [trust] fetch_issuers allows it: of the leaves that came without theirs, and of what was fetched."""
    if not desk.settings.trust.fetch_issuers:
        return []
    subjects = {c.subject_der for c in material.certificates}
    waiting = [c for c in material.certificates if c.parsed is not None and not c.self_issued and c.issuer_der not in subjects]
    return asyncio.run(_fetch(desk, waiting[:5])) if waiting else []


async def _fetch(desk: Desk, waiting: list[Certificate]) -> list[Certificate]:
    setup = setup_for(desk.settings, Options(), guarded=True)
    resolver = Resolver(servers=setup.resolvers, timeout=setup.dns_timeout, allowed=setup.allowed)
    fetcher, found = Fetcher(resolver, setup.allowed), []
    try:
        for _ in range(3):  # a few floors up at most
            new = [c for one in waiting for c in await fetcher.issuers(one)]
            waiting = [c for c in new if c.is_ca and not c.self_issued and c not in found]
            found += new
    finally:
        await resolver.close()
    return found


def _enclosed(material: Material) -> tuple[str, str, Any] | None:
    """(key type, fingerprint, key) of a key that came with a certificate of its own."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    leaves = {key_of(c) for c in material.certificates if not c.is_ca}
    for data in material.keys:
        key: Any = load_pem_private_key(data, None)
        spki = requests.spki(key.public_key())
        kind = describe_key(key.public_key())[0].lower().replace(" ", "-")
        if spki in leaves and kind in KEY_TYPES:
            return kind, spki, key
    return None


def _record(desk: Desk, tx: Tx, row: Row, verdict: Verdict, ids: Mapping[int, int]) -> None:
    said = json.dumps([[s.code, s.values, s.refuses] for s in verdict.said])
    seen = [f"serial {c.serial}, SHA-256 {c.sha256}" for c in verdict.leaves[:5]]
    now_ = desk.move(tx, row, Action.RECEIVE, f"received: {'; '.join(seen) or 'no certificate of its own'}", said=said)
    if verdict.refused:
        desk.move(tx, now_, Action.REFUSE, " ".join(sentences(verdict.said, refusing=True)))
        return
    for good in verdict.good:
        store(tx, good.chain)
        cases.received(tx, ids[good.issuance_id], good.leaf.sha256, [c.sha256 for c in good.chain[1:]])
    _validated(desk, tx, row, verdict)
    desk.move(tx, now_, Action.ACCEPT, " ".join(sentences(verdict.said)) or "it is what was asked for")


def _validated(desk: Desk, tx: Tx, row: Row, verdict: Verdict) -> None:
    """A certificate that could not have been issued without a new validation says that there was one."""
    if row["order_id"] is None:
        return
    purchase = orders.find(tx.conn, f"#{row['order_id']}")
    at = max((g.leaf.not_before for g in verdict.good if g.leaf.not_before is not None), default=desk.now)
    values: dict[str, Any] = {}
    if not valid_for(DCV_REUSE, from_epoch(purchase["dcv_at"]), at):
        values["dcv_at"] = int(at.timestamp())
    rules = organisation_rules(purchase["validation"])
    if rules is not None and not valid_for(rules, from_epoch(purchase["organisation_at"]), at):
        values["organisation_at"] = int(at.timestamp())
    if values:
        records.edit(tx, order_table, {k: v for k, v in purchase.items() if k != "client"}, values)


def store(tx: Tx, certificates: Sequence[Certificate]) -> None:
    results.add_certificates(tx, [asdict(certificate_row(c)) for c in certificates])


def sentences(said: Sequence[Said], *, refusing: bool = False) -> list[str]:
    """In English; of the refusing ones alone where asked."""
    return [filled(MATERIAL.get(s.code, s.code), s.values) for s in said if s.refuses or not refusing]


def attach(database: Database, now: datetime, order_key: str, given: str) -> str:
    """Links a certificate (a file, a fingerprint or a serial number) to an order. Returns its SHA-256."""
    path = Path(given)
    with database.write(now) as tx:
        purchase = orders.find(tx.conn, order_key)
        if path.is_file():
            leaves = [c for c in unpack(read_files([given])).certificates if not c.is_ca]
            if len(leaves) != 1:
                raise CertmgrError(
                    f"{given} holds {len(leaves)} certificates of a server", "one is linked at a time", "Name a file with one."
                )
            store(tx, leaves)
            sha256 = leaves[0].sha256
        else:
            sha256 = orders.find_certificate(tx.conn, given)["sha256"]
        orders.attach(tx, purchase["id"], sha256)
    return sha256
