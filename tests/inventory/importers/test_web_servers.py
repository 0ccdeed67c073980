"""Configurations as nginx and Apache read them: checked by the real servers, and their dumps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers import apache, nginx
from inventory.importers.hosts import is_local
from tests.inventory.importers.files import split
from tests.servers.real import program


def nginx_dump(conf: Path) -> str:
    command = [program("nginx", "nginx-light"), "-T", "-q", "-c", str(conf)]
    command += ["-e", str(conf.parent / "error.log"), "-g", f"pid {conf.parent}/pid;"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def nginx_conf(tmp_path: Path) -> Path:
    (tmp_path / "snippets").mkdir()
    (tmp_path / "sites").mkdir()
    (tmp_path / "snippets" / "names.conf").write_text("server_name a.example.com www.$host;\n")
    (tmp_path / "snippets" / "listen.conf").write_text("listen 127.0.0.1:8443;\n")
    (tmp_path / "sites" / "a.conf").write_text(
        "server { include snippets/listen.conf; include snippets/names.conf; }\n"
        "server { include snippets/listen.conf; listen 127.0.0.1:8444 proxy_protocol;"
        " server_name b.example.com; }\n"
        'server { listen 127.0.0.1:8445; set $zone "example.com"; server_name "c.example.com"; }\n'
    )
    # Neither what an editor leaves nor what stands in a folder below matches sites/*.conf.
    (tmp_path / "sites" / ".a.conf").write_text("server { server_name hidden.example.com; }\n")
    (tmp_path / "sites" / "more").mkdir()
    (tmp_path / "sites" / "more" / "d.conf").write_text("upstream x { server 192.0.2.1; }\n")
    (tmp_path / "sites" / "more" / "e.conf").write_text("server { server_name e.example.com; }\n")
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        "events {}\nhttp { access_log off; include sites/*.conf; include sites/*/d*.conf; }\n"
    )
    return conf


def test_nginx_configuration_and_its_dump_give_the_same_names(
    nginx_conf: Path, tmp_path: Path
) -> None:
    rows, problems = split(nginx.read(nginx_conf, "1"))
    assert sorted({d for d, _ in rows}) == ["a.example.com", "c.example.com"]
    assert [p.partition(" ")[2] for p in problems] == [
        "'www.$host' has a variable without a value",
        "port 8444 of b.example.com expects the PROXY protocol of a balancer, so it cannot be"
        " asked directly: add the balancer's port",
    ]
    dump = tmp_path / "dump.txt"
    dump.write_text(nginx_dump(nginx_conf))
    again, problems_again = split(nginx.read(dump, "1"))
    assert again == rows
    # With the lines of the files, and not those of the dump.
    assert problems_again == problems


def test_stream_and_mail_blocks_have_their_own_protocols(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        "events {}\n"
        "stream { server { listen 465 ssl; server_name mx.example.com; }\n"
        " server { listen 8883; } server { listen 853 ssl; } }\n"
        "mail { server_name imap.example.com; ssl_certificate /m.pem;\n"
        " server { listen 993 ssl; protocol imap; } server { listen 143; starttls on; protocol"
        " imap; } server { listen 110; protocol pop3; } }\n"
        "http { server { listen 443 ssl; set $d example.com; server_name w.$d ${d}; } }\n"
    )
    rows, problems = split(nginx.read(conf, "1"))
    assert sorted(t for _, t in rows) == [
        "example.com:443/https",
        "imap.example.com:143/imap",
        "imap.example.com:993/tls",
        "mx.example.com:465/tls",
        "w.example.com:443/https",
    ]
    (problem,) = problems
    assert "a stream server on 853/tls has no server_name" in problem


def test_missing_and_circular_includes_are_named_once(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    (tmp_path / "loop.conf").write_text("include loop.conf;\nserver { server_name x.example.com; }")
    conf.write_text("http { include none.conf; include none/*.conf; include loop.conf; }\n")
    rows, problems = split(nginx.read(conf, "1"))
    assert [d for d, _ in rows] == ["x.example.com"]
    reasons = ("no such file", f"no folder {tmp_path}/none", "nested too deeply")
    assert all(r in p for r, p in zip(reasons, problems, strict=True)), problems


def apache_dump(conf: Path) -> str:
    command = [program("apache2", "apache2-bin"), "-t", "-D", "DUMP_VHOSTS", "-f", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


MODULES = "".join(
    f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
    for name in ("mpm_event", "authz_core", "macro")
)


@pytest.fixture
def apache_conf(tmp_path: Path) -> Path:
    (tmp_path / "alias.inc").write_text("ServerAlias static.${ZONE}\n")
    conf = tmp_path / "apache2.conf"
    conf.write_text(
        f'ServerRoot "{tmp_path}"\nErrorLog "{tmp_path}/log"\nServerName localhost\n'
        f"Listen 127.0.0.1:8443\n{MODULES}"
        "Define ZONE example.com\nDefine LIVE\n"
        "<Macro Site $name $port>\n <VirtualHost *:$port>\n  ServerName $name.${ZONE}\n"
        "  ServerAlias www.$name.${ZONE} *.$name.${ZONE}\n  Include alias.inc\n"
        " </VirtualHost>\n</Macro>\n"
        "Use Site shop 443\nUse Site blog 443\n"
        "<IfDefine LIVE>\n <VirtualHost *:443>\n  ServerName live.${ZONE}\n </VirtualHost>\n"
        "</IfDefine>\n<IfDefine !LIVE>\n <VirtualHost *:443>\n  ServerName test.${ZONE}\n"
        " </VirtualHost>\n</IfDefine>\n"
    )
    return conf


NAMES = [
    "blog.example.com",
    "live.example.com",
    "shop.example.com",
    "static.example.com",
    "www.blog.example.com",
    "www.shop.example.com",
]


def test_apache_macros_variables_and_conditions_are_expanded(
    apache_conf: Path, tmp_path: Path
) -> None:
    rows, problems = split(apache.read(apache_conf, "1"))
    assert sorted(d for d, _ in rows) == NAMES
    # The wildcards of two uses of one line are two names.
    assert len(problems) == 2
    assert all("is a wildcard" in p for p in problems)
    dump = tmp_path / "dump.txt"
    dump.write_text(apache_dump(apache_conf))
    dumped, wild = split(apache.read(dump, "1"))
    assert sorted(d for d, _ in dumped) == NAMES
    assert {t for _, t in dumped} == {f"{n}:443/https" for n in NAMES}
    assert len(wild) == 2


def test_snippet_that_is_included_twice_counts_and_one_in_a_circle_is_named(tmp_path: Path) -> None:
    (tmp_path / "tls.inc").write_text("SSLEngine on\nSSLCertificateFile /c.pem\n")
    (tmp_path / "loop.inc").write_text("Include loop.inc\n")
    conf = tmp_path / "httpd.conf"
    conf.write_text(
        "<VirtualHost *:8443>\nServerName a.example.com\nInclude tls.inc\n</VirtualHost>\n"
        "<VirtualHost *:9443>\nServerName b.example.com\nInclude tls.inc\n</VirtualHost>\n"
        "<VirtualHost *:443>\nServerName p.example.com\nRemoteIPProxyProtocol On\n</VirtualHost>\n"
        "<VirtualHost *:443>\nServerName ${UNSET}.example.com\n</VirtualHost>\n"
        "Include loop.inc\nUse Missing x\nInclude none.inc\n"
    )
    rows, problems = split(apache.read(conf, "1"))
    assert sorted(t for _, t in rows) == ["a.example.com:8443/https", "b.example.com:9443/https"]
    reasons = ("PROXY protocol", "variable without", "includes itself", "not defined", "no such")
    assert [r for r in reasons if not any(r in p for p in problems)] == []
    assert len(problems) == len(reasons)


def test_macro_that_grows_without_end_is_refused_within_bounds(tmp_path: Path) -> None:
    conf = tmp_path / "httpd.conf"
    conf.write_text("<Macro M $a>\nUse M $a$a\nUse M $a$a\n</Macro>\nUse M x\n")
    with pytest.raises(UsageError, match="expands to over"):
        list(apache.read(conf, "1"))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:8443", True),
        ("127.8.9.10:8443", True),
        ("[::1]:8443", True),
        ("[::ffff:127.0.0.1]:8443", True),
        ("localhost:8443", True),
        ("8443", False),
        ("*:8443", False),
        ("0.0.0.0:8443", False),
        ("[::]:8443", False),
        ("192.0.2.7:8443", False),
        ("_default_:443", False),
        ("shop.example.com:443", False),
        ("$address:443", False),
    ],
)
def test_address_of_this_machine_alone_is_recognised(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_sites_behind_another_server_of_their_machine_have_port_443(tmp_path: Path) -> None:
    nginx_file, apache_file = tmp_path / "nginx.conf", tmp_path / "apache.conf"
    nginx_file.write_text(
        "http { server { listen 127.0.0.1:8443 ssl; listen [::1]:8443 ssl; server_name"
        " a.example.com; } server { listen 127.0.0.1:8444 ssl; listen 9443 ssl; server_name"
        " b.example.com; } }\n"
        "mail { server { listen 127.0.0.1:993 ssl; protocol imap; server_name m.example.com; } }\n"
    )
    apache_file.write_text(
        "<VirtualHost 127.0.0.1:8443 [::1]:8443>\nServerName a.example.com\nSSLEngine on\n"
        "</VirtualHost>\n<VirtualHost 127.0.0.1:8444 *:9443>\nServerName b.example.com\n"
        "SSLEngine on\n</VirtualHost>\n"
    )
    targets = ["a.example.com:443/https", "b.example.com:9443/https"]
    rows, problems = split(nginx.read(nginx_file, "1"))
    assert sorted(t for _, t in rows) == targets
    assert [p.partition(" ")[2] for p in problems] == [
        "port 8443 of a.example.com, which only its own machine reaches; the site is imported with"
        " port 443",
        "port 993 of m.example.com, which only its own machine reaches",
    ]
    rows, problems = split(apache.read(apache_file, "1"))
    assert sorted(t for _, t in rows) == targets
    assert [p.partition(" ")[2] for p in problems] == [
        "port 8443 of a.example.com, which only its own machine reaches; the site is imported with"
        " port 443",
    ]


def test_dump_of_apache_names_sites_that_only_their_machine_reaches(tmp_path: Path) -> None:
    conf = tmp_path / "apache2.conf"
    conf.write_text(
        f'ServerRoot "{tmp_path}"\nErrorLog "{tmp_path}/log"\nServerName localhost\n'
        f"Listen 443\n{MODULES}"
        "<VirtualHost 127.0.0.1:8443>\nServerName a.example.com\n</VirtualHost>\n"
        "<VirtualHost 127.0.0.1:8443>\nServerName b.example.com\n</VirtualHost>\n"
        "<VirtualHost *:443>\nServerName c.example.com\n</VirtualHost>\n"
    )
    dump = tmp_path / "dump.txt"
    dump.write_text(apache_dump(conf))
    rows, problems = split(apache.read(dump, "1"))
    assert sorted(t for _, t in rows) == [f"{n}.example.com:443/https" for n in "abc"]
    assert [p.partition(" ")[2] for p in problems] == [
        f"port 8443 of {n}.example.com, which only its own machine reaches; the site is imported"
        " with port 443"
        for n in "ab"
    ]
