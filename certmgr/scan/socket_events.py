"""The events of many sockets inside one asyncio loop.

The sockets live in a separate epoll object, which the loop watches as a single file. One wake-up
therefore serves hundreds of sockets, and no Protocol or Task is created per socket. On systems
without epoll, the loop watches each socket.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable


class SocketEvents:
    """Watches sockets until :meth:`close`, and reports each that can be read or written.

    Args:
        loop: The loop that reports the events.
        report: Called with the file descriptor of a socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Callable[[int], None]) -> None:
        self._loop, self._report = loop, report
        self._poller = select.epoll() if hasattr(select, "epoll") else None
        if self._poller is not None:
            loop.add_reader(self._poller.fileno(), self._drain)

    @property
    def level_triggered(self) -> bool:
        """Whether a socket with unread bytes is reported again without a new event."""
        return self._poller is None

    def watch(self, sock: socket.socket) -> None:
        """Begin to report a socket."""
        fd = sock.fileno()
        if self._poller is not None:
            # Edge-triggered: each socket is registered once, and every event is read until it would
            # block.
            self._poller.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        else:
            self._loop.add_writer(fd, self._ready_without_epoll, fd, True)

    def forget(self, fd: int) -> None:
        """Stop reporting a socket, which the caller closes: that removes it from epoll."""
        if self._poller is None and fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def close(self) -> None:
        """Stop reporting sockets."""
        if self._poller is not None:
            self._loop.remove_reader(self._poller.fileno())
            self._poller.close()

    def _ready_without_epoll(self, fd: int, writable: bool) -> None:
        # A connected socket is nearly always writable, so the loop would wake without end.
        if writable:
            self._loop.remove_writer(fd)
            self._loop.add_reader(fd, self._ready_without_epoll, fd, False)
        self._report(fd)

    def _drain(self) -> None:
        assert self._poller is not None
        report = self._report
        # At most 256 events per call, so that other callbacks of the loop are not delayed.
        for fd, _ in self._poller.poll(0, 256):
            report(fd)
