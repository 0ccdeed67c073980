"""Cases: their rows, names, events and issuances.

Every change counts the version up, in one statement that asks for the version it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from inventory.db.database import Tx, from_epoch
from inventory.errors import Conflict, NotFound
from inventory.models.tables import (
    case,
    case_event,
    case_name,
    certificate,
    client,
    contact,
    domain,
    endpoint,
    issuance,
    matter,
    observation,
    order,
    order_name,
    server,
)
from inventory.store import tickets
from inventory.store.records import Row
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


def matter_key(case_id: int, client_id: int) -> str:
    return f"case:{case_id}:{client_id}"


def open_(tx: Tx, values: Mapping[str, Any], names: Sequence[str], text: str) -> Row:
    """Opens a case with its matter, in the transaction of ``tx``.

    Where one of its names has an open matter that was told to the client, the case goes on under
    that reference, so that the client has one for all that is said.
    """
    row: dict[str, Any] = {
        "version": 1,
        "step": 1,
        "since": tx.at,
        "opened_at": tx.at,
        "reference": "",
    } | dict(values)
    inherited = _matter_of(tx.conn, row["client_id"], names)
    reference = inherited["reference"] if inherited is not None else tickets.new_reference()
    while (
        tx.conn.execute(select(case.c.id).where(case.c.reference == reference)).first() is not None
    ):
        inherited, reference = None, tickets.new_reference()
    row["reference"] = reference
    key = tx.conn.execute(insert(case).values(row)).inserted_primary_key
    assert key is not None
    case_id = int(key[0])
    tx.conn.execute(
        insert(case_name), [{"case_id": case_id, "name": n} for n in dict.fromkeys(names)]
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
        tx.conn.execute(update(matter).where(matter.c.id == inherited["id"]).values(about | empty))
    else:
        tx.conn.execute(insert(matter).values(about | {"reference": reference, "opened_at": tx.at}))
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
        tx.conn.execute(select(client.c.id).where(client.c.id == client_id).with_for_update())


def _home(client_id: int, names: Sequence[str]) -> Any:
    hosts = [n.removeprefix("*.") for n in names]
    query = select(domain.c.id).where(
        domain.c.client_id == client_id, domain.c.state != "retired", domain.c.name.in_(hosts)
    )
    return query.order_by(domain.c.id).limit(1)


def _matter_of(conn: Connection, client_id: int, names: Sequence[str]) -> Row | None:
    """The open matter about the cover of one of these names that the client was told of."""
    query = (
        select(matter)
        .join(endpoint, endpoint.c.id == matter.c.endpoint_id)
        .where(
            matter.c.kind == "cover",
            matter.c.client_id == client_id,
            matter.c.closed_at.is_(None),
            matter.c.told_at.is_not(None),
            endpoint.c.host.in_(list(names)),
        )
        .order_by(matter.c.id)
        .limit(1)
    )
    row = conn.execute(query).mappings().first()
    return None if row is None else dict(row)


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
    tx.conn.execute(insert(case_event).values(values))


def change(tx: Tx, before: Row, action: str, values: Mapping[str, Any], text: str = "") -> Row:
    """Writes ``values`` and the event, if nobody changed the case since ``before`` was read.

    Raises :class:`Conflict`, which tells what they did.
    """
    after = values.get("state", before["state"])
    moved = after != before["state"] or values.get("step") is not None
    done = tx.conn.execute(
        update(case)
        .where(case.c.id == before["id"], case.c.version == before["version"])
        .values(
            {
                **values,
                "version": before["version"] + 1,
                "step": before["step"] + 1 if moved else before["step"],
            }
        )
    )
    if done.rowcount != 1:
        raise moved_meanwhile(tx.conn, before)
    _event(tx, before["id"], before["version"] + 1, action, before["state"], after, text)
    tx.audit(action, "case", before["id"], {"state": [before["state"], after]})
    return find(tx.conn, before["reference"])


def moved_meanwhile(conn: Connection, before: Row) -> Conflict:
    said = [
        f"{e['by']} at {_time(e['at'])}: {e['action']}"
        + (f", now {e['after']}" if e["after"] != e["before"] else "")
        for e in events(conn, before["id"])
        if e["version"] > before["version"]
    ]
    return Conflict(
        f"The case {before['reference']} was changed meanwhile",
        "; ".join(said)[:500],
        f"Nothing of yours was done. Look again: certmgr case show {before['reference']}.",
    )


def _time(seconds: int) -> str:
    moment = from_epoch(seconds)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


_STAFF = contact.alias("staff")
_HOME = domain.alias("home")
_ALL = (
    select(
        case,
        client.c.number.label("client"),
        client.c.name.label("client_name"),
        client.c.account_manager,
        client.c.state.label("client_state"),
        matter.c.domain_id,
        _HOME.c.client_id.label("domain_client"),
        _HOME.c.state.label("domain_state"),
        contact.c.name.label("contact"),
        _STAFF.c.name.label("staff"),
    )
    .join(client, client.c.id == case.c.client_id)
    .outerjoin(contact, contact.c.id == case.c.contact_id)
    .outerjoin(_STAFF, _STAFF.c.id == case.c.staff_id)
    .outerjoin(matter, matter.c.reference == case.c.reference)
    .outerjoin(_HOME, _HOME.c.id == matter.c.domain_id)
)


def find(conn: Connection, reference: str) -> Row:
    row = conn.execute(_ALL.where(case.c.reference == reference.strip().upper())).mappings().first()
    if row is None:
        raise NotFound(
            f"There is no case '{printable(reference, 40)}'", "", "See certmgr case list."
        )
    return with_names(conn, [dict(row)])[0]


def with_names(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[Row]:
    found: dict[int, list[str]] = {}
    ids = [r["id"] for r in rows]
    for start in range(0, len(ids), 500):
        query = (
            select(case_name)
            .where(case_name.c.case_id.in_(ids[start : start + 500]))
            .order_by(case_name.c.name)
        )
        for case_id, name in conn.execute(query):
            found.setdefault(case_id, []).append(name)
    return [r | {"names": found.get(r["id"], [])} for r in rows]


def listing(
    conn: Connection,
    *,
    client_id: Scope = None,
    states: Iterable[str] | None = None,
    incident_id: int | None = None,
    since: int | None = None,
) -> list[Row]:
    """Cases with client, contact, staff and names; the next due first.

    ``since``: only those that were closed later, or are open.
    """
    query = _ALL.order_by(case.c.due_at.is_(None), case.c.due_at, case.c.id)
    if client_id is not None:
        query = query.where(case.c.client_id == client_id)
    if states is not None:
        query = query.where(case.c.state.in_(list(states)))
    if incident_id is not None:
        query = query.where(case.c.incident_id == incident_id)
    if since is not None:
        query = query.where((case.c.closed_at.is_(None)) | (case.c.closed_at >= since))
    return with_names(conn, [dict(r) for r in conn.execute(query).mappings()])


def events(conn: Connection, case_id: int) -> list[Row]:
    return [
        dict(r)
        for r in conn.execute(
            select(case_event).where(case_event.c.case_id == case_id).order_by(case_event.c.id)
        ).mappings()
    ]


def events_of(conn: Connection, client_id: Scope = None) -> dict[int, list[Row]]:
    """Case id -> its events, for the measures."""
    query = select(case_event).order_by(case_event.c.id)
    if client_id is not None:
        query = query.join(case, case.c.id == case_event.c.case_id).where(
            case.c.client_id == client_id
        )
    found: dict[int, list[Row]] = {}
    for row in conn.execute(query).mappings():
        found.setdefault(row["case_id"], []).append(dict(row))
    return found


# -- issuances


def issuances(conn: Connection, case_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Case id -> its issuances, oldest first, with ``der``, dates and serial of the certificate
    (None before it came).
    """
    found: dict[int, list[Row]] = {}
    columns = (
        certificate.c.der,
        certificate.c.serial,
        certificate.c.not_before,
        certificate.c.not_after,
        certificate.c.issuer,
    )
    for start in range(0, len(case_ids), 500):
        query = (
            select(issuance, *columns)
            .outerjoin(certificate, certificate.c.sha256 == issuance.c.sha256)
            .where(issuance.c.case_id.in_(case_ids[start : start + 500]))
            .order_by(issuance.c.id)
        )
        for row in conn.execute(query).mappings():
            found.setdefault(row["case_id"], []).append(dict(row))
    return found


def add_issuance(tx: Tx, values: Mapping[str, Any]) -> int:
    key = tx.conn.execute(
        insert(issuance).values(dict(values) | {"created_at": tx.at})
    ).inserted_primary_key
    assert key is not None
    return int(key[0])


def drop_issuances(
    tx: Tx, case_id: int, *, also_received: bool = False, key_type: str | None = None
) -> None:
    """Those that were asked for and never came: a new CSR takes their place.

    ``also_received``: and those that came and were never seen live.
    """
    query = issuance.delete().where(issuance.c.case_id == case_id, issuance.c.live_at.is_(None))
    if not also_received:
        query = query.where(issuance.c.sha256.is_(None))
    if key_type is not None:
        query = query.where(issuance.c.key_type == key_type)
    tx.conn.execute(query)


def has_key(tx: Tx, issuance_id: int, key_reference: str) -> None:
    tx.conn.execute(
        update(issuance).where(issuance.c.id == issuance_id).values(key_reference=key_reference)
    )


def received(tx: Tx, issuance_id: int, sha256: str, chain: Sequence[str]) -> None:
    tx.conn.execute(
        update(issuance)
        .where(issuance.c.id == issuance_id)
        .values(sha256=sha256, chain=" ".join(chain), received_at=tx.at)
    )


def seen_live(tx: Tx, case_id: int) -> None:
    tx.conn.execute(
        update(issuance)
        .where(
            issuance.c.case_id == case_id,
            issuance.c.sha256.is_not(None),
            issuance.c.live_at.is_(None),
        )
        .values(live_at=tx.at)
    )


def chain_of(conn: Connection, hashes: Sequence[str]) -> list[bytes]:
    """DER of each, in this order; those that are not stored are left out."""
    rows = {
        r[0]: bytes(r[1])
        for r in conn.execute(
            select(certificate.c.sha256, certificate.c.der).where(
                certificate.c.sha256.in_(list(hashes))
            )
        )
    }
    return [rows[h] for h in hashes if h in rows]


# -- where they are served


def places(conn: Connection, client_ids: Iterable[int]) -> dict[int, list[Row]]:
    """Client id -> its endpoints that are visited: id, host, port, protocol, addresses (fixed
    ones), server, backends, domain_id.
    """
    found: dict[int, list[Row]] = {}
    wanted = sorted(set(client_ids))
    columns = (
        endpoint.c.id,
        endpoint.c.host,
        endpoint.c.port,
        endpoint.c.protocol,
        endpoint.c.addresses,
        endpoint.c.domain_id,
        domain.c.client_id,
        domain.c.name.label("domain"),
        server.c.name.label("server"),
        server.c.backends,
    )
    for start in range(0, len(wanted), 500):
        query = (
            select(*columns)
            .join(domain, domain.c.id == endpoint.c.domain_id)
            .outerjoin(server, server.c.id == domain.c.server_id)
            .where(
                domain.c.client_id.in_(wanted[start : start + 500]),
                endpoint.c.state == "active",
                domain.c.state != "retired",
            )
            .order_by(endpoint.c.id)
        )
        for row in conn.execute(query).mappings():
            found.setdefault(row["client_id"], []).append(dict(row))
    return found


def live_leaves(conn: Connection, client_id: int, hosts: Sequence[str]) -> list[Row]:
    """What the client's endpoints with these hosts serve now, each certificate once: sha256,
    not_after.
    """
    query = (
        select(certificate.c.sha256, certificate.c.not_after)
        .join(observation, observation.c.leaf == certificate.c.sha256)
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .where(
            and_(
                domain.c.client_id == client_id,
                observation.c.open == 1,
                observation.c.live == 1,
                endpoint.c.host.in_(list(hosts)),
                certificate.c.not_after.is_not(None),
            )
        )
        .distinct()
        .order_by(certificate.c.not_after, certificate.c.sha256)
        .limit(20)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def served_until(conn: Connection, client_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Client id -> host -> the first end of what is served there now, of hosts that are scanned."""
    found: dict[int, dict[str, int]] = {}
    wanted = sorted(set(client_ids))
    for start in range(0, len(wanted), 500):
        query = (
            select(domain.c.client_id, endpoint.c.host, func.min(certificate.c.not_after))
            .join(endpoint, endpoint.c.domain_id == domain.c.id)
            .join(observation, observation.c.endpoint_id == endpoint.c.id)
            .join(certificate, certificate.c.sha256 == observation.c.leaf)
            .where(
                domain.c.client_id.in_(wanted[start : start + 500]),
                observation.c.open == 1,
                observation.c.live == 1,
                endpoint.c.state == "active",
            )
            .group_by(domain.c.client_id, endpoint.c.host)
        )
        for client_id, host, end in conn.execute(query):
            if end is not None:
                found.setdefault(client_id, {})[host] = end
    return found


def led(conn: Connection) -> dict[int, int]:
    """Administrator -> how many open cases they lead."""
    query = (
        select(case.c.staff_id, func.count())
        .where(case.c.state.in_(OPEN), case.c.staff_id.is_not(None))
        .group_by(case.c.staff_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def last_issued(conn: Connection, order_id: int) -> list[Row]:
    """Of the certificates of an order that were seen live the one that ends last: sha256,
    not_after; none where there is none.
    """
    query = (
        select(certificate.c.sha256, certificate.c.not_after)
        .join(issuance, issuance.c.sha256 == certificate.c.sha256)
        .where(
            issuance.c.order_id == order_id,
            issuance.c.live_at.is_not(None),
            certificate.c.not_after.is_not(None),
        )
        .order_by(certificate.c.not_after.desc())
        .limit(1)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def expected(conn: Connection) -> list[Row]:
    """Certificates that we proved or are about to install: client_id, names of the case
    (space-separated), sha256, state, live_at; oldest first.
    """
    query = (
        select(
            case.c.id,
            case.c.client_id,
            case.c.state,
            issuance.c.sha256,
            issuance.c.live_at,
            certificate.c.not_after,
        )
        .join(issuance, issuance.c.case_id == case.c.id)
        .join(certificate, certificate.c.sha256 == issuance.c.sha256)
        .where(issuance.c.sha256.is_not(None), case.c.state.not_in(("declined", "cancelled")))
        .order_by(case.c.id)
    )
    rows = with_names(conn, [dict(r) for r in conn.execute(query).mappings()])
    # What was linked to an order by hand is the client's own renewal.
    linked = (
        select(order.c.client_id, order_name.c.name, issuance.c.sha256)
        .join(order, order.c.id == issuance.c.order_id)
        .join(order_name, order_name.c.order_id == order.c.id)
        .where(issuance.c.case_id.is_(None), issuance.c.sha256.is_not(None))
    )
    by_hand = [
        {
            "id": 0,
            "client_id": i,
            "names": [name],
            "sha256": sha,
            "live_at": None,
            "not_after": None,
        }
        for i, name, sha in conn.execute(linked)
    ]
    return [*rows, *by_hand]


def open_for(conn: Connection, client_id: int, names: Sequence[str]) -> list[Row]:
    """Open cases of the client about one of these names."""
    query = (
        select(case)
        .join(case_name, case_name.c.case_id == case.c.id)
        .where(
            case.c.client_id == client_id, case.c.state.in_(OPEN), case_name.c.name.in_(list(names))
        )
        .distinct()
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def before(conn: Connection, client_id: int, names: Sequence[str]) -> Row | None:
    """The case of this client about one of these names that was closed last."""
    query = (
        select(case)
        .join(case_name, case_name.c.case_id == case.c.id)
        .where(
            case.c.client_id == client_id,
            case.c.state == "closed",
            case_name.c.name.in_(list(names)),
        )
        .order_by(case.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).mappings().first()
    return dict(row) if row is not None else None


def open_names(conn: Connection) -> dict[int, dict[str, str]]:
    """Client id -> name -> reference of the open case that it is in."""
    query = (
        select(case.c.client_id, case_name.c.name, case.c.reference)
        .join(case_name, case_name.c.case_id == case.c.id)
        .where(case.c.state.in_(OPEN))
    )
    found: dict[int, dict[str, str]] = {}
    for client_id, name, reference in conn.execute(query):
        found.setdefault(client_id, {})[name] = reference
    return found


def open_of_orders(conn: Connection) -> set[int]:
    """Ids of the orders that have an open case."""
    return set(
        conn.scalars(
            select(case.c.order_id)
            .where(case.c.state.in_(OPEN), case.c.order_id.is_not(None))
            .distinct()
        )
    )


def closed_between(conn: Connection, start: int, end: int, client_id: Scope = None) -> list[Row]:
    """Cases that were first closed with proof in that time, with ``billed_at``; one that was taken
    up again since is not billed twice.
    """
    first = (
        select(case_event.c.case_id, func.min(case_event.c.at).label("billed_at"))
        .where(case_event.c.after == "closed", case_event.c.before != "closed")
        .group_by(case_event.c.case_id)
    ).subquery()
    query = _ALL.add_columns(first.c.billed_at).join(first, first.c.case_id == case.c.id)
    query = query.where(first.c.billed_at >= start, first.c.billed_at < end).order_by(
        client.c.number, first.c.billed_at
    )
    if client_id is not None:
        query = query.where(case.c.client_id == client_id)
    return with_names(conn, [dict(r) for r in conn.execute(query).mappings()])


def count_open(conn: Connection) -> int:
    return int(
        conn.execute(select(func.count()).select_from(case).where(case.c.state.in_(OPEN))).scalar()
        or 0
    )
