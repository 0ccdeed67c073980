"""Rate limits per address: a maximum of connections at once, and of new connections per second.

Before the rate limit applies, an address gets a burst of as many connections as it may have at
once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from certmgr.net.addresses import Network, within

T = TypeVar("T")
# If more addresses than this have a state, the state of idle addresses is removed.
MAX_IDLE = 4096
# How many times as many connections at once our own servers get.
OWN_FACTOR = 4


class _AddressState(Generic[T]):
    """The open connections of an address, the waiting items, and the earliest next start."""

    __slots__ = ("at_once", "next_start", "open", "rate", "waiting")

    def __init__(self, at_once: int, rate: float) -> None:
        self.at_once, self.rate = at_once, rate
        self.open = 0
        self.next_start = 0.0
        self.waiting: deque[T] = deque()

    def is_free(self, now: float) -> bool:
        """Return whether a connection may start."""
        full = bool(self.at_once) and self.open >= self.at_once
        return not full and not (self.rate and self.next_start > now)

    def take(self, now: float) -> None:
        """Record the start of a connection."""
        self.open += 1
        if self.rate:
            # The schedule may lie at most one burst in the past, so idle time does not accumulate.
            burst = (self.at_once or 1) / self.rate
            self.next_start = max(self.next_start, now - burst) + 1 / self.rate


class AddressRateLimiter(Generic[T]):
    """A queue per address.

    ``per_address`` and ``rate``: 0 means no limit. ``start`` is called with an item that may
    connect now; :meth:`leave` must follow. ``admit`` is called with an item that has waited and
    must apply again. ``own``: networks whose addresses have a higher limit and no rate. Politeness
    is owed to the servers of others.
    """

    def __init__(
        self,
        per_address: int,
        rate: float,
        loop: asyncio.AbstractEventLoop,
        start: Callable[[T], None],
        admit: Callable[[T], None],
        own: Iterable[Network] = (),
    ) -> None:
        self._own = tuple(own)
        self._per_address, self._rate, self._loop = per_address, rate, loop
        self._start, self._admit = start, admit
        self._states: dict[str, _AddressState[T]] = {}
        self._limited = bool(per_address or rate)

    def enter(self, item: T, address: str) -> None:
        """Start the item, or queue it for its address."""
        if not self._limited:
            self._start(item)
            return
        state = self._states.get(address)
        if state is None:
            state = self._states[address] = self._new_state(address)
        now = self._loop.time()
        if state.at_once and state.open >= state.at_once:
            state.waiting.append(item)
        elif state.rate and state.next_start > now:
            if not state.waiting:
                # One timer per queue: _admit_waiting sets the next one through enter().
                self._loop.call_at(state.next_start, self._admit_waiting, address)
            state.waiting.append(item)
        else:
            state.take(now)
            self._start(item)

    def enter_now(self, address: str) -> bool:
        """Take a slot if none has to be waited for; :meth:`leave` must follow."""
        if not self._limited:
            return True
        state = self._states.get(address)
        if state is None:
            state = self._states[address] = self._new_state(address)
        now = self._loop.time()
        if state.waiting or not state.is_free(now):
            return False
        state.take(now)
        return True

    def _new_state(self, address: str) -> _AddressState[T]:
        if self._own and within(address, self._own):
            return _AddressState(self._per_address * OWN_FACTOR, 0.0)
        return _AddressState(self._per_address, self._rate)

    def enter_second(self, address: str) -> bool:
        """Take a slot for a second connection of an item that has started.

        Returns False if the address has no free slot. The item is not queued.
        """
        state = self._states.get(address)
        if state is None:
            return True
        if state.at_once and state.open >= state.at_once:
            return False
        state.open += 1
        return True

    def leave(self, address: str) -> None:
        """Release the slot of a connection that has ended, and admit waiting items."""
        state = self._states.get(address)
        if state is None:
            return
        state.open -= 1
        if state.waiting:
            self._admit_waiting(address)
        elif (
            # The schedule must outlive idle time, or the address would get a second burst at once.
            state.open == 0
            and len(self._states) > MAX_IDLE
            and state.next_start <= self._loop.time()
        ):
            del self._states[address]

    def _admit_waiting(self, address: str) -> None:
        """Admit waiting items in their order until one has to wait again."""
        state = self._states.get(address)
        if state is None:
            return
        waiting, state.waiting = state.waiting, deque()
        # An item that returns to the queue shows that the limit of the address is reached.
        while waiting and not state.waiting:
            self._admit(waiting.popleft())
        state.waiting.extend(waiting)
        if state.waiting and state.open == 0 and state.next_start <= self._loop.time():
            # No open connection remains whose end would call leave() for this queue.
            self._loop.call_soon(self._admit_waiting, address)
