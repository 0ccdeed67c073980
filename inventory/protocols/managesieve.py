"""ManageSieve (RFC 5804 2.2)."""

from __future__ import annotations

import re
from collections.abc import Generator

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    NOT_OFFERED,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
    server_reply,
)

# A string may be sent as {size} with its bytes after the line end (RFC 5804 1.2).
_LITERAL = re.compile(rb"\{([0-9]{1,6})\+?\}$")


def _response_line(reader: DialogueReader) -> Generator[bytes, bytes, bytes]:
    """Read a line of a response, with the literals in it."""
    line = yield from reader.line()
    while literal := _LITERAL.search(line):
        text = yield from reader.exactly(int(literal[1]))
        rest = yield from reader.line()
        # The literal is quoted, so that its bytes cannot be taken for another literal.
        line = line[: literal.start()] + b'"' + text + b'"' + rest
    return line


def _word(line: bytes) -> bytes:
    """Return the first word in capitals: OK, NO, BYE, or the name of a capability in quotes."""
    return re.split(rb"[ (]", line, maxsplit=1)[0].upper()


def managesieve(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of ManageSieve."""
    reader = DialogueReader()
    offered = False
    # The greeting has one capability per line, and ends with OK.
    while True:
        line = yield from _response_line(reader)
        word = _word(line)
        if word == b"OK":
            break
        # The server does not accept this connection.
        if word in (b"NO", b"BYE"):
            raise StartTlsUndetermined(server_reply(line))
        if not line.startswith(b'"'):
            raise StartTlsRefused(server_reply(line))
        offered = offered or word == b'"STARTTLS"'
    if not offered:
        raise StartTlsRefused(NOT_OFFERED)
    reader.send(b"STARTTLS\r\n")
    line = yield from _response_line(reader)
    if _word(line) == b"BYE":
        raise StartTlsUndetermined(server_reply(line))
    if _word(line) != b"OK":
        raise StartTlsRefused(server_reply(line))
    return b""


PROTOCOL = StartTlsProtocol(
    name="managesieve",
    ports=(4190,),
    dialogue=managesieve,
    start="STARTTLS (RFC 5804)",
    other_names={"sieve": 4190},
)
