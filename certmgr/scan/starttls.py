"""The plain-text dialogue before TLS: one generator per protocol.

A generator yields the bytes to send (or b"" to wait) and receives the bytes that arrived. It
returns when TLS may begin, and raises :class:`StartTlsRefused` if the server does not offer it. To
add a protocol, add a generator here. Input is bounded: a reply has at most :data:`MAX_REPLY` bytes.

Sources: RFC 3207 (SMTP), RFC 9051 6.2.1 (IMAP), RFC 2595 4 (POP3), RFC 4217 (FTP), RFC 4511 4.14
(LDAP), PostgreSQL 55.2.11.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from inventory.text import printable

MAX_REPLY = 16_384
Dialogue = Generator[bytes, bytes, None]


class StartTlsRefused(Exception):
    """The server does not start TLS; the message has its (printable) reply."""


def _line(buffer: bytearray) -> Generator[bytes, bytes, bytes]:
    """Read the next line, without its line end."""
    while (end := buffer.find(b"\n")) < 0:
        if len(buffer) > MAX_REPLY:
            raise StartTlsRefused("a reply exceeds the size limit")
        buffer += yield b""
    line = bytes(buffer[:end]).rstrip(b"\r")
    del buffer[: end + 1]
    return line


def _reply(buffer: bytearray, expected: bytes) -> Generator[bytes, bytes, list[bytes]]:
    """Read a reply of SMTP or FTP: lines ``250-...`` up to ``250 ...``.

    Raises:
        StartTlsRefused: The reply has another code.
    """
    lines: list[bytes] = []
    size = 0
    while True:
        line = yield from _line(buffer)
        size += len(line) + 2
        if size > MAX_REPLY:
            raise StartTlsRefused("a reply exceeds the size limit")
        lines.append(line)
        if line[:3].isdigit() and line[3:4] != b"-":
            if not line.startswith(expected):
                raise StartTlsRefused(_refusal_text(line))
            return lines
        # The first line without a code: this is another protocol.
        if not line[:3].isdigit() and len(lines) == 1:
            raise StartTlsRefused(_refusal_text(line))


def _refusal_text(line: bytes) -> str:
    """Return the text of a refusal with the reply of the server."""
    return "the server replied: " + printable(line.decode("utf-8", "replace"), 120)


def smtp() -> Dialogue:
    """Return the dialogue of SMTP (RFC 3207)."""
    buffer = bytearray()
    yield from _reply(buffer, b"220")
    buffer += yield b"EHLO certmgr.invalid\r\n"
    lines = yield from _reply(buffer, b"250")
    # RFC 3207 4: the server announces STARTTLS in its EHLO reply.
    if not any(line[4:].strip().upper() == b"STARTTLS" for line in lines):
        raise StartTlsRefused("the server does not offer STARTTLS")
    buffer += yield b"STARTTLS\r\n"
    yield from _reply(buffer, b"220")


def imap() -> Dialogue:
    """Return the dialogue of IMAP (RFC 9051 6.2.1)."""
    buffer = bytearray()
    greeting = yield from _line(buffer)
    if not greeting.upper().startswith(b"* OK"):
        raise StartTlsRefused(_refusal_text(greeting))
    buffer += yield b"c1 STARTTLS\r\n"
    # Untagged responses may precede the tagged one; their number is bounded.
    for _ in range(50):
        line = yield from _line(buffer)
        if line.startswith(b"c1 "):
            if not line[3:].upper().startswith(b"OK"):
                raise StartTlsRefused(_refusal_text(line))
            return
    raise StartTlsRefused("the server did not reply to STARTTLS")


def pop3() -> Dialogue:
    """Return the dialogue of POP3 (RFC 2595 4)."""
    buffer = bytearray()
    greeting = yield from _line(buffer)
    if not greeting.startswith(b"+OK"):
        raise StartTlsRefused(_refusal_text(greeting))
    buffer += yield b"STLS\r\n"
    answer = yield from _line(buffer)
    if not answer.startswith(b"+OK"):
        raise StartTlsRefused(_refusal_text(answer))


def ftp() -> Dialogue:
    """Return the dialogue of FTP (RFC 4217)."""
    buffer = bytearray()
    yield from _reply(buffer, b"220")
    buffer += yield b"AUTH TLS\r\n"
    yield from _reply(buffer, b"234")


# LDAPMessage { messageID 1, extendedReq { requestName 1.3.6.1.4.1.1466.20037 } }
_LDAP_START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"


def ldap() -> Dialogue:
    """Return the dialogue of LDAP (RFC 4511 4.14)."""
    buffer = bytearray()
    buffer += yield _LDAP_START_TLS
    while True:
        if len(buffer) >= 2:
            # 0x30 is the BER tag of a SEQUENCE, with which every LDAPMessage begins (RFC 4511
            # 4.1.1).
            if buffer[0] != 0x30:
                raise StartTlsRefused("the answer is not LDAP")
            # A valid answer is short, so a long-form BER length has at most two more bytes.
            extra = buffer[1] & 0x7F if buffer[1] & 0x80 else 0
            # A longer length field announces more than a valid answer holds.
            if extra > 2:
                raise StartTlsRefused("a reply exceeds the size limit")
            if len(buffer) >= 2 + extra:
                length = int.from_bytes(buffer[2 : 2 + extra], "big") if extra else buffer[1]
                if len(buffer) >= 2 + extra + length:
                    break
        if len(buffer) > MAX_REPLY:
            raise StartTlsRefused("a reply exceeds the size limit")
        buffer += yield b""
    body = bytes(buffer[2 + extra :])
    # messageID INTEGER (3 bytes), then [APPLICATION 24], its length, then resultCode ENUMERATED.
    position = body.find(b"\x78")
    if position < 0:
        raise StartTlsRefused("the answer is not an extended response")
    inner = body[position + 1 :]
    skip = 1 + (inner[0] & 0x7F if inner[:1] and inner[0] & 0x80 else 0)
    code = inner[skip : skip + 3]
    if code[:2] != b"\x0a\x01":
        raise StartTlsRefused("the answer has no result code")
    # 0 is success (RFC 4511 4.1.9).
    if code[2] != 0:
        raise StartTlsRefused(f"the server answered with LDAP result {code[2]}")


def postgres() -> Dialogue:
    """Return the dialogue of PostgreSQL (55.2.11)."""
    answer = yield bytes.fromhex("0000000804d2162f")  # SSLRequest
    while not answer:
        answer = yield b""
    # "S" means that TLS may begin, "N" that the server does not support it.
    if answer[:1] != b"S":
        raise StartTlsRefused(
            "the server replied that it does not support TLS"
            if answer[:1] == b"N"
            else "the answer is not PostgreSQL"
        )


DIALOGUES: dict[str, Callable[[], Dialogue]] = {
    "smtp": smtp,
    "imap": imap,
    "pop3": pop3,
    "ftp": ftp,
    "ldap": ldap,
    "postgres": postgres,
}
