"""Politeness towards one address: at most so many connections at once, and so many a second after a
first burst of as many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
# Addresses whose state is kept without need: beyond it, gates that are shut and empty are
# forgotten.
MAX_IDLE = 4096


class _Gate(Generic[T]):
    """How many connections are open, who waits, and when the next may start."""

    __slots__ = ("next_start", "open", "waiting")

    def __init__(self) -> None:
        self.open = 0
        self.next_start = 0.0
        self.waiting: deque[T] = deque()


class AddressRateLimiter(Generic[T]):
    """``per_address`` and ``rate``: 0 for no limit.

    ``start`` is called with an item that may connect now (then :meth:`leave` is due), ``admit``
    with one that has waited and asks again from the beginning.
    """

    def __init__(
        self,
        per_address: int,
        rate: float,
        loop: asyncio.AbstractEventLoop,
        start: Callable[[T], None],
        admit: Callable[[T], None],
    ) -> None:
        self._per_address, self._rate, self._loop = per_address, rate, loop
        self._start, self._admit = start, admit
        self._gates: dict[str, _Gate[T]] = {}
        self._limited = bool(per_address or rate)

    def enter(self, item: T, address: str) -> None:
        """Starts the item, or lets it wait for its address."""
        if not self._limited:
            self._start(item)
            return
        gate = self._gates.get(address)
        if gate is None:
            gate = self._gates[address] = _Gate()
        now = self._loop.time()
        if self._per_address and gate.open >= self._per_address:
            gate.waiting.append(item)
        elif self._rate and gate.next_start > now:
            if not gate.waiting:
                self._loop.call_at(gate.next_start, self._open, address)
            gate.waiting.append(item)
        else:
            gate.open += 1
            if self._rate:
                burst = (self._per_address or 1) / self._rate
                gate.next_start = max(gate.next_start, now - burst) + 1 / self._rate
            self._start(item)

    def second(self, address: str) -> bool:
        """Takes a place for a second connection of an item that is in; False where the address has
        no further place. It does not queue.
        """
        gate = self._gates.get(address)
        if gate is None:
            return True
        if self._per_address and gate.open >= self._per_address:
            return False
        gate.open += 1
        return True

    def leave(self, address: str) -> None:
        """A connection has ended; whoever waits may go on."""
        gate = self._gates.get(address)
        if gate is None:
            return
        gate.open -= 1
        if gate.waiting:
            self._open(address)
        elif (
            gate.open == 0 and len(self._gates) > MAX_IDLE and gate.next_start <= self._loop.time()
        ):
            del self._gates[address]

    def _open(self, address: str) -> None:
        """Lets those who wait ask again, in their order, until one has to wait again."""
        gate = self._gates.get(address)
        if gate is None:
            return
        waiting, gate.waiting = gate.waiting, deque()
        while waiting and not gate.waiting:
            self._admit(waiting.popleft())
        gate.waiting.extend(waiting)
        if gate.waiting and gate.open == 0 and gate.next_start <= self._loop.time():
            self._loop.call_soon(self._open, address)
