"""Names of the lineages of certbot."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from inventory.errors import UsageError
from inventory.importers import certbot
from tests.inventory.importers.files import split


def test_certbot_lineages_give_their_names(tmp_path: Path, issuer: Authority) -> None:
    for lineage, names in (("shop", ("shop.example.com", "*.example.com")), ("gone", None)):
        (tmp_path / "renewal").mkdir(exist_ok=True)
        (tmp_path / "renewal" / f"{lineage}.conf").write_text("version = 2.1.0\n")
        if names:
            (tmp_path / "live" / lineage).mkdir(parents=True)
            (tmp_path / "live" / lineage / "cert.pem").write_bytes(issuer.issue(*names).chain_pem)
    rows, problems = split(certbot.read(tmp_path, "1"))
    assert [d for d, _ in rows] == ["shop.example.com"]
    assert len(problems) == 2
    with pytest.raises(UsageError, match="certbot"):
        list(certbot.read(tmp_path / "live", "1"))


@pytest.mark.parametrize(
    ("file", "configuration"),
    [
        ("live/shop/fullchain.pem", ""),
        ("archive/shop/fullchain12.pem", ""),
        ("archive/shop/cert3.pem", ""),
        ("live/old-name/fullchain.pem", "fullchain = /etc/letsencrypt/live/old-name/fullchain.pem"),
    ],
)
def test_lineage_without_cert_pem_gives_its_names(
    tmp_path: Path, issuer: Authority, file: str, configuration: str
) -> None:
    (tmp_path / "renewal").mkdir()
    (tmp_path / "renewal/shop.conf").write_text(f"version = 5.1.0\n{configuration}\n")
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(issuer.issue("shop.example.com").chain_pem)
    if path.name == "fullchain12.pem":
        old = issuer.issue("old.example.com").chain_pem
        (path.parent / "fullchain9.pem").write_bytes(old)
    rows, problems = split(certbot.read(tmp_path, "1"))
    assert ([d for d, _ in rows], problems) == (["shop.example.com"], [])


def test_lineage_without_a_readable_certificate_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "renewal").mkdir()
    for name, text in (
        ("a", "fullchain = /../../x"),
        ("b", "\0"),
        ("c", "cert = ../../etc/cert.pem"),
    ):
        (tmp_path / f"renewal/{name}.conf").write_text(text)
    (tmp_path / "live/b").mkdir(parents=True)
    (tmp_path / "live/b/fullchain.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n")
    rows, problems = split(certbot.read(tmp_path, "1"))
    assert rows == [] and len(problems) == 3
    assert all("no readable certificate" in p for p in problems)
