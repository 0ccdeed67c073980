"""Targets: host, port and protocol in one text."""

from __future__ import annotations

import pytest

from inventory.errors import InvalidName
from inventory.targets import (
    PROTOCOLS,
    Target,
    parse,
    parse_backend,
    parse_protocol,
    protocol_of_port,
)


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
        ("mail.example.com:587", Target("mail.example.com", 587, "smtp")),
        ("mail.example.com:24", Target("mail.example.com", 24, "lmtp")),
        ("mail.example.com:4190", Target("mail.example.com", 4190, "managesieve")),
        ("db.example.com:3306", Target("db.example.com", 3306, "mysql")),
        ("chat.example.com:5222", Target("chat.example.com", 5222, "xmpp")),
        ("chat.example.com:5269", Target("chat.example.com", 5269, "xmpp-server")),
        ("news.example.com:119", Target("news.example.com", 119, "nntp")),
        ("dc.example.com:3268", Target("dc.example.com", 3268, "ldap")),
        ("dc.example.com:3269", Target("dc.example.com", 3269, "tls")),
        # What other programs call TLS from the first byte.
        ("mail.example.com/imaps", Target("mail.example.com", 993, "tls")),
        ("mail.example.com/pop3s", Target("mail.example.com", 995, "tls")),
        ("mail.example.com/smtps", Target("mail.example.com", 465, "tls")),
        ("mail.example.com/imaps/", Target("mail.example.com", 993, "tls")),
        ("mail.example.com:10993/imaps", Target("mail.example.com", 10993, "tls")),
        ("dc.example.com/ldaps", Target("dc.example.com", 636, "tls")),
        ("dc.example.com/LDAPS", Target("dc.example.com", 636, "tls")),
        ("ftp.example.com/ftps", Target("ftp.example.com", 990, "tls")),
        ("news.example.com/nntps", Target("news.example.com", 563, "tls")),
        ("chat.example.com/xmpps", Target("chat.example.com", 5223, "tls")),
        ("chat.example.com/xmpps-server", Target("chat.example.com", 5270, "tls")),
        ("[2001:db8::1]:636/ldaps", Target("2001:db8::1", 636, "tls")),
        # Other names of a protocol.
        ("mail.example.com/submission", Target("mail.example.com", 587, "smtp")),
        ("mail.example.com/sieve", Target("mail.example.com", 4190, "managesieve")),
        ("db.example.com/mariadb", Target("db.example.com", 3306, "mysql")),
        ("db.example.com/postgresql", Target("db.example.com", 5432, "postgres")),
        # Services whose dialogue is not known, with a protocol.
        ("db.example.com:1433/tls", Target("db.example.com", 1433, "tls")),
        ("shop.example.com:22/https", Target("shop.example.com", 22, "https")),
        # Ports that web servers use.
        ("shop.example.com:2083", Target("shop.example.com", 2083, "https")),
        ("shop.example.com:10000", Target("shop.example.com", 10000, "https")),
        # As people paste them.
        ("https://shop.example.com", Target("shop.example.com")),
        ("https://Shop.example.com/cart?id=1#top", Target("shop.example.com")),
        ("https://user:secret@shop.example.com:8443/a/b", Target("shop.example.com", 8443)),
        ("https://shop.example.com:3128/", Target("shop.example.com", 3128)),
        ("http://shop.example.com/", Target("shop.example.com")),
        ("http://shop.example.com:80/x", Target("shop.example.com")),
        ("<https://shop.example.com/>,", Target("shop.example.com")),
        ("shop.example.com/", Target("shop.example.com")),
        ("shop.example.com/wp-login.php", Target("shop.example.com")),
        ("shop.example.com/a/b", Target("shop.example.com")),
        ("shop.example.com?x=1", Target("shop.example.com")),
        ("https://[2001:db8::1]/", Target("2001:db8::1")),
        ("imaps://mail.example.com", Target("mail.example.com", 993, "tls")),
        ("ldap://dc.example.com:3268/dc=x", Target("dc.example.com", 3268, "ldap")),
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
        "shop.example.com/smpt",
        "gopher://shop.example.com/",
        "http://shop.example.com:8080/",
        "https:///path",
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


# SSH, HTTP, file sharing, SQL Server, RDP, AMQP, MongoDB, Redis, and ports without a service.
@pytest.mark.parametrize("port", [22, 80, 445, 1433, 3389, 5672, 27017, 6379, 444, 1])
@pytest.mark.parametrize("host", ["srv.example.com", "[2001:db8::1]", "192.0.2.1"])
def test_port_whose_dialogue_is_not_known_needs_a_protocol(host: str, port: int) -> None:
    with pytest.raises(InvalidName) as refused:
        parse(f"{host}:{port}")
    assert refused.value.exit_code == 2
    message = str(refused.value)
    assert f"{host}:{port}/tls" in message
    assert f"{host}:{port}/https" in message
    for protocol in ("tls", "https"):
        target = parse(f"{host}:{port}/{protocol}")
        assert target.protocol == protocol
        assert parse(target.key) == parse(str(target)) == target


def test_backend_may_have_any_port() -> None:
    assert parse_backend("10.0.0.1:3389") == Target("10.0.0.1", 3389, "https")
    assert parse_backend("10.0.0.1:25") == Target("10.0.0.1", 25, "smtp")
    assert parse_backend(parse_backend("10.0.0.1:22").key) == parse_backend("10.0.0.1:22")
    with pytest.raises(InvalidName):
        parse_backend("10.0.0.1:0")


def test_dynamic_ports_are_https() -> None:
    assert {protocol_of_port(port) for port in range(32768, 65536)} == {"https"}


@pytest.mark.parametrize("text", ["gopher", "http", "imapss", "", "tls/x", "smtp\n25"])
def test_unknown_protocol_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidName) as refused:
        parse_protocol(text)
    assert all(protocol in str(refused.value) for protocol in PROTOCOLS)
