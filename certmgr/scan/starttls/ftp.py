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
from certmgr.scan.starttls.replies import read_answer, read_reply

# Some servers of before RFC 4217 consent with 334, or know TLS only as the mechanism SSL.
_CONSENT = frozenset({b"234", b"334"})
_UNKNOWN_MECHANISM = frozenset({b"500", b"501", b"502", b"504"})


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
    reply = refusal = yield from read_answer(reader)
    if refusal.code in _UNKNOWN_MECHANISM:
        reader.send(b"AUTH SSL\r\n")
        reply = yield from read_answer(reader)
    if reply.code not in _CONSENT:
        raise StartTlsRefused(refusal.text)
    return b""
