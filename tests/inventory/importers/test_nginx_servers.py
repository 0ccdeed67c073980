"""Server blocks of nginx as rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.importers import nginx
from inventory.importers.entry import ImportProblem, ImportRow
from tests.inventory.importers.files import split


def read(tmp_path: Path, text: str) -> list[ImportRow | ImportProblem]:
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    return list(nginx.read(path, "1"))


def test_names_of_a_map_by_which_a_stream_passes_tls_on_are_sites(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "stream {\n map $ssl_preread_server_name $back { hostnames; shop.test a; .wide.test a;\n"
        "  *.no.test b; ~^x b; default c; }\n"
        " server { listen 443; listen [::]:443; ssl_preread on; proxy_pass $back; }\n"
        " server { listen 465; ssl_preread on; proxy_pass $back; } }\n",
    )
    rows, problems = split(iter(found))
    assert sorted(t for _, t in rows) == [
        "shop.test:443/https",
        "shop.test:465/tls",
        "wide.test:443/https",
        "wide.test:465/tls",
    ]
    assert len(problems) == 3


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("listen 443 ssl; ssl_certificate a.pem;", "a server on 443/https has no server_name"),
        (
            "listen unix:/run/a.sock ssl; server_name shop.test;",
            "a Unix socket of shop.test, which",
        ),
        ("listen 443 ssl default_server; return 444;", ""),
        ("listen 443 ssl default_server; server_name _; ssl_certificate a.pem;", ""),
    ],
)
def test_server_that_other_machines_do_not_see_as_a_site_is_named(
    tmp_path: Path, server: str, reason: str
) -> None:
    found = read(tmp_path, f"http {{ server {{ {server} }} }}")
    reasons = [x.reason for x in found if isinstance(x, ImportProblem)]
    assert len(reasons) == bool(reason) and all(reason in r for r in reasons), reasons


def test_certificate_of_the_acme_module_is_renewed_by_nginx(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        "http { server { listen 443 ssl; server_name shop.test; acme_certificate le;\n"
        " ssl_certificate $acme_certificate; ssl_certificate_key $acme_certificate_key; } }",
    )
    assert isinstance(row, ImportRow)
    assert row.domain_fields == {
        "renews": "us",
        "note": "nginx certificate: $acme_certificate",
    }


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ("ssl_certificate rsa.pem; ssl_certificate ec.pem;", "rsa.pem, ec.pem"),
        (
            'ssl_certificate "data:-----BEGIN CERTIFICATE-----\nMIIB";',
            "written in the configuration",
        ),
        ("ssl_certificate data:$cert;", "data:$cert"),
        ("", "all.pem"),
    ],
)
def test_note_names_each_certificate_and_holds_none(tmp_path: Path, lines: str, note: str) -> None:
    server = f"server {{ listen 443 ssl; server_name shop.test; {lines} }}"
    (row,) = read(tmp_path, f"http {{ ssl_certificate all.pem; {server} }}")
    assert isinstance(row, ImportRow) and note in row.domain_fields["note"]
    assert "MIIB" not in row.domain_fields["note"]


def test_note_of_the_site_counts_and_not_the_redirect_before_it(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        "http { server { listen 80; server_name shop.test; return 301 https://a.test; }\n"
        " server { listen 443 ssl; server_name shop.test; ssl_certificate a.pem; } }",
    )
    assert isinstance(row, ImportRow) and row.domain_fields == {"note": "nginx certificate: a.pem"}
