"""The command line of ACME, with valid and invalid input."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.cli.progress import ProgressLine
from certmgr.demo.authority import Authority
from certmgr.x509 import csr
from inventory.db import locks
from inventory.store import acme_orders
from tests.campaign import UNREACHED, wait_until
from tests.certmgr.acme.hook import hook
from tests.certmgr.deploy.clients import places
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.pebble import Pebble
from tests.servers.ports import held_port

Run = Callable[..., Ran]


@pytest.fixture
def inside(opened: ExitStack) -> int:
    """The port of a solver that no web server passes challenges to."""
    return held_port(opened)


@pytest.fixture
def run_with_endpoints(certmgr: Run, ca: Pebble, inside: int, tmp_path: Path) -> Run:
    """Two clients, an account, solvers for http-01 and dns-01, and a target that writes files."""
    dns = hook(tmp_path, ca)
    (tmp_path / "certmgr.toml").write_text(
        f"[scan]\nper_address = 0\nrate = 0.0\ntimeout = {UNREACHED}\nresolvers ="
        f' ["{ca.dns}"]\n[http]\nenabled = false\n[network]\nallow ='
        f' ["127.0.0.0/8"]\n[acme]\ndirectory = "{tmp_path}/acme"\ndefault_solver ='
        f' "web"\nverification_seconds = 1.0\n[acme.ca.test]\ndirectory = "{ca.directory}"\n'
        "ca_file ="
        f' "{ca.ca_file}"\ninternal = true\ncaa = ["pebble.test"]\n[acme.solver.web]\nkind ='
        f' "standalone"\naddress = "127.0.0.1"\nport = {ca.http_port}\nhttp_port ='
        f' {ca.http_port}\n[acme.solver.dns]\nkind = "hook"\ncommand ='
        f' ["{dns.command[0]}"]\npropagation = 120.0\n[acme.solver.inside]\nkind ='
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
def run(run_with_endpoints: Run) -> Run:
    """The same without endpoints, so that no certificate is expected to be served."""
    for name in ("shop.test", "other.test"):
        assert run_with_endpoints("endpoint", "retire", name).code == 0
    return run_with_endpoints


def test_account_is_taken_to_another_url_of_its_ca(run: Run, ca: Pebble) -> None:
    other = ca.directory.replace("127.0.0.1", "localhost")
    moved = run("account", "edit", "test", "--directory", other)
    assert moved.code == 0 and f"'test' is at {other} now" in moved.out, moved.err
    (row,) = run("account", "list", "--format", "json").json["accounts"]
    assert row["directory"] == other and row["state"] == "active"
    assert run("account", "show", "test", "--ask").code == 0
    wrong = run("account", "edit", "test", "--directory", "http://ca.test/dir")
    assert wrong.code == 2 and "is not a directory URL" in wrong.err
    assert run("account", "edit", "test").out == "Nothing to change.\n"


def test_certificate_is_issued_renewed_revoked_and_replaced(run: Run, tmp_path: Path) -> None:
    listed = run("account", "list", "--format", "json").json
    assert listed["schema"] == "certmgr.accounts/1" and listed["accounts"][0]["state"] == "active"
    shown = run("account", "show", "test", "--ask")
    assert shown.code == 0 and "Status at the CA" in shown.out and "valid" in shown.out
    dry = run("issue", "shop.test", "--dry-run")
    assert dry.code == 0 and "It could be ordered as shop.test" in dry.out
    assert run("lineage", "list", "--format", "json").json["lineages"] == []
    done = run("issue", "shop.test", "www.shop.test", "--target", "files")
    assert done.code == 0 and done.out.startswith(("✓ shop.test: until", "? shop.test")), (
        done.out,
        done.err,
    )
    row = run("lineage", "list", "--format", "json").json["lineages"][0]
    assert (
        row["names"] == ["shop.test", "www.shop.test"] and row["client"] == "1001" and row["sha256"]
    )
    twice = run("issue", "shop.test", "www.shop.test", "--target", "files")
    assert twice.code == 0 and "nothing was ordered" in twice.out
    assert run("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] == row["sha256"]
    placed = tmp_path / "etc" / "shop.test"
    assert (placed / "fullchain.pem").read_bytes() == (
        tmp_path / "acme" / "live" / "shop.test" / "fullchain.pem"
    ).read_bytes()
    page = run("lineage", "show", "shop.test")
    assert (
        page.code == 0
        and "✓ target files: done" in page.out
        and "a third of its life is left" in page.out
    )
    assert (
        run("lineage", "show", "shop.test", "--format", "json").json["schema"]
        == "certmgr.lineage/1"
    )
    assert run("renew", "--due").code == 0
    planned = run("renew", "--due", "--dry-run", "--format", "json").json["renewals"]
    assert [(p["lineage"], p["due"]) for p in planned] == [("shop.test", False)]
    again = run("renew", "shop.test")
    assert again.code == 0, (again.out, again.err)
    assert run("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] != row["sha256"]
    revoked = run("revoke", "shop.test", "--reason", "superseded", "--yes")
    assert run("lineage", "list", "--format", "json").json["lineages"][0]["state"] == "condemned"
    assert (
        revoked.code == 0
        and "Revoked:" in revoked.out
        and "certmgr renew shop.test replaces it" in revoked.out
    )
    before = run("lineage", "list", "--format", "json").json["lineages"][0]["sha256"]
    assert run("renew", "--due").out.splitlines()[-1].startswith("1 due, 1 issued")
    assert run("lineage", "list", "--format", "json").json["lineages"][0]["sha256"] != before


def test_revocation_is_not_sent_without_confirmation(run: Run) -> None:
    assert run("issue", "shop.test").code == 0
    asked = run("revoke", "shop.test", "--reason", "keyCompromise", input="n\n")
    assert (
        asked.code == 3
        and "Nothing was revoked" in asked.out
        and "cannot be undone" in asked.out
        and "To replace it first" in asked.out
    )


def test_preflight_names_the_missing_record_or_that_nothing_is_missing(
    run_with_endpoints: Run, ca: Pebble
) -> None:
    found = run_with_endpoints("issue", "--preflight", "shop.test", "--format", "json").json[
        "preflight"
    ]
    assert [(f["name"], f["sort"], f["client"]) for f in found] == [
        ("shop.test", "automate", "1001")
    ], found
    ca.add_caa("other.test", [("issue", "letsencrypt.org")])
    try:
        every = run_with_endpoints("issue", "--preflight", "--all")
        other = next(line for line in every.out.splitlines() if "other.test" in line)
        assert "add this record" in other and 'other.test. IN CAA 0 issue "pebble.test"' in other
        mine = run_with_endpoints(
            "issue", "--preflight", "--all", "--client", "1001", "--format", "json"
        ).json["preflight"]
        assert {f["client"] for f in mine} == {"1001"}
    finally:
        ca.clear_caa("other.test")
    wild = run_with_endpoints("issue", "--preflight", "*.shop.test", "--format", "json").json[
        "preflight"
    ][0]
    assert wild["sort"] == "automate" and "records of its zone" in wild["reason"]


def test_two_key_types_of_a_wildcard_and_a_csr_are_issued(run: Run, tmp_path: Path) -> None:
    done = run(
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
    assert [r["lineage"] for r in run("lineage", "list", "--format", "json").json["lineages"]] == [
        "shop.test",
        "shop.test-rsa",
    ]
    (tmp_path / "own.csr").write_bytes(
        csr.make(ec.generate_private_key(ec.SECP256R1()), ["www.shop.test"], True)
    )
    done = run("issue", "--csr", str(tmp_path / "own.csr"))
    assert done.code == 0, (done.out, done.err)
    assert not (tmp_path / "acme" / "live" / "www.shop.test" / "privkey.pem").exists()


WRONG: tuple[tuple[tuple[str, ...], str], ...] = (
    (("issue",), "No names were given"),
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
    (("renew",), "There is nothing to renew"),
    (("renew", "nope"), "no active lineage 'nope'"),
    (("renew", "x", "--due"), "exclude each other"),
    (("renew", "--simulate", "--lifetime", "9999d"), "is not a lifetime"),
    (("renew", "--simulate", "--until", "2001-01-01"), "is in the past"),
    (("revoke", "nope", "--reason", "superseded", "--yes"), "no lineage 'nope'"),
    (("revoke", "x", "--reason", "because"), "Invalid value"),
    (("account", "add", "nope"), "not a known CA"),
    (("account", "add", "letsencrypt", "--eab-key", "secret"), "does not accept the secret"),
    (("account", "rollover", "nope"), "no ACME account"),
    (("solver", "snippet", "dns"), "needs nothing"),
    (("solver", "snippet", "nope"), "no solver"),
    (("lineage", "approve", "nope"), "no lineage"),
)


def test_wrong_input_is_refused_with_its_reason(run: Run) -> None:
    for arguments, words in WRONG:
        done = run(*arguments)
        assert done.code in (2, 3) and words in done.err and "Traceback" not in done.err, (
            arguments,
            done.code,
            done.err,
        )
        assert len(done.err.splitlines()) <= 4


def test_simulation_counts_the_orders_of_a_lifetime(run: Run) -> None:
    assert run("issue", "shop.test").code == 0
    found = run("renew", "--simulate", "--lifetime", "45d", "--format", "json").json
    assert (
        found["schema"] == "certmgr.simulation/1"
        and found["lineages"] == 1
        and 9 <= found["orders"] <= 12
    )
    assert "No rate limit of a CA postpones an order" in run("renew", "--simulate").out


def test_solvers_are_listed_and_their_snippets_printed(run: Run, inside: int) -> None:
    kinds = {
        s["name"]: s["challenge"] for s in run("solver", "list", "--format", "json").json["solvers"]
    }
    assert kinds == {"web": "http-01", "dns": "dns-01", "inside": "http-01"}
    assert f"proxy_pass http://127.0.0.1:{inside};" in run("solver", "snippet", "inside").out
    assert "ProxyPass" in run("solver", "snippet", "inside", "--server", "apache").out


def test_lineage_is_edited_paused_resumed_and_retired(run: Run) -> None:
    assert run("issue", "shop.test").code == 0
    assert (
        run(
            "lineage",
            "edit",
            "shop.test",
            "--names",
            "shop.test www.shop.test",
            "--on-failed-name",
            "auto",
        ).code
        == 0
    )
    planned = run("renew", "--due", "--dry-run", "--format", "json").json["renewals"][0]
    assert planned["due"] and "1 name(s) are not in the certificate" in planned["why"], planned
    assert run("lineage", "edit", "shop.test", "--names", "shop.test other.test").code in (2, 3)
    assert run("lineage", "pause", "shop.test").code == 0
    assert run("renew", "--due").out == ""
    assert run("lineage", "resume", "shop.test").code == 0
    for wrong in (("--names", ""), ()):
        refused = run("lineage", "edit", "shop.test", *wrong)
        assert refused.code == 2 and "IntegrityError" not in refused.err, refused.err
    assert run("lineage", "adopt", "--undo", "shop.test").code == 2
    assert [r["state"] for r in run("lineage", "list", "--format", "json").json["lineages"]] != [
        "retired"
    ], "the command was refused, but the lineage was retired"
    assert len(run("lineage", "list", "--format", "json").json["lineages"]) == 1
    assert run("lineage", "retire", "shop.test").code == 0
    assert (
        run("lineage", "pause", "shop.test").code == 3
        and run("lineage", "edit", "shop.test", "--on-failed-name", "ask").code == 3
    )
    assert run("lineage", "list", "--format", "json").json["lineages"] == []


def test_run_for_cron_issues_what_failed_before(run_with_endpoints: Run) -> None:
    failed = run_with_endpoints("issue", "shop.test", "--solver", "inside")
    assert failed.code == 3 and "failed" in failed.out, (failed.out, failed.err)
    (lineage,) = run_with_endpoints("lineage", "list", "--format", "json").json["lineages"]
    assert lineage["sha256"] is None
    assert run_with_endpoints("lineage", "edit", "shop.test", "--solver", "web").code == 0
    done = run_with_endpoints("run", "--no-scan")
    (lineage,) = run_with_endpoints("lineage", "list", "--format", "json").json["lineages"]
    assert lineage["sha256"], (done.out, done.err)


def test_list_of_one_client_omits_the_other_client(run: Run) -> None:
    for name in ("shop.test", "other.test"):
        assert run("issue", name).code == 0
    mine = run("lineage", "list", "--client", "1001", "--format", "json")
    assert [r["lineage"] for r in mine.json["lineages"]] == [
        "shop.test"
    ] and "other.test" not in mine.out


def test_failing_order_leaves_no_thread_no_lock_and_no_listener(
    run: Run, inside: int, tmp_path: Path
) -> None:
    """Commands run in this process, so what an order leaves behind would stay for the next test."""
    before = set(threading.enumerate())
    assert run("issue", "shop.test", "--solver", "inside").code == 3
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads of the order")
    with locks.file_lock(tmp_path / "acme" / "locks" / "shop.test", "order"):
        pass
    socket.create_server(("127.0.0.1", inside)).close()  # fails if another listens there
    database = open_sqlite(tmp_path / "cli.db")
    with database.read() as conn:
        assert [o for o in acme_orders.unfinished(conn) if o.holder] == []
    database.close()


def test_proposal_of_a_takeover_shows_names_files_account_and_what_runs_afterwards(
    run: Run, tmp_path: Path, issuer: Authority
) -> None:
    base = tmp_path / "acme.sh"
    places.acme_sh_account(base)
    places.acme_sh_certificate(
        base,
        "shop.test",
        issuer.issue("shop.test", "www.shop.test"),
        values={
            "Le_RealFullChainPath": str(tmp_path / "web" / "shop.pem"),
            "Le_ReloadCmd": places.encoded("systemctl reload nginx"),
        },
    )
    shown = run("lineage", "adopt", "--from", "acme.sh", "--path", str(base), "--dry-run")
    assert shown.code == 0 and "Nothing was changed" in shown.out, shown
    for part in (
        "names: shop.test, www.shop.test",
        "ec-p256; it is kept",
        places.ACCOUNT,
        f"servers keep reading: {tmp_path}/web/shop.pem",
        "its reloadcmd (systemctl reload nginx) is not taken over",
        "after a renewal runs: nothing",
        "validation from then on: web",
    ):
        assert part in shown.out, (part, shown.out)
    # A path is recognised by its content.
    assert run("lineage", "adopt", "--from", str(base), "--dry-run").out == shown.out
    unknown = run("lineage", "adopt", "--from", "lego", "--dry-run")
    assert unknown.code == 2 and "--path" in unknown.err
    wrong = run("lineage", "adopt", "--from", "caddy", "--dry-run")
    assert wrong.code == 2 and "win-acme-export" in wrong.err


def test_remark_about_a_csr_with_an_old_hash_is_shown(run: Run, tmp_path: Path) -> None:
    """As by the commands of cases: its signature proves the same, and some CAs refuse it."""
    key, request = tmp_path / "client.key", tmp_path / "client.csr"
    new_key = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    subprocess.run(new_key, check=True)
    for digest, remark in (("sha1", "SHA-1"), ("sha256", "")):
        subprocess.run(
            (
                *("openssl", "req", "-new", f"-{digest}", "-key", str(key), "-out", str(request)),
                *("-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"),
            ),
            check=True,
        )
        shown = run("issue", "--csr", str(request), "--client", "1001", "--dry-run")
        assert shown.code == 0, shown
        assert (f"signed with {remark}" in shown.err) is bool(remark), shown.err


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What commands show on a terminal while they work, in order."""
    found: list[str] = []

    @contextmanager
    def waiting(self: ProgressLine, what: str) -> Iterator[None]:
        found.append(what)
        yield

    def counted(
        self: ProgressLine, what: str, done: int, planned: int, waits_for: str = ""
    ) -> None:
        found.append(f"{what}: {done} of {planned}; {waits_for}")

    monkeypatch.setattr(ProgressLine, "waiting", waiting)
    monkeypatch.setattr(ProgressLine, "counted", counted)
    monkeypatch.setattr(ProgressLine, "text", lambda self, text: found.append(text))
    return found


def test_commands_show_what_they_wait_for_at_the_ca(
    run: Run, shown: list[str], tmp_path: Path, issuer: Authority
) -> None:
    waits = "waits for the CA and the checks after deployment"
    run("account", "show", "test", "--ask")
    run("issue", "shop.test")
    run("renew", "shop.test")
    run("renew", "--due")
    run("revoke", "shop.test", "--reason", "superseded", "--yes")
    assert shown == [
        "account show: waiting for the CA",
        "1 certificate(s): the CA, deployment, verification",
        f"renew ... {waits}",
        f"renew: 1 of 1; {waits}",
        f"renew ... {waits}",
        "revoke: waiting for the CA",
    ]
    shown.clear()
    base = tmp_path / "acme.sh"
    places.acme_sh_account(base)
    places.acme_sh_certificate(base, "other.test", issuer.issue("other.test"), values={})
    # The CA of the test does not know that account; what counts is that the work is shown first.
    run("lineage", "adopt", "--from", str(base), "--yes")
    assert shown == ["lineage adopt: 1 lineage(s)"]
