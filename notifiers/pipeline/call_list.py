"""The clients who have to be called by telephone: one row per certificate, the most urgent first.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory.dates import days_left
from inventory.db.database import from_epoch, to_epoch
from inventory.names import display
from inventory.records import ListedTicket
from inventory.vocabulary import ItemStep, TicketKind
from notifiers.pipeline.message import one_line
from notifiers.pipeline.plan import NoticePolicy, SentHistory, Snapshot
from notifiers.pipeline.topic import TopicKind

# A certificate may have a hundred names; a caller needs enough to recognise it.
MAX_HOSTS = 8


@dataclass(frozen=True, slots=True)
class PhoneCall:
    """A ticket about which a client has to be called, because no message was answered.

    Attributes:
        reference: The reference that ``notice ack`` takes. It stands for the whole certificate.
        hosts: The names that the certificate, or the fault, concerns.
        ends: The end of the certificate. None for a fault that exists now, and for other kinds.
        urgency: How urgent it is, in words.
        since: The time of the first message in seconds, or of the opening of the ticket.
    """

    reference: str
    client: str
    client_name: str
    manager: str
    hosts: tuple[str, ...]
    ends: datetime | None
    urgency: str
    why: str
    phones: tuple[str, ...]
    since: int

    @property
    def site(self) -> str:
        """The names, as they are shown."""
        more = len(self.hosts) - MAX_HOSTS
        return ", ".join(self.hosts[:MAX_HOSTS]) + (f" and {more} more" if more > 0 else "")


def calls(
    open_tickets: Sequence[ListedTicket],
    sent_items: SentHistory,
    snapshot: Snapshot,
    policy: NoticePolicy,
) -> list[PhoneCall]:
    """Return what clients have to be called about, folded per client, the most urgent first.

    They did not acknowledge for some time, or no contact can be reached. The names of a client that
    serve one certificate are one call.
    """
    groups: dict[tuple[int | None, str], list[tuple[ListedTicket, str, int]]] = {}
    for row in open_tickets:
        if (due := _why_to_call(row, sent_items, snapshot, policy)) is not None:
            # The revision of a name that loses cover is its certificate.
            what = row.round if row.kind is TicketKind.COVER else row.shown
            groups.setdefault((row.client_id, what), []).append((row, *due))
    found = [_call(group, snapshot) for group in groups.values()]
    now = snapshot.now
    # A fault exists now; what has ended is more urgent still.
    rank = {id(c): c.ends or now for c in found}
    first: dict[str, datetime] = {}
    for call in found:
        first[call.client] = min(rank[id(call)], first.get(call.client, rank[id(call)]))
    return sorted(found, key=lambda c: (first[c.client], c.client, rank[id(c)], c.since))


def _why_to_call(
    row: ListedTicket, sent_items: SentHistory, snapshot: Snapshot, policy: NoticePolicy
) -> tuple[str, int] | None:
    """Return why a client has to be called, and since when; None if there is no need."""
    now = to_epoch(snapshot.now)
    # Retired clients are not called, whatever is still open.
    if row.client_id is None or row.client_id not in snapshot.people.clients:
        return None
    # The client called the desk: level 2 acts, and not the client.
    if row.kind is TicketKind.DESK:
        return None
    # An acknowledgement is an answer until it expires.
    if row.acked_at is not None and row.acked_at + policy.ack_days * 86_400 > now:
        return None
    first = snapshot.people.owner(row.client_id, snapshot.now)
    sent = [
        at
        for _, step, _, at, state in sent_items.get((row.key, row.round), ())
        # Only messages that ask for something count; a promise of ours needs no answer.
        if step in (ItemStep.OWNER, ItemStep.FALLBACK) and state in ("sent", "unknown")
    ]
    since = min(sent, default=row.opened_at)
    # No message can reach the client, so a call is the only way left.
    if first.person is None:
        return first.reason, since
    # Owner and fallback had their time to answer.
    patience = (policy.escalate_after_days + policy.escalate_near_after_days) * 86_400
    if sent and now - since > patience:
        day = snapshot.day(datetime.fromtimestamp(since, snapshot.now.tzinfo))
        return f"no acknowledgement since {day}", since
    return None


def _call(group: Sequence[tuple[ListedTicket, str, int]], snapshot: Snapshot) -> PhoneCall:
    """Return the call about one certificate, or about one other ticket."""
    # The oldest ticket has the reference that the client knows longest.
    rows = sorted(group, key=lambda g: (g[2], g[0].id))
    row, why, since = rows[0]
    assert row.client_id is not None
    contacts = snapshot.people.of_client.get(snapshot.people.addressee(row.client_id), [])
    hosts = dict.fromkeys(display(name) for r, _, _ in rows if (name := r.host or r.domain))
    ends = from_epoch(row.ends_at) if row.kind is TicketKind.COVER else None
    return PhoneCall(
        reference=row.shown,
        client=row.client or "",
        client_name=row.client_name or "",
        manager=row.account_manager or "",
        hosts=tuple(hosts),
        ends=ends,
        urgency=_urgency(ends, row.kind, snapshot),
        why=why,
        phones=tuple(f"{one_line(p.name, 60)} {phone}" for p in contacts for phone in p.phones),
        since=since,
    )


def _urgency(ends: datetime | None, kind: str, snapshot: Snapshot) -> str:
    if ends is None:
        return "fault now" if kind == TopicKind.FAULT else "waits"
    if ends <= snapshot.now:
        return f"ended on {snapshot.day(ends)}"
    return f"ends in {days_left(ends, snapshot.now)} day(s)"


def call_lines(phone_calls: Sequence[PhoneCall]) -> list[str]:
    """Return one line of the digest per client, in the order of the calls."""
    by_client: Mapping[str, list[PhoneCall]] = {c.client: [] for c in phone_calls}
    for call in phone_calls:
        by_client[call.client].append(call)
    lines = []
    for client, group in by_client.items():
        first = group[0]
        more = f"; and {len(group) - 1} more ticket(s)" if len(group) > 1 else ""
        manager = f", {one_line(first.manager, 60)}" if first.manager else ""
        lines.append(
            f"[{first.reference}] client {client}{manager}: {first.site}: {first.urgency},"
            f" {first.why}{more}; {', '.join(first.phones) or 'no telephone number'}"
        )
    return lines
