"""XMPP between client and server (RFC 6120 5.4).

The stream of the server is XML, which expat parses. It is parsed anew when more of it has arrived:
newer versions of expat delay the events of small pieces. A DTD is refused (RFC 6120 11.1), so no
entity can expand.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Generator
from dataclasses import dataclass, field
from html import escape
from typing import Any
from xml.parsers import expat

from inventory.names import display
from inventory.protocols.dialogue import (
    LOCAL_CLIENT,
    MAX_LINES,
    MAX_REPLY,
    NOT_OFFERED,
    TOO_LARGE,
    Dialogue,
    DialogueClient,
    DialogueReader,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.text import printable

_NOT_XMPP = "the answer is not XMPP"
_STREAMS = "http://etherx.jabber.org/streams"
_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"


@dataclass(slots=True)
class _Element:
    """A complete child of the stream.

    Attributes:
        name: Namespace, a blank, and the local name.
        children: The names of its children.
        text: The text of all its descendants.
    """

    name: str
    children: list[str] = field(default_factory=list)
    text: str = ""


class _Stream:
    """The stream of the server, as far as it has arrived."""

    def __init__(self, data: bytes) -> None:
        self.version = ""
        self.opened = self.ended = False
        self.elements: list[_Element] = []
        self._path: list[_Element] = []
        # RFC 6120 11.6: no encoding but UTF-8, whatever a declaration states.
        parser = expat.ParserCreate("utf-8", " ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(data, False)
        except expat.ExpatError:
            # What came before the error counts.
            self.ended = True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = _Element(name)
        if not self._path:
            if name != f"{_STREAMS} stream":
                raise StartTlsRefused(_NOT_XMPP)
            self.opened, self.version = True, attributes.get("version", "")
        elif len(self._path) == 2:
            self._path[1].children.append(name)
        self._path.append(element)

    def _end(self, name: str) -> None:
        element = self._path.pop()
        if len(self._path) == 1:
            self.elements.append(element)
        self.ended = not self._path

    def _text(self, data: str) -> None:
        if len(self._path) > 2:
            self._path[1].text += data

    def _doctype(self, *_: Any) -> None:
        raise StartTlsRefused(_NOT_XMPP)


def _text(data: bytearray) -> bytes:
    """Return a stream without what may precede it: a byte order mark (XML 1.0, 4.3.3), blanks."""
    return bytes(data).removeprefix(BOM_UTF8).lstrip()


class _StreamReader:
    """Reads the stream of the server element by element."""

    def __init__(self, reader: DialogueReader) -> None:
        self.reader = reader
        self.data = bytearray()
        self.taken = 0
        self.parsed = 0
        self.stream = _Stream(b"")

    def next(self) -> Generator[bytes, bytes, _Element]:
        """Read the next element of the stream.

        Raises:
            StartTlsRefused: The stream is not XMPP, ends, is of a version without STARTTLS, or is
                too long.
        """
        while len(self.stream.elements) <= self.taken:
            if self.stream.ended:
                raise StartTlsRefused(_NOT_XMPP)
            # Servers before version 1.0 send no features, so a wait for them would not end.
            if self.stream.opened and not self.stream.version:
                raise StartTlsRefused(NOT_OFFERED)
            chunk = yield from self.reader.chunk()
            self.data += chunk
            if len(self.data) > MAX_REPLY:
                raise StartTlsRefused(TOO_LARGE)
            text = _text(self.data)
            if not (text or b"<").startswith(b"<") and not BOM_UTF8.startswith(text):
                raise StartTlsRefused(_NOT_XMPP)
            # An element ends with ">". A drip of bytes therefore costs few parses, and those are
            # limited like lines.
            if b">" in chunk:
                self.parsed += 1
                if self.parsed > MAX_LINES:
                    raise StartTlsRefused(TOO_LARGE)
                # Before a declaration, XML permits no blank.
                self.stream = _Stream(_text(self.data))
        element = self.stream.elements[self.taken]
        self.taken += 1
        if element.name == f"{_STREAMS} error":
            raise StartTlsUndetermined(_error_text(element))
        return element


def _error_text(element: _Element) -> str:
    """Return the text of a stream error (RFC 6120 4.9)."""
    conditions = [c.partition(" ")[2] for c in element.children if c.startswith(f"{_ERRORS} ")]
    if "host-unknown" in conditions:
        return "the server does not serve this name; the target must be the XMPP domain"
    condition = conditions[0] if conditions else "undefined-condition"
    text = f"{condition}: {element.text.strip()}" if element.text.strip() else condition
    return f"the server answered with the stream error {printable(text, 120)}"


def stream_dialogue(namespace: str, client: DialogueClient) -> Dialogue:
    """Return the dialogue of a stream with this default namespace."""
    reader = DialogueReader()
    stream = _StreamReader(reader)
    # Domains are sent as U-labels (RFC 7622 3.2).
    header = (
        f"<?xml version='1.0'?><stream:stream to='{escape(display(client.host))}' version='1.0'"
        f" xml:lang='en' xmlns='{namespace}' xmlns:stream='{_STREAMS}'>"
    )
    reader.send(header.encode())
    features = yield from stream.next()
    if features.name != f"{_STREAMS} features":
        raise StartTlsRefused(_NOT_XMPP)
    if f"{_TLS} starttls" not in features.children:
        raise StartTlsRefused(NOT_OFFERED)
    reader.send(f"<starttls xmlns='{_TLS}'/>".encode())
    answer = yield from stream.next()
    if answer.name != f"{_TLS} proceed":
        raise StartTlsRefused("the server refuses to start TLS")
    return b""


def xmpp_client(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
    """Return the dialogue of a client with its server (port 5222)."""
    return stream_dialogue("jabber:client", client)


PROTOCOL = StartTlsProtocol(
    name="xmpp",
    ports=(5222,),
    dialogue=xmpp_client,
    start="`<starttls/>` of a client (RFC 6120)",
    other_names={"xmpp-client": 5222},
    tls_names={"xmpps": 5223, "xmpps-client": 5223},
)
