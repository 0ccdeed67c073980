"""Virtual hosts of Apache as rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.importers import apache
from inventory.importers.entry import ImportRow

TLS = "SSLEngine on\nSSLCertificateFile /etc/ssl/shop.pem\n"


@pytest.mark.parametrize(
    ("text", "target", "fields"),
    [
        # Without a virtual host, the main server is the site.
        ("ServerName shop.test:80", "shop.test:443/https", {}),
        (
            f"ServerName shop.test:8443\n{TLS}<VirtualHost *:80>\nServerName shop.test\n"
            "</VirtualHost>",
            "shop.test:8443/https",
            {"note": "Apache certificate: /etc/ssl/shop.pem"},
        ),
        # The note of the site counts, not that of the redirect before it.
        (
            "<VirtualHost *:80>\nServerName shop.test\n</VirtualHost>\n"
            f"<VirtualHost *:443>\nServerName shop.test\n{TLS}</VirtualHost>",
            "shop.test:443/https",
            {"note": "Apache certificate: /etc/ssl/shop.pem"},
        ),
        # mod_md renews: the directive may stand behind the host, and name any of its names.
        (
            "<VirtualHost *:443>\nServerName shop.test\nSSLEngine on\n</VirtualHost>\n"
            "MDomain shop.test auto",
            "shop.test:443/https",
            {"renews": "us", "note": "Apache mod_md: shop.test"},
        ),
        (
            "<MDomainSet shop.test>\nMDMember www.shop.test\n</MDomainSet>\n"
            "<VirtualHost *:443>\nServerName www.shop.test\nSSLEngine on\n</VirtualHost>",
            "www.shop.test:443/https",
            {"renews": "us", "note": "Apache mod_md: www.shop.test"},
        ),
    ],
)
def test_site_has_its_port_and_who_renews(
    tmp_path: Path, text: str, target: str, fields: dict[str, str]
) -> None:
    path = tmp_path / "httpd.conf"
    path.write_text(f"{text}\n")
    rows = [r for r in apache.read(path, "1") if isinstance(r, ImportRow)]
    assert (target, fields) in [(r.target, r.domain_fields) for r in rows]


def test_main_server_of_a_configuration_with_hosts_is_no_site(tmp_path: Path) -> None:
    path = tmp_path / "httpd.conf"
    path.write_text(
        "ServerName web1.provider.test\n<VirtualHost *:443>\nServerName shop.test\n</VirtualHost>\n"
    )
    (row,) = apache.read(path, "1")
    assert isinstance(row, ImportRow) and row.domain == "shop.test"
