"""Webhooks whose answer has no end, or expands without end, when a message is delivered."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from certmgr.demo.authority import Authority
from notifiers.channels import Channel, DeliveryStatus, OutgoingMessage
from notifiers.channels.bounded_answers import MAX_ANSWER, BoundedAdapter, bound_answers
from tests.campaign import PATIENCE
from tests.certmgr.net.scripted import scripted
from tests.servers.mail import hook

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
    bound_answers()
    with scripted(begin, then) as server:
        found = requests.post(server.url, json={}, timeout=30)
    assert found.status_code == 200
    assert len(found.content) <= MAX_ANSWER


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_short_answer_of_a_webhook_is_read(coding: str) -> None:
    body = b'{"ok": true}' if coding == "identity" else gzip.compress(b'{"ok": true}')
    head = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    bound_answers()
    with scripted(head % (coding.encode(), len(body)) + body) as server:
        assert requests.post(server.url, json={}, timeout=30).json() == {"ok": True}


def test_each_delivery_bounds_the_answers_of_its_service(
    root: Authority, tmp_path: Path, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.sessions, "HTTPAdapter", HTTPAdapter)
    with hook(root, tmp_path) as server:
        message = OutgoingMessage("x", "subject", "text", "text")
        result = Channel("chat", server.url, timeout=PATIENCE, connect_timeout=PATIENCE).send(
            message
        )
    assert result.status is DeliveryStatus.SENT
    assert isinstance(requests.Session().get_adapter("https://"), BoundedAdapter)
