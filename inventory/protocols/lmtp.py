"""LMTP (RFC 2033), which delivers to a mail store and starts TLS as SMTP does."""

from __future__ import annotations

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    StartTlsProtocol,
)
from inventory.protocols.smtp import mail_dialogue


def lmtp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of LMTP."""
    return mail_dialogue(b"LHLO", client)


PROTOCOL = StartTlsProtocol(
    name="lmtp",
    ports=(24,),
    dialogue=lmtp,
    start="STARTTLS after LHLO (RFC 2033)",
)
