"""FTP (RFC 4217)."""

from __future__ import annotations

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.protocols.replies import read_answer, read_reply

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


PROTOCOL = StartTlsProtocol(
    name="ftp",
    ports=(21,),
    dialogue=ftp,
    start="AUTH TLS (RFC 4217)",
    tls_names={"ftps": 990},
    tls_ports={989: "the data connection of ftps"},
)
