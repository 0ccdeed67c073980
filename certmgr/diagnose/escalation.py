"""The ticket of a diagnosis that the support desk passes to level 2.

A message may state that a fault was passed on only if there is a ticket that staff know of. So the
ticket is stored before any text names its reference, and each run of notices reports it to the
administrators on call, once per day, until it is closed.
"""

from __future__ import annotations

import logging
from datetime import datetime

from certmgr.diagnose.context import HostContext
from inventory.db.database import Database
from inventory.errors import UsageError
from inventory.store import domains, tickets
from inventory.text import printable
from inventory.vocabulary import TicketKind

_log = logging.getLogger(__name__)

DESK = "desk"
"""The code of a ticket that a support agent opened without a fault that was found."""

_MAX_CAUSE = 300
_ALSO = " | also "
# Of many calls the first and the last ones are kept, so that the text stays short.
_MAX_CALLS = 3


def require_context(context: HostContext | None, host: str) -> HostContext:
    """Return the context of a host that is to be escalated.

    Raises:
        UsageError: The inventory does not contain the host, so that no client can be answered.
    """
    if context is None:
        raise UsageError(
            f"{printable(host, 100)} cannot be passed to level 2",
            "a ticket belongs to a client, and the host is not in the inventory",
            "Add it with certmgr domain add NAME --client NUMBER.",
        )
    return context


def _with_call(known: str, text: str) -> str:
    """Return the text of an open ticket with that of another call.

    The first text stays, since level 2 may be working on the fault as it describes it. The call may
    be about another page or host of the domain, which level 2 would not check without its URL.
    """
    calls = known.split(_ALSO)
    if not known or text in calls:
        return known or text
    return _ALSO.join([calls[0], *[*calls[1:], text][-_MAX_CALLS:]])


def escalate(
    database: Database, context: HostContext, url: str, code: str, cause: str, now: datetime
) -> str:
    """Open the ticket of a fault, or find the one that is open, and return its reference.

    Args:
        database: The inventory.
        context: The inventory's data about the host.
        url: The URL that was diagnosed.
        code: The finding code. Empty if no fault was found: the client sees one that we do not.
        cause: The cause in one sentence, for staff.
        now: The time of the diagnosis.
    """
    code = code or DESK
    text = printable(f"{url}: {cause or 'no fault is visible from here'}", _MAX_CAUSE)
    with database.write(now) as tx:
        domain = domains.find(tx.conn, context.domain)
        # One ticket per fault of a domain: if the client calls again, the agent finds it.
        key = f"{TicketKind.DESK}:{domain.id}:{code}:{context.client_id}"
        before = tickets.by_key(tx.conn, [key]).get(key)
        if before is None:
            # Without a hold, which would wait for a release to clients: it is for staff only.
            ticket = tickets.NewTicket(
                key=key,
                kind=TicketKind.DESK,
                client_id=context.client_id,
                domain_id=domain.id,
                code=code,
                cause=text,
            )
            tickets.open_(tx, [ticket])
        elif before.closed_at is not None:
            # The same fault came back: the client keeps the reference.
            tickets.reopen(tx, before.id, text)
        elif (both := _with_call(before.cause or "", text)) != before.cause:
            tickets.change(tx, before.id, cause=both)
            tx.audit("edit", "matter", before.id, {"cause": [before.cause, both]})
        reference = tickets.by_key(tx.conn, [key])[key].reference
    _log.info("passed to level 2 under %s: %s", reference, code)
    return reference
