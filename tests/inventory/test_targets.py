"""Targets: host, port and protocol in one text."""

from __future__ import annotations

import pytest

from inventory.errors import InvalidName
from inventory.targets import Target, parse


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("shop.example.com", Target("shop.example.com", 443, "https")),
        ("shop.example.com:8443", Target("shop.example.com", 8443, "https")),
        ("mail.example.com:25", Target("mail.example.com", 25, "smtp")),
        ("mail.example.com/imap", Target("mail.example.com", 143, "imap")),
        ("mail.example.com:993", Target("mail.example.com", 993, "tls")),
        ("db.example.com:6432/postgres", Target("db.example.com", 6432, "postgres")),
        ("2001:db8::1", Target("2001:db8::1", 443, "https")),
        ("[2001:DB8:0::1]:8443", Target("2001:db8::1", 8443, "https")),
        ("192.0.2.1:443", Target("192.0.2.1", 443, "https")),
    ],
)
def test_target_is_parsed_and_its_key_parses_to_it(text: str, target: Target) -> None:
    assert parse(text) == target
    assert parse(target.key) == target, "a displayed target can be parsed"


@pytest.mark.parametrize(
    "text",
    [
        "shop.example.com:0",
        "shop.example.com:65536",
        "shop.example.com:abc",
        "shop.example.com:",
        "shop.example.com/gopher",
        "https://shop.example.com/",
        "[::1",
        "[shop]:443",
        "",
        ":443",
        "a:1:2",
    ],
)
def test_invalid_target_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse(text)
