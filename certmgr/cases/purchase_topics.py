"""Topics about purchases: what a client has to buy or validate, and by when.

The end of a certificate is not among them: it is the topic of its case, or of its endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from certmgr.cases.topic_facts import target_of
from certmgr.purchases.load import load
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import (
    DAY,
    PlannedCertificate,
    PurchaseDeadline,
    plan,
    purchase_deadlines,
    term_of,
)
from certmgr.renewers.load import load_facts
from certmgr.renewers.renewer import RenewalFacts
from inventory.names import display
from notifiers.pipeline.notice_source import EndedTopic
from notifiers.pipeline.topic import PurchaseFacts, ScheduledEnd, TextValue, Topic


def purchase_topics(
    conn: Connection,
    now: datetime,
    leads: LeadTimes,
    within: timedelta,
    open_names: Mapping[int, Mapping[str, str]],
    client_id: int | None = None,
) -> list[Topic]:
    """Return the topics of purchases whose deadlines need an action.

    The action is a new purchase, or a validation that a coming reissue needs. The end of the
    certificate is not included: it is the topic of a case, or of the endpoint.

    Args:
        conn: The connection.
        now: The current time.
        leads: The lead times.
        within: How far ahead a deadline is included.
        open_names: Client id -> name -> reference of the open case.
        client_id: The client; None for all clients.
    """
    purchases = load(conn, client_id, ended=False)
    if not purchases:
        # Reading who renews which name takes a tenth of the time of a run of notices.
        return []
    # Purchases that were reissued regularly look like automation in scans.
    facts = load_facts(conn, now, client_id, learned=False)
    return [
        _deadline_topic(purchase, deadline, plan(term_of(purchase), now, leads.reissue))
        for purchase in purchases
        if _concerns_client(purchase, now, open_names.get(purchase.client_id, {}), facts)
        for deadline in purchase_deadlines(purchase, leads, now)
        # The end of a certificate is the topic of its case or endpoint. A deadline without a due
        # date needs no action.
        if deadline.kind != "certificate"
        and deadline.due is not None
        and deadline.due <= now + within
    ]


def _concerns_client(
    purchase: Purchase,
    now: datetime,
    open_names: Mapping[str, str],
    facts: RenewalFacts,
) -> bool:
    """Return whether the client has to know about the deadlines of a purchase.

    Args:
        purchase: The purchase.
        now: The current time.
        open_names: Name -> reference of the client's open case.
        facts: Who renews which name.
    """
    # A purchase that ended more than 60 days ago is not going to be renewed.
    if purchase.ends < now - 60 * DAY:
        return False
    # If open cases cover all names, the client is notified by them.
    if all(n in open_names for n in purchase.names):
        return False
    # Otherwise the client's domains left the inventory, or automation renews their certificates.
    return facts.needs_person(purchase.client_id, purchase.names)


_CODES = {"order": "order-ending", "dcv": "dcv-ending", "organisation": "organisation-ending"}


def _deadline_topic(
    purchase: Purchase, deadline: PurchaseDeadline, steps: Sequence[PlannedCertificate]
) -> Topic:
    """Return the topic of one deadline of a purchase.

    Args:
        purchase: The purchase.
        deadline: The deadline, which has a due date.
        steps: The planned issues, the next one first.
    """
    kind, at, due = deadline.kind, deadline.at, deadline.due
    assert due is not None
    # A validation counts until the reissue that needs it, and not until it expires.
    end = at if kind == "order" else due
    values: dict[str, TextValue] = {
        "order": purchase.label,
        "names": ", ".join(display(n) for n in purchase.names[:12]),
        "date": at,
        "vendor": purchase.vendor,
        "issue": steps[0].issue if steps else at,
    }
    return Topic(
        key=f"order:{purchase.id}:{kind}:{purchase.client_id}",
        # If the date moves, for example after a validation, the reminders begin again.
        revision=f"{at:%Y-%m-%d}",
        client_id=purchase.client_id,
        client=purchase.client,
        domain_id=0,
        target=target_of(purchase.names),
        severity="high",
        actor=deadline.actor,
        code=_CODES[kind],
        opened=purchase.starts,
        facts=PurchaseFacts(values=values),
        schedule=ScheduledEnd(end),
        act_by=due,
        cause=f"order {purchase.id} {kind}",
    )


def ended_purchase_topic(key: str, current: set[str]) -> EndedTopic | None:
    """Return the end of a topic about a purchase, or None if it is still current.

    Such a topic ends silently when the purchase was renewed, cancelled or validated.

    Args:
        key: The key of a topic that the client was notified of.
        current: The keys of all current topics.
    """
    return (
        None
        if key in current
        else EndedTopic(
            key, False, "the purchase was renewed, cancelled or validated, or its case is open"
        )
    )
