"""PostgreSQL (documentation of PostgreSQL 17, 53.2.10: SSL session encryption)."""

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

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def postgres(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of PostgreSQL."""
    reader = DialogueReader()
    reader.send(_SSL_REQUEST)
    answer = yield from reader.exactly(1)
    if answer == b"N":
        raise StartTlsRefused("the server replied that it does not support TLS")
    # An ErrorResponse: the server could not start a process for this connection, for example.
    if answer == b"E":
        raise StartTlsUndetermined("the server answered with an error")
    if answer != b"S":
        raise StartTlsRefused("the answer is not PostgreSQL")
    # Someone on the way may have sent them. libpq ends the connection (CVE-2021-23222).
    if reader.has_more():
        raise StartTlsRefused("the server sent more bytes after it agreed to TLS, and without TLS")
    return b""


PROTOCOL = StartTlsProtocol(
    name="postgres",
    ports=(5432,),
    dialogue=postgres,
    start="SSLRequest",
    other_names={"postgresql": 5432},
)
