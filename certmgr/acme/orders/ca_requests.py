"""Signed requests of an account to its CA, and the pauses between them.

This module performs I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.order_errors import OrderPending
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.session import AccountSession

# Seconds between two requests if the CA sends no Retry-After. The first are short, since a CA on
# the same network decides within milliseconds.
POLL_INTERVALS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class CaRequests:
    """Sends requests in the name of one account."""

    context: IssuanceContext
    session: AccountSession

    def post(self, url: str, obj: Any = None) -> Any:
        """Send a signed request, and return the response. Without ``obj`` it is POST-as-GET."""
        return self.session.post(url, obj)

    def pause(
        self,
        response: Any,
        attempt: int,
        end: datetime,
        what: str,
        *,
        stay: bool = False,
    ) -> None:
        """Wait before the next request, as long as Retry-After asks for.

        Args:
            response: The last response.
            attempt: The number of earlier pauses.
            end: When the wait is given up.
            what: What the CA has not decided about, for the message.
            stay: Whether to wait until ``end`` if the CA asks for a longer pause.

        Raises:
            OrderPending: The time is over, or the CA asks for a longer pause than is left.
        """
        asked = responses.retry_after_seconds(response, self.context.now())
        # A wait of zero would poll without a pause; some CAs send "Retry-After: 0".
        wait = (
            POLL_INTERVALS[min(attempt, len(POLL_INTERVALS) - 1)]
            if asked is None
            else max(asked, 0.1)
        )
        left = (end - self.context.now()).total_seconds()
        # A CA that asks for a long pause must not block this worker: the next run continues. While
        # answers to challenges are published, the CA may validate them at any time, so the worker
        # stays until its own limit: only Retry-After is a wish, the limit is ours.
        if left <= 0 or (not stay and wait > max(left, 0) + 60):
            why = (
                f"it asks to retry in {wait:.0f} seconds"
                if asked is not None and wait > max(left, 0)
                else "the time limit is reached"
            )
            raise OrderPending(
                f"The CA has not decided about {what}",
                why,
                "The next run continues the order.",
                asked,
            )
        self.context.wait(min(wait, max(left, 0.1)))
