"""NNTP (RFC 4642)."""

from __future__ import annotations

from certmgr.scan.starttls.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
)
from certmgr.scan.starttls.replies import read_consent, read_greeting


def nntp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of NNTP."""
    reader = DialogueReader()
    # With and without permission to post (RFC 3977 5.1.1).
    yield from read_greeting(reader, (b"200", b"201"))
    reader.send(b"STARTTLS\r\n")
    yield from read_consent(reader, b"382")
    return b""
