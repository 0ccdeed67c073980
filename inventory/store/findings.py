"""Findings as they are asked for, and their acceptance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx, from_epoch, to_epoch
from inventory.db.sql import chunks, fetch, insert_id, upsert
from inventory.errors import UsageError
from inventory.models import Client, Domain, Endpoint, StoredAcceptance, StoredFinding
from inventory.records import (
    AcceptanceRecord,
    AcceptanceScope,
    FindingPeriod,
    FindingRecord,
    ListedFinding,
)
from inventory.store import acceptance_ends, editing, suggestions
from inventory.store.finding_columns import columns_of, finding_of
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, FindingDecision, Severity


def _acceptance(row: AcceptanceRecord) -> Acceptance:
    until = from_epoch(row.until)
    assert until is not None
    return Acceptance(
        id=row.id,
        code=row.code,
        client_id=row.client_id,
        domain_id=row.domain_id,
        endpoint_id=row.endpoint_id,
        until=until,
        reason=row.reason,
        by=row.by,
        informs=bool(row.informs),
        batch=row.batch,
    )


def acceptances(
    conn: Connection, at: datetime | None = None, kind: FindingDecision = FindingDecision.ACCEPT
) -> list[Acceptance]:
    """Return acceptances or assignments.

    Args:
        conn: The connection.
        at: Those in force at this time, as was known then. Default: all that were not withdrawn.
        kind: Acceptances, or assignments (``by`` fixes it by ``until``).
    """
    query = (
        select(StoredAcceptance).where(StoredAcceptance.kind == kind).order_by(StoredAcceptance.id)
    )
    if at is None:
        # Those that have ended are included: :meth:`Acceptance.covers` compares the date.
        query = query.where(StoredAcceptance.withdrawn_at.is_(None))
    else:
        moment = to_epoch(at)
        query = query.where(
            StoredAcceptance.created_at <= moment,
            StoredAcceptance.until > moment,
            # At that time it was in force, even if it was withdrawn later.
            or_(StoredAcceptance.withdrawn_at.is_(None), StoredAcceptance.withdrawn_at > moment),
        )
    return [_acceptance(r) for r in fetch(conn, AcceptanceRecord, query)]


def scopes(conn: Connection, known: Sequence[Acceptance]) -> dict[int, AcceptanceScope]:
    """Return for whom each acceptance holds, by its id."""
    owners = {
        i: (number, name)
        for i, number, name in conn.execute(select(Client.id, Client.number, Client.name))
    }
    domains = {
        i: (name, owner)
        for part in chunks(sorted({a.domain_id for a in known if a.domain_id is not None}))
        for i, name, owner in conn.execute(
            select(Domain.id, Domain.name, Domain.client_id).where(Domain.id.in_(part))
        )
    }
    endpoints = {
        i: (Target(host, port, protocol), owner)
        for part in chunks(sorted({a.endpoint_id for a in known if a.endpoint_id is not None}))
        for i, host, port, protocol, owner in conn.execute(
            select(Endpoint.id, Endpoint.host, Endpoint.port, Endpoint.protocol, Domain.client_id)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .where(Endpoint.id.in_(part))
        )
    }
    found = {}
    for one in known:
        # The domain or endpoint may have been erased since. Its acceptance then covers nothing.
        target, owner = endpoints.get(one.endpoint_id or 0, (None, one.client_id))
        domain, owner = domains.get(one.domain_id or 0, (None, owner))
        number, name = owners.get(owner or 0, (None, ""))
        everywhere = one.client_id is one.domain_id is one.endpoint_id is None
        found[one.id] = AcceptanceScope(
            client=number, client_name=name, domain=domain, target=target, everywhere=everywhere
        )
    return found


def accept(
    tx: Tx,
    code: str,
    known: frozenset[str],
    until: datetime,
    reason: str,
    *,
    client_id: int | None = None,
    domain_id: int | None = None,
    endpoint_id: int | None = None,
    everywhere: bool = False,
    kind: FindingDecision = FindingDecision.ACCEPT,
    by: str | None = None,
    informs: bool = True,
    batch: int | None = None,
) -> int:
    """Accept or assign a known fault until a date, and return the id of the acceptance.

    An assignment replaces the earlier ones of the fault at the same scope.

    Args:
        tx: The transaction.
        code: The finding code.
        known: All finding codes.
        until: The date.
        reason: Why.
        client_id: Only for this client.
        domain_id: Only for this domain.
        endpoint_id: Only for this endpoint.
        everywhere: For the whole inventory, with what later scans find. Without it, a scope must be
            named.
        kind: An acceptance takes the fault out of verdicts and exit codes. With an assignment,
            ``by`` fixes it until the date, so that its outcome is "we are fixing it".
        by: Who accepts or fixes it. Default: the user of the command.
        informs: Whether an assignment makes clients due for "we are fixing it".
        batch: The id of the first one of a command that selects faults. 0: this is the first one.

    Raises:
        UsageError: The code is unknown, the scope is missing, or the date has passed.
    """
    # A misspelt code would accept nothing, and the fault would go on alarming.
    if code not in known:
        raise suggestions.missing_word("finding code", code, sorted(known), "certmgr explain")
    if not everywhere and client_id is None and domain_id is None and endpoint_id is None:
        raise _without_scope(kind)
    _require_future(until, tx.now)
    scope = {"client_id": client_id, "domain_id": domain_id, "endpoint_id": endpoint_id}
    values = {
        "code": code,
        **scope,
        "until": to_epoch(until),
        "reason": editing.required(reason, "reason", 500),
        "by": editing.required(by or tx.actor, "name"),
        "kind": kind,
        "informs": int(informs),
        "batch": batch or None,
        "created_at": tx.at,
    }
    return _insert(tx, values, scope, starts_batch=batch == 0)


def _insert(
    tx: Tx, values: dict[str, Any], scope: Mapping[str, int | None], *, starts_batch: bool
) -> int:
    if values["kind"] is FindingDecision.ASSIGN:
        acceptance_ends.end_replaced(tx, values["code"], scope)
    key = insert_id(tx.conn, StoredAcceptance, values)
    if starts_batch:
        first = update(StoredAcceptance).where(StoredAcceptance.id == key).values(batch=key)
        tx.conn.execute(first)
        values["batch"] = key
    tx.audit(values["kind"], "finding", key, values)
    return key


def _without_scope(kind: FindingDecision) -> UsageError:
    """Return the error for a forgotten scope, which must not silence a fault of every client."""
    accepted = kind is FindingDecision.ACCEPT
    return UsageError(
        f"{'An acceptance' if accepted else 'The assignment of a finding'} needs a scope",
        "it would hold for every client",
        "Give --client, --domain, --endpoint, --server, --cause, or --everywhere.",
    )


def _require_future(until: datetime, now: datetime) -> None:
    """Raise :class:`UsageError` for an end that has passed."""
    # An acceptance always ends, so that no fault is forgotten for good.
    if until <= now:
        raise UsageError(
            f"{until:%Y-%m-%d %H:%M} UTC has passed",
            "it ends in the future",
            "Give a later --until.",
        )


def settle(
    tx: Tx,
    opened: Sequence[tuple[int, Finding]],
    updated: Sequence[tuple[int, Finding]],
    closed: Sequence[int],
) -> None:
    """Open, change and close findings for a job other than a scan, which has no run.

    Args:
        tx: The transaction.
        opened: (endpoint id, finding).
        updated: (finding id, finding).
        closed: Ids of findings.
    """
    # Closed before opened: the unique index allows one open finding per endpoint and code.
    if closed:
        tx.conn.execute(
            update(StoredFinding).where(StoredFinding.id == bindparam("i")).values(closed_at=tx.at),
            [{"i": i} for i in closed],
        )
        acceptance_ends.end_with_faults(tx, closed)
        tx.audit_many("close", "finding", [(i, {}) for i in closed])
    if updated:
        columns = ("severity", "actor", "outcome", "addresses", "evidence")
        rows = [{f"c_{k}": v for k, v in columns_of(f).items()} | {"i": i} for i, f in updated]
        change = (
            update(StoredFinding)
            .where(StoredFinding.id == bindparam("i"))
            .values({c: bindparam(f"c_{c}") for c in columns})
        )
        tx.conn.execute(change, rows)
    if opened:
        made = [columns_of(f) | {"endpoint_id": e, "opened_at": tx.at} for e, f in opened]
        # A scan that ran at the same time may have opened it; then it is open, which is all that
        # counts.
        tx.conn.execute(upsert(tx.conn, StoredFinding).on_conflict_do_nothing(), made)
        tx.audit_many(
            "open", "finding", [(None, {"endpoint": e, "code": f.code}) for e, f in opened]
        )


_LISTED = (
    select(
        StoredFinding,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Endpoint.domain_id,
        Domain.client_id,
        Domain.server_id,
        Domain.name.label("domain"),
        Client.number.label("client"),
    )
    .join(Endpoint, Endpoint.id == StoredFinding.endpoint_id)
    .join(Domain, Domain.id == Endpoint.domain_id)
    .join(Client, Client.id == Domain.client_id)
    .order_by(StoredFinding.id)
)


def listing(
    conn: Connection,
    *,
    at: datetime | None = None,
    client_id: int | None = None,
    domain_id: int | None = None,
    code: str | None = None,
    closed: bool = False,
) -> list[ListedFinding]:
    """Return open findings with endpoint, domain and client.

    Args:
        conn: The connection.
        at: Findings that were open at this time. Default: now.
        client_id: Only findings of this client; None for all clients.
        domain_id: Only findings of this domain.
        code: Only findings with this code.
        closed: Whether to include closed findings, if ``at`` is None.
    """
    query = _LISTED
    if at is None:
        query = query.where(
            # Findings of retired endpoints stay in the table, but nothing has to be done about
            # them.
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
        if not closed:
            query = query.where(StoredFinding.closed_at.is_(None))
    else:
        moment = to_epoch(at)
        query = query.where(
            StoredFinding.opened_at <= moment,
            or_(StoredFinding.closed_at.is_(None), StoredFinding.closed_at > moment),
        )
        # The past shows what was known then, so endpoints that were retired since are included.
        query = query.where(or_(Endpoint.retired_at.is_(None), Endpoint.retired_at > moment))
    if client_id is not None:
        # Through the endpoints of the client, so that the findings of all others are not walked.
        own = (
            select(Endpoint.id)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .where(Domain.client_id == client_id)
        )
        query = query.where(StoredFinding.endpoint_id.in_(own))
    for column, value in ((Domain.id, domain_id), (StoredFinding.code, code)):
        if value is not None:
            query = query.where(column == value)
    return fetch(conn, ListedFinding, query)


def periods(conn: Connection, since: Timestamp, severities: Sequence[str]) -> list[FindingPeriod]:
    """Return when findings of some severities were open, if they did not close before ``since``."""
    query = (
        select(
            StoredFinding.endpoint_id,
            Endpoint.domain_id,
            Domain.client_id,
            StoredFinding.code,
            StoredFinding.severity,
            StoredFinding.opened_at,
            StoredFinding.closed_at,
            Endpoint.retired_at,
        )
        .join(Endpoint, Endpoint.id == StoredFinding.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(
            or_(StoredFinding.closed_at.is_(None), StoredFinding.closed_at > since),
            StoredFinding.severity.in_(severities),
        )
    )
    return fetch(conn, FindingPeriod, query)


def of_run(conn: Connection, run_id: int) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
    """Return what a run opened and what it closed, each as (endpoint id, code).

    Findings of severity info are left out.
    """
    keys = StoredFinding.endpoint_id, StoredFinding.code
    counting = StoredFinding.severity != Severity.INFO
    opened, closed = (
        {(key, code) for key, code in conn.execute(select(*keys).where(run == run_id, counting))}
        for run in (StoredFinding.opened_run, StoredFinding.closed_run)
    )
    return opened, closed


def open_findings(conn: Connection, ids: Sequence[int]) -> dict[int, list[tuple[int, Finding]]]:
    """Return endpoint id -> (finding id, finding) of its open findings."""
    found: dict[int, list[tuple[int, Finding]]] = {}
    for part in chunks(ids):
        query = select(StoredFinding).where(
            StoredFinding.endpoint_id.in_(part), StoredFinding.closed_at.is_(None)
        )
        for row in fetch(conn, FindingRecord, query):
            found.setdefault(row.endpoint_id, []).append((row.id, finding_of(row)))
    return found


def codes_together(conn: Connection, rows: Sequence[FindingRecord]) -> dict[int, frozenset[str]]:
    """Return finding id -> all codes that were open at its endpoint while it was open."""
    wanted: dict[int, list[FindingRecord]] = {}
    for row in rows:
        wanted.setdefault(row.endpoint_id, []).append(row)
    found: dict[int, set[str]] = {row.id: {row.code} for r in wanted.values() for row in r}
    columns = (
        StoredFinding.endpoint_id,
        StoredFinding.code,
        StoredFinding.opened_at,
        StoredFinding.closed_at,
    )
    for part in chunks(sorted(wanted)):
        query = select(*columns).where(StoredFinding.endpoint_id.in_(part))
        for endpoint_id, code, opened_at, closed_at in conn.execute(query):
            for row in wanted[endpoint_id]:
                if (closed_at is None or closed_at >= row.opened_at) and (
                    row.closed_at is None or row.closed_at >= opened_at
                ):
                    found[row.id].add(code)
    return {row_id: frozenset(codes) for row_id, codes in found.items()}


def by_ids(conn: Connection, ids: Sequence[int]) -> dict[int, FindingRecord]:
    """Finding id -> its row (code, severity, addresses, evidence as JSON text, closed_at)."""
    found: dict[int, FindingRecord] = {}
    for part in chunks(ids):
        for record in fetch(
            conn, FindingRecord, select(StoredFinding).where(StoredFinding.id.in_(part))
        ):
            found[record.id] = record
    return found
