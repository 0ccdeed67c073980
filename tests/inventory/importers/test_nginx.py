"""Names and ports of an nginx configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.importers import nginx
from inventory.importers.entry import ImportProblem, ImportRow
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


@pytest.mark.parametrize(
    ("server", "rows", "reasons"),
    [
        ("server_name .shop.test;", ["shop.test"], ["names below it"]),
        ("server_name www.shop.*;", [], ["is a wildcard"]),
        ("server_name shop.test; ssl_reject_handshake on;", [], ["refuses every handshake"]),
        ("server_name _; ssl_reject_handshake on;", [], []),
        ("server_name \"quoted.test\" 'single.test';", ["quoted.test", "single.test"], []),
        ("server_name a.test\n# b.test;\nc.test;", ["a.test", "c.test"], []),
        ("server_name a.test; if ($host = b.test) { return 301 /; }", ["a.test"], []),
    ],
)
def test_names_of_an_nginx_server(
    tmp_path: Path, server: str, rows: list[str], reasons: list[str]
) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(f"http {{ server {{ listen 443 ssl; {server} }} }}")
    found = list(nginx.read(path, "1001"))
    assert [r.domain for r in found if isinstance(r, ImportRow)] == rows
    problems = [r.reason for r in found if isinstance(r, ImportProblem)]
    assert len(problems) == len(reasons)
    assert all(reason in p for reason, p in zip(reasons, problems, strict=True)), problems


def test_lua_blocks_and_maps_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(
        "http { map $host $x { default a.test; ~^b b.test; } geo $g { 10.0.0.0/8 1; }\n"
        'init_by_lua_block { local x = "}" -- server_name no.test;\n y = { a = 1 } }\n'
        "server { listen 443 ssl; server_name lua.test;\n"
        'location / { content_by_lua_block { ngx.say("a { b") } } } }\n'
    )
    (row,) = nginx.read(path, "1001")
    assert isinstance(row, ImportRow) and row.domain == "lua.test"


@pytest.mark.parametrize(
    "code",
    [
        "local x = [==[ } ' \" ]==]",
        "--[[ it's } {{ a\n comment ]] x = 1",
        "x = 'a\\\\\\'}' y = \"b\\\\\\\"}\"",
        "-- that'll be {\n x = {}",
    ],
)
def test_signs_in_lua_are_no_signs_of_nginx(tmp_path: Path, code: str) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(
        f"http {{\ninit_by_lua_block {{\n{code}\n}}\nserver {{ set_by_lua_block $x {{\n{code}\n}}\n"
        "listen 443 ssl; server_name lua.test 1; } }"
    )
    (row, problem) = nginx.read(path, "1001")
    assert isinstance(row, ImportRow) and row.domain == "lua.test"
    line = path.read_text()[: path.read_text().index("listen")].count("\n") + 1
    assert isinstance(problem, ImportProblem) and problem.where == f"{path}:{line}"


@pytest.mark.parametrize("code", ["'", "--[=[", "{", '"\\\\'])
def test_lua_that_is_not_closed_is_one_problem(tmp_path: Path, code: str) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(f"http {{ init_by_lua_block {{ {code} }} server {{ server_name a.test; }} }}")
    (problem,) = nginx.read(path, "1001")
    assert isinstance(problem, ImportProblem)


def test_stream_server_without_a_name_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("stream {\n\nserver { listen 465 ssl; proxy_pass x; } }")
    (problem,) = nginx.read(path, "1001")
    assert isinstance(problem, ImportProblem) and problem.where == f"{path}:3"


def test_ports_of_listen_are_those_that_nginx_opens(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(
        "http {\n"
        " server { listen 8443-8445 ssl; server_name range.example; }\n"
        " server { listen 192.0.2.1:8443-8444 ssl; server_name address.example; }\n"
        " server { listen [::]:8443-8444 ssl; server_name six.example; }\n"
        " server { set $port 8446; listen *:$port ssl; server_name set.example; }\n"
        " server { listen ${PORT} ssl; server_name template.example; }\n"
        " server { listen 1-60000 ssl; server_name many.example; }\n"
        " server { listen 443 quic; listen 443 ssl; http2 on; server_name quic.example; }\n"
        " server { listen web1-2:443 ssl; server_name host.example; }\n"
        ' server { listen 443 ssl; server_name "" _ - $hostname; ssl_reject_handshake on; }\n'
        "}\nstream { server { listen 443; ssl_preread on; proxy_pass $x; } }\n"
    )
    rows, problems = split(nginx.read(path, "1"))
    assert sorted(t for _, t in rows) == [
        "address.example:8443/https",
        "address.example:8444/https",
        "host.example:443/https",
        "many.example:443/https",
        "quic.example:443/https",
        "range.example:8443/https",
        "range.example:8444/https",
        "range.example:8445/https",
        "set.example:8446/https",
        "six.example:8443/https",
        "six.example:8444/https",
        "template.example:443/https",
    ]
    assert [p.split(" ")[0].rpartition(":")[2] for p in problems] == ["6", "7", "12"]
    assert "ssl_preread" in problems[2] and "${PORT}" in problems[0]
