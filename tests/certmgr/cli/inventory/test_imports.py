"""``certmgr import`` of real lists: columns, clients, what is refused, and zone transfers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dns.message
import pytest

from inventory.clock import system_clock
from tests.campaign import UNREACHED
from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran
from tests.servers.bind import named, real_clock

Runner = Callable[..., Ran]
LISTS = {
    "German": (
        "Kunden-Nr.;Firma;Ansprechpartner;E-Mail;Telefon;Domäne;Umsatz\n"
        "1001;Rosen GmbH;Eva;eva@rosen.example;+49 30 1;rosen.example;17\n",
        ";",
    ),
    "French": (
        "Numéro client;Société;Courriel;Nom de domaine\n"
        "1001;Rosen GmbH;eva@rosen.example;rosen.example\n",
        ";",
    ),
    "WHMCS": (
        "ID,User ID,First Name,Last Name,Company Name,Email,Domain,Status\n"
        "77,1001,Eva,Rosen,Rosen GmbH,eva@rosen.example,rosen.example,Active\n",
        ",",
    ),
    "cPanel": (
        "Domain,IP Address,User Name,Email,Setup Date,Package\n"
        "rosen.example,203.0.113.4,1001,eva@rosen.example,2024-01-01,basic\n",
        ",",
    ),
    "Plesk": (
        "Domain name,Customer,Login,Email\nhttps://rosen.example/,1001,x,eva@rosen.example\n",
        ",",
    ),
    "a list with columns that resemble ours": (
        "Kundennummer;Firma;Domain;E-Mail;Contract;Tag;Webserver\n"
        "1001;Rosen GmbH;rosen.example;eva@rosen.example;c-7;Mo;web1\n",
        ";",
    ),
}


def owners(certmgr: Runner) -> dict[str, str]:
    rows = certmgr("domain", "list", "--format", "json").json["domains"]
    return {r["name"]: r["client"] for r in rows}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_customer_list_is_imported_without_editing(
    certmgr: Runner, tmp_path: Path, name: str, encoding: str
) -> None:
    text, delimiter = LISTS[name]
    empty = delimiter * 3
    lines = [f"{line}{empty}" for line in text.splitlines()]
    # As Excel writes it: a line "sep=", blank lines, empty columns at the end.
    source = tmp_path / "list.txt"
    source.write_bytes("\r\n".join([f"sep={delimiter}", "", empty, *lines, empty]).encode(encoding))
    dry = certmgr("import", str(source), "--dry-run")
    assert dry.code == 0, dry.err
    assert "is read as csv" in dry.err
    assert "client=" in dry.err
    assert "domain rosen.example" in dry.out
    assert owners(certmgr) == {}
    assert certmgr("import", str(source)).code == 0
    assert owners(certmgr) == {"rosen.example": "1001"}
    assert "nothing to change" in certmgr("import", str(source)).out


def test_columns_of_a_foreign_list_that_resemble_ours_are_named_and_not_used(
    certmgr: Runner, tmp_path: Path
) -> None:
    source = tmp_path / "list.csv"
    source.write_text(
        "Kundennummer,Domain,Contract,My Renews\n1001,rosen.example,c-7,us\n", encoding="utf-8"
    )
    ran = certmgr("import", str(source), "--dry-run")
    assert ran.code == 0, ran.err
    assert "Not used: Contract, My Renews." in ran.err
    assert "If 'Contract' is contact, add: --map contact=Contract\n" in ran.err
    # In a list with our own columns, it is a misspelt one.
    source.write_text("client,domain,renew\n1001,rosen.example,us\n")
    assert_refused(certmgr("import", str(source)), 2, "Did you mean 'renews'?")


def test_client_that_stands_in_the_list_alone_need_not_exist(
    certmgr: Runner, tmp_path: Path
) -> None:
    source = tmp_path / "list"
    source.write_text("client,domain\n7,rosen.example\n")
    # Without --from, the content decides the format.
    assert certmgr("import", str(source), "--client", "7").code == 0
    assert owners(certmgr) == {"rosen.example": "7"}
    source.write_text("neu.rosen.example\n")
    assert_refused(certmgr("import", str(source), "--client", "8"), 2, "no client '8'")


def test_misspelt_server_is_refused_and_a_new_one_is_named(certmgr: Runner, tmp_path: Path) -> None:
    assert certmgr("server", "add", "frankfurt1", "--address", "192.0.2.1").code == 0
    source = tmp_path / "list.csv"
    source.write_text("client,domain\n7,rosen.example\n")
    call = ("import", str(source), "--server")
    assert_refused(certmgr(*call, "frankfrut1"), 2, "Did you mean 'frankfurt1'?")
    assert certmgr("server", "list", "--format", "json").json["servers"][0]["name"] == "frankfurt1"
    added = certmgr(*call, "frankfurt2")
    assert added.code == 0 and "The server frankfurt2 is new: it is added." in added.err
    assert "is new" not in certmgr(*call, "frankfurt1").err


def test_map_names_a_column_and_an_unknown_one_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("Vertrag,Netzname\n7,a.example\n")
    call = ("import", str(source), "--from", "csv")
    assert_refused(certmgr(*call), 2, "--map client=HEADER")
    assert_refused(certmgr(*call, "--map", "client=Nummer"), 2, "no column 'Nummer'")
    assert_refused(certmgr(*call, "--map", "kunde=Vertrag"), 2, "The columns are client")
    mapped = ("--map", "client=Vertrag", "--map", "domain=Netzname")
    assert certmgr(*call, *mapped).code == 0
    assert owners(certmgr) == {"a.example": "7"}


def test_value_that_a_spreadsheet_changed_is_no_customer_number(
    certmgr: Runner, tmp_path: Path
) -> None:
    source = tmp_path / "a.csv"
    source.write_text(
        "client,domain\n02. Jan,a.example\n1.0E+05,b.example\n2024-01-02 00:00:00,c.example\n"
        "5,d.example\n"
    )
    ran = certmgr("import", str(source))
    assert ran.code == 3
    assert ran.err.count("the spreadsheet has changed it") == 3
    assert owners(certmgr) == {"d.example": "5"}


def test_example_is_a_file_that_can_be_imported(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(certmgr("import", "--example", "csv").out)
    assert certmgr("import", str(source)).code == 0
    assert len(owners(certmgr)) == 3


def test_rows_and_records_of_other_clients_are_refused(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "7", "Seven")
    certmgr("client", "add", "8", "Eight")
    certmgr("domain", "add", "eight.example", "--client", "8")
    source = tmp_path / "a.csv"
    source.write_text(
        "client,client_name,contact,email,domain\n8,Taken,Mallory,m@evil.example,x.example\n"
        ",,,,own.example\n7,,,,two.example\n"
    )
    ran = certmgr("import", str(source), "--client", "7")
    assert ran.code == 3
    assert "the row is of the client 8, and --client is 7" in ran.err
    assert owners(certmgr) == {"eight.example": "8", "own.example": "7", "two.example": "7"}
    document = {
        "schema": "certmgr.inventory/1",
        "clients": [
            {"number": "8", "name": "Renamed"},
            {"number": "7", "name": "Seven", "reseller": 0},
        ],
        "contacts": [{"name": "Mallory", "client": 0}, {"name": "Staff", "role": "administrator"}],
        "domains": [{"name": "y.example", "client": 0}, {"name": "z.example", "client": 1}],
        "endpoints": [
            {"domain": 0, "host": "y.example", "port": 443, "protocol": "https"},
            {"domain": 1, "host": "z.example", "port": 443, "protocol": "https"},
        ],
    }
    source = tmp_path / "a.json"
    source.write_text(json.dumps(document))
    ran = certmgr("import", str(source), "--client", "7")
    assert ran.code == 3
    assert "it is of the client 8, and --client is 7" in ran.err
    clients = certmgr("client", "list", "--format", "json").json["clients"]
    assert [c["name"] for c in clients] == ["Seven", "Eight"]
    assert {"y.example", "z.example"} & set(owners(certmgr)) == {"z.example"}
    assert "Mallory" not in certmgr("contact", "list").out
    # Changing the reseller would send the client's messages to another client.
    assert "They are left out" in ran.out


def test_change_of_a_contact_or_an_address_wants_a_flag(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    head = "client,contact,email,domain,paths,addresses\n"
    source.write_text(f"{head}1,Eva,eva@a.example,a.example,/login,9.9.9.9\n")
    first = certmgr("import", str(source), "--dry-run")
    assert "(addresses 9.9.9.9)" in first.out
    assert "(paths /login)" in first.out
    assert certmgr("import", str(source)).code == 0
    source.write_text(f"{head}1,Eva,m@evil.example,a.example,/admin,8.8.8.8\n")
    for options in (("--dry-run",), ()):
        held = certmgr("import", str(source), *options)
        assert held.code == 3
        section = held.out.partition("Changes to existing contacts, addresses and paths:")[2]
        assert "email:eva@a.example -> email:eva@a.example, email:m@evil.example" in section
        assert "addresses 9.9.9.9 -> 8.8.8.8" in section
        assert "paths /login -> /admin" in section
        assert "~ " not in held.out
    assert "m@evil.example" not in certmgr("contact", "list").out
    assert certmgr("import", str(source), "--change-contacts").code == 0
    assert "8.8.8.8" in certmgr("export", "--format", "csv").out


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_internal_address_of_an_import_is_refused_unless_it_is_permitted(
    certmgr: Runner, tmp_path: Path, address: str
) -> None:
    source = tmp_path / "a.csv"
    source.write_text(f"client,domain,addresses\n1,a.example,{address} 9.9.9.9\n")
    ran = certmgr("import", str(source))
    assert ran.code == 3
    assert "is internal" in ran.err
    exported = certmgr("export", "--format", "csv").out
    assert "9.9.9.9" in exported
    assert address not in exported
    source.write_text(f"client,domain,addresses\n1,b.example,{address}\n")
    assert certmgr("import", str(source), "--internal-addresses").code == 0


def test_names_of_a_server_are_known_new_or_proposed(certmgr: Runner, tmp_path: Path) -> None:
    for number, name in (("1", "a.example"), ("2", "b.example")):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("domain", "add", name, "--client", number)
    conf = tmp_path / "x.conf"
    conf.write_text("server { listen 443 ssl; server_name a.example b.example; }\n")
    known = certmgr("import", str(conf))
    assert (known.code, "2 names, all known." in known.out) == (0, True)
    conf.write_text(
        "server { listen 443 ssl; server_name a.example shop.b.example new.example; }\n"
    )
    ran = certmgr("import", str(conf), "--server", "web1")
    assert ran.code == 3
    assert "3 names: 1 known, 2 new." in ran.out
    assert "shop.b.example: proposed to the client 2, below b.example" in ran.out
    assert "new.example: no client" in ran.out
    assert set(owners(certmgr)) == {"a.example", "b.example"}
    # A name below the domain of another client is not given to the client of the command.
    call = ("import", str(conf), "--client", "1", "--server", "web1")
    assert certmgr(*call).code == 3
    assert owners(certmgr).get("shop.b.example") is None
    assert certmgr(*call, "--accept-proposed").code == 0
    assert owners(certmgr) == {
        "a.example": "1",
        "b.example": "2",
        "new.example": "1",
        "shop.b.example": "2",
    }
    assert "web1" in certmgr("domain", "show", "new.example").out


def test_plain_list_of_names_is_read(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    source = tmp_path / "names"
    source.write_text("# ours\na.example, b.example\nhttps://www.a.example/x  # shop\nnot a name\n")
    ran = certmgr("import", str(source), "--client", "1")
    assert "is read as names" in ran.err
    assert f"{source}:4" in ran.err
    assert set(owners(certmgr)) == {"a.example", "b.example", "www.a.example"}


@pytest.mark.parametrize("kind", ["csv", "json", "nginx", "apache", "zone", "names", ""])
def test_pipe_device_and_folder_are_refused_at_once(
    certmgr: Runner, tmp_path: Path, kind: str
) -> None:
    certmgr("client", "add", "1", "One")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    kinds = ("--from", kind) if kind else ()
    for path in (pipe, Path("/dev/zero")):
        ran = certmgr("import", str(path), *kinds, "--client", "1")
        assert_refused(ran, 3, "it is a pipe, device or socket")
    assert certmgr("import", str(tmp_path), *kinds, "--client", "1").code == 2


@real_clock
def test_zone_is_transferred_from_a_configured_server_with_its_key(
    certmgr: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with named(tmp_path, "rosen.example", "other.example") as server:
        server.add("www.rosen.example", "A", "192.0.2.1")
        server.add("shop.rosen.example", "CNAME", "www.rosen.example.")
        server.add("_acme-challenge.rosen.example", "CNAME", "www.rosen.example.")
        server.add("*.rosen.example", "AAAA", "2001:db8::1")
        config = (tmp_path / "certmgr.toml").read_text()

        def configure(secret: str, key_name: str = server.key_name) -> None:
            (tmp_path / "certmgr.toml").write_text(
                f'{config}[acme.solver.ns1]\nkind = "rfc2136"\nserver = "{server.server}"\n'
                f'tsig_name = "{key_name}"\ntsig_secret = "{secret}"\n'
                f"timeout = {UNREACHED}\n"
            )

        configure(server.secret)
        certmgr("client", "add", "1", "One")
        ran = certmgr("import", "axfr:rosen.example@ns1", "--client", "1")
        assert "*.rosen.example" in ran.err
        names = {"ns.rosen.example", "shop.rosen.example", "www.rosen.example"}
        assert set(owners(certmgr)) == names
        again = certmgr("import", f"axfr:rosen.example@{server.server}")
        assert "3 names, all known." in again.out
        for source, reason in (
            ("axfr:rosen.example@192.0.2.53", "not a zone of a configured name server"),
            ("axfr:absent.example@ns1", "was not transferred"),
        ):
            refused = certmgr("import", source, "--client", "1")
            assert refused.code in (2, 3)
            assert reason in refused.err
        for secret, name, behind, reason in (
            ("AAAA" * 8, server.key_name, 0, "secret of the TSIG key is another one"),
            (server.secret, "other.", 0, "does not know the TSIG key"),
            (server.secret, server.key_name, 3600, "clocks of both machines differ"),
        ):
            configure(secret, name)
            # The library signs with this clock; BIND verifies with the one of the machine.
            signed_at = system_clock().timestamp() - behind
            signing = SimpleNamespace(time=lambda signed_at=signed_at: signed_at)
            monkeypatch.setattr(dns.message, "time", signing)
            wrong = certmgr("import", "axfr:rosen.example@ns1", "--client", "1")
            assert_refused(wrong, 3, "was not transferred")
            assert reason in wrong.err
