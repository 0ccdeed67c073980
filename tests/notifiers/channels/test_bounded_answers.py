"""Webhooks whose answer has no end, or expands without end, when a message is delivered."""

from __future__ import annotations

import gzip

import pytest
import requests
from apprise import Apprise

from notifiers.channels import DeliveryStatus, OutgoingMessage, services
from notifiers.channels.bounded_answers import MAX_ANSWER, bounding
from tests.campaign import PATIENCE
from tests.certmgr.net.scripted import scripted

HEAD = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(50_000_000))
ANSWERS = {
    "endless-body": (HEAD + b"\r\n", b"x" * 50_000),
    "endless-chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        b"a000\r\n" + b"x" * 0xA000 + b"\r\n",
    ),
    "endless-extension-of-a-chunk": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;",
        b"x" * 50_000,
    ),
    "decompression-bomb": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
        b"",
    ),
    "bomb-in-a-bomb": (HEAD + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(BOMB), b"x"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_answer_of_a_webhook_is_cut_at_its_limit(answer: str) -> None:
    begin, then = ANSWERS[answer]
    with scripted(begin, then) as server, bounding():
        found = requests.post(server.url, json={}, timeout=30)
    assert found.status_code == 200
    assert len(found.content) <= MAX_ANSWER


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_short_answer_of_a_webhook_is_read(coding: str) -> None:
    body = b'{"ok": true}' if coding == "identity" else gzip.compress(b'{"ok": true}')
    head = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    with scripted(head % (coding.encode(), len(body)) + body) as server, bounding():
        assert requests.post(server.url, json={}, timeout=30).json() == {"ok": True}


def test_delivery_to_a_webhook_without_end_ends_as_sent() -> None:
    with scripted(*ANSWERS["endless-body"]) as server:
        # A channel refuses a URL without TLS, so its service is called.
        service = Apprise.instantiate(server.url.replace("http://", "json://"))
        message = OutgoingMessage("x", "subject", "text", "text")
        assert services.deliver(service, message, PATIENCE).status is DeliveryStatus.SENT


def test_answer_that_breaks_is_an_error_outside_of_a_delivery() -> None:
    """A certificate chain that is cut must not look complete."""
    with bounding():
        pass
    body = b"x" * 50
    with scripted(HEAD + b"Content-Length: 100\r\n\r\n" + body) as server:
        with bounding():
            assert requests.get(server.url, timeout=30).content == body
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(server.url, timeout=30)
