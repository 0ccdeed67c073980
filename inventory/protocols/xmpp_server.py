"""XMPP between servers (RFC 6120 5.4), whose streams are those of clients in another namespace."""

from __future__ import annotations

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    StartTlsProtocol,
)
from inventory.protocols.xmpp import stream_dialogue


def xmpp_server(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of a server with another server."""
    return stream_dialogue("jabber:server", client)


PROTOCOL = StartTlsProtocol(
    name="xmpp-server",
    ports=(5269,),
    dialogue=xmpp_server,
    start="`<starttls/>` of a server (RFC 6120)",
    tls_names={"xmpps-server": 5270},
)
