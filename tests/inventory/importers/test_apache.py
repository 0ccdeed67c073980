"""Names of an Apache configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.importers import apache
from inventory.importers.entry import ImportProblem, ImportRow
from tests.inventory.importers.files import split


def test_apache_configuration_gives_names(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.conf").write_text(
        "<VirtualHost *:443>\n ServerName shop.example.com:443\n ServerAlias www.example.com \\\n  "
        ' *.example.com\n SSLEngine on\n SSLCertificateFile "/etc/ssl/a'
        ' b.pem"\n</VirtualHost>\n<VirtualHost *:80>\n ServerName'
        " old.example.com\n</VirtualHost>\n# ServerName no.example.com\n"
    )
    (tmp_path / "apache2.conf").write_text("IncludeOptional sites/*.conf\nInclude none.conf\n")
    rows, problems = split(apache.read(tmp_path / "apache2.conf", "1"))
    assert sorted(rows) == [
        ("old.example.com", "old.example.com:443/https"),
        ("shop.example.com", "shop.example.com:443/https"),
        ("www.example.com", "www.example.com:443/https"),
    ]
    assert [p.split(" ")[0].rsplit("/", 1)[1] for p in problems] == ["apache2.conf:2", "a.conf:3"]


@pytest.mark.parametrize(
    ("lines", "rows", "reasons"),
    [
        ("ServerName shop.test\nServerAlias w?w.shop.test", ["shop.test"], ["is a wildcard"]),
        ("UseCanonicalName Off\nVirtualDocumentRoot /srv/%0", [], ["without ServerName"]),
        ("ServerName https://shop.test:8443", ["shop.test"], []),
        ("ServerName a.test\nServerAlias b.test \\\n c.test", ["a.test", "b.test", "c.test"], []),
    ],
)
def test_names_of_an_apache_virtual_host(
    tmp_path: Path, lines: str, rows: list[str], reasons: list[str]
) -> None:
    path = tmp_path / "httpd.conf"
    path.write_text(f"<VirtualHost *:443>\nSSLEngine on\n{lines}\n</VirtualHost>\n")
    found = list(apache.read(path, "1001"))
    assert [r.domain for r in found if isinstance(r, ImportRow)] == rows
    problems = [r.reason for r in found if isinstance(r, ImportProblem)]
    assert len(problems) == len(reasons)
    assert all(reason in p for reason, p in zip(reasons, problems, strict=True)), problems


def test_wildcard_of_cpanel_and_a_variable_port_are_named(tmp_path: Path) -> None:
    path = tmp_path / "httpd.conf"
    path.write_text(
        "<VirtualHost 192.0.2.1:443>\n ServerName _wildcard_.shop.example\n"
        " ServerAlias *.shop.example\n SSLEngine on\n</VirtualHost>\n"
        "<VirtualHost *:${HTTPS_PORT}>\n ServerName port.example\n SSLEngine on\n</VirtualHost>\n"
    )
    rows, problems = split(apache.read(path, "1"))
    assert [t for _, t in rows] == ["port.example:443/https"]
    reasons = ("'_wildcard_.shop.example' stands for a wildcard", "is a wildcard", "${HTTPS_PORT}")
    assert all(r in p for r, p in zip(reasons, problems, strict=True)), problems


@pytest.mark.parametrize("rest", ["", "<VirtualHost *:443>\nServerName b.test\n</VirtualHost>\n"])
def test_virtual_host_that_is_not_closed_is_named(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "site.conf"
    path.write_text(f"<VirtualHost *:443>\nServerName a.test\n{rest}")
    rows, problems = split(apache.read(path, "1"))
    assert [d for d, _ in rows] == (["b.test"] if rest else [])
    assert problems == [f"{path}:1 this VirtualHost block is not closed: its names were not read"]
