"""Names of an Apache configuration."""

from __future__ import annotations

from pathlib import Path

from inventory.importers import apache
from tests.inventory.importers.files import split


def test_apache_configuration_gives_names(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.conf").write_text(
        "<VirtualHost *:443>\n ServerName shop.example.com:443\n ServerAlias www.example.com \\\n  "
        ' *.example.com\n SSLEngine on\n SSLCertificateFile "/etc/ssl/a'
        ' b.pem"\n</VirtualHost>\n<VirtualHost *:80>\n ServerName'
        " old.example.com\n</VirtualHost>\n# ServerName no.example.com\n"
    )
    (tmp_path / "apache2.conf").write_text("IncludeOptional sites/*.conf\nServerName 'broken\n")
    rows, problems = split(apache.read(tmp_path / "apache2.conf", "1"))
    assert sorted(rows) == [
        ("old.example.com", "old.example.com:443/https"),
        ("shop.example.com", "shop.example.com:443/https"),
        ("www.example.com", "www.example.com:443/https"),
    ]
    assert [p.split(" ")[0].rsplit("/", 1)[1] for p in problems] == ["a.conf:3", "apache2.conf:2"]
