"""Replies with a code of three digits: SMTP, LMTP, FTP and NNTP."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator
from dataclasses import dataclass

from inventory.protocols.dialogue import (
    DialogueReader,
    StartTlsRefused,
    StartTlsUndetermined,
    server_reply,
)

_FIRST_LINE = re.compile(rb"[1-5][0-9][0-9](?:[ -]|$)")
# "Service not available, closing": the server may close with it at any time (RFC 5321 4.2.2, RFC
# 959 4.2.1; RFC 3977 3.2.1 has 400 for the same).
_CLOSING = frozenset({b"421", b"400"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply.

    Attributes:
        code: Three digits.
        lines: The lines as sent, with the code where they have one; at least one.
    """

    code: bytes
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """The reason of a failure that consists of this reply."""
        return server_reply(self.lines[-1])


def read_reply(reader: DialogueReader) -> Generator[bytes, bytes, Reply]:
    """Read a reply: one line ``250 ...``, or lines from ``250-...`` up to ``250 ...``.

    Only the first line's code ends a reply of several lines, since the lines between may begin with
    other digits (RFC 959 4.2).

    Raises:
        StartTlsRefused: The server does not reply with a code, or the reply is too long.
    """
    line = yield from reader.line()
    if not _FIRST_LINE.match(line):
        raise StartTlsRefused(server_reply(line))
    code = line[:3]
    lines = [line]
    if line[3:4] == b"-":
        while not (line == code or line.startswith(code + b" ")):
            line = yield from reader.line()
            lines.append(line)
    return Reply(code, tuple(lines))


def read_greeting(reader: DialogueReader, accepted: Collection[bytes]) -> Generator[bytes, bytes]:
    """Read the greeting.

    Raises:
        StartTlsRefused: This is another protocol.
        StartTlsUndetermined: The server serves no client at the moment, or not this one.
    """
    reply = yield from read_reply(reader)
    if reply.code in accepted:
        return
    # Such a greeting is no answer about TLS: RFC 5321 3.1 (554), RFC 3977 5.1 (400, 502).
    if reply.code[:1] in (b"4", b"5"):
        raise StartTlsUndetermined(reply.text)
    raise StartTlsRefused(reply.text)


def read_answer(reader: DialogueReader) -> Generator[bytes, bytes, Reply]:
    """Read the reply to a request.

    Raises:
        StartTlsRefused: The server does not reply with a code, or the reply is too long.
        StartTlsUndetermined: The server ends the connection for another reason.
    """
    reply = yield from read_reply(reader)
    if reply.code in _CLOSING:
        raise StartTlsUndetermined(reply.text)
    return reply


def read_consent(reader: DialogueReader, code: bytes) -> Generator[bytes, bytes]:
    """Read the reply to the request for TLS.

    Raises:
        StartTlsRefused: The server does not start TLS.
        StartTlsUndetermined: The server ends the connection for another reason.
    """
    reply = yield from read_answer(reader)
    if reply.code != code:
        raise StartTlsRefused(reply.text)
