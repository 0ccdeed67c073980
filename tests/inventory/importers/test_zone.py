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


def test_zone_of_named_and_of_providers_is_read_and_a_bad_line_costs_that_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "zone.txt"
    path.write_text(
        # As named writes a dynamic zone: the root first, then the zone.
        "$ORIGIN .\n$TTL 300\t; 5 minutes\n"
        "example.com\t\tIN SOA\tns.example.com. root.example.com. (\n\t\t\t1 ; serial\n"
        "\t\t\t3600 600 86400 1 )\n\t\t\tNS\tns.example.com.\n\t\t\tALIAS\tlb.provider.example.\n"
        "$ORIGIN example.com.\nbad\t\tA\t999.1.2.3\nwww 300 IN\tCNAME\t@\n"
        'shop IN 60\tANAME lb.provider.example.\n"quoted"\tA\t192.0.2.1\n'
        '_acme-challenge TXT "a;b" "c ( d"\nmail MX 10 mx.example.net.\napi HTTPS 1 . alpn=h2\n'
        "svc\\.x A 192.0.2.1\n$INCLUDE more.zone\n$GENERATE 1-1000000000 h$ A 192.0.2.1\n"
        "$ORIGIN sub\ndeep AAAA 2001:db8::1\nlist TYPE65534 \\# 1 00\n"
    )
    rows, problems = split(zone.read(path, "1"))
    assert sorted(d for d, _ in rows) == [
        "api.example.com",
        "deep.sub.example.com",
        "example.com",
        "quoted.example.com",
        "shop.example.com",
        "www.example.com",
    ]
    reasons = ("cannot be read", "is not a host name", "$INCLUDE more.zone", "$GENERATE 1-1000000")
    assert len(problems) == len(reasons)
    assert all(any(r in p for p in problems) for r in reasons), problems
    assert f"{path}:9 " in problems[0] + problems[-1] + problems[1]


def test_apex_cname_that_no_server_would_load_is_still_a_name(tmp_path: Path) -> None:
    path = tmp_path / "example.com.zone"
    path.write_text("@ SOA a b 1 2 3 4 5\n@ CNAME x.example.net.\n@ A 192.0.2.1\nW A 192.0.2.1\n")
    rows, problems = split(zone.read(path, "1"))
    assert [d for d, _ in rows] == ["example.com", "w.example.com"]
    assert problems == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x A 999.1.1.1", "'999.1.1.1' is not a value of A"),
        ("x CNAME", "is not a value of CNAME"),
        ("x 300 IN", "it has no type"),
        ("old DNAME new.test.", "the names below old.shop.test lead to another domain"),
        ("a..b A 192.0.2.1", "a name in it is not valid"),
        ('x TXT "open', "a name in it is not valid, or a quote is not closed"),
        ("x CH A 192.0.2.1", ""),
        ("x 1D2H IN A 192.0.2.1", "x.shop.test"),
        ("x IN 1w A 192.0.2.1", "x.shop.test"),
        ("\\119x A 192.0.2.1", "wx.shop.test"),
        ("x ( A\n192.0.2.1 )", "x.shop.test"),
    ],
)
def test_record_gives_its_name_or_a_reason_in_our_words(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = tmp_path / "shop.test.zone"
    path.write_text(f"www A 192.0.2.1\n{line}\nlast A 192.0.2.2\n")
    rows, problems = split(zone.read(path, "1001"))
    found = [*(d for d, _ in rows), *problems]
    others = [f for f in found if f not in ("www.shop.test", "last.shop.test")]
    assert len(others) == bool(expected) and len(found) == 2 + len(others)
    assert not expected or expected in others[0], others


def test_byte_order_mark_before_another_encoding_costs_no_line(tmp_path: Path) -> None:
    path = tmp_path / "shop.test.zone"
    path.write_bytes(b"\xef\xbb\xbf$ORIGIN shop.test.\r\nwww A 192.0.2.1 ; M\xfcller\r\n")
    rows, problems = split(zone.read(path, "1001"))
    assert len(rows) == 1 and not problems
