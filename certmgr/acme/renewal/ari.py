"""Renewal information of CAs (ARI, RFC 9773), and the renewal time selected from it.

This module performs I/O.

The renewal time is selected once per suggested window and stored with it. A window that the CA
changes gets a new time; a window that it repeats does not. A failed request changes only the time
of the next request.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from certmgr.acme.context import IssuanceContext
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.protocol.session import AccountSession
from certmgr.acme.renewal.renewal import (
    ARI_INTERVAL,
    CertificateLife,
    RenewalWindow,
    ari_id,
    contradicts,
    next_ari_request,
    parse_window,
)
from inventory.db.database import from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.records import LineageRecord
from inventory.store import acme_orders, certificates, lineages

_log = logging.getLogger(__name__)


def refresh(context: IssuanceContext, row: LineageRecord) -> RenewalWindow | None:
    """Request the window of a lineage's certificate if that is due, and store it.

    A certificate that another account ordered is not asked about.

    Returns:
        The current window; None if there is none.
    """
    stored = _stored_window(row)
    # RFC 9773 4.3: a client asks no earlier than Retry-After allows.
    if row.sha256 is None or (row.ari_next_at is not None and row.ari_next_at > context.now_epoch):
        return stored
    now = context.now()
    try:
        session = context.session(row.account_id)
        current, next_request = _request_window(context, session, row, now)
        if current is not None and _contradicts(context, row, current, now):
            _log.info("%s: the suggested window ended before the certificate began", row.name)
            current = None
    # Without an answer the stored window counts: renewal never waits for this service.
    except CertmgrError as error:
        _log.info("no renewal information of %s: %s", row.name, error)
        # RFC 9773 4.3.3: after a temporary error the client asks again later. Six hours keep to "at
        # least twice a day" if the CA recovers.
        current, next_request = stored, now + ARI_INTERVAL
    values: dict[str, Any] = {"ari_next_at": to_epoch(next_request)}
    if current is not None and (
        # A repeated window keeps its time: a new random choice at each run would move the renewal,
        # and in the sum all renewals to the front of the window.
        stored is None or (current.start, current.end) != (stored.start, stored.end)
    ):
        renew_at = current.select_time(context.random())
        values |= {
            "ari_start": to_epoch(current.start),
            "ari_end": to_epoch(current.end),
            "ari_at": to_epoch(renew_at),
        }
    if current is not None:
        values["ari_url"] = current.url or None
    with context.write() as tx:
        lineages.note(tx, row.id, **values)
    return current


def _stored_window(row: LineageRecord) -> RenewalWindow | None:
    start, end = from_epoch(row.ari_start), from_epoch(row.ari_end)
    return (
        RenewalWindow(start, end, row.ari_url or "")
        if start is not None and end is not None
        else None
    )


def _contradicts(
    context: IssuanceContext, row: LineageRecord, window: RenewalWindow, now: datetime
) -> bool:
    not_before, not_after = from_epoch(row.not_before), from_epoch(row.not_after)
    if not_before is None or not_after is None or row.sha256 is None:
        return False
    with context.read() as conn:
        order = acme_orders.issued_for(conn, row.id, row.sha256)
    life = CertificateLife(not_before, not_after)
    return contradicts(window, life, now, order.reason if order is not None else "")


def _request_window(
    context: IssuanceContext, session: AccountSession, row: LineageRecord, now: datetime
) -> tuple[RenewalWindow | None, datetime]:
    """Return the suggested window, and the time of the next request.

    Raises:
        CertmgrError: The CA does not answer.
    """
    base = session.renewal_info
    # A CA may introduce ARI later, so its directory is checked again each day.
    if not isinstance(base, str):
        return None, now + timedelta(days=1)
    if not _is_of_account(context, row):
        return _stored_window(row), now + timedelta(days=1)
    with context.read() as conn:
        ders = certificates.ders_in_order(conn, [row.sha256] if row.sha256 is not None else [])
    identifier = _certificate_id(ders[0]) if ders else None
    not_after = from_epoch(row.not_after)
    # An expired certificate is due anyway, and one without an id cannot be asked about.
    if identifier is None or not_after is None or not_after <= now:
        return _stored_window(row), now + timedelta(days=1)
    response = session.net.get(f"{base.rstrip('/')}/{identifier}")
    return (
        parse_window(response.json(), not_after) or _stored_window(row),
        next_ari_request(response.headers.get("Retry-After"), now),
    )


def _is_of_account(context: IssuanceContext, row: LineageRecord) -> bool:
    """Return whether the lineage's account ordered its certificate.

    Another account may belong to another CA, or may not name the certificate as replaced (RFC 9773
    5: the server verifies that). The account of a certificate that was adopted is unknown; the
    lineage has the account that was adopted with it.
    """
    if row.sha256 is None:
        return False
    with context.read() as conn:
        order = acme_orders.issued_for(conn, row.id, row.sha256)
    return order is None or order.account_id == row.account_id


def _certificate_id(der: bytes) -> str | None:
    try:
        return ari_id(x509.load_der_x509_certificate(der))
    except ValueError:
        return None


def replaces(context: IssuanceContext, row: LineageRecord) -> str | None:
    """Return the ARI id of the certificate that a new order would replace.

    Returns:
        The value of ``replaces`` (RFC 9773 5); None if the CA has no ARI or cannot be reached, if
        the lineage has no certificate, or if another account ordered it.
    """
    if not _is_of_account(context, row):
        return None
    try:
        session = context.session(row.account_id)
    except (AcmeError, CertmgrError):
        return None
    if not isinstance(session.renewal_info, str) or row.sha256 is None:
        return None
    with context.read() as conn:
        ders = certificates.ders_in_order(conn, [row.sha256] if row.sha256 is not None else [])
    return _certificate_id(ders[0]) if ders else None
