"""SMTP: a real server, the name in EHLO, and replies that refuse."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.net.own_name import own_name
from tests.certmgr.tls_servers import Probe, Stack, serve
from tests.inventory.protocols.dialogues import (
    HOST,
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
    converse,
    scripted,
)
from tests.servers import real

GREETING = b"220 mail.example.test ESMTP\r\n"
OFFER = b"250-mail.example.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"


def test_certificate_of_aiosmtpd_is_read(
    probe: Probe, pair: tuple[Path, Path], opened: Stack
) -> None:
    assert_trusted(probe, opened.enter_context(real.smtp(*pair)), "smtp")


def test_smtp_server_without_tls_has_no_starttls(
    probe: Probe, pair: tuple[Path, Path], opened: Stack
) -> None:
    port = opened.enter_context(real.smtp(*pair, starttls=False))
    assert probe(f"{HOST}:{port}/smtp").severe() == {"starttls-missing"}


def test_tls_starts_after_replies_of_one_and_of_several_lines() -> None:
    assert_started("smtp", GREETING, OFFER, b"220 go ahead\r\n")
    greeting = b"220-mail.example.test\r\n220-100 users are welcome\r\n220 ESMTP\r\n"
    assert_started("smtp", greeting, b"250 starttls\r\n", b"220-go\r\n220 ahead\r\n")


def test_client_introduces_itself_with_its_name() -> None:
    sent = converse("smtp", GREETING, OFFER, b"220 go ahead\r\n").sent
    assert sent == [b"", b"EHLO scan.example.net\r\n", b"STARTTLS\r\n", b""]


@pytest.mark.parametrize(
    "replies",
    [
        (b"554 no service for your network\r\n",),
        (b"421 too many connections\r\n",),
        (GREETING, b"550 5.7.1 Helo command rejected: Host not found\r\n"),
        (GREETING, b"501-5.5.2 invalid name\r\n501 give a full name\r\n"),
        (GREETING, b"502 command not implemented\r\n"),
        (GREETING, b"450 try again later\r\n"),
        (GREETING, OFFER, b"421 shutting down\r\n"),
    ],
)
def test_refusal_of_the_client_is_undetermined(replies: tuple[bytes, ...]) -> None:
    assert_undetermined("smtp", *replies, reason="the server replied: [45]")


@pytest.mark.parametrize(
    "replies",
    [
        (GREETING, b"250 mail.example.test\r\n"),
        (GREETING, OFFER, b"454 4.7.0 TLS not available due to local problem\r\n"),
        (GREETING, OFFER, b"502 not implemented\r\n"),
        (GREETING, b"220 what?\r\n"),
        (b"HTTP/1.1 400 Bad Request\r\n",),
        (b"250 not a greeting\r\n",),
    ],
)
def test_refusal_of_tls_is_a_fault(replies: tuple[bytes, ...]) -> None:
    assert_refused("smtp", *replies)


def test_firewall_that_hides_the_offer_is_named() -> None:
    hidden = b"250-mail.example.test\r\n250-SIZE 1000\r\n250 XXXXXXXA\r\n"
    assert_refused("smtp", GREETING, hidden, reason="a firewall hides")
    for other in (b"250-mail\r\n250 XCLIENT NAME\r\n", b"250 XXXXXXXX\r\n"):
        assert_refused("smtp", GREETING, other, reason="does not offer STARTTLS")


def test_refused_ehlo_is_undetermined_in_the_report(probe: Probe, opened: Stack) -> None:
    port, _ = scripted(opened, GREETING, b"550 5.7.1 Helo command rejected\r\n")
    result = probe(f"{HOST}:{port}/smtp")
    assert result.codes["starttls-unknown"].severity == "undetermined"
    assert set(result.codes) == {"starttls-unknown"}
    assert result.report.undetermined
    assert result.report.silent == ("127.0.0.1",), "earlier findings of the address stay open"


@pytest.mark.parametrize("unread", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_connection_closed_after_ehlo_is_undetermined(
    probe: Probe, opened: Stack, protocol: str, unread: bool
) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(GREETING)
        sock.recv(1 if unread else 1000)  # unread bytes make the close a reset

    result = probe(f"{HOST}:{serve(opened, talk)}/{protocol}")
    assert set(result.codes) == {"starttls-unknown"}
    assert "closed the connection after" in result.codes["starttls-unknown"].evidence["reason"]


def test_connection_closed_before_the_greeting_has_failed(probe: Probe, opened: Stack) -> None:
    port = serve(opened, lambda sock: None)
    assert set(probe(f"{HOST}:{port}/smtp").codes) == {"connection-failed"}


def _ehlo_of_a_scan(probe: Probe, opened: Stack, settings: Settings) -> bytes:
    port, received = scripted(opened, GREETING, b"550 no\r\n")
    probe(f"{HOST}:{port}/smtp", changes=settings)
    return received[0]


def test_configured_name_is_sent(probe: Probe, opened: Stack, settings: Settings) -> None:
    named = replace(settings, scan=replace(settings.scan, ehlo_name="scan.provider.example"))
    assert _ehlo_of_a_scan(probe, opened, named) == b"EHLO scan.provider.example\r\n"


@pytest.mark.parametrize(
    ("host_name", "full_name", "ehlo"),
    [
        ("scan1.provider.example", "", b"EHLO scan1.provider.example\r\n"),
        ("scan1", "scan1.provider.example", b"EHLO scan1.provider.example\r\n"),
        ("scan1", "localhost", b"EHLO [127.0.0.1]\r\n"),
        ("scan1", "localhost.localdomain", b"EHLO [127.0.0.1]\r\n"),
        ("scan1\r\nQUIT", "scan1\r\nQUIT.example", b"EHLO [127.0.0.1]\r\n"),
    ],
)
def test_full_name_of_the_machine_is_sent_or_else_its_address(
    probe: Probe,
    opened: Stack,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    host_name: str,
    full_name: str,
    ehlo: bytes,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    monkeypatch.setattr(socket, "getfqdn", lambda: full_name)
    own_name.cache_clear()
    try:
        assert _ehlo_of_a_scan(probe, opened, settings) == ehlo
    finally:
        own_name.cache_clear()
