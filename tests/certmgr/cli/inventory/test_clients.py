"""Tests of ``certmgr client``: add, edit, erase, and the separation of clients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from certmgr.demo.authority import Authority
from inventory.db.database import sqlite_module
from tests.certmgr.cli.refusals import assert_refused
from tests.certmgr.installation import Installation
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.program import Ran

Runner = Callable[..., Ran]


def test_client_with_a_known_number_or_name_is_refused(certmgr: Runner) -> None:
    assert certmgr("client", "add", "1", "One").code == 0
    assert_refused(certmgr("client", "add", "1", "Another"), 3, "exists already")
    assert_refused(certmgr("client", "add", "2", "One"), 3, "exists already", "1 One")
    assert len(certmgr("client", "list", "--format", "json").json["clients"]) == 1


def test_edit_with_one_wrong_value_changes_and_prints_nothing(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    ran = certmgr("client", "edit", "1", "--name", "Uno", "--tag", "two words")
    assert (ran.code, ran.out) == (2, "")
    assert "One" in certmgr("client", "list").out


def test_output_for_one_client_names_no_other_client_of_the_same_certificate(
    certmgr: Runner, add_client: Callable[..., None], issuer: Authority, opened: Stack
) -> None:
    names = ("one.first.test", "two.second.test")
    # One certificate names both clients, so each output could leak the other name.
    port = serve_certificate(opened, issuer.issue(*names))
    for number, name in zip(("1", "2"), names, strict=True):
        add_client(name, port=port, client=number)
        contact = ("--client", number, "--method", f"owner{number}@example.com")
        assert certmgr("contact", "add", f"Owner {number}", *contact).code == 0
    certmgr("scan")
    for command in (
        ("status", "--client", "1", "--all", "--format", "json"),
        ("status", "--client", "1", "--causes"),
        ("domain", "list", "--client", "1"),
        ("endpoint", "list", "--client", "1"),
        ("contact", "list", "--client", "1"),
        ("finding", "list", "--client", "1"),
        ("client", "show", "1"),
        ("scan", "--client", "1", "-v"),
    ):
        out = certmgr(*command).out
        assert "Client 2" not in out, command
        assert "owner2@" not in out, command
        assert "two.second.test:" not in out, command


def test_erased_client_leaves_no_trace_and_a_valid_audit_log(
    due_installation: Installation,
) -> None:
    run = due_installation.run
    run("notify")
    deadline = ("--client", "1001", "--title", "Migration of Rosen", "--rule", "https-only")
    run("deadline", "add", "move", "--date", "2099-12-01", *deadline)
    assert "Nothing was changed" in run("client", "erase", "1001").out
    run("client", "show", "1001")
    run("client", "erase", "1001", "--yes")
    assert "follow each other" in run("audit", "verify").out
    with closing(sqlite_module().connect(due_installation.database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        dump = "\n".join(
            repr(row)
            for (table,) in tables.fetchall()
            for row in connection.execute(
                f'SELECT * FROM "{table}"',
            )
        )
    for personal in ("Rosen GmbH", "ada@rosen", "shop.example", "parked.example", "Grace"):
        assert personal not in dump, personal
    assert "Eve" in dump, "contacts of the staff stay"
    run("client", "show", "1001", expect=2)
    # SQLite keeps deleted rows in free pages until the file is compacted.
    raw = b"".join(path.read_bytes() for path in due_installation.folder.glob("x.db*"))
    for trace in (b"Rosen GmbH", b"ada@rosen", b"shop.example.test", b"Migration of Rosen"):
        assert trace not in raw, "free pages of the file hold no erased data"
    deadlines = run("deadline", "list", "--own", "--format", "json").json["deadlines"]
    assert deadlines == [], "a deadline of this client alone is erased too"
