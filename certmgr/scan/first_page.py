"""The home page over HTTPS, requested on the connection of the probe.

A browser does so too, and it saves a second connection and handshake. It is an offer: if the
address has no free turn, or the answer is not usable, the visit requests the page itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from certmgr.net.http_body import MAX_BODY
from certmgr.net.http_exchange import Exchange
from certmgr.scan.dial_request import DialResult
from certmgr.scan.evidence import FailureKind
from certmgr.scan.page_connection import PageConnection, is_refused


@dataclass(slots=True)
class FirstPage:
    """The first page of one address.

    :meth:`dialled` must follow the dial, and :meth:`release` the use of the result.

    Attributes:
        url: The URL of the page.
        result: The usable answer, as that of a fetch; None if there is none.
    """

    url: str
    address: str
    result: DialResult | None = None
    _connection: PageConnection = field(kw_only=True)
    _begun: Callable[[], None] = field(kw_only=True)
    _turns: int = 0
    _held: int = 0
    _is_small: bool = False

    def exchange(self, protocol: str | None) -> Exchange | None:
        """Return the exchange of a connection whose handshake is complete, or None without a turn.

        A silent server gets two connections, so there may be two.
        """
        room = self._connection.enter_first(self.address)
        if not room:
            return None
        self._turns += 1
        self._begun()
        self._is_small = room < MAX_BODY
        return self._connection.exchange(self.url, None, protocol, own=True, room=room)

    def dialled(self, result: DialResult | None) -> None:
        """Give the turns back, and keep a usable answer."""
        while self._turns:
            self._turns -= 1
            self._connection.leave_first(self.address)
        if result is None or result.exchange is None:
            return
        answer = DialResult(
            chain=result.chain,
            failure=result.page_failure,
            exchange=result.exchange,
            seconds=result.seconds,
        )
        # With more room, the rest of the page may be read.
        cut = self._is_small and result.exchange.truncated
        if not cut and _is_usable(answer):
            self.result = answer
            self._held = len(result.exchange.body)
            self._connection.hold_first(self._held)

    def release(self) -> None:
        """Free the memory."""
        self.result = None
        self._connection.hold_first(-self._held)
        self._held = 0


def _is_usable(answer: DialResult) -> bool:
    """Return whether the answer decides what a visitor sees.

    Other failures get the further tries of a fetch, with other protocols and headers. After a
    time-out, these would only take the same time again.
    """
    if answer.failure is not None:
        return answer.failure.kind is FailureKind.TIMEOUT
    answered = answer.exchange is not None and answer.exchange.status is not None
    return answered and not is_refused(answer, own=True)
