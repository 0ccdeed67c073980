"""POP3 (RFC 2595 4)."""

from __future__ import annotations

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
    server_reply,
)


def _status(line: bytes) -> bytes:
    """Return ``+OK`` or ``-ERR``, which some servers send in lower case."""
    return b"".join(line.upper().split(None, 1)[:1])


def pop3(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of POP3."""
    reader = DialogueReader()
    greeting = yield from reader.line()
    # The server does not accept this connection, for example because it has too many.
    if _status(greeting) == b"-ERR":
        raise StartTlsUndetermined(server_reply(greeting))
    if _status(greeting) != b"+OK":
        raise StartTlsRefused(server_reply(greeting))
    reader.send(b"STLS\r\n")
    reply = yield from reader.line()
    if _status(reply) != b"+OK":
        raise StartTlsRefused(server_reply(reply))
    return b""


PROTOCOL = StartTlsProtocol(
    name="pop3",
    ports=(110,),
    dialogue=pop3,
    start="STLS (RFC 2595)",
    tls_names={"pop3s": 995},
)
