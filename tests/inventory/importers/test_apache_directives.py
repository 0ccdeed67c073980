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


def within(condition: str, host: str) -> str:
    return f"<IfModule {condition}>\n{site(f'ServerName {host}.example.com')}</IfModule>\n"


def test_modules_count_from_the_line_on_that_loads_them(tmp_path: Path) -> None:
    path = tmp_path / "httpd.conf"
    folder = "/usr/lib/apache2/modules"
    path.write_text(
        f"ServerRoot {tmp_path}\nErrorLog /dev/null\nServerName localhost\nListen 8443\n{MODULES}"
        + within("mod_alias.c", "early")
        + within("!mod_alias.c", "not-early")
        + f"<IfModule !alias_module>\nLoadModule alias_module {folder}/mod_alias.so\n</IfModule>\n"
        + within("mod_alias.c", "by-file")
        + within("alias_module", "by-identifier")
        + within("!alias_module", "not-loaded")
        + within("MOD_ALIAS.C", "by-capitals")
        + within("mpm_event_module", "mpm")
        + within("event.c", "mpm-by-file")
        + within("prefork.c", "other-mpm")
        + within("mod_nowhere.c", "nowhere")
        + within("!mod_nowhere.c", "not-nowhere")
        + within("core.c", "core")
        + within("so_module", "so")
        + within("mod_unixd.c", "compiled")
        + within("mod_unixd.c", "compiled-too")
        + f"<IfModule mod_nowhere.c>\nLoadModule dir_module {folder}/mod_dir.so\n</IfModule>\n"
        + within("dir_module", "loaded-in-a-skipped-block")
        + f"<IfModule mod_alias.c>\n{within('mod_macro.c', 'nested')}</IfModule>\n"
        + f"<IfModule mod_nowhere.c>\n{within('mod_macro.c', 'nested-nowhere')}</IfModule>\n"
    )
    rows, problems = split(apache.read(path, "1"))
    listed = re.findall(r"namevhost (\S+)", apache_dump(path))
    assert len(listed) == 11
    assert sorted(d for d, _ in rows) == sorted(listed)
    left_out = ("early", "not-loaded", "by-capitals", "other-mpm", "nowhere", "dir", "nested-n")
    named = [p for p in problems if "does not apply" in p]
    assert len(named) == 7
    assert all(any(f" {n}" in p or n in p for p in named) for n in left_out)
    # Whether a program has these compiled in is not known from its configuration.
    assumed = [p for p in problems if "is assumed to be loaded" in p]
    assert [p.split("the module ")[1].split()[0] for p in assumed] == ["unixd"]


def test_modules_of_a_part_of_a_configuration_are_assumed_and_named_once(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text(
        within("mod_ssl.c", "one")
        + within("ssl_module", "two")
        + "<IfModule mod_headers.c>\nHeader set X y\n</IfModule>\n"
        + within("!mod_ssl.c", "plain")
        + f"<IfModule mod_rewrite.c>\n{within('mod_ssl.c', 'three')}</IfModule>\n"
        + "</IfModule>\n"
    )
    rows, problems = split(apache.read(path, "1"))
    assert sorted(d for d, _ in rows) == [f"{n}.example.com" for n in ("one", "three", "two")]
    assert [p.partition(" ")[2].partition(" is assumed")[0] for p in problems] == [
        "the module ssl",
        "<IfModule !mod_ssl.c> does not apply as far as this file shows, so plain.example.com is"
        " left out: import the output of apachectl -t -D DUMP_VHOSTS, or add the names with certmgr"
        " domain add",
        "the module rewrite",
    ]
