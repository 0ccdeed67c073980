"""The server of a solver that answers the CA itself: every connection is bounded.

The port is public. A CA connects from addresses that are not known before, so no client can be
refused by its address; what one client may cost is limited instead:

- a connection ends after :data:`SECONDS`, however slowly its bytes arrive;
- :data:`MAX_BYTES` are read from it;
- :data:`MAX_CONNECTIONS` are open at a time. One more connection ends the oldest one of the source
  that has the most, so that connections which only wait never keep the CA out.

One thread serves all connections. This module performs I/O.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

# CAs end their own attempt after about ten seconds, so that a longer wait has no purpose.
SECONDS = 10.0
# A request of a CA has some hundred bytes, a ClientHello with a post-quantum share about 2,000.
MAX_BYTES = 16_384
# Well below the usual limit of 1,024 open files of a process.
MAX_CONNECTIONS = 256
# How long the thread may take to end. It is a daemon, so that a late end does no harm.
STOP_SECONDS = 5.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ChallengeListener:
    """Accepts connections until :meth:`stop`, and passes each to a coroutine."""

    def __init__(self, address: str, port: int, serve: Serve) -> None:
        """Listen on an address, and serve in a thread.

        Args:
            address: The address; ``::`` for all addresses of both families.
            port: The port.
            serve: Answers one connection. It is cancelled when the time is over, and may raise any
                exception.

        Raises:
            OSError: The address or port cannot be used.
        """
        self._serve = serve
        self._open: dict[asyncio.Task[None], str] = {}
        self._socket = _listening_socket(address, port)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="challenge listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._accept())
            # Connections that were accepted meanwhile. A closed loop could not end them any more.
            self._loop.run_until_complete(_end_all())
        finally:
            self._socket.close()
            self._loop.close()

    async def _accept(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=MAX_BYTES)
        await self._stopping.wait()
        # Before the server: Python 3.13 prints a traceback for a connection that ends after it.
        await _end_all()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= MAX_CONNECTIONS:
            self._end_oldest_of_busiest()
        self._open[task] = source_of(writer.get_extra_info("peername"))
        try:
            async with asyncio.timeout(SECONDS):
                await self._serve(reader, writer)
                writer.close()
                await writer.wait_closed()
        # Strangers send anything. Whatever goes wrong with one connection concerns only that one.
        except Exception as error:
            _log.debug("a connection to the solver ended: %s", type(error).__name__)
        except asyncio.CancelledError:
            _log.debug("a connection to the solver was ended to make room")
        finally:
            self._open.pop(task, None)
            writer.transport.abort()

    def _end_oldest_of_busiest(self) -> None:
        # The CA has few connections, each for milliseconds: it is neither the busiest source nor
        # the oldest connection of a proxy, through which all clients have one address.
        busiest, _ = Counter(self._open.values()).most_common(1)[0]
        oldest = next(task for task, source in self._open.items() if source == busiest)
        del self._open[oldest]
        oldest.cancel()


async def _end_all() -> None:
    """Cancel all other tasks of this loop, and let the loop close their connections."""
    # A connection gets its task one turn after it was accepted, and is closed in another one.
    for _ in range(3):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def source_of(peer: object) -> str:
    """Return the source that a connection counts for: an IPv4 address, or an IPv6 network of /64.

    A single host commands all addresses of a /64.
    """
    host = str(peer[0]) if isinstance(peer, tuple) else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    # A socket for both families reports IPv4 clients in this form.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _listening_socket(address: str, port: int) -> socket.socket:
    # The CA connects from any address. A machine without IPv6 cannot listen on "::".
    addresses = ["::", "0.0.0.0"] if address == "::" else [address]  # noqa: S104
    failures: list[OSError] = []
    for candidate in addresses:
        try:
            return socket.create_server(
                (candidate, port),
                family=socket.AF_INET6 if ":" in candidate else socket.AF_INET,
                backlog=128,
                dualstack_ipv6=candidate == "::" and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            failures.append(error)
    raise failures[-1]


@contextmanager
def listening_errors(port: int, todo: str) -> Iterator[None]:
    """Raise an error of :class:`ChallengeListener` as :class:`CertmgrError`."""
    try:
        yield
    except OSError as error:
        raise CertmgrError(
            f"The solver cannot listen on port {port} for the challenge",
            error.strerror or str(error),
            todo,
        ) from None
