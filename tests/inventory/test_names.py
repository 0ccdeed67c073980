"""Names and targets: what is taken, what is stored, what is shown."""

from __future__ import annotations

import pytest

from inventory.errors import InvalidName
from inventory.names import display, is_public_suffix, matches, normalise, normalise_host, registered_domain
from inventory.targets import Target, parse


@pytest.mark.parametrize(
    ("typed", "stored", "shown"),
    [
        ("Shop.Example.COM.", "shop.example.com", "shop.example.com"),
        ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
        ("BÜCHER。example", "xn--bcher-kva.example", "bücher.example"),
        ("my_shop.example.com", "my_shop.example.com", "my_shop.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
        ("xn--a.example", "xn--a.example", "xn--a.example"),
        ("straße.example", "xn--strae-oqa.example", "straße.example"),
        ("_dmarc.example.com", "_dmarc.example.com", "_dmarc.example.com"),
    ],
)
def test_a_labels_are_stored_and_u_labels_shown(typed: str, stored: str, shown: str) -> None:
    assert normalise(typed) == stored
    assert display(stored) == shown


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "  ",
        "a b.example.com",
        "a..b",
        ".example.com",
        "-a.example",
        "a" * 64 + ".example",
        "a." * 127 + "toolong",
        "1.2.3.4",
        "a/b",
        "x" * 5000,
        "a\x00b.example",
        "ex\u202eample.com",
        "*.example.com",
    ],
)
def test_what_is_no_name(typed: str) -> None:
    with pytest.raises(InvalidName):
        normalise(typed)


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
def test_targets(text: str, target: Target) -> None:
    assert parse(text) == target
    assert parse(target.key) == target, "a target that is shown is taken back"


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
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InvalidName):
        parse(text)


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("shop.example.com", "shop.example.com", True),
        ("*.example.com", "shop.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("s*.example.com", "shop.example.com", False),
        ("*.*.example.com", "a.b.example.com", False),
        ("*.com", "example.com", False),
        ("*.co.uk", "example.co.uk", False),
        ("*", "example", False),
    ],
)
def test_wildcards(pattern: str, host: str, fits: bool) -> None:
    assert matches(pattern, host) is fits


def test_registered_domains() -> None:
    assert registered_domain("a.b.example.co.uk") == "example.co.uk"
    assert is_public_suffix("co.uk")
    assert normalise_host("[2001:DB8::1]") == "2001:db8::1"
