"""Names of a zone file."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers import zone
from inventory.importers.guess import guess_format
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


@pytest.mark.parametrize(
    "line",
    ['x TXT ( "open"', "@ SOA ns1 h ( 1 2 3 4 5", 'x TXT "(" (', "x ( A 192.0.2.9 ; )", "x A (("],
)
def test_parenthesis_that_is_not_closed_costs_its_line(tmp_path: Path, line: str) -> None:
    """It joined the rest of the file, and took all names in it away without a word."""
    path = tmp_path / "shop.test.zone"
    path.write_text(f"www A 192.0.2.1\n{line}\nlast A 192.0.2.2\nmx ( A\n 192.0.2.3 )\n")
    rows, problems = split(zone.read(path, "1001"))
    assert [d for d, _ in rows] == ["www.shop.test", "last.shop.test", "mx.shop.test"]
    (problem,) = problems
    assert ":2" in problem and "a parenthesis is not closed" in problem


def test_many_open_parentheses_cost_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "shop.test.zone"
    path.write_text("x A (\n" * 20_000 + "www A 192.0.2.1\n")
    rows, problems = split(zone.read(path, "1001"))
    assert len(rows) == 1 and len(problems) == 20_000


def test_byte_order_mark_before_another_encoding_costs_no_line(tmp_path: Path) -> None:
    path = tmp_path / "shop.test.zone"
    path.write_bytes(b"\xef\xbb\xbf$ORIGIN shop.test.\r\nwww A 192.0.2.1 ; M\xfcller\r\n")
    rows, problems = split(zone.read(path, "1001"))
    assert len(rows) == 1 and not problems


def names_of(path: Path, text: str) -> tuple[list[str], list[str]]:
    path.write_text(text)
    rows, problems = split(zone.read(path, "1"))
    return sorted(d for d, _ in rows), problems


WINDOWS = """;
;  Database file example.com.dns for Default zone scope in zone example.com.
;      Zone version:  123
;
@                       IN  SOA dc1.example.com. hostmaster.example.com. (
                        123 900 600 86400 3600 )
@                       NS      dc1.example.com.
@                       [AGE:3712345]   600     A       192.0.2.2
_gc._tcp                [AGE:3712345]   600     SRV     0 100 3268 dc1.example.com.
dc1                     1200    A       192.0.2.1
app                     [AGE:3700000]   CNAME   dc1
wins                    WINS    L2 C900 ( 192.0.2.1 )
"""
CLOUDFLARE = """;;
;; Domain:     example.com.
;; Exported:   2026-11-28 10:00:00
example.com	3600	IN	SOA	ada.ns.example.net. dns.example.net. 1 10000 2400 604800 3600
example.com.	1	IN	A	192.0.2.1 ; cf_tags=cf-proxied:true
app.example.com.	1	IN	CNAME	example.com. ; comment (without an end
dc1.example.com.	300	IN	HTTPS	1 . alpn="h2,h3"
"""
POWERDNS = """$ORIGIN .
example.com	3600	IN	SOA	ns1.example.com root.example.com 1 10800 3600 604800 3600
example.com	3600	IN	ALIAS	lb.example.net
app.example.com	60	IN	LUA	A "ifportup(443, {'192.0.2.1'})"
txt.example.com	60	IN	LUA	TXT "os.date()"
dc1.example.com	3600	IN	TYPE1	\\# 4 C0000201
"""
CLI53 = """$ORIGIN example.com.
@	900	IN	SOA	ns-1.example.net. root.example.net. 1 7200 900 1209600 86400
@	60	AWS	ALIAS	A d1.cdn.example. Z2FDTNDATAQYW2 false
app	300	IN	A	192.0.2.1 ; AWS routing="WEIGHTED" weight=10 identifier="x"
dc1	86400	AWS	ALIAS	A app $self false ; AWS routing="FAILOVER"
"""
ROUTE53 = """{"ResourceRecordSets": [
  {"Name": "example.com.", "Type": "A", "ResourceRecords": [{"Value": "192.0.2.1"}]},
  {"Name": "app.example.com.", "Type": "A", "AliasTarget": {"DNSName": "d1.cdn.example."}},
  {"Name": "DC1.example.com.", "Type": "CNAME", "SetIdentifier": "eu", "ResourceRecords": []},
  {"Name": "_x.example.com.", "Type": "CNAME", "ResourceRecords": []},
  {"Name": "example.com.", "Type": "MX", "ResourceRecords": [{"Value": "10 x."}]}]}
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("example.com.dns", WINDOWS),
        (
            "export.txt",
            WINDOWS.replace("Default zone scope in zone example.com", "example.com zone"),
        ),
        ("export.txt", WINDOWS),
        ("cloudflare.txt", CLOUDFLARE),
        ("pdnsutil.txt", POWERDNS),
        ("cli53.txt", CLI53),
        ("route53.json", ROUTE53),
    ],
)
def test_export_of_a_dns_server_or_provider_is_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    names, problems = names_of(path, text)
    assert names == ["app.example.com", "dc1.example.com", "example.com"]
    assert not problems
    assert guess_format(path) == "zone"


def test_zone_is_named_by_its_soa_or_refused(tmp_path: Path) -> None:
    """The name of a file without a dot is not a zone: www.export would be a wrong name."""
    soa = "example.com. IN SOA ns root 1 2 3 4 5\n"
    assert names_of(tmp_path / "export", f"{soa}www A 192.0.2.1\n")[0] == ["www.example.com"]
    absolute = "www.example.com. A 192.0.2.1\n"
    assert names_of(tmp_path / "export", absolute)[0] == ["www.example.com"]
    with pytest.raises(UsageError, match=r"The zone of .* is unknown"):
        names_of(tmp_path / "export", "www A 192.0.2.1\n")


def test_wildcard_of_route_53_is_named_and_other_json_refused(tmp_path: Path) -> None:
    record = '{"ResourceRecordSets": [{"Name": "\\\\052.example.com.", "Type": "A"}]}'
    names, problems = names_of(tmp_path / "a.json", record)
    assert not names and "'*.example.com' is a wildcard" in problems[0]
    for text in ("{", "{}", '{"ResourceRecordSets": [1]}'):
        with pytest.raises(UsageError, match="is not a zone"):
            names_of(tmp_path / "a.json", text)


def test_name_that_the_servers_of_the_zone_do_not_answer_for_is_left_out(tmp_path: Path) -> None:
    """A name outside of the zone, or below a delegation, may be another client's."""
    path = tmp_path / "example.com.zone"
    path.write_text(
        "@ IN SOA ns1 root.example.com. (\n 1 ; serial\n 3H 1H 1W 1D )\n@ NS ns1\nns1 A 192.0.2.1\n"
        "shop NS ns1.shop\nns1.shop A 192.0.2.2\nshop A 192.0.2.3\nshopping A 192.0.2.4\n"
        "other.example.net. A 192.0.2.5\nexample.com.example.org. A 192.0.2.6\n"
        "$ORIGIN sub\nx A 192.0.2.7\n"
        # A file of several zones.
        "$ORIGIN example.net.\n@ SOA ns1 root 1 1 1 1 1\nwww A 192.0.2.8\n"
    )
    rows, problems = split(zone.read(path, "1"))
    names = [d for d, _ in rows]
    inside = ["ns1.example.com", "shopping.example.com", "x.sub.example.com"]
    assert names == [*inside, "www.example.net"]
    assert [p.split(" ", 1)[1] for p in problems] == [
        "ns1.shop.example.com belongs to the delegated zone shop.example.com: import that zone",
        "shop.example.com belongs to the delegated zone shop.example.com: import that zone",
        "other.example.net is outside of the zone example.com",
        "example.com.example.org is outside of the zone example.com",
    ]
