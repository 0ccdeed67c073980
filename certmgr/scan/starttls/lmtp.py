"""LMTP (RFC 2033), which delivers to a mail store and starts TLS as SMTP does."""

from __future__ import annotations

from certmgr.scan.starttls.dialogue import LOCAL_CLIENT, Dialogue, DialogueClient
from certmgr.scan.starttls.smtp import mail_dialogue


def lmtp(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of LMTP."""
    return mail_dialogue(b"LHLO", client)
