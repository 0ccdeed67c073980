"""Counting of the connections that this process attempts, including refused ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_watched: dict[int, list[str]] = {}


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect" or not _watched:
        return
    address = arguments[1]
    if isinstance(address, tuple) and address[1] in _watched:
        _watched[address[1]].append(str(address[0]))


# An audit hook cannot be removed. It does nothing while no port is watched.
sys.addaudithook(_hook)


@contextmanager
def counted_connects(port: int) -> Iterator[list[str]]:
    """Yield a list that grows by the address of each attempt to connect to ``port``."""
    addresses: list[str] = []
    _watched[port] = addresses
    try:
        yield addresses
    finally:
        del _watched[port]
