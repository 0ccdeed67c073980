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
