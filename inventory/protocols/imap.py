"""IMAP (RFC 9051 6.2.1)."""

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

_TAG = b"c1"


def imap(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of IMAP."""
    reader = DialogueReader()
    greeting = yield from reader.line()
    words = greeting.upper().split(None, 2)[:2]
    # BYE: the server does not accept this connection (RFC 9051 7.1.5).
    if words == [b"*", b"BYE"]:
        raise StartTlsUndetermined(server_reply(greeting))
    # After PREAUTH no STARTTLS is permitted (RFC 9051 7.1.4).
    if words != [b"*", b"OK"]:
        raise StartTlsRefused(server_reply(greeting))
    reader.send(_TAG + b" STARTTLS\r\n")
    while True:
        line = yield from reader.line()
        # Keywords are case-insensitive, and some servers return the tag in capitals.
        tag, word = [*line.upper().split(None, 2), b"", b""][:2]
        if tag == _TAG.upper():
            if word != b"OK":
                raise StartTlsRefused(server_reply(line))
            return b""
        if (tag, word) == (b"*", b"BYE"):
            raise StartTlsUndetermined(server_reply(line))
        # Other untagged responses may precede the tagged one (RFC 9051 2.2.2).
        if tag != b"*":
            raise StartTlsRefused(server_reply(line))


PROTOCOL = StartTlsProtocol(
    name="imap",
    ports=(143,),
    dialogue=imap,
    start="STARTTLS (RFC 9051)",
    tls_names={"imaps": 993},
)
