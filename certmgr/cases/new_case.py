"""Opening a case: everything that is known is filled in, so that a case needs one command.

The purchase, the inventory, the served certificates and the previous case of the same names supply
what the caller leaves out.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from certmgr.cases import assignment
from certmgr.cases.service import CaseService, name_is_busy
from certmgr.x509.names import name_covers
from inventory.db.database import Tx, to_epoch
from inventory.errors import InvalidName, NotFound, UsageError
from inventory.names import certificate_name, display
from inventory.records import (
    CaseRecord,
    ClientRecord,
    IncidentRecord,
    ListedPurchase,
    LiveLeaf,
    PurchaseRecord,
)
from inventory.store import (
    case_changes,
    cases,
    certificates,
    clients,
    contacts,
    domain_owners,
    issuances,
    purchase_values,
    purchases,
)
from inventory.vocabulary import CaseKind, CaseState, Party, PurchaseState, RecordState

_log = logging.getLogger(__name__)
# A wildcard may be served at many hosts, each of which is a name of the case.
MAX_NAMES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """What a caller may state about a new case. None: it is filled in.

    Attributes:
        order: The key of the purchase.
        kind: new, renewal or reissue.
        contact: The key of the client's contact.
        staff: The key of the assignee.
        own_csr: Whether the client generates the key and the CSR.
        bought_by: client, or us (the provider).
        price: The price of the certificate, a decimal amount in ``currency``.
        fee: The fee of the installation, likewise.
        currency: The code of ISO 4217.
        incident_id: The incident that the case belongs to.
        ends_at: By when the certificate has to be replaced, in epoch seconds. If a replaced
            certificate ends earlier, that counts.
    """

    order: str | None = None
    kind: str | None = None
    contact: str | None = None
    staff: str | None = None
    own_csr: bool = False
    bought_by: str | None = None
    price: str | None = None
    fee: str | None = None
    currency: str | None = None
    incident_id: int | None = None
    ends_at: int | None = None


def open_case(
    service: CaseService,
    client: str,
    names: Sequence[str],
    options: CaseOptions | None = None,
    *,
    text: str = "",
) -> CaseRecord:
    """Open a case that a person asked for. See :func:`open_case_in`.

    If no purchase is stated and exactly one covers the names, the case is for that one.
    """
    stated = options or CaseOptions()
    with service.context.write() as tx:
        if stated.order is None and names:
            owner = _client(tx.conn, client, names)
            covering = covering_purchases(tx.conn, owner.id, names, to_epoch(service.now))
            # With two of them the payer is a decision of a person, and a wrong one is billed.
            if len(covering) == 1:
                stated = replace(stated, order=purchases.reference(covering[0].id))
        return open_case_in(service, tx, client, names, stated, text)


def covering_purchases(
    conn: Connection, client_id: int, names: Sequence[str], now: int
) -> list[ListedPurchase]:
    """Return the active purchases of a client that cover all names, the next end first.

    Args:
        now: The time in epoch seconds. A term that is over pays for nothing.
    """
    wanted, _ = domain_owners.names_of(conn, client_id, names, MAX_NAMES)
    return [
        p
        for p in purchases.listing(conn, client_id=client_id, ended=False)
        if p.state == PurchaseState.ACTIVE
        and p.ends_at >= now
        and wanted
        and all(any(_is_paid(paid, name) for paid in p.names) for name in wanted)
    ]


def _is_paid(paid: str, name: str) -> bool:
    """Return whether a name of a purchase pays for a name of a case.

    A case for a wildcard needs the wildcard itself: a purchase of one name below it is not enough.
    """
    return paid == name or (not name.startswith("*.") and name_covers(paid, name))


def open_case_in(
    service: CaseService,
    tx: Tx,
    client: str,
    names: Sequence[str],
    options: CaseOptions,
    text: str,
) -> CaseRecord:
    """Open a case in a transaction.

    Missing options are filled in from the purchase, the inventory, the served certificates, and
    the previous case of these names. The previous case supplies the contact, the assignee, and
    the party that generates the key.

    Args:
        service: The service for cases.
        tx: The transaction.
        client: The key of the client.
        names: The names of the case; empty for those of the purchase.
        options: What the caller states.
        text: The text of the event.

    Raises:
        UsageError: The client is retired, there is no name, or an option is invalid.
        Conflict: Another case is open for one of the names.
        NotFound: The client, purchase or contact does not exist.
    """
    owner = _client(tx.conn, client, names)
    # The provider has no contract with a retired client any more.
    if owner.state == RecordState.RETIRED:
        raise UsageError(
            f"The client {owner.number} is retired",
            "a retired client gets no new cases",
            "Open the case for the client that has the names now.",
        )
    # Restricted to the client: the purchase of another client must not pay for this case.
    purchase = purchases.find(tx.conn, options.order, owner.id) if options.order else None
    case_names = _case_names(tx, owner, names, purchase)
    # The lock closes the gap between the check for open cases and the insert.
    case_changes.lock_client(tx, owner.id)
    # Two cases of one name would install two certificates over each other.
    if busy := cases.open_for(tx.conn, owner.id, case_names):
        raise name_is_busy(busy[0])
    case = _filled_in(service, tx, owner, purchase, case_names, options)
    row = case_changes.open_case(tx, case, case_names, text)
    _log.info("case %s opened for the client %s", row.reference, owner.number)
    return row


def _client(conn: Connection, key: str, names: Sequence[str]) -> ClientRecord:
    """Return the client of a new case.

    Raises:
        NotFound: There is no such client. If the caller left out the client, the error names the
            owner of the names.
    """
    try:
        return clients.find(conn, key)
    except NotFound as error:
        for text in (key, *names[:1]):
            try:
                host = certificate_name(text).removeprefix("*.")
            except InvalidName:
                continue
            if (owner := domain_owners.owner_of(conn, host)) is not None:
                raise NotFound(
                    error.what,
                    f"{display(host)} belongs to the client {owner.number}",
                    f"Name the client first: {shlex.quote(owner.number)}.",
                ) from None
        raise


def _case_names(
    tx: Tx, owner: ClientRecord, names: Sequence[str], purchase: PurchaseRecord | None
) -> list[str]:
    """Return the names of a new case: those that were stated, or all names of the purchase."""
    stated = list(names)
    if not stated and purchase is not None:
        stated = list(purchases.listing(tx.conn, ids=[purchase.id])[0].names)
    case_names, _ = domain_owners.names_of(tx.conn, owner.id, stated, MAX_NAMES)
    if not case_names:
        raise UsageError(
            "A case needs at least one name", "", "Name the domains, or give --purchase."
        )
    return case_names


def _replaced_leaves(
    tx: Tx, client_id: int, purchase: PurchaseRecord | None, names: Sequence[str]
) -> list[LiveLeaf]:
    """Return the certificates that the case replaces."""
    # A wildcard has no host; only if there are no other names, its base name stands for it.
    hosts = [n for n in names if not n.startswith("*.")] or [n.removeprefix("*.") for n in names]
    # The served certificates count, and not the bought ones: a site fails when those end.
    leaves = certificates.live_leaves(tx.conn, client_id, hosts)
    # If scans found nothing, the last certificate of the purchase is the one to replace.
    if not leaves and purchase is not None:
        return issuances.last_of_purchase(tx.conn, purchase.id)
    return leaves


def _filled_in(
    service: CaseService,
    tx: Tx,
    owner: ClientRecord,
    purchase: PurchaseRecord | None,
    names: Sequence[str],
    options: CaseOptions,
) -> case_changes.NewCase:
    """Return the columns of a new case. An option precedes the purchase, and that the rest."""
    leaves = _replaced_leaves(tx, owner.id, purchase, names)
    previous = cases.last_closed(tx.conn, owner.id, names)
    # Several certificates may be replaced at once. The first end is the deadline of all, also if
    # an incident would leave more time.
    ends = [leaf.not_after for leaf in leaves]
    stated = [] if options.ends_at is None else [options.ends_at]
    ends_at = min([*ends, *stated], default=None)
    contact_id = purchase.contact_id if purchase is not None else None
    if options.contact:
        contact_id = contacts.find(tx.conn, options.contact, owner.id).id
    elif contact_id is None and previous is not None:
        contact_id = previous.contact_id
    return case_changes.NewCase(
        client_id=owner.id,
        order_id=purchase.id if purchase is not None else None,
        incident_id=options.incident_id,
        # What is served already is renewed, also if another party installed it.
        kind=CaseKind(options.kind or (CaseKind.RENEWAL if leaves else CaseKind.NEW)),
        bought_by=Party(
            options.bought_by
            or (purchase.bought_by if purchase is not None else None)
            or (Party.US if owner.buys == Party.US else Party.CLIENT)
        ),
        replaces=tuple(leaf.sha256 for leaf in leaves) or None,
        ends_at=ends_at,
        due_at=service.due_at(CaseState.REQUESTED, ends_at=ends_at),
        # A client who generated the key before has the tools and the wish to do so again.
        own_csr=int(options.own_csr or (previous is not None and bool(previous.own_csr))),
        contact_id=contact_id,
        staff_id=assignment.choose_assignee(
            tx, options.staff, previous.staff_id if previous is not None else None
        ),
        staff_named=int(bool(options.staff)),
        price=purchase_values.amount(options.price, "price")
        or (None if purchase is None else purchase.price),
        fee=purchase_values.amount(options.fee, "fee")
        or (None if purchase is None else purchase.fee),
        currency=purchase_values.currency(options.currency)
        or (None if purchase is None else purchase.currency),
    )


def join_incident(
    service: CaseService, tx: Tx, row: CaseRecord, incident: IncidentRecord, reason: str
) -> CaseRecord:
    """Add an open case to an incident.

    The case begins its step again, so that its client is notified of the new date.
    """
    # The certificate may be valid for months, but has to be replaced by the date of the incident.
    # If it ends earlier, the site fails then, and the client must not read the later date.
    ends_at = min(t for t in (row.ends_at, incident.until) if t is not None)
    values: case_changes.CaseColumns = {
        "incident_id": incident.id,
        "ends_at": ends_at,
        "kind": CaseKind.INCIDENT,
        "since": tx.at,
        "step": 1,
        "due_at": service.due_at(row.state, ends_at=ends_at, window_end=row.window_end),
    }
    text = f"added to {incident.reference}: {reason}"
    return case_changes.change(tx, row, "join", values, text)
