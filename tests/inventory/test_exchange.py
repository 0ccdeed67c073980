"""Import and export: round trips, formats, and files that are wrong."""

from __future__ import annotations

import csv
import io
import json
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from sqlalchemy import select

from certmgr.demo.authority import Authority
from inventory.database import Database
from inventory.errors import UsageError
from inventory.exchange import apache, certbot, csv_format, json_format, nginx, plan, zone
from inventory.exchange.entry import Entry, Problem
from inventory.store import clients, contacts, domains, endpoints, servers
from inventory.tables import audit
from inventory.text import guard_cell, unguard_cell
from tests.databases import open_sqlite


def take(database: Database, text: str | bytes, kind: str = "csv") -> plan.Plan:
    """Imports ``text`` as a file of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{kind}"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with database.read() as conn:
            planned = plan.snapshot(conn)
        if kind == "json":
            json_format.read(path, planned)
        else:
            plan.add_entries(planned, csv_format.read(path))
        with database.write() as tx:
            plan.apply(tx, planned)
        return planned


def give(database: Database, kind: str = "csv") -> str:
    with database.read() as conn:
        everything = plan.snapshot(conn)
    return csv_format.write(everything) if kind == "csv" else json_format.write(everything)


HEAD = "client,client_name,contact,email,domain,purpose,endpoint,tags\n"


def test_one_row_brings_client_contact_domain_and_endpoint(database: Database) -> None:
    text = HEAD + "1001,Example Ltd,Ada,ada@example.com,shop.example.com,site,,vip gold\n"
    planned = take(database, text)
    assert planned.problems == []
    with database.read() as conn:
        assert clients.find(conn, "1001")["name"] == "Example Ltd"
        assert contacts.listing(conn)[0]["ways"] == ["email:ada@example.com"]
        (row,) = domains.listing(conn)
        assert (row["name"], row["tags"]) == ("shop.example.com", ["gold", "vip"])
        assert [(e["host"], e["port"]) for e in endpoints.listing(conn)] == [("shop.example.com", 443)]
        before = len(conn.execute(select(audit)).all())
    again = take(database, text)
    assert (again.counts(), again.added(), again.changed()) == (again.counts(), [], [])
    with database.read() as conn:
        assert len(conn.execute(select(audit)).all()) == before, "importing twice changes nothing"


def test_a_bad_row_is_reported_with_its_line_and_the_rest_goes_in(database: Database) -> None:
    rows = [
        "1,One,,,good.example.com,,,",
        "1,,,,bad name.example.com,,,",
        ",,,,none.example.com,,,",
        "2,One,,,x.example.com,,,",
        "3,Three,,,good.example.com,,,",
        "3,Three,,nobody,y.example.com,,,",
        "3,Three,,,z.example.com,castle,,",
        "4,Four,,,w.example.com,,,,,,,",
        "5,Five,,,last.example.com,,,",
    ]
    planned = take(database, HEAD + "\n".join(rows) + "\n")
    assert [p.where.rsplit(":", 1)[1] for p in planned.problems] == ["3", "4", "5", "6", "7", "8", "9"]
    with database.read() as conn:
        assert sorted(r["name"] for r in domains.listing(conn)) == ["good.example.com", "last.example.com"]
        assert [r["number"] for r in clients.listing(conn)] == ["1", "5"], "a bad row leaves nothing behind"


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffclient,client_name,domain\n1,Müller,shop.example.com\n".encode(),
        "client;client_name;domain\n1;Müller;shop.example.com\n".encode(),
        "client,client_name,domain\n1,Müller,shop.example.com\n".encode("latin-1"),
        "client\tclient_name\tdomain\r\n1\tMüller\tshop.example.com\r\n".encode("utf-8-sig"),
    ],
    ids=["BOM", "semicolons", "Latin-1", "tabs and CRLF"],
)
def test_what_spreadsheets_write(database: Database, data: bytes) -> None:
    assert take(database, data).problems == []
    with database.read() as conn:
        assert clients.find(conn, "1")["name"] == "Müller"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("client," * 2_000_000 + "\n", "too long for a header"),
        ("", "no column 'client'"),
        ("name,host\n1,2\n", "no column 'client'"),
        ("client,domian\n", "Did you mean 'domain'"),
        ("client,client\n", "stands twice"),
        ("\0\0\0\n", "no column 'client'"),
    ],
)
def test_a_header_that_cannot_be_used(database: Database, data: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        take(database, data)


def test_two_million_cells_in_a_row(database: Database) -> None:
    planned = take(database, "client,domain\n1," + "x," * 2_000_000 + "\n2,ok.example.com\n")
    assert len(planned.problems) == 1
    assert [i.values["number"] for i in planned.items["client"].values()] == ["2"]


# -- round trips ------------------------------------------------------------------------------------------------------

words = st.text(st.sampled_from(string.ascii_letters + "äß=+-@'\" ,;|0"), min_size=1, max_size=12).map(str.strip).filter(bool)
labels = st.text(st.sampled_from(string.ascii_lowercase + string.digits), min_size=1, max_size=8)
hosts = st.tuples(labels, labels).map(lambda p: f"{p[0]}.{p[1]}.test")
party = st.sampled_from([None, "us", "client", "panel", "cdn"])
tag_words = st.lists(labels, max_size=2, unique=True)


@st.composite
def inventories(draw: Any) -> list[dict[str, Any]]:
    numbers = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(hosts, max_size=5, unique=True))
    made = [
        {"number": n, "name": f"{draw(words)} {i}", "domains": [], "contacts": draw(st.lists(words, max_size=2, unique=True))}
        for i, n in enumerate(numbers)
    ]
    for host in names:
        draw(st.sampled_from(made))["domains"].append(
            {
                "name": host,
                "renews": draw(party),
                "note": draw(st.none() | words),
                "tags": tuple(draw(tag_words)),
                "port": draw(st.sampled_from([None, 8443])),
                "retired": draw(st.booleans()),
            }
        )
    return made


def fill(database: Database, made: list[dict[str, Any]]) -> None:
    with database.write() as tx:
        servers.add(tx, {"name": "web1", "addresses": ["192.0.2.1"]})
        for one in made:
            clients.add(tx, {"number": one["number"], "name": one["name"]})
            for person in one["contacts"]:
                contacts.add(tx, one["number"], {"name": person, "language": "de"}, ("a@example.com", "phone:+49 30 1"))
            for d in one["domains"]:
                domains.add(
                    tx,
                    d["name"],
                    {"client": one["number"], "renews": d["renews"], "note": d["note"], "server": "web1"},
                    d["tags"],
                )
                if d["port"]:
                    from inventory.targets import Target

                    endpoints.add(tx, Target(d["name"], d["port"]), addresses=("192.0.2.9",))
                if d["retired"]:
                    domains.retire(tx, d["name"])


@with_settings(max_examples=40)
@given(inventories())
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_exported_and_imported_again_is_the_same(kind: str, made: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = open_sqlite(Path(f"{folder}/a.db")), open_sqlite(Path(f"{folder}/b.db"))
        fill(first, made)
        text = give(first, kind)
        planned = take(second, text, kind)
        assert planned.problems == []
        assert give(second, kind) == text
        assert take(second, text, kind).changed() == []


def test_json_is_lossless_on_both_databases(database: Database, tmp_path: Path) -> None:
    fill(
        database,
        [
            {
                "number": "1",
                "name": "=One",
                "contacts": ["Ada"],
                "domains": [{"name": "a.b.test", "renews": "us", "note": None, "tags": ("x",), "port": 8443, "retired": True}],
            }
        ],
    )
    with database.write() as tx:
        clients.add(tx, {"number": "2", "name": "Two", "reseller": "1"}, ("gold",))
        domains.add(tx, "a.b.test", {"client": "2"})
        contacts.add(tx, "1", {"name": "Bob"})
        contacts.edit(tx, "Ada", {"fallback": "Bob"})
    text = give(database, "json")
    other = open_sqlite(tmp_path / "other.db")
    assert take(other, text, "json").problems == []
    assert json.loads(give(other, "json")) == json.loads(text)


@given(st.text(max_size=30))
def test_the_formula_guard_is_undone(value: str) -> None:
    assert unguard_cell(guard_cell(value)) == value
    assert not guard_cell(value).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_no_exported_cell_is_a_formula(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "=1+1", "name": "@SUM(A1)"})
    cells = [c for row in csv.reader(io.StringIO(give(database))) for c in row]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@"))]
    assert "'=1+1" in cells


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": "other/1"}', '{"schema": "certmgr.inventory/1", "clients": 5}', "[" * 100_000]
)
def test_json_that_is_no_inventory(database: Database, text: str) -> None:
    with pytest.raises(UsageError):
        take(database, text, "json")


def test_json_records_that_are_wrong(database: Database) -> None:
    document = {
        "schema": "certmgr.inventory/1",
        "clients": [{"number": "1", "name": "One"}, {"number": 5}, "text", {"number": "3", "name": "One"}],
        "domains": [{"name": "ok.example.com", "client": 0}, {"name": "bad name", "client": 0}, {"name": "lost.example.com", "client": 1}, {"name": "far.example.com", "client": 99}],
        "endpoints": [{"host": "ok.example.com", "port": 443, "protocol": "https", "domain": 0}, {"host": "x", "port": "no", "protocol": "https", "domain": 0}],
    }  # fmt: skip
    planned = take(database, json.dumps(document), "json")
    assert len(planned.problems) == 7
    with database.read() as conn:
        assert [r["name"] for r in domains.listing(conn)] == ["ok.example.com"]


# -- configurations ---------------------------------------------------------------------------------------------------


def split(found: Any) -> tuple[list[tuple[str, str]], list[str]]:
    rows = list(found)
    return [(e.domain, e.target) for e in rows if isinstance(e, Entry)], [
        p.where + " " + p.reason for p in rows if isinstance(p, Problem)
    ]


def test_nginx(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "shop.conf").write_text(
        "server { listen 443 ssl; listen [::]:8443 ssl;\n server_name shop.example.com\n   www.example.com;\n ssl_certificate /etc/ssl/shop.pem; }\n"
        "server { listen 80 default_server; server_name _; }\nserver { server_name *.example.com ~^(.+)$ plain.example.com; }\n"
    )
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{ include {tmp_path}/sites/*.conf; }}\n")
    entries, problems = split(nginx.read(tmp_path / "nginx.conf", "1"))
    assert sorted(entries) == [
        ("plain.example.com", "plain.example.com:443/https"), ("shop.example.com", "shop.example.com:443/https"),
        ("shop.example.com", "shop.example.com:8443/https"), ("www.example.com", "www.example.com:443/https"),
        ("www.example.com", "www.example.com:8443/https"),
    ]  # fmt: skip
    assert len(problems) == 2
    assert all("shop.conf:6" in p for p in problems)


def test_nginx_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("http { server { listen 443 ssl; server_name a.example.com;\n")
    _, problems = split(nginx.read(tmp_path / "nginx.conf", "1"))
    assert len(problems) == 1


def test_apache(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.conf").write_text(
        "<VirtualHost *:443>\n ServerName shop.example.com:443\n ServerAlias www.example.com \\\n   *.example.com\n SSLEngine on\n"
        ' SSLCertificateFile "/etc/ssl/a b.pem"\n</VirtualHost>\n<VirtualHost *:80>\n ServerName old.example.com\n</VirtualHost>\n# ServerName no.example.com\n'
    )
    (tmp_path / "apache2.conf").write_text("IncludeOptional sites/*.conf\nServerName 'broken\n")
    entries, problems = split(apache.read(tmp_path / "apache2.conf", "1"))
    assert sorted(entries) == [
        ("old.example.com", "old.example.com:443/https"),
        ("shop.example.com", "shop.example.com:443/https"),
        ("www.example.com", "www.example.com:443/https"),
    ]
    assert [p.split(" ")[0].rsplit("/", 1)[1] for p in problems] == ["a.conf:3", "apache2.conf:2"]


def test_certbot(tmp_path: Path, issuer: Authority) -> None:
    for lineage, names in (("shop", ("shop.example.com", "*.example.com")), ("gone", None)):
        (tmp_path / "renewal").mkdir(exist_ok=True)
        (tmp_path / "renewal" / f"{lineage}.conf").write_text("version = 2.1.0\n")
        if names:
            (tmp_path / "live" / lineage).mkdir(parents=True)
            (tmp_path / "live" / lineage / "cert.pem").write_bytes(issuer.issue(*names).chain_pem)
    entries, problems = split(certbot.read(tmp_path, "1"))
    assert [d for d, _ in entries] == ["shop.example.com"]
    assert len(problems) == 2
    with pytest.raises(UsageError, match="certbot"):
        list(certbot.read(tmp_path / "live", "1"))


def test_zone(tmp_path: Path) -> None:
    path = tmp_path / "db.example.com"
    path.write_text(
        "$TTL 3600\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600\n@ IN NS ns1\n@ IN A 192.0.2.1\nwww IN CNAME @\nshop IN AAAA 2001:db8::1\n"
        "* IN A 192.0.2.2\n_acme-challenge IN TXT x\n_sip._tcp IN A 192.0.2.3\nmail IN MX 10 mx.example.net.\n"
    )
    entries, problems = split(zone.read(path, "1"))
    assert sorted(d for d, _ in entries) == ["example.com", "shop.example.com", "www.example.com"]
    assert problems[0].startswith(f"{path}:7 ")
    path.write_text("@ IN A not-an-address\n")
    with pytest.raises(UsageError, match="not a zone file"):
        list(zone.read(path, "1"))


def test_an_import_does_not_take_a_domain_from_its_client(database: Database) -> None:
    take(database, HEAD + "1,One,,,shop.example.com,,,\n")
    planned = take(database, HEAD + "2,Two,,,shop.example.com,,,\n")
    assert "belongs to the client 1" in planned.problems[0].reason
