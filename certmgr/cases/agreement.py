"""What client and provider agree on: the approval of the price, and the installation window.

Each function is one transaction, and sends nothing. The next notification run notifies the client
of the new state, with the calendar entry of the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from certmgr.cases import installation
from certmgr.cases import window as windows
from certmgr.cases.service import CaseService
from certmgr.cases.states import ENDED, CaseAction, next_state
from inventory.errors import Conflict, UsageError
from inventory.records import CaseRecord
from inventory.store import (
    case_changes,
    contacts,
    editing,
    purchase_values,
)
from inventory.store.case_changes import CaseColumns
from inventory.vocabulary import CaseState, WindowState


def approve(
    service: CaseService,
    reference: str,
    by: str,
    how: str,
    *,
    price: str | None = None,
    fee: str | None = None,
    currency: str | None = None,
) -> CaseRecord:
    """Record that the client approved the installation and its price.

    Args:
        reference: The reference of the case.
        by: The name of the person who approved.
        how: The contact method, such as telephone.
        price: The price of the certificate.
        fee: The fee of the installation.
        currency: The currency of both amounts.

    Raises:
        Conflict: The case has ended.
        UsageError: A value is invalid, or an amount has no currency.
    """
    row = service.read(reference)
    if CaseState(row.state) in ENDED:
        raise Conflict(
            f"The case {row.reference} is '{row.state}'",
            "a case that has ended needs no approval",
            f"Reopen it first: certmgr case reopen {row.reference} --reason TEXT.",
        )
    values: CaseColumns = {
        "approved_at": int(service.now.timestamp()),
        # Billing relies on the approval, so the record needs the person and the contact method.
        "approved_by": editing.required(by, "name", 200),
        "approved_how": editing.required(how, "way", 200),
    }
    amounts = _agreed_amounts(row, price, fee, currency)
    # With the approval the case waits for the provider instead of the client, so that the step
    # and its due date begin again although the state stays.
    if row.state == CaseState.CHECKED:
        values["step"] = 1
        values["since"] = int(service.now.timestamp())
        values["due_at"] = service.due_at(row.state, ends_at=row.ends_at, window_end=row.window_end)
    text = f"{by} approved by {how}{': ' + amounts.text if amounts.text else ''}"
    with service.context.write() as tx:
        return case_changes.change(tx, row, "approve", {**values, **amounts.columns}, text)


@dataclass(frozen=True, slots=True)
class _AgreedAmounts:
    """The amounts that the client approved.

    Attributes:
        columns: The columns of the case that change.
        text: All amounts of the case, for the event; empty if there are none.
    """

    columns: CaseColumns
    text: str


def _agreed_amounts(
    row: CaseRecord, price: str | None, fee: str | None, currency: str | None
) -> _AgreedAmounts:
    """Check the amounts of an approval; what is None stays as the case has it."""
    columns: CaseColumns = {}
    if price is not None:
        columns["price"] = purchase_values.amount(price, "price")
    if fee is not None:
        columns["fee"] = purchase_values.amount(fee, "fee")
    if currency:
        columns["currency"] = purchase_values.currency(currency)
    agreed = replace(
        row,
        price=columns.get("price", row.price),
        fee=columns.get("fee", row.fee),
        currency=columns.get("currency", row.currency),
    )
    # Clients read the amounts and billing uses them, so that the currency must be known.
    if (agreed.price or agreed.fee) and not agreed.currency:
        raise UsageError("An amount needs a currency", "", "Give --currency EUR, for example.")
    text = ", ".join(
        f"{what} {amount} {agreed.currency}"
        for what, amount in (("price", agreed.price), ("fee", agreed.fee))
        if amount
    )
    return _AgreedAmounts(columns, text)


def agree_window(
    service: CaseService,
    reference: str,
    start: str,
    *,
    minutes: int | None = None,
    zone: str | None = None,
    text: str = "",
) -> tuple[CaseRecord, windows.InstallationWindow]:
    """Agree on an installation window.

    Args:
        reference: The reference of the case.
        start: The begin in the client's time zone.
        minutes: The duration; None for the default of the configuration.
        zone: The time zone; None for that of the client.
        text: The reason. Without the client's approval a reason is required.

    Returns:
        The new row and the window.

    Raises:
        UsageError: The time is invalid, or neither an approval nor a reason is given.
        Conflict: The state does not allow a window, or a certificate is missing.
    """
    row = service.read(reference)
    # In any other state the error of the transition explains more than a missing certificate.
    if next_state(row.state, CaseAction.AGREE) is not None:
        installation.require_certificates(service, row)
    time_zone = contacts.time_zone(zone) or _time_zone_of(service, row)
    window = windows.build_window(
        start, minutes or service.context.settings.cases.window_minutes, time_zone, service.now
    )
    # A window is an appointment with the client. If it is set without the client's approval,
    # the reason is recorded.
    if row.approved_at is None and not text:
        raise UsageError(
            "The client has not approved the installation yet",
            "a window is agreed with the client",
            f"certmgr case approve {row.reference} --by NAME --how telephone; or give the"
            " reason with --reason TEXT.",
        )
    # RFC 5545: calendars replace an entry only if the new one has a higher SEQUENCE.
    sequence = row.window_sequence + 1 if row.window_start is not None else 0
    values: CaseColumns = {
        "window_start": int(window.start.timestamp()),
        "window_end": int(window.end.timestamp()),
        "window_zone": time_zone,
        "window_sequence": sequence,
        "window_state": WindowState.AGREED,
    }
    with service.context.write() as tx:
        event_text = f"{window.text}{'; ' + text if text else ''}"
        return service.transition(tx, row, CaseAction.AGREE, event_text, **values), window


def _time_zone_of(service: CaseService, row: CaseRecord) -> str:
    """Return the time zone of the client: that of the contact, of another one, or ours."""
    with service.context.read() as conn:
        known = contacts.listing(conn, client_id=row.client_id)
    own = next((c.time_zone for c in known if c.id == row.contact_id and c.time_zone), None)
    return (
        own
        or next((c.time_zone for c in known if c.time_zone), None)
        or service.context.settings.provider.time_zone
    )


def cancel_window(service: CaseService, reference: str, reason: str) -> CaseRecord:
    """Cancel the agreed window. The reason is stored for the staff.

    Raises:
        Conflict: No window is agreed.
        UsageError: The reason is empty.
    """
    row = service.read(reference)
    with service.context.write() as tx:
        return service.transition(
            tx,
            row,
            CaseAction.CANCEL_WINDOW,
            editing.required(reason, "reason", 500),
            **windows.cancelled(row),
        )
