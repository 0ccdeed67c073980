"""Asks CAs when they want a certificate renewed (RFC 9773), and keeps what was drawn.

An edge.

The instant is drawn once for a window and stored with it; a window that the CA changes is drawn
anew, one that it repeats is not. A question that fails changes nothing but the time of the next
one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from certmgr.acme.accounts import AccountSession
from certmgr.acme.context import IssuanceContext
from certmgr.acme.problems import AcmeError
from certmgr.acme.renewal import ASK_AGAIN, RenewalWindow, ari_id, ask_again, window
from inventory.db.database import from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.store import cases, lineages
from inventory.store.records import Row


def refresh(office: IssuanceContext, row: Row) -> RenewalWindow | None:
    """Asks for the certificate of a lineage if it is time to, and stores what came.

    The window that holds now, None without one.
    """
    kept = _kept(row)
    if row["sha256"] is None or (row["ari_next_at"] is not None and row["ari_next_at"] > office.at):
        return kept
    now = office.now()
    try:
        session = office.session(row["account_id"])
        found, again = _ask(office, session, row, now)
    except CertmgrError:
        found, again = kept, now + ASK_AGAIN
    values: dict[str, Any] = {"ari_next_at": to_epoch(again)}
    if found is not None and (kept is None or (found.start, found.end) != (kept.start, kept.end)):
        instant = found.instant(office.draw())
        values |= {
            "ari_start": to_epoch(found.start),
            "ari_end": to_epoch(found.end),
            "ari_at": to_epoch(instant),
        }
    if found is not None:
        values["ari_url"] = found.url or None
    with office.write() as tx:
        lineages.note(tx, row["id"], **values)
    return found


def _kept(row: Row) -> RenewalWindow | None:
    start, end = from_epoch(row["ari_start"]), from_epoch(row["ari_end"])
    return (
        RenewalWindow(start, end, row["ari_url"] or "")
        if start is not None and end is not None
        else None
    )


def _ask(
    office: IssuanceContext, session: AccountSession, row: Row, now: datetime
) -> tuple[RenewalWindow | None, datetime]:
    """(the window, when to ask again).

    A CA without ARI is asked no more than daily. Raises :class:`CertmgrError`.
    """
    base = session.directory._jobj.get("renewalInfo")
    if not isinstance(base, str):
        return None, now + timedelta(days=1)
    with office.database.read() as conn:
        ders = cases.chain_of(conn, [row["sha256"]])
    identifier = _id(ders[0]) if ders else None
    not_after = from_epoch(row["not_after"])
    if identifier is None or not_after is None or not_after <= now:
        return _kept(row), now + timedelta(days=1)
    response = session.net.get(f"{base.rstrip('/')}/{identifier}")
    return window(response.json(), not_after) or _kept(row), ask_again(
        response.headers.get("Retry-After"), now
    )


def _id(der: bytes) -> str | None:
    try:
        return ari_id(x509.load_der_x509_certificate(der))
    except ValueError:
        return None


def replaces(office: IssuanceContext, row: Row) -> str | None:
    """The id of the certificate that a new order replaces; None where the CA knows no ARI, or the
    certificate is another account's.
    """
    try:
        session = office.session(row["account_id"])
    except (AcmeError, CertmgrError):
        return None
    if not isinstance(session.directory._jobj.get("renewalInfo"), str) or row["sha256"] is None:
        return None
    with office.database.read() as conn:
        ders = cases.chain_of(conn, [row["sha256"]])
    return _id(ders[0]) if ders else None
