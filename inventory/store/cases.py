"""Cases: their rows, names, events and issuances.

Every change counts the version up, in one statement that asks for the version it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, and_, delete, func, insert, select, update

from inventory.db.database import Tx, from_epoch
from inventory.db.sql import chunks, fetch, fetch_all, fetch_one, insert_id
from inventory.errors import Conflict, NotFound
from inventory.models import (
    Case,
    CaseEvent,
    CaseName,
    Client,
    Contact,
    Domain,
    Endpoint,
    Issuance,
    PurchaseName,
    ServedChain,
    Server,
    StoredCertificate,
    StoredPurchase,
    Ticket,
)
from inventory.records import (
    BilledCase,
    CaseEventRecord,
    CaseRecord,
    ClientEndpoint,
    ExpectedLeaf,
    IssuanceRecord,
    LiveLeaf,
    TicketRecord,
)
from inventory.store import tickets
from inventory.text import printable

OPEN = (
    "requested",
    "csr-ready",
    "waiting-purchase",
    "received",
    "checked",
    "window-agreed",
    "installed",
    "seen-live",
    "reopened",
)
Scope = int | None
C = TypeVar("C", bound=CaseRecord)


def matter_key(case_id: int, client_id: int) -> str:
    return f"case:{case_id}:{client_id}"


def open_(tx: Tx, values: Mapping[str, Any], names: Sequence[str], text: str) -> CaseRecord:
    """Opens a case with its matter, in the transaction of ``tx``.

    Where one of its names has an open matter of which the client was notified, the case continues
    under that reference, so that the client has one reference for all messages.
    """
    row: dict[str, Any] = {
        "version": 1,
        "step": 1,
        "since": tx.at,
        "opened_at": tx.at,
        "reference": "",
    } | dict(values)
    inherited = _matter_of(tx.conn, row["client_id"], names)
    reference = inherited.reference if inherited is not None else tickets.new_reference()
    while tx.conn.execute(select(Case.id).where(Case.reference == reference)).first() is not None:
        inherited, reference = None, tickets.new_reference()
    row["reference"] = reference
    key = insert_id(tx.conn, Case, row)
    case_id = key
    tx.conn.execute(
        insert(CaseName), [{"case_id": case_id, "name": n} for n in dict.fromkeys(names)]
    )
    home = tx.conn.execute(_home(row["client_id"], names)).first()
    about = {
        "key": matter_key(case_id, row["client_id"]),
        "kind": "case",
        "client_id": row["client_id"],
        "domain_id": home[0] if home else None,
        "cause": f"case {reference}",
        "round": "",
    }
    if inherited is not None:
        empty = dict.fromkeys(
            (
                "closed_at",
                "acked_at",
                "acked_by",
                "hold",
                "released_at",
                "promised_at",
                "endpoint_id",
                "code",
                "told_at",
            )
        )
        tx.conn.execute(update(Ticket).where(Ticket.id == inherited.id).values(about | empty))
    else:
        tx.conn.execute(insert(Ticket).values(about | {"reference": reference, "opened_at": tx.at}))
    _event(tx, case_id, 1, "open", None, row["state"], text)
    tx.audit(
        "open",
        "case",
        case_id,
        {"reference": reference, "kind": row["kind"], "state": row["state"]},
    )
    return find(tx.conn, reference)


def lock_client(tx: Tx, client_id: int) -> None:
    """Two who open a case of one client wait for each other (SQLite has one writer anyway)."""
    if tx.conn.dialect.name == "postgresql":
        tx.conn.execute(select(Client.id).where(Client.id == client_id).with_for_update())


def _home(client_id: int, names: Sequence[str]) -> Any:
    hosts = [n.removeprefix("*.") for n in names]
    query = select(Domain.id).where(
        Domain.client_id == client_id, Domain.state != "retired", Domain.name.in_(hosts)
    )
    return query.order_by(Domain.id).limit(1)


def _matter_of(conn: Connection, client_id: int, names: Sequence[str]) -> TicketRecord | None:
    """The open matter about the cover of one of these names that the client was notified of."""
    query = (
        select(Ticket)
        .join(Endpoint, Endpoint.id == Ticket.endpoint_id)
        .where(
            Ticket.kind == "cover",
            Ticket.client_id == client_id,
            Ticket.closed_at.is_(None),
            Ticket.told_at.is_not(None),
            Endpoint.host.in_(list(names)),
        )
        .order_by(Ticket.id)
        .limit(1)
    )
    return fetch_one(conn, TicketRecord, query)


def _event(
    tx: Tx,
    case_id: int,
    version: int,
    action: str,
    before: str | None,
    after: str | None,
    text: str,
) -> None:
    values = {
        "case_id": case_id,
        "version": version,
        "at": tx.at,
        "by": tx.actor,
        "action": action,
        "before": before,
        "after": after,
        "text": text[:4000],
    }
    tx.conn.execute(insert(CaseEvent).values(values))


def change(
    tx: Tx, before: CaseRecord, action: str, values: Mapping[str, Any], text: str = ""
) -> CaseRecord:
    """Writes ``values`` and the event, if the case did not change since ``before`` was read.

    Raises :class:`Conflict`, which names the other change.
    """
    after = values.get("state", before.state)
    moved = after != before.state or values.get("step") is not None
    done = tx.conn.execute(
        update(Case)
        .where(Case.id == before.id, Case.version == before.version)
        .values(
            {
                **values,
                "version": before.version + 1,
                "step": before.step + 1 if moved else before.step,
            }
        )
    )
    if done.rowcount != 1:
        raise moved_meanwhile(tx.conn, before)
    _event(tx, before.id, before.version + 1, action, before.state, after, text)
    tx.audit(action, "case", before.id, {"state": [before.state, after]})
    return find(tx.conn, before.reference)


def moved_meanwhile(conn: Connection, before: CaseRecord) -> Conflict:
    said = [
        f"{e.by} at {_time(e.at)}: {e.action}" + (f", now {e.after}" if e.after != e.before else "")
        for e in events(conn, before.id)
        if e.version > before.version
    ]
    return Conflict(
        f"The case {before.reference} was changed meanwhile",
        "; ".join(said)[:500],
        f"Nothing of yours was done. See certmgr case show {before.reference}.",
    )


def _time(seconds: int) -> str:
    moment = from_epoch(seconds)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


_STAFF = Contact.__table__.alias("staff")
_HOME = Domain.__table__.alias("home")
_ALL = (
    select(
        Case,
        Client.number.label("client"),
        Client.name.label("client_name"),
        Client.account_manager,
        Client.state.label("client_state"),
        Ticket.domain_id,
        _HOME.c.client_id.label("domain_client"),
        _HOME.c.state.label("domain_state"),
        Contact.name.label("contact"),
        _STAFF.c.name.label("staff"),
    )
    .join(Client, Client.id == Case.client_id)
    .outerjoin(Contact, Contact.id == Case.contact_id)
    .outerjoin(_STAFF, _STAFF.c.id == Case.staff_id)
    .outerjoin(Ticket, Ticket.reference == Case.reference)
    .outerjoin(_HOME, _HOME.c.id == Ticket.domain_id)
)


def find(conn: Connection, reference: str) -> CaseRecord:
    found = _with_names(conn, CaseRecord, _ALL.where(Case.reference == reference.strip().upper()))
    if not found:
        raise NotFound(
            f"There is no case '{printable(reference, 40)}'", "", "See certmgr case list."
        )
    return found[0]


def _with_names(conn: Connection, record: type[C], query: Executable) -> list[C]:
    """The cases of a query, each with its names in alphabetical order."""
    rows = fetch_all(conn, query)
    names = _names_of(conn, [r["id"] for r in rows])
    return [record(**row, names=names.get(row["id"], ())) for row in rows]


def _names_of(conn: Connection, case_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Case id -> its names in alphabetical order."""
    found: dict[int, tuple[str, ...]] = {}
    for part in chunks(sorted(set(case_ids))):
        query = (
            select(CaseName.case_id, CaseName.name)
            .where(CaseName.case_id.in_(part))
            .order_by(CaseName.name)
        )
        for case_id, name in conn.execute(query):
            found[case_id] = (*found.get(case_id, ()), name)
    return found


def listing(
    conn: Connection,
    *,
    client_id: Scope = None,
    states: Iterable[str] | None = None,
    incident_id: int | None = None,
    since: int | None = None,
) -> list[CaseRecord]:
    """Cases with client, contact, staff and names; the next due first.

    ``since``: only those that were closed later, or are open.
    """
    query = _ALL.order_by(Case.due_at.is_(None), Case.due_at, Case.id)
    if client_id is not None:
        query = query.where(Case.client_id == client_id)
    if states is not None:
        query = query.where(Case.state.in_(list(states)))
    if incident_id is not None:
        query = query.where(Case.incident_id == incident_id)
    if since is not None:
        query = query.where((Case.closed_at.is_(None)) | (Case.closed_at >= since))
    return _with_names(conn, CaseRecord, query)


def events(conn: Connection, case_id: int) -> list[CaseEventRecord]:
    return fetch(
        conn,
        CaseEventRecord,
        select(CaseEvent).where(CaseEvent.case_id == case_id).order_by(CaseEvent.id),
    )


def events_of(conn: Connection, client_id: Scope = None) -> dict[int, list[CaseEventRecord]]:
    """Case id -> its events, for the measures."""
    query = select(CaseEvent).order_by(CaseEvent.id)
    if client_id is not None:
        query = query.join(Case, Case.id == CaseEvent.case_id).where(Case.client_id == client_id)
    found: dict[int, list[CaseEventRecord]] = {}
    for record in fetch(conn, CaseEventRecord, query):
        found.setdefault(record.case_id, []).append(record)
    return found


# -- issuances


def issuances(conn: Connection, case_ids: Sequence[int]) -> dict[int, list[IssuanceRecord]]:
    """Case id -> its issuances, oldest first, with ``der``, dates and serial of the certificate
    (None before it came).
    """
    found: dict[int, list[IssuanceRecord]] = {}
    columns = (
        StoredCertificate.der,
        StoredCertificate.serial,
        StoredCertificate.not_before,
        StoredCertificate.not_after,
        StoredCertificate.issuer,
    )
    for part in chunks(case_ids):
        query = (
            select(Issuance, *columns)
            .outerjoin(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
            .where(Issuance.case_id.in_(part))
            .order_by(Issuance.id)
        )
        for record in fetch(conn, IssuanceRecord, query):
            # Only an issuance of a purchase has no case, and the query leaves those out.
            assert record.case_id is not None
            found.setdefault(record.case_id, []).append(record)
    return found


def add_issuance(tx: Tx, values: Mapping[str, Any]) -> int:
    return insert_id(tx.conn, Issuance, dict(values) | {"created_at": tx.at})


def drop_issuances(
    tx: Tx, case_id: int, *, also_received: bool = False, key_type: str | None = None
) -> None:
    """Those that were asked for and never came: a new CSR takes their place.

    ``also_received``: and those that came and were never seen live.
    """
    query = delete(Issuance).where(Issuance.case_id == case_id, Issuance.live_at.is_(None))
    if not also_received:
        query = query.where(Issuance.sha256.is_(None))
    if key_type is not None:
        query = query.where(Issuance.key_type == key_type)
    tx.conn.execute(query)


def has_key(tx: Tx, issuance_id: int, key_reference: str) -> None:
    tx.conn.execute(
        update(Issuance).where(Issuance.id == issuance_id).values(key_reference=key_reference)
    )


def received(tx: Tx, issuance_id: int, sha256: str, chain: Sequence[str]) -> None:
    tx.conn.execute(
        update(Issuance)
        .where(Issuance.id == issuance_id)
        .values(sha256=sha256, chain=" ".join(chain), received_at=tx.at)
    )


def seen_live(tx: Tx, case_id: int) -> None:
    tx.conn.execute(
        update(Issuance)
        .where(
            Issuance.case_id == case_id,
            Issuance.sha256.is_not(None),
            Issuance.live_at.is_(None),
        )
        .values(live_at=tx.at)
    )


def chain_of(conn: Connection, hashes: Sequence[str]) -> list[bytes]:
    """DER of each, in this order; those that are not stored are left out."""
    rows = {
        r[0]: bytes(r[1])
        for r in conn.execute(
            select(StoredCertificate.sha256, StoredCertificate.der).where(
                StoredCertificate.sha256.in_(list(hashes))
            )
        )
    }
    return [rows[h] for h in hashes if h in rows]


# -- where they are served


def endpoints_of_clients(
    conn: Connection, client_ids: Iterable[int]
) -> dict[int, list[ClientEndpoint]]:
    """Client id -> its endpoints that are visited: id, host, port, protocol, addresses (fixed
    ones), server, backends, domain_id.
    """
    found: dict[int, list[ClientEndpoint]] = {}
    wanted = sorted(set(client_ids))
    columns = (
        Endpoint.id,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Endpoint.addresses,
        Endpoint.domain_id,
        Domain.client_id,
        Domain.name.label("domain"),
        Server.name.label("server"),
        Server.backends,
    )
    for part in chunks(wanted):
        query = (
            select(*columns)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .outerjoin(Server, Server.id == Domain.server_id)
            .where(
                Domain.client_id.in_(part),
                Endpoint.state == "active",
                Domain.state != "retired",
            )
            .order_by(Endpoint.id)
        )
        for record in fetch(conn, ClientEndpoint, query):
            found.setdefault(record.client_id, []).append(record)
    return found


def live_leaves(conn: Connection, client_id: int, hosts: Sequence[str]) -> list[LiveLeaf]:
    """What the client's endpoints with these hosts serve now, each certificate once: sha256,
    not_after.
    """
    query = (
        select(StoredCertificate.sha256, StoredCertificate.not_after)
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(
            and_(
                Domain.client_id == client_id,
                ServedChain.open == 1,
                ServedChain.live == 1,
                Endpoint.host.in_(list(hosts)),
                StoredCertificate.not_after.is_not(None),
            )
        )
        .distinct()
        .order_by(StoredCertificate.not_after, StoredCertificate.sha256)
        .limit(20)
    )
    return fetch(conn, LiveLeaf, query)


def served_until(conn: Connection, client_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Client id -> host -> the first end of what is served there now, of hosts that are scanned."""
    found: dict[int, dict[str, int]] = {}
    wanted = sorted(set(client_ids))
    for part in chunks(wanted):
        query = (
            select(Domain.client_id, Endpoint.host, func.min(StoredCertificate.not_after))
            .join(Endpoint, Endpoint.domain_id == Domain.id)
            .join(ServedChain, ServedChain.endpoint_id == Endpoint.id)
            .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
            .where(
                Domain.client_id.in_(part),
                ServedChain.open == 1,
                ServedChain.live == 1,
                Endpoint.state == "active",
            )
            .group_by(Domain.client_id, Endpoint.host)
        )
        for client_id, host, end in conn.execute(query):
            if end is not None:
                found.setdefault(client_id, {})[host] = end
    return found


def led(conn: Connection) -> dict[int, int]:
    """Administrator -> how many open cases they lead."""
    query = (
        select(Case.staff_id, func.count())
        .where(Case.state.in_(OPEN), Case.staff_id.is_not(None))
        .group_by(Case.staff_id)
    )
    return {row[0]: row[1] for row in conn.execute(query) if row[0] is not None}


def last_issued(conn: Connection, order_id: int) -> list[LiveLeaf]:
    """Of the certificates of an order that were seen live the one that ends last: sha256,
    not_after; none where there is none.
    """
    query = (
        select(StoredCertificate.sha256, StoredCertificate.not_after)
        .join(Issuance, Issuance.sha256 == StoredCertificate.sha256)
        .where(
            Issuance.order_id == order_id,
            Issuance.live_at.is_not(None),
            StoredCertificate.not_after.is_not(None),
        )
        .order_by(StoredCertificate.not_after.desc())
        .limit(1)
    )
    return fetch(conn, LiveLeaf, query)


def expected(conn: Connection) -> list[ExpectedLeaf]:
    """Certificates that we proved or are about to install: client_id, names of the case
    (space-separated), sha256, state, live_at; oldest first.
    """
    query = (
        select(
            Case.id,
            Case.client_id,
            Issuance.sha256,
            Issuance.live_at,
            StoredCertificate.not_after,
        )
        .join(Issuance, Issuance.case_id == Case.id)
        .join(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
        .where(Issuance.sha256.is_not(None), Case.state.not_in(("declined", "cancelled")))
        .order_by(Case.id)
    )
    rows = fetch_all(conn, query)
    names = _names_of(conn, [r["id"] for r in rows])
    of_cases = [ExpectedLeaf(**r, names=names.get(r["id"], ())) for r in rows]
    # What was linked to an order by hand is the client's own renewal.
    linked = (
        select(StoredPurchase.client_id, PurchaseName.name, Issuance.sha256)
        .join(StoredPurchase, StoredPurchase.id == Issuance.order_id)
        .join(PurchaseName, PurchaseName.order_id == StoredPurchase.id)
        .where(Issuance.case_id.is_(None), Issuance.sha256.is_not(None))
    )
    by_hand = [
        ExpectedLeaf(id=0, client_id=i, names=(name,), sha256=sha, live_at=None, not_after=None)
        for i, name, sha in conn.execute(linked)
        if sha is not None
    ]
    return [*of_cases, *by_hand]


def open_for(conn: Connection, client_id: int, names: Sequence[str]) -> list[CaseRecord]:
    """Open cases of the client about one of these names."""
    query = (
        _ALL.join(CaseName, CaseName.case_id == Case.id)
        .where(Case.client_id == client_id, Case.state.in_(OPEN), CaseName.name.in_(list(names)))
        .distinct()
    )
    return _with_names(conn, CaseRecord, query)


def before(conn: Connection, client_id: int, names: Sequence[str]) -> CaseRecord | None:
    """The case of this client about one of these names that was closed last."""
    query = (
        _ALL.join(CaseName, CaseName.case_id == Case.id)
        .where(
            Case.client_id == client_id,
            Case.state == "closed",
            CaseName.name.in_(list(names)),
        )
        .order_by(Case.id.desc())
        .limit(1)
    )
    return next(iter(_with_names(conn, CaseRecord, query)), None)


def open_names(conn: Connection) -> dict[int, dict[str, str]]:
    """Client id -> name -> reference of the open case that it is in."""
    query = (
        select(Case.client_id, CaseName.name, Case.reference)
        .join(CaseName, CaseName.case_id == Case.id)
        .where(Case.state.in_(OPEN))
    )
    found: dict[int, dict[str, str]] = {}
    for client_id, name, reference in conn.execute(query):
        found.setdefault(client_id, {})[name] = reference
    return found


def open_of_orders(conn: Connection) -> set[int]:
    """Ids of the orders that have an open case."""
    return set(
        conn.scalars(
            select(Case.order_id).where(Case.state.in_(OPEN), Case.order_id.is_not(None)).distinct()
        )
    )


def closed_between(
    conn: Connection, start: int, end: int, client_id: Scope = None
) -> list[BilledCase]:
    """Cases that were first closed with proof in that time, with ``billed_at``; one that was taken
    up again since is not billed twice.
    """
    first = (
        select(CaseEvent.case_id, func.min(CaseEvent.at).label("billed_at"))
        .where(CaseEvent.after == "closed", CaseEvent.before != "closed")
        .group_by(CaseEvent.case_id)
    ).subquery()
    query = _ALL.add_columns(first.c.billed_at).join(first, first.c.case_id == Case.id)
    query = query.where(first.c.billed_at >= start, first.c.billed_at < end).order_by(
        Client.number, first.c.billed_at
    )
    if client_id is not None:
        query = query.where(Case.client_id == client_id)
    return _with_names(conn, BilledCase, query)


def count_open(conn: Connection) -> int:
    return int(
        conn.execute(select(func.count()).select_from(Case).where(Case.state.in_(OPEN))).scalar()
        or 0
    )
