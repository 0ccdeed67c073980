"""MySQL and MariaDB (MySQL internals manual, "Connection Phase"; MariaDB, "Connection").

The server greets, and the client answers with a short packet that requests TLS. The server does not
reply to it: the ClientHello follows at once.
"""

from __future__ import annotations

import struct
from collections.abc import Generator

from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.text import printable

_NOT_MYSQL = "the answer is not MySQL"
_ERROR = 0xFF
_PROTOCOL_10 = 10
_CLIENT_SSL = 0x0800
# CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH: what every
# current client states.
_CAPABILITIES = 0x0000_0001 | 0x0000_0200 | _CLIENT_SSL | 0x0000_8000 | 0x0008_0000
_MAX_PACKET = 0x0100_0000
_UTF8MB4 = 45


def _packet(reader: DialogueReader) -> Generator[bytes, bytes, bytes]:
    """Read a packet: a length of three bytes, a sequence number, and that many bytes."""
    header = yield from reader.exactly(4)
    length = int.from_bytes(header[:3], "little")
    # The greeting is the first packet, so its number is 0. An error instead of it may have 1.
    if not length or header[3] > 1:
        raise StartTlsRefused(_NOT_MYSQL)
    packet = yield from reader.exactly(length)
    if header[3] and packet[0] != _ERROR:
        raise StartTlsRefused(_NOT_MYSQL)
    return packet


def _error_text(packet: bytes) -> str:
    """Return the text of an error packet: 0xff, a number, and from version 4.1 on #SQLSTATE."""
    message = packet[3:]
    if message.startswith(b"#"):
        message = message[6:]
    number = int.from_bytes(packet[1:3], "little")
    text = printable(message.decode("utf-8", "replace"), 120)
    return f"the server answered with error {number}: {text}"


def mysql(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of MySQL and MariaDB."""
    reader = DialogueReader()
    greeting = yield from _packet(reader)
    # The server refuses our address (1129, 1130), or has too many connections (1040).
    if greeting[0] == _ERROR:
        raise StartTlsUndetermined(_error_text(greeting))
    # Protocol version, version text up to NUL, thread id (4), salt (8), filler (1), capabilities.
    end = greeting.find(b"\0", 1)
    if greeting[0] != _PROTOCOL_10 or end < 0 or len(greeting) < end + 16:
        raise StartTlsRefused(_NOT_MYSQL)
    (capabilities,) = struct.unpack_from("<H", greeting, end + 14)
    if not capabilities & _CLIENT_SSL:
        raise StartTlsRefused("the server replied that it does not support TLS")
    request = struct.pack("<IIB23x", _CAPABILITIES, _MAX_PACKET, _UTF8MB4)
    return len(request).to_bytes(3, "little") + b"\x01" + request


PROTOCOL = StartTlsProtocol(
    name="mysql",
    ports=(3306,),
    dialogue=mysql,
    start="SSLRequest of MySQL and MariaDB",
    other_names={"mariadb": 3306},
)
