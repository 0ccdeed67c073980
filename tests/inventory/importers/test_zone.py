"""Names of a zone file."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers import zone
from tests.inventory.importers.files import split


def test_zone_file_gives_names_with_addresses(tmp_path: Path) -> None:
    path = tmp_path / "db.example.com"
    path.write_text(
        "$TTL 3600\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600\n@ IN NS ns1\n@ IN A"
        " 192.0.2.1\nwww IN CNAME @\nshop IN AAAA 2001:db8::1\n* IN A 192.0.2.2\n_acme-challenge IN"
        " TXT x\n_sip._tcp IN A 192.0.2.3\nmail IN MX 10 mx.example.net.\n"
    )
    rows, problems = split(zone.read(path, "1"))
    assert sorted(d for d, _ in rows) == ["example.com", "shop.example.com", "www.example.com"]
    assert problems[0].startswith(f"{path}:7 ")
    path.write_text("@ IN A not-an-address\n")
    with pytest.raises(UsageError, match="not a zone file"):
        list(zone.read(path, "1"))
