"""Whether a topic that clients were notified of is over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from certmgr.cases.purchase_topics import ended_purchase_topic
from certmgr.notices.basis import TopicBasis, target_of, utc_of
from inventory.records import EndpointOwnership, FindingRecord, TicketRecord
from inventory.vocabulary import ZONE_DIFFERENCE, Finding, TicketKind
from notifiers.pipeline.notice_source import EndedTopic
from notifiers.pipeline.topic import CoverFacts, FaultFacts, Topic
from notifiers.wording.scope import for_client, may_be_foreign


def resolved_topic(
    ticket: TicketRecord,
    now_: Topic | None,
    basis: TopicBasis,
    closed: Mapping[int, FindingRecord],
    together: Mapping[int, frozenset[str]],
    met: Mapping[str, Topic | None],
) -> EndedTopic | None:
    """Return whether a notified ticket is over, and whether it was resolved.

    None while it continues, or if that is undetermined.

    Args:
        closed: The findings of the tickets, by id.
        together: All codes of the endpoint while a closed finding was open, by its id.
    """
    key, kind = ticket.key, ticket.kind
    # The same revision still exists.
    if now_ is not None and now_.revision == ticket.round:
        return None
    # A retired or transferred endpoint ends the ticket without a message.
    place = None
    if ticket.endpoint_id is not None:
        place = basis.places.get(ticket.endpoint_id)
        if place is None or "retired" in (place.state, place.domain_state, place.client_state):
            return EndedTopic(key, False, "it is retired")
        if place.client_id != ticket.client_id:
            # A last message would inform the former client about the site of the new one.
            return EndedTopic(key, False, "it belongs to another client now")
    if place is not None and kind is TicketKind.COVER:
        return _ended_cover(ticket, place, basis)
    if place is not None and kind is TicketKind.FAULT:
        return _ended_fault(ticket, place, basis, closed, together, goes_on=now_ is not None)
    if kind is TicketKind.PURCHASE:
        return ended_purchase_topic(key, set() if now_ is None else {key})
    if kind is TicketKind.DEADLINE:
        return _ended_deadline(key, met)
    return None


def _ended_cover(
    ticket: TicketRecord, place: EndpointOwnership, basis: TopicBasis
) -> EndedTopic | None:
    """Return that a certificate was replaced; None while it is served or if that is unknown."""
    served = basis.served.get(place.id, ())
    if not served or any(leaf.sha256 == ticket.round for leaf in served):
        return None  # still served; or no scan result, so the last known state is kept
    codes = {r.code for r in basis.open.get(place.id, ())}
    if may_be_foreign(codes) or min(leaf.not_after for leaf in served) <= basis.ends.get(
        ticket.round, 0
    ):
        return None  # another certificate that ends no later
    return EndedTopic(
        ticket.key, True, f"replaced: {served[0].serial} is served", _remnant(ticket, place)
    )


def _ended_fault(
    ticket: TicketRecord,
    place: EndpointOwnership,
    basis: TopicBasis,
    closed: Mapping[int, FindingRecord],
    together: Mapping[int, frozenset[str]],
    *,
    goes_on: bool,
) -> EndedTopic | None:
    """Return how a fault ended; None while its finding is open.

    Args:
        goes_on: Whether the client still has to know about the fault.
    """
    row_id = int(ticket.round)
    if row_id not in closed:
        return EndedTopic(ticket.key, False, "its finding was deleted")
    row = closed[row_id]
    # The fault still exists, so the client must not read that it is resolved.
    if row.closed_at is None:
        if goes_on:
            return None
        return EndedTopic(ticket.key, False, "it was accepted, or the client no longer has to act")
    # It was not found in some zones only: that is undetermined, and staff have a finding.
    if any(
        r.code == ZONE_DIFFERENCE and row.code in r.evidence.get("withheld", ())
        for r in basis.open.get(place.id, ())
    ):
        return None
    finding = _resolved_finding(row, place, basis, together[row_id])
    return EndedTopic(
        ticket.key,
        True,
        "it was no longer found",
        _remnant(ticket, place, finding),
        row.closed_run or 0,
    )


def _ended_deadline(key: str, met: Mapping[str, Topic | None]) -> EndedTopic | None:
    """Return that a deadline is met or no longer checked; None if that is undetermined."""
    if key not in met:
        return EndedTopic(key, False, "the deadline or the domain is no longer checked")
    good = met[key]
    # Undetermined: the client was notified, so the ticket waits for a certain result.
    if good is None:
        return None
    return EndedTopic(key, True, "it complies now", replace(good, schedule=None, severity="medium"))


def _resolved_finding(
    row: FindingRecord, place: EndpointOwnership, basis: TopicBasis, codes: frozenset[str]
) -> Finding:
    raw = Finding(row.code, "medium", row.addresses, row.evidence)
    return for_client(
        raw,
        basis.names.get(place.client_id, frozenset()),
        codes=codes,
        owners=basis.owners,
        client_id=place.client_id,
    )


def _remnant(
    ticket: TicketRecord, place: EndpointOwnership, finding: Finding | None = None
) -> Topic:
    """Return enough of the topic to compose the message that it is done."""
    kind = CoverFacts if ticket.kind is TicketKind.COVER else FaultFacts
    return Topic(
        key=ticket.key,
        revision=ticket.round,
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=target_of(place),
        severity="medium",
        actor="client",
        code=ticket.code or "",
        opened=utc_of(ticket.opened_at),
        facts=kind(endpoint_id=ticket.endpoint_id, server_id=place.server_id, finding=finding),
    )
