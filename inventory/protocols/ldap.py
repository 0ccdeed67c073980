"""LDAP (RFC 4511 4.14). The answer is BER, whose lengths may have a long form (RFC 4511 5.1)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    MAX_REPLY,
    TOO_LARGE,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.text import printable

# LDAPMessage { messageID 1, extendedReq { requestName 1.3.6.1.4.1.1466.20037 } }
_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_SEQUENCE, _INTEGER, _OCTET_STRING, _ENUMERATED = 0x30, 0x02, 0x04, 0x0A
_EXTENDED_RESPONSE = 0x78  # [APPLICATION 24], constructed
_NOT_LDAP = "the answer is not LDAP"
_SUCCESS, _BUSY = 0, 51  # RFC 4511 4.1.9


def _read_length(reader: DialogueReader) -> Generator[bytes, bytes, int]:
    """Read a BER length: one byte, or 0x80 + n and n bytes (X.690 8.1.3)."""
    first = (yield from reader.exactly(1))[0]
    if first < 0x80:
        return first
    # 0x80 is the indefinite form, which LDAP excludes.
    if first == 0x80:
        raise StartTlsRefused(_NOT_LDAP)
    # Active Directory writes four bytes; leading zeros are permitted.
    return int.from_bytes((yield from reader.exactly(first & 0x7F)), "big")


def _elements(data: bytes, limit: int = 8) -> list[tuple[int, bytes]]:
    """Parse (tag, content) of at most ``limit`` BER elements, one after the other.

    Raises:
        StartTlsRefused: The bytes are not BER.
    """
    elements: list[tuple[int, bytes]] = []
    position = 0
    while position < len(data) and len(elements) < limit:
        tag, start = data[position], position + 2
        length = data[position + 1] if position + 1 < len(data) else 0x80
        if length == 0x80:
            raise StartTlsRefused(_NOT_LDAP)
        if length > 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[position + 2 : start], "big")
        if start + length > len(data):
            raise StartTlsRefused(_NOT_LDAP)
        elements.append((tag, data[start : start + length]))
        position = start + length
    return elements


@dataclass(frozen=True, slots=True)
class _ExtendedResponse:
    """An ExtendedResponse. ``message_id`` 0 is a message that no request asked for."""

    message_id: int
    result: int
    diagnostic: str


def _extended_response(message: bytes) -> _ExtendedResponse:
    """Parse the content of an LDAPMessage.

    Raises:
        StartTlsRefused: It is not an ExtendedResponse.
    """
    match _elements(message):
        case [(tag, message_id), (operation, body), *_] if tag == _INTEGER:
            pass
        case _:
            raise StartTlsRefused(_NOT_LDAP)
    if operation != _EXTENDED_RESPONSE:
        raise StartTlsRefused("the answer is not an extended response")
    # resultCode, matchedDN, diagnosticMessage (RFC 4511 4.1.9)
    match _elements(body):
        case [(tag, code), *rest] if tag == _ENUMERATED and code:
            pass
        case _:
            raise StartTlsRefused("the answer has no result code")
    texts = [content for tag, content in rest[:2] if tag == _OCTET_STRING]
    diagnostic = texts[1].rstrip(b"\0").decode("utf-8", "replace") if len(texts) == 2 else ""
    return _ExtendedResponse(
        int.from_bytes(message_id, "big"), int.from_bytes(code, "big"), printable(diagnostic, 120)
    )


def ldap(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of LDAP."""
    reader = DialogueReader()
    reader.send(_REQUEST)
    # Every LDAPMessage is a SEQUENCE (RFC 4511 4.1.1).
    if (yield from reader.exactly(1))[0] != _SEQUENCE:
        raise StartTlsRefused(_NOT_LDAP)
    length = yield from _read_length(reader)
    if length > MAX_REPLY:
        raise StartTlsRefused(TOO_LARGE)
    response = _extended_response((yield from reader.exactly(length)))
    if response.result == _SUCCESS and response.message_id == 1:
        return b""
    reason = f"the server answered with LDAP result {response.result}"
    if response.diagnostic:
        reason += f": {response.diagnostic}"
    # A notice of disconnection (RFC 4511 4.4.1), or an overloaded server. "unavailable" (52) is a
    # refusal: Active Directory sends it as long as it has no certificate.
    if response.message_id == 0 or response.result == _BUSY:
        raise StartTlsUndetermined(reason)
    raise StartTlsRefused(reason)


PROTOCOL = StartTlsProtocol(
    name="ldap",
    ports=(389, 3268),
    dialogue=ldap,
    start="the extended operation StartTLS (RFC 4511)",
    tls_names={"ldaps": 636},
    tls_ports={3269: "the global catalogue of Active Directory"},
)
