"""Tests of ``certmgr endpoint``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.program import Ran

Runner = Callable[..., Ran]


def test_endpoint_of_one_domain_is_not_added_to_another(certmgr: Runner) -> None:
    for number in ("1", "2"):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("domain", "add", f"c{number}.example.test", "--client", number)
    ran = certmgr("endpoint", "add", "c1.example.test:443", "--domain", "c2.example.test")
    assert ran.code == 3


def test_endpoint_gets_the_protocol_of_its_port_or_name(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "Client")
    certmgr("domain", "add", "example.test", "--client", "1")
    ran = certmgr("endpoint", "add", "db.example.test:3306")
    assert "db.example.test:3306 (mysql)" in ran.out, ran.err
    ran = certmgr("endpoint", "add", "mail.example.test/imaps")
    assert "mail.example.test:993 (tls)" in ran.out, ran.err
    refused = certmgr("endpoint", "add", "srv.example.test:3389")
    assert refused.code == 2
    assert "srv.example.test:3389/tls" in refused.err
    assert "srv.example.test:3389/https" in refused.err
    assert certmgr("endpoint", "add", "srv.example.test:3389/tls").code == 0


def test_protocol_of_an_endpoint_is_edited_by_any_of_its_names(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "Client")
    certmgr("domain", "add", "example.test", "--client", "1")
    certmgr("endpoint", "add", "db.example.test:7306")
    ran = certmgr("endpoint", "edit", "db.example.test:7306", "--protocol", "mariadb")
    assert ran.code == 0, ran.err
    assert certmgr("endpoint", "show", "db.example.test:7306/mysql").code == 0
    refused = certmgr("endpoint", "edit", "db.example.test:7306/mysql", "--protocol", "gopher")
    assert refused.code == 2
    assert "managesieve" in refused.err


def test_import_reports_a_port_whose_dialogue_is_not_known(certmgr: Runner, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        "client,client_name,domain,endpoint\n"
        "1,Client,example.test,db.example.test:3306\n"
        "1,Client,example.test,srv.example.test:5672\n"
        "1,Client,example.test,mail.example.test/smtps\n"
    )
    ran = certmgr("import", str(file), "--from", "csv")
    assert "in.csv:3" in ran.out + ran.err
    assert "srv.example.test:5672/tls" in ran.out + ran.err
    rows = certmgr("endpoint", "list", "--format", "json").json["endpoints"]
    assert {"db.example.test:3306", "mail.example.test:465"} <= {r["target"] for r in rows}
