"""Dialogues of tests: with a real server through the scan, or with given replies."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from certmgr.demo import servers
from inventory.protocols import (
    STARTTLS,
    DialogueClient,
    DialogueFailed,
    StartTlsRefused,
    StartTlsUndetermined,
)
from tests.certmgr.tls_servers import Probe, Stack, serve

HOST = "mail.example.test"
CLIENT = DialogueClient(HOST, "scan.example.net")


def assert_trusted(probe: Probe, port: int, protocol: str) -> None:
    """Scan a server; its certificate must be read, and be without fault."""
    report = probe(f"{HOST}:{port}/{protocol}").report
    faults = {f.code: f.evidence for f in report.findings if f.severity != "info"}
    assert faults == {}
    assert report.addresses[0].trusted is True
    assert report.certificate is not None
    assert report.certificate.names == (HOST,)


@dataclass(slots=True)
class Conversation:
    """A dialogue with given replies.

    Attributes:
        sent: What the client sent, per reply; the first entry precedes all replies.
        started: Whether TLS may begin.
    """

    sent: list[bytes] = field(default_factory=list)
    started: bool = False


def converse(protocol: str, *replies: bytes, client: DialogueClient = CLIENT) -> Conversation:
    """Hold a dialogue in which each reply arrives in one piece.

    Raises:
        DialogueFailed: As the dialogue does.
    """
    dialogue = STARTTLS[protocol].dialogue(client)
    conversation = Conversation([next(dialogue)])
    try:
        for reply in replies:
            conversation.sent.append(dialogue.send(reply))
    except StopIteration as ended:
        conversation.sent.append(ended.value)
        conversation.started = True
    return conversation


def single_bytes(*replies: bytes) -> Iterator[bytes]:
    """The replies byte by byte, as a slow network delivers them."""
    for reply in replies:
        for value in reply:
            yield bytes((value,))


def assert_started(protocol: str, *replies: bytes) -> None:
    """TLS begins after these replies, in whole pieces and in single bytes."""
    assert converse(protocol, *replies).started
    assert converse(protocol, *single_bytes(*replies)).started


def _assert_fails(
    failure: type[DialogueFailed], protocol: str, replies: tuple[bytes, ...], reason: str
) -> None:
    """The last reply ends the dialogue, and none before it."""
    converse(protocol, *replies[:-1])
    with pytest.raises(failure, match=reason or None):
        converse(protocol, *replies)


def assert_refused(protocol: str, *replies: bytes, reason: str = "") -> None:
    """The last reply is a definite refusal of TLS."""
    _assert_fails(StartTlsRefused, protocol, replies, reason)


def assert_undetermined(protocol: str, *replies: bytes, reason: str = "") -> None:
    """The last reply leaves open whether the server offers TLS."""
    _assert_fails(StartTlsUndetermined, protocol, replies, reason)


def scripted(opened: Stack, *replies: bytes) -> tuple[int, list[bytes]]:
    """Run a server with fixed replies: the first at once, each other one after what it receives.

    Returns:
        Its port, and what it received.
    """
    received: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        for number, reply in enumerate(replies):
            if number:
                received.append(sock.recv(1000))
            sock.sendall(reply)
        servers.silent(sock)

    return serve(opened, talk), received
