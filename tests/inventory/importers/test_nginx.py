"""Names and ports of an nginx configuration."""

from __future__ import annotations

from pathlib import Path

from inventory.importers import nginx
from tests.inventory.importers.files import split


def test_nginx_configuration_gives_names_and_ports(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "shop.conf").write_text(
        "server { listen 443 ssl; listen [::]:8443 ssl;\n server_name shop.example.com\n  "
        " www.example.com;\n ssl_certificate /etc/ssl/shop.pem; }\nserver { listen 80"
        " default_server; server_name _; }\nserver { server_name *.example.com ~^(.+)$"
        " plain.example.com; }\n"
    )
    (tmp_path / "nginx.conf").write_text(
        f"events {{}}\nhttp {{ include {tmp_path}/sites/*.conf; }}\n"
    )
    rows, problems = split(nginx.read(tmp_path / "nginx.conf", "1"))
    assert sorted(rows) == [
        ("plain.example.com", "plain.example.com:443/https"),
        ("shop.example.com", "shop.example.com:443/https"),
        ("shop.example.com", "shop.example.com:8443/https"),
        ("www.example.com", "www.example.com:443/https"),
        ("www.example.com", "www.example.com:8443/https"),
    ]
    assert len(problems) == 2
    assert all("shop.conf:6" in p for p in problems)


def test_broken_nginx_configuration_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(
        "http { server { listen 443 ssl; server_name a.example.com;\n"
    )
    _, problems = split(nginx.read(tmp_path / "nginx.conf", "1"))
    assert len(problems) == 1
