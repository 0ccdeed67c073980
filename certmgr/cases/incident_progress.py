"""What is left of an incident, counted by what was seen.

An item is done when its certificate was replaced, by any party: the scans and the
verifications of lineages and cases decide, and not the state of a case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from certmgr.cases.states import ENDED
from certmgr.config.context import Context
from certmgr.renewers.load import load_facts_of
from certmgr.renewers.renewer import RenewalFacts, parent_names
from certmgr.x509.names import name_covers
from inventory.db.database import to_epoch
from inventory.records import IncidentItemRecord, IncidentRecord
from inventory.store import incidents
from inventory.store.incidents import SeenLeaf
from inventory.vocabulary import CaseState, IncidentCategory

# How long a closed incident is watched for its certificates: a month, as backups are kept.
_WATCHED_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Progress:
    """An incident, its items, and which of them are done.

    Attributes:
        done: The ids of the items that are done.
        stranded: The ids of the items that an automation was to renew, and that none renews now.
        gone: The ids of the items that count as done because their names left the inventory.
    """

    incident: IncidentRecord
    items: tuple[IncidentItemRecord, ...]
    done: frozenset[int]
    stranded: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()

    @property
    def left(self) -> list[IncidentItemRecord]:
        """The items that are not done; a certificate outside the inventory is never one of them.

        It has no owner who could replace it.
        """
        return [
            i
            for i in self.items
            if i.id not in self.done and i.sort is not IncidentCategory.UNKNOWN
        ]

    def has_returned(self, item: IncidentItemRecord) -> bool:
        """Return whether the old certificate was seen again after the incident was closed."""
        # A server that is lost again is another event, with another incident.
        if item.sort in (IncidentCategory.REINSTALL, IncidentCategory.UNKNOWN):
            return False
        closed_at = self.incident.closed_at or 0
        served_again = item.served > 0 and item.seen_at > closed_at
        return served_again or item.state == CaseState.REOPENED

    def counts(self) -> dict[IncidentCategory, tuple[int, int]]:
        """Return category -> number of items that are done, and of all."""
        return {
            c: (
                sum(i.sort == c and i.id in self.done for i in self.items),
                sum(i.sort == c for i in self.items),
            )
            for c in IncidentCategory
        }

    def state(self, item: IncidentItemRecord) -> str:
        """Return the state of an item as text.

        It is done, left the inventory, stopped (its case ended and nothing was replaced), the state
        of its case, still served, or waits for an automation that is gone.
        """
        if item.id in self.gone:
            return "left the inventory"
        if item.id in self.done:
            return "done"
        if item.state is not None:
            return "stopped" if item.state in ENDED else str(item.state)
        if item.sort is IncidentCategory.REINSTALL:
            return "not seen again"
        if item.id in self.stranded:
            return "no automation renews it any more: open a case"
        return "not known" if item.sort is IncidentCategory.UNKNOWN else "still served"


def is_done(item: IncidentItemRecord, seen: Iterable[SeenLeaf], opened: int, now: int) -> bool:
    """Return whether an item of an incident is done. The function is pure.

    Args:
        item: The item.
        seen: What is live at the client's hosts, and what lineages and cases verified there.
        opened: When the incident was opened, in epoch seconds.
        now: The current time in epoch seconds.
    """
    if item.sort is IncidentCategory.UNKNOWN:
        return False
    # A case is closed by a verification of all its names at all their addresses.
    if item.state == CaseState.CLOSED:
        return True
    # No scan can show that the certificate of the other key type of a server was replaced: its
    # lineage does, as soon as it holds another one.
    if item.held and item.sort is IncidentCategory.AUTOMATIC:
        return False
    of_client = [s for s in seen if s.client_id == item.client_id]
    names = _names_to_check(item.names, {s.host for s in of_client if s.host})
    valid = [s for s in of_client if s.not_after > now]
    if item.sort is IncidentCategory.REINSTALL:
        # What was seen before the incident shows the server in its state before the loss.
        return live_at_all(names, [s for s in valid if s.at >= opened])
    other = [s for s in valid if s.sha256 != item.sha256]
    if item.served == 0:
        # Without a case nothing else is waited for. With one, the site must serve another
        # certificate: a server that was emptied presents none.
        return item.case_id is None or live_at_all(names, other)
    # A scan that saw the old certificate after the verification proves that an address was missed.
    return live_at_all(names, [s for s in other if s.verified and s.at > item.seen_at])


def _names_to_check(names: Sequence[str], hosts: Iterable[str]) -> list[str]:
    """Return the names at which a server of the client was seen; all of them if there is none.

    The others are names of the certificate without a site in the inventory: nothing is ever seen
    there, so that they would keep an incident open for ever.
    """
    known = [n for n in names if any(n == h or _is_wildcard_of(n, h) for h in hosts)]
    return known or list(names)


def live_at_all(names: Sequence[str], leaves: Sequence[SeenLeaf]) -> bool:
    """Return whether one of the leaves covers each name, and was seen there."""
    return bool(names) and all(
        any(
            # A verification covers each address of each name of its certificate.
            (leaf.verified or leaf.host == name or _is_wildcard_of(name, leaf.host))
            and any(name_covers(n, name) for n in leaf.names)
            for leaf in leaves
        )
        for name in names
    )


def _is_wildcard_of(name: str, host: str | None) -> bool:
    # A wildcard has no address: a host that it stands for shows it.
    return name.startswith("*.") and host is not None and name_covers(name, host)


def progress(conn: Connection, incident: IncidentRecord, now: int) -> Progress:
    """Return what is left of an incident."""
    return progress_of(conn, [incident], now)[0]


def progress_of(conn: Connection, rows: Sequence[IncidentRecord], now: int) -> list[Progress]:
    """Return what is left of each of the incidents."""
    result = []
    for row in rows:
        items = incidents.items(conn, row.id)
        clients = sorted({i.client_id for i in items if i.client_id is not None})
        seen = _SeenLeaves(incidents.seen(conn, clients, row.opened_at))
        done = frozenset(i.id for i in items if is_done(i, seen.about(i), row.opened_at, now))
        waiting = [i for i in items if i.id not in done and i.client_id is not None]
        facts = _facts_about(conn, waiting, now)
        gone = frozenset(i.id for i in waiting if _left_inventory(i, facts))
        stranded = frozenset(i.id for i in waiting if _is_stranded(i, facts)) - gone
        result.append(Progress(row, tuple(items), done | gone, stranded, gone))
    return result


def _facts_about(conn: Connection, items: Sequence[IncidentItemRecord], now: int) -> RenewalFacts:
    """Return who renews the names of the clients of these items."""
    clients = {i.client_id for i in items if i.client_id is not None}
    return load_facts_of(conn, datetime.fromtimestamp(now, UTC), clients)


def _left_inventory(item: IncidentItemRecord, facts: RenewalFacts) -> bool:
    """Return whether no domain of the client has one of the names any more.

    Nothing of it is served by us, so that it would keep its incident open for ever.
    """
    domains = facts.domains.get(item.client_id or 0, {})
    return not any(
        any(p in domains for p in parent_names(n)) or any(name_covers(n, d) for d in domains)
        for n in item.names
    )


def _is_stranded(item: IncidentItemRecord, facts: RenewalFacts) -> bool:
    """Return whether the automation of an item was paused or removed after the incident opened.

    No case is open for it, so that it would wait until the date of the incident.
    """
    return (
        item.sort is IncidentCategory.AUTOMATIC
        and item.case_id is None
        and not any(
            facts.renewer(item.client_id or 0, n).replaces_on_revocation for n in item.names
        )
    )


class _SeenLeaves:
    """The leaves that were seen, by name.

    A client with thousands of certificates would otherwise compare each of them with all others.
    """

    def __init__(self, leaves: Iterable[SeenLeaf]) -> None:
        self._by_client: dict[int | None, list[SeenLeaf]] = {}
        self._by_name: dict[tuple[int | None, str], list[SeenLeaf]] = {}
        for leaf in leaves:
            self._by_client.setdefault(leaf.client_id, []).append(leaf)
            for name in leaf.names if leaf.host is None else (leaf.host,):
                self._by_name.setdefault((leaf.client_id, name), []).append(leaf)

    def about(self, item: IncidentItemRecord) -> list[SeenLeaf]:
        """Return the leaves of the item's client that may concern one of its names."""
        # A wildcard is seen at any of the hosts that it stands for.
        if any(n.startswith("*.") for n in item.names):
            return self._by_client.get(item.client_id, [])
        found: list[SeenLeaf] = []
        for name in item.names:
            for key in (name, f"*.{name.partition('.')[2]}"):
                found += self._by_name.get((item.client_id, key), [])
        return found


def reopen_returned(context: Context) -> list[str]:
    """Reopen closed incidents whose certificate is served again; return their references.

    A restored backup or a second machine may bring it back after everything was replaced.
    """
    now = to_epoch(context.now())
    with context.read() as conn:
        rows = [
            r
            for r in incidents.listing(conn, ended=True)
            if r.closed_at is not None and now - r.closed_at < _WATCHED_SECONDS
        ]
        returned = [p for p in progress_of(conn, rows, now) if any(map(p.has_returned, p.left))]
    for one in returned:
        with context.write() as tx:
            incidents.reopen(tx, one.incident.id)
    return [p.incident.reference for p in returned]


def close_resolved(context: Context) -> list[str]:
    """Close the incidents of which nothing is left, and return their references."""
    with context.read() as conn:
        opened = progress_of(conn, incidents.listing(conn), to_epoch(context.now()))
    closed = []
    for one in opened:
        # Unknown serial numbers can never be resolved, so that they do not keep it open.
        if not one.left:
            with context.write() as tx:
                incidents.close(tx, one.incident.id)
            closed.append(one.incident.reference)
    return closed
