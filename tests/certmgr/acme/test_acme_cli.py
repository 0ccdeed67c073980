"""The commands of ACME as their users type them, with wrong input too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.x509 import csr
from inventory.db import locks
from inventory.store import acme_orders
from tests.campaign import wait_until
from tests.certmgr.acme.hook import hook
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.pebble import Pebble, held_port

Run = Callable[..., Ran]


@pytest.fixture
def inside(opened: ExitStack) -> int:
    """The port of a solver that no web server passes challenges to."""
    return held_port(opened)


@pytest.fixture
def watched_shop(certmgr: Run, ca: Pebble, inside: int, tmp_path: Path) -> Run:
    """Two clients, an account, solvers for http-01 and dns-01, and a target that writes files."""
    dns = hook(tmp_path, ca)
    (tmp_path / "certmgr.toml").write_text(
        "[scan]\nper_address = 0\nrate = 0.0\ntimeout = 4.0\nresolvers ="
        f' ["{ca.dns}"]\n[http]\nenabled = false\n[network]\nallow ='
        f' ["127.0.0.0/8"]\n[acme]\ndirectory = "{tmp_path}/acme"\ndefault_solver ='
        f' "web"\nproof_seconds = 1.0\n[acme.ca.test]\ndirectory = "{ca.directory}"\nca_file ='
        f' "{ca.ca_file}"\ninternal = true\ncaa = ["pebble.test"]\n[acme.solver.web]\nkind ='
        f' "standalone"\naddress = "127.0.0.1"\nport = {ca.http_port}\nhttp_port ='
        f' {ca.http_port}\n[acme.solver.dns]\nkind = "hook"\ncommand ='
        f' ["{dns.command[0]}"]\npropagation = 3.0\n[acme.solver.inside]\nkind ='
        f' "standalone"\naddress = "127.0.0.1"\nport = {inside}\n[acme.target.files]\nkind ='
        f' "files"\ndirectory = "{tmp_path}/etc/{{name}}"\n'
    )
    for number, name in (("1001", "shop.test"), ("1002", "other.test")):
        assert (
            certmgr(
                "client", "add", number, f"Client {number}", "--renews", "us", "--dns", "us"
            ).code
            == 0
        )
        assert certmgr("domain", "add", name, "--client", number).code == 0
    assert (
        certmgr("account", "add", "test", "--agree", "--contact", "ca@provider.example").code == 0
    )
    return certmgr


@pytest.fixture
def shop(watched_shop: Run) -> Run:
    """The same without endpoints, so that no certificate is expected to be served."""
    for name in ("shop.test", "other.test"):
        assert watched_shop("endpoint", "retire", name).code == 0
    return watched_shop


def test_certificate_is_issued_renewed_revoked_and_replaced(shop: Run, tmp_path: Path) -> None:
    listed = shop("account", "list", "--format", "json").json
    assert listed["schema"] == "certmgr.accounts/1" and listed["accounts"][0]["state"] == "active"
    shown = shop("account", "show", "test", "--ask")
    assert shown.code == 0 and "The CA says" in shown.out and "valid" in shown.out
    dry = shop("issue", "shop.test", "--dry-run")
    assert dry.code == 0 and "It could be ordered as shop.test" in dry.out
    assert shop("lineage", "list", "--format", "json").json["lineages"] == []
    done = shop("issue", "shop.test", "www.shop.test", "--target", "files")
    assert done.code == 0 and done.out.startswith(("✓ shop.test: until", "? shop.test")), (
        done.out,
        done.err,
    )
    row = shop("lineage", "list", "--format", "json").json["lineages"][0]
    assert (
        row["names"] == ["shop.test", "www.shop.test"] and row["client"] == "1001" and row["sha256"]
    )
    twice = shop("issue", "shop.test", "www.shop.test", "--target", "files")
    assert twice.code == 0 and "nothing was ordered" in twice.out
    assert (
        shop("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] == row["sha256"]
    )
    placed = tmp_path / "etc" / "shop.test"
    assert (placed / "fullchain.pem").read_bytes() == (
        tmp_path / "acme" / "live" / "shop.test" / "fullchain.pem"
    ).read_bytes()
    page = shop("lineage", "show", "shop.test")
    assert (
        page.code == 0
        and "✓ target files: done" in page.out
        and "a third of its life is left" in page.out
    )
    assert (
        shop("lineage", "show", "shop.test", "--format", "json").json["schema"]
        == "certmgr.lineage/1"
    )
    assert shop("renew", "--due").code == 0
    planned = shop("renew", "--due", "--dry-run", "--format", "json").json["renewals"]
    assert [(p["lineage"], p["due"]) for p in planned] == [("shop.test", False)]
    again = shop("renew", "shop.test")
    assert again.code == 0, (again.out, again.err)
    assert (
        shop("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] != row["sha256"]
    )
    revoked = shop("revoke", "shop.test", "--reason", "superseded", "--yes")
    assert shop("lineage", "list", "--format", "json").json["lineages"][0]["state"] == "condemned"
    assert (
        revoked.code == 0
        and "Revoked:" in revoked.out
        and "certmgr renew shop.test replaces it" in revoked.out
    )
    before = shop("lineage", "list", "--format", "json").json["lineages"][0]["sha256"]
    assert shop("renew", "--due").out.splitlines()[-1].startswith("1 due")
    assert shop("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] != before


def test_revocation_is_not_sent_without_confirmation(shop: Run) -> None:
    assert shop("issue", "shop.test").code == 0
    asked = shop("revoke", "shop.test", "--reason", "keyCompromise", input="n\n")
    assert (
        asked.code == 3
        and "Nothing was revoked" in asked.out
        and "cannot be undone" in asked.out
        and "first puts another one in its place" in asked.out
    )


def test_preflight_names_the_missing_record_or_that_nothing_is_missing(
    watched_shop: Run, ca: Pebble
) -> None:
    shop = watched_shop
    found = shop("issue", "--preflight", "shop.test", "--format", "json").json["preflight"]
    assert [(f["name"], f["sort"], f["client"]) for f in found] == [
        ("shop.test", "automate", "1001")
    ], found
    ca.add_caa("other.test", [("issue", "letsencrypt.org")])
    try:
        every = shop("issue", "--preflight", "--all")
        other = next(line for line in every.out.splitlines() if "other.test" in line)
        assert "add this record" in other and 'other.test. IN CAA 0 issue "pebble.test"' in other
        mine = shop("issue", "--preflight", "--all", "--client", "1001", "--format", "json").json[
            "preflight"
        ]
        assert {f["client"] for f in mine} == {"1001"}
    finally:
        ca.clear_caa("other.test")
    wild = shop("issue", "--preflight", "*.shop.test", "--format", "json").json["preflight"][0]
    assert wild["sort"] == "automate" and "records of its zone" in wild["reason"]


def test_two_key_types_of_a_wildcard_and_a_csr_are_issued(shop: Run, tmp_path: Path) -> None:
    done = shop(
        "issue",
        "shop.test",
        "*.shop.test",
        "--solver",
        "dns",
        "--key",
        "ec-p256",
        "--key",
        "rsa-2048",
    )
    assert done.code == 0, (done.out, done.err)
    assert [r["lineage"] for r in shop("lineage", "list", "--format", "json").json["lineages"]] == [
        "shop.test",
        "shop.test-rsa",
    ]
    (tmp_path / "own.csr").write_bytes(
        csr.make(ec.generate_private_key(ec.SECP256R1()), ["www.shop.test"], True)
    )
    done = shop("issue", "--csr", str(tmp_path / "own.csr"))
    assert done.code == 0, (done.out, done.err)
    assert not (tmp_path / "acme" / "live" / "www.shop.test" / "privkey.pem").exists()


WRONG: tuple[tuple[tuple[str, ...], str], ...] = (
    (("issue",), "Which names?"),
    (("issue", "../../etc"), "is not a domain name"),
    (("issue", "shop.test", "--lineage", "../../etc"), "cannot be the name of a lineage"),
    (("issue", "nobody.test"), "not in the inventory"),
    (("issue", "shop.test", "other.test"), "belongs to the client 1002"),
    (("issue", "other.test", "--client", "1001"), "belongs to the client 1002"),
    (("issue", "*.shop.test"), "needs dns-01"),
    (("issue", "shop.test", "--solver", "nope"), "no solver 'nope'"),
    (("issue", "shop.test", "--target", "nope"), "no target 'nope'"),
    (("issue", "shop.test", "--account", "nope"), "no ACME account 'nope'"),
    (("issue", "shop.test", "--csr", "/etc/passwd"), "is not a CSR"),
    (("renew",), "What is to be renewed?"),
    (("renew", "nope"), "no lineage 'nope'"),
    (("renew", "x", "--due"), "chooses by itself"),
    (("renew", "--simulate", "--lifetime", "9999d"), "is no lifetime"),
    (("renew", "--simulate", "--until", "2001-01-01"), "lies in the past"),
    (("revoke", "nope", "--reason", "superseded", "--yes"), "no lineage 'nope'"),
    (("revoke", "x", "--reason", "because"), "Invalid value"),
    (("account", "add", "nope"), "not a known CA"),
    (("account", "add", "letsencrypt", "--eab-key", "secret"), "shows a secret"),
    (("account", "rollover", "nope"), "no ACME account"),
    (("solver", "snippet", "dns"), "needs nothing"),
    (("solver", "snippet", "nope"), "no solver"),
    (("lineage", "approve", "nope"), "no lineage"),
)


def test_wrong_input_is_refused_with_its_reason(shop: Run) -> None:
    for arguments, words in WRONG:
        done = shop(*arguments)
        assert done.code in (2, 3) and words in done.err and "Traceback" not in done.err, (
            arguments,
            done.code,
            done.err,
        )
        assert len(done.err.splitlines()) <= 4


def test_simulation_counts_the_orders_of_a_lifetime(shop: Run) -> None:
    assert shop("issue", "shop.test").code == 0
    found = shop("renew", "--simulate", "--lifetime", "45d", "--format", "json").json
    assert (
        found["schema"] == "certmgr.simulation/1"
        and found["lineages"] == 1
        and 9 <= found["orders"] <= 12
    )
    assert "No limit of a CA is in the way" in shop("renew", "--simulate").out


def test_solvers_are_listed_and_their_snippets_printed(shop: Run, inside: int) -> None:
    kinds = {
        s["name"]: s["challenge"]
        for s in shop("solver", "list", "--format", "json").json["solvers"]
    }
    assert kinds == {"web": "http-01", "dns": "dns-01", "inside": "http-01"}
    assert f"proxy_pass http://127.0.0.1:{inside};" in shop("solver", "snippet", "inside").out
    assert "ProxyPass" in shop("solver", "snippet", "inside", "--server", "apache").out


def test_lineage_is_edited_paused_resumed_and_retired(shop: Run) -> None:
    assert shop("issue", "shop.test").code == 0
    assert (
        shop(
            "lineage",
            "edit",
            "shop.test",
            "--names",
            "shop.test www.shop.test",
            "--leave-out",
            "auto",
        ).code
        == 0
    )
    planned = shop("renew", "--due", "--dry-run", "--format", "json").json["renewals"][0]
    assert planned["due"] and "1 name(s) are not in the certificate" in planned["why"], planned
    assert shop("lineage", "edit", "shop.test", "--names", "shop.test other.test").code in (2, 3)
    assert shop("lineage", "pause", "shop.test").code == 0
    assert shop("renew", "--due").out == ""
    assert shop("lineage", "resume", "shop.test").code == 0
    for wrong in (("--names", ""), ()):
        refused = shop("lineage", "edit", "shop.test", *wrong)
        assert refused.code == 2 and "IntegrityError" not in refused.err, refused.err
    assert shop("lineage", "adopt", "--undo", "shop.test").code == 2
    assert [r["state"] for r in shop("lineage", "list", "--format", "json").json["lineages"]] != [
        "retired"
    ], "refused, and retired all the same"
    assert len(shop("lineage", "list", "--format", "json").json["lineages"]) == 1
    assert shop("lineage", "retire", "shop.test").code == 0
    assert (
        shop("lineage", "pause", "shop.test").code == 3
        and shop("lineage", "edit", "shop.test", "--leave-out", "ask").code == 3
    )
    assert shop("lineage", "list", "--format", "json").json["lineages"] == []


def test_run_for_cron_issues_what_failed_before(watched_shop: Run) -> None:
    shop = watched_shop
    failed = shop("issue", "shop.test", "--solver", "inside")
    assert failed.code == 3 and "failed" in failed.out, (failed.out, failed.err)
    assert shop("lineage", "edit", "shop.test", "--solver", "web").code == 0
    done = shop("run", "--no-scan")
    assert (
        "1 certificate(s) due" in done.out + done.err
        or shop("lineage", "list", "--format", "json").json["lineages"][0]["sha256"]
    ), (done.out, done.err)


def test_list_of_one_client_omits_the_other_client(shop: Run) -> None:
    for name in ("shop.test", "other.test"):
        assert shop("issue", name).code == 0
    mine = shop("lineage", "list", "--client", "1001", "--format", "json")
    assert [r["lineage"] for r in mine.json["lineages"]] == [
        "shop.test"
    ] and "other.test" not in mine.out


def test_failing_order_leaves_no_thread_no_lock_and_no_listener(
    shop: Run, inside: int, tmp_path: Path
) -> None:
    """Commands run in this process, so what an order leaves behind would stay for the next test."""
    before = set(threading.enumerate())
    assert shop("issue", "shop.test", "--solver", "inside").code == 3
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads of the order")
    with locks.file_lock(tmp_path / "acme" / "locks" / "shop.test", "order"):
        pass
    socket.create_server(("127.0.0.1", inside)).close()  # fails if another listens there
    database = open_sqlite(tmp_path / "cli.db")
    with database.read() as conn:
        assert [o for o in acme_orders.unfinished(conn) if o["holder"]] == []
    database.close()
