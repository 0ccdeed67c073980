"""http-01 by a separate server: on port 80, or on an internal port to which nginx or Apache pass
the challenge's path.

This module performs I/O.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

import h11

from certmgr.acme.challenges.interface import (
    HTTP_01,
    WELL_KNOWN,
    ChallengeProof,
    Leftover,
    Solver,
    SolverKind,
    SolverTools,
)
from certmgr.acme.challenges.listener import MAX_BYTES, ChallengeListener, listening_errors
from certmgr.config.acme import SolverSettings

_log = logging.getLogger(__name__)

_READ = 4096


class Standalone:
    """The http-01 solver that listens while there are answers. Parallel orders share the server."""

    challenge = "http-01"
    persistent = False

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address or "::", port or 80
        self._lock = threading.Lock()
        self._answers: dict[str, bytes] = {}
        self._listener: ChallengeListener | None = None

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Add the answers, and start the server with the first one."""
        _log.info("answering http-01 for %s", ", ".join(p.name for p in proofs))
        todo = (
            "If a web server uses the port, use a solver of the kind webroot or alias. Or give the"
            " solver an internal port to which the web server passes the path (certmgr solver"
            " snippet)."
        )
        with self._lock:
            if self._listener is None:
                with listening_errors(self.port, todo):
                    self._listener = ChallengeListener(self.address, self.port, self._serve)
            # A new dictionary: the thread of the listener reads it without the lock.
            self._answers = {
                **self._answers,
                **{p.token: p.key_authorization.encode() for p in proofs},
            }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One request per connection: CAs send one, and more of them would only serve strangers.
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_BYTES)
        try:
            request = await _request(connection, reader)
        except h11.RemoteProtocolError as error:
            _log.debug("an invalid request: %s", error.error_status_hint)
            status, body = error.error_status_hint, b""
        else:
            answer = self._answer_to(request)
            status, body = (404, b"") if answer is None else (200, answer)
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
        writer.write(connection.send(h11.Data(data=body)) or b"")
        await writer.drain()

    def _answer_to(self, request: h11.Request) -> bytes | None:
        path = request.target.decode("ascii", "replace")
        # Only known tokens are answered. No path of this machine can be reached, whatever the
        # request names.
        if request.method != b"GET" or not path.startswith(WELL_KNOWN):
            return None
        return self._answers.get(path.removeprefix(WELL_KNOWN))

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove the answers, and stop the server after the last one."""
        removed = {p.token for p in proofs}
        with self._lock:
            self._answers = {t: a for t, a in self._answers.items() if t not in removed}
            # The port is free again for another program, and closed to strangers, between two
            # orders.
            if not self._answers and self._listener is not None:
                listener, self._listener = self._listener, None
                listener.stop()
        return ()


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    """Read the head of a request. A body is neither expected nor read.

    Raises:
        h11.RemoteProtocolError: It is not a request of HTTP/1, or too long.
        EOFError: The connection was closed before.
    """
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            raise EOFError
        data = await reader.read(_READ)
        connection.receive_data(data)


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return Standalone(settings.address, settings.port)


def _snippet(settings: SolverSettings, server: str) -> str:
    # On port 80 the solver answers the CA itself; on another port a web server passes requests on.
    if settings.port in (0, 80):
        return ""
    # Without an address the solver listens everywhere; the web server on the same machine
    # reaches it here.
    host = settings.address or "127.0.0.1"
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    if server == "nginx":
        return f"location ^~ {WELL_KNOWN} {{\n    proxy_pass {base};\n}}\n"
    return f'ProxyPass "{WELL_KNOWN}" "{base}{WELL_KNOWN}"\n'


SOLVER = SolverKind(
    name="standalone",
    challenges=(HTTP_01,),
    make=_make,
    snippet=_snippet,
    summary=(
        "`port` 80 free, or an internal port to which the web server passes the challenge's path"
        " (`certmgr solver snippet`)"
    ),
)
