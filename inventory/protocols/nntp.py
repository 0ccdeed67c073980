"""NNTP (RFC 4642)."""

from __future__ import annotations

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
)
from inventory.protocols.replies import read_answer, read_consent, read_greeting

# With and without permission to post (RFC 3977 5.1.1).
_READY = (b"200", b"201")


def nntp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of NNTP."""
    reader = DialogueReader()
    yield from read_greeting(reader, _READY)
    reader.send(b"STARTTLS\r\n")
    refusal = yield from read_answer(reader)
    if refusal.code == b"382":
        return b""
    # A server that changes its mode knows the commands for readers afterwards (RFC 3977 5.3).
    if refusal.code in (b"500", b"502"):
        reader.send(b"MODE READER\r\n")
        if (yield from read_answer(reader)).code in _READY:
            reader.send(b"STARTTLS\r\n")
            yield from read_consent(reader, b"382")
            return b""
    raise StartTlsRefused(refusal.text)


PROTOCOL = StartTlsProtocol(
    name="nntp",
    ports=(119, 433),
    dialogue=nntp,
    start="STARTTLS (RFC 4642)",
    tls_names={"nntps": 563},
)
