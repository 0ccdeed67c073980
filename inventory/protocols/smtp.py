"""SMTP (RFC 3207)."""

from __future__ import annotations

import re

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    NOT_OFFERED,
    Dialogue,
    DialogueClient,
    DialogueReader,
    ServerClosed,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.protocols.replies import read_consent, read_greeting, read_reply

# Cisco ASA and PIX overwrite the keywords that they do not know, so that clients skip them.
_HIDDEN = re.compile(rb"X{6,}[A-Z]?")
HIDDEN_OFFER = "a firewall hides what the server offers (XXXXXXXA): its inspection of SMTP is on"


def smtp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of SMTP."""
    return mail_dialogue(b"EHLO", client)


def mail_dialogue(hello: bytes, client: DialogueClient) -> Dialogue:
    """Return the dialogue of SMTP or LMTP, which differ in the first command (RFC 2033 4.1)."""
    reader = DialogueReader()
    yield from read_greeting(reader, (b"220",))
    reader.send(hello + b" " + client.ehlo_name.encode("ascii") + b"\r\n")
    try:
        reply = yield from read_reply(reader)
    except ServerClosed:
        reason = f"the server closed the connection after {hello.decode()}"
        raise StartTlsUndetermined(reason) from None
    # A server that refuses our name, or any EHLO from our address, may offer STARTTLS to others.
    if reply.code[:1] in (b"4", b"5"):
        raise StartTlsUndetermined(reply.text)
    if reply.code != b"250":
        raise StartTlsRefused(reply.text)
    # RFC 3207 4: the server announces STARTTLS in this reply. The first line is its own name.
    keywords = [line[4:].split()[:1] for line in reply.lines]
    if not any(keyword and keyword[0].upper() == b"STARTTLS" for keyword in keywords):
        hidden = any(keyword and _HIDDEN.fullmatch(keyword[0]) for keyword in keywords[1:])
        raise StartTlsRefused(HIDDEN_OFFER if hidden else NOT_OFFERED)
    reader.send(b"STARTTLS\r\n")
    # 454 is a refusal: servers send it for days if their certificate or key cannot be read.
    yield from read_consent(reader, b"220")
    return b""


PROTOCOL = StartTlsProtocol(
    name="smtp",
    ports=(25, 587, 2525),
    dialogue=smtp,
    start="STARTTLS after EHLO (RFC 3207)",
    other_names={"submission": 587},
    tls_names={"smtps": 465, "submissions": 465},
)
