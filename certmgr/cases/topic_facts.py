"""What the messages about a case state: the key of their texts, and the values in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from certmgr.cases.check import messages_from_json
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, term_of
from inventory.db.database import from_epoch
from inventory.names import display
from inventory.records import CaseRecord, IssuanceRecord
from inventory.targets import Target
from inventory.vocabulary import CaseKind, CaseState
from notifiers.pipeline.topic import Money, TextValue
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

PRODUCTS = {"dv": "domain validation", "ov": "organisation validation", "ev": "extended validation"}
KINDS = {"single": "one name", "multi": "several names", "wildcard": "wildcard"}


def wording_key(row: CaseRecord, state: CaseState, client_acts: bool, auto_renew: bool) -> str:
    """Return the key of the texts in notifiers/wording/cases.py.

    Args:
        row: The row of the case.
        state: Its state.
        client_acts: Whether the case waits for the client.
        auto_renew: Whether the vendor renews the purchase automatically.
    """
    incident = row.kind is CaseKind.INCIDENT
    match state:
        case CaseState.REQUESTED if row.own_csr:
            return "requested-own-incident" if incident else "requested-own"
        case CaseState.REQUESTED if incident:
            return "requested-incident"
        case CaseState.WAITING if not client_acts:
            return "waiting-us-free" if row.order_id is None else "waiting-us"
        # A refused upload precedes the other reasons to wait: the client has to know what to fix.
        case CaseState.WAITING if any(m.refuses for m in messages_from_json(row.said)):
            return "waiting-again-own" if row.own_csr else "waiting-again"
        case CaseState.WAITING if row.own_csr:
            return "waiting-own-incident" if incident else "waiting-own"
        case CaseState.WAITING if incident:
            return "waiting-incident"
        case CaseState.WAITING if row.order_id is None:
            return "waiting-free"
        case CaseState.WAITING if row.kind is CaseKind.RENEWAL and not auto_renew:
            return "waiting-renewal"
        case CaseState.CHECKED if row.approved_at is not None:
            return "checked-approved"
        case _:
            return str(state)


def upload_problems(row: CaseRecord) -> list[tuple[str, Mapping[str, str]]]:
    """Return code and values of each problem of the last upload that the client has to fix."""
    return [(m.code, m.values) for m in messages_from_json(row.said) if m.refuses]


def text_values(row: CaseRecord, purchase: Purchase | None, minutes: int) -> dict[str, TextValue]:
    """Return the values for the placeholders of the texts. Tuples are translated."""
    facts: dict[str, TextValue] = {
        "names": (
            ", ".join(display(n) for n in row.names[:12]) + (", ..." if len(row.names) > 12 else "")
        ),
        "vendor": purchase.vendor if purchase else ("your vendor",),
        "order": purchase.label if purchase else "",
        "product": [PRODUCTS[purchase.validation], KINDS[purchase.kind]] if purchase else [],
        "minutes": str(minutes),
        "why": row.reason or "",
        "fee": Money(row.fee, row.currency),
    }
    # The client reads the hour, since an incident can end within a day.
    if row.kind is CaseKind.INCIDENT:
        facts["until"] = from_epoch(row.ends_at)
    if row.reason == OLD_CERTIFICATE_SERVED:
        # A tuple is translated. The reason that a person wrote is shown as it is.
        facts["why"] = (OLD_CERTIFICATE_SERVED,)
    if purchase is not None:
        facts["order_end"] = purchase.ends
    if row.window_start is not None:
        facts["window"] = from_epoch(row.window_start)
        # The agreed duration replaces the one that was proposed.
        facts["minutes"] = str(((row.window_end or row.window_start) - row.window_start) // 60)
    return facts


def closing_values(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    purchase: Purchase | None,
    now: datetime,
    leads: LeadTimes,
) -> dict[str, TextValue]:
    """Return the values about the new certificates and the next date that the client can expect."""
    received = [i for i in issued if i.sha256 is not None]
    last = max(received, key=lambda i: i.not_after or 0, default=None)
    end = from_epoch(last.not_after) if last is not None else None
    facts: dict[str, TextValue] = {
        "serial": ", ".join(i.serial or "" for i in received),
        "not_after": end,
        "before": _before(row, now),
        "next": ("none known",),
    }
    # Without a new certificate there is no date to announce.
    if end is None:
        return facts
    # The certificate lasts as long as the purchase, so that the next step is a purchase.
    if purchase is not None and purchase.ends - end < DAY:
        facts["next"] = ("on {date} your order ends; we write to you in time", purchase.ends)
    elif purchase is not None and (steps := plan(term_of(purchase), now, leads.reissue)):
        facts["next"] = ("on {date} it must be reissued; we write to you in time", steps[0].issue)
    else:
        facts["next"] = ("on {date} it ends; we write to you in time", end)
    return facts


def _before(row: CaseRecord, now: datetime) -> tuple[str] | tuple[str, datetime | None]:
    """Return what was served before, as a text that is translated and its values."""
    # The end of an incident is the time by which it must be replaced, and no end of a certificate.
    if row.kind is CaseKind.INCIDENT:
        return ("a certificate that had to be replaced",)
    if (end := from_epoch(row.ends_at)) is None:
        return ("there was none",)
    if end <= now:
        return ("a certificate that ended on {date}", end)
    return ("a certificate that is valid until {date}", end)


def target_of(names: Sequence[str]) -> Target:
    """Return the endpoint that stands for a case: a wildcard is shown by its base name."""
    return Target(
        next(
            (n for n in names if not n.startswith("*.")),
            names[0].removeprefix("*.") if names else "unnamed",
        )
    )
