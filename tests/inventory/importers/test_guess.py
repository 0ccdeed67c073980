"""A client's list whose format takes much time to recognize."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers.guess import guess_format
from tests.fuzz.limits import cpu_limit

COSTLY = {
    "blank-lines": "\n" * 200_000,
    "blanks": " " * 200_000,
    "tabs-and-lines": "\t\n" * 100_000,
    "blanks-after-a-word-of-nginx": "server" + " \n" * 100_000,
    "words-of-nginx": "server \n" * 25_000,
    "classes-of-a-zone": " IN" * 66_000,
    "blanks-after-a-class-of-a-zone": " IN" + " " * 199_000,
    "types-of-a-zone": " SOA" * 50_000,
}


@pytest.mark.parametrize("kind", COSTLY)
def test_format_of_a_hostile_list_is_guessed_in_bounded_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(COSTLY[kind])
    with cpu_limit(), suppress(UsageError):
        guess_format(path)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("Caddy", "shop.example.com, www.shop.example.com {\n\treverse_proxy localhost:8080\n}\n"),
        ("HAProxy", "global\n maxconn 1\nfrontend web\n bind *:443 ssl crt /etc/x.pem\n"),
        ("Traefik", "http:\n  routers:\n    r:\n      rule: Host(`shop.example.com`)\n"),
        ("IIS", '<?xml version="1.0"?>\n<site><bindings><binding protocol="https"/></bindings>'),
        ("lighttpd", 'server.port = 80\n$HTTP["host"] == "shop.example.com" {\n}\n'),
    ],
)
def test_configuration_of_another_server_is_refused_with_the_way_around(
    tmp_path: Path, server: str, text: str
) -> None:
    """Its lines must not be taken for a list of names."""
    path = tmp_path / "server.conf"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"configuration of {server}.*--from names"):
        guess_format(path)
