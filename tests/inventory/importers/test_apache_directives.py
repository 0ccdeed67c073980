"""Directives as Apache itself reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inventory.importers import apache
from tests.inventory.importers.files import split
from tests.inventory.importers.test_web_servers import MODULES, apache_dump

HOST = "<VirtualHost *:8443>\n{}\n</VirtualHost>\n"


def site(*lines: str) -> str:
    return HOST.format("\n".join(lines))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration with what other parsers of Apache misread, in one host each."""
    for name, host in (
        ("sites/a.conf", "file.example.com"),
        ("sites/.a.conf", "hidden.example.com"),
        ("folder/.b", "dot.example.com"),
        ("folder/sub/c", "sub.example.com"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(site(f"ServerName {host}"))
    path = tmp_path / "httpd.conf"
    path.write_text(
        f"ServerRoot {tmp_path}\nErrorLog /dev/null\nServerName localhost\nListen 8443\n{MODULES}"
        + site("ServerName a1.example.com", "ServerAdmin o'neill@example.com")
        + site("ServerName a2.example.com", "ErrorDocument 404 \"Can't find it")
        + site("ServerName a3.example.com", "ServerAlias www.a3.exam\\", "ple.com b3.example.com")
        + site("ServerName a4.example.com", "# old: \\", "ServerAlias old.example.com")
        + site("ServerName a5.example.com", "ServerAlias 'b5.example.com'\"c5.example.com\"")
        + site("ServerName a6.example.com", "ServerAlias b6.example.com\\", "\tc6.example.com")
        + site("servername A7.example.com", "SERVERALIAS b7.example.com")
        + "<IfVersion >= 2.4>\n"
        + site("ServerName a8.example.com")
        + "</IfVersion>\n"
        + "<IfVersion < 2.4>\n"
        + site("ServerName old8.example.com")
        + "</IfVersion>\n"
        + "<IfVersion ~ ^2\\.4>\n"
        + site("ServerName a9.example.com")
        + "</IfVersion>\n"
        + "<IfDefine SSL>\n"
        + site("ServerName ssl.example.com")
        + "</IfDefine>\n"
        + "Include sites/*.conf\nInclude folder\n"
    )
    return path


def test_names_are_those_that_apache_lists(conf: Path) -> None:
    rows, problems = split(apache.read(conf, "1"))
    listed = re.findall(r"(?:namevhost|alias) (\S+)", apache_dump(conf))
    assert len(listed) > 15
    assert sorted(d for d, _ in rows) == sorted(listed)
    # What depends on the command line or on the version is named.
    left_out = ("old8.example.com", "ssl.example.com")
    assert all(name in p for name, p in zip(left_out, problems, strict=True)), problems


def test_moved_configuration_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text(site("ServerName a.example.com"))
    (tmp_path / "conf.d" / "b.conf").write_text(site("ServerName b.example.com"))
    path = tmp_path / "conf" / "httpd.conf"
    path.write_text(
        'ServerRoot "C:/Apache24"\nInclude conf.d/a.conf\nInclude C:/Apache24/conf.d/b.*\n'
        "IncludeOptional vhosts.d/*.conf\n"
    )
    rows, problems = split(apache.read(path, "1"))
    assert sorted(d for d, _ in rows) == ["a.example.com", "b.example.com"]
    reasons = ("ServerRoot C:/Apache24 does not exist here", f"no folder {tmp_path}/vhosts.d here")
    assert all(r in p for r, p in zip(reasons, problems, strict=True)), problems
