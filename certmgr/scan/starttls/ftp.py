"""FTP (RFC 4217)."""

from __future__ import annotations

from certmgr.scan.starttls.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsRefused,
    StartTlsUndetermined,
)
from certmgr.scan.starttls.replies import read_consent, read_reply


def ftp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of FTP."""
    reader = DialogueReader()
    greeting = yield from read_reply(reader)
    # "Service ready in N minutes"; the greeting proper follows (RFC 959 5.4).
    while greeting.code == b"120":
        greeting = yield from read_reply(reader)
    if greeting.code[:1] in (b"4", b"5"):
        raise StartTlsUndetermined(greeting.text)
    if greeting.code != b"220":
        raise StartTlsRefused(greeting.text)
    reader.send(b"AUTH TLS\r\n")
    yield from read_consent(reader, b"234")
    return b""
