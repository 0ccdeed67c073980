"""Unreachable endpoints on loopback, on any address, until the parent process ends.

Port 9446 accepts connections and never responds. Port 9447 never completes a TCP handshake.
"""

from __future__ import annotations

import os
import select
import socket

SILENT, UNREACHABLE = 9446, 9447


def main() -> None:
    """Serve both ports."""
    parent = os.getppid()
    # The queue of this listener is full, so the kernel drops further SYN packets.
    full = socket.socket()
    full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    full.bind(("0.0.0.0", UNREACHABLE))
    full.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", UNREACHABLE))
        fillers.append(filler)
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    silent.bind(("0.0.0.0", SILENT))
    silent.listen(4096)
    silent.setblocking(False)
    poll = select.epoll()
    poll.register(silent, select.EPOLLIN)
    held: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while os.getppid() == parent:
        for fd, _event in poll.poll(1, 512):
            # The client disconnected.
            if fd != silent.fileno():
                poll.unregister(fd)
                held.pop(fd).close()
                continue
            try:
                while True:
                    connection, _ = silent.accept()
                    held[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLRDHUP | select.EPOLLHUP)
            except BlockingIOError:
                continue


if __name__ == "__main__":
    main()
