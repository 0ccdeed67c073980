"""Purchases, cases and incidents at the command line: commands, real files, exit codes."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.demo.authority import Authority
from inventory.certificates import parse
from tests import clock as clocks
from tests.certmgr.cases.place import Machine, issue
from tests.clock import START
from tests.program import Ran

Program = Callable[..., Ran]


@pytest.fixture
def program(certmgr: Program, tmp_path: Path, root: Authority) -> Program:
    """A function that runs a command and expects its exit code; the inventory has one client."""
    (tmp_path / "root.pem").write_bytes(root.pem)
    with (tmp_path / "certmgr.toml").open("a") as file:
        file.write(
            f'[cases]\nkeys = "{tmp_path}/keys"\n[trust]\nca_files = ["{tmp_path}/root.pem"]\n'
            '[provider]\nname = "Example Hosting"\n[forecast]\nfee = "20"\nprice_1 = "60"\n'
        )

    def run(*arguments: str, expect: int = 0, **given: Any) -> Ran:
        done = certmgr(*arguments, **given)
        assert done.code == expect, (arguments, done.out, done.err)
        assert "Traceback" not in done.err
        return done

    parties = ("--buys", "client", "--renews", "client", "--hosts", "us")
    run("client", "add", "1001", "Rosen GmbH", *parties)
    run("contact", "add", "Ada", "--client", "1001", "--method", "email:ada@rosen.example")
    run(
        "contact", "add", "Bob", "--role", "administrator", "--method", "email:bob@provider.example"
    )
    run("domain", "add", "shop.example.com", "--client", "1001")
    return run


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with closing(Machine(tmp_path / "web", "shop.example.com", ("127.0.0.8",))) as made:
        yield made


def day_text(days: int = 0) -> str:
    return (START + timedelta(days=days)).strftime("%Y-%m-%d")


def reference_in(text: str) -> str:
    found = re.search(r"CM-\w{6}", text)
    assert found is not None, text
    return found[0]


def test_purchase_opens_a_case_that_closes_when_its_certificate_is_live(
    program: Program, tmp_path: Path, issuer: Authority, machine: Machine
) -> None:
    what = ("--vendor", "DigiCert", "--number", "D-7", "--name", "shop.example.com")
    price = ("--years", "3", "--price", "300", "--fee", "25", "--currency", "EUR")
    dates = ("--start", day_text(), "--domain-validated", day_text())
    program("purchase", "add", "1001", *what, *price, *dates, "--document", "/srv/d7.pdf")
    page = program("purchase", "show", "D-7", "--format", "json").json
    assert page["schema"] == "certmgr.order/1"
    assert page["ahead"][0]["days"] == 199
    assert {c["what"] for c in page["order"]["clocks"]} == {"order", "dcv"}
    listed = program("purchase", "list", "--format", "json").json
    assert listed["schema"] == "certmgr.orders/1"
    assert listed["orders"][0]["number"] == "D-7"
    assert "names without" in program("purchase", "list", "--help").out

    # The case opens, and its CSR is sent.
    would = program("case", "run", "--dry-run").out
    assert "the first certificate of the purchase" in would
    ref = reference_in(program("case", "run").out)
    csr, subject = tmp_path / "shop.csr", ("--organisation", "Rosen GmbH", "--country", "DE")
    program("case", "csr", ref, "--output", str(csr), *subject)
    assert "Never send a private key" in (tmp_path / "shop.csr.txt").read_text()
    key = tmp_path / "keys" / ref / "ec-p256.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert program("case", "csr", ref, "--again").out == csr.read_text()
    program("case", "send", ref)
    assert ref in program("case", "list", "--waiting", "client").out

    # A wrong certificate is received, then the right one.
    wrong, right = tmp_path / "wrong.pem", tmp_path / "right.pem"
    issued = issue(issuer, csr.read_text())
    other = issuer.issue("shop.example.com")
    wrong.write_bytes(other.chain_pem)
    assert "another key" in program("case", "receive", ref, str(wrong), expect=3).out
    right.write_bytes(issued.chain_pem)
    dry = program("case", "receive", ref, str(right), "--dry-run").out
    assert "Nothing was recorded" in dry
    program("case", "receive", ref, str(right))

    # The window needs the client's approval.
    window = ("case", "window", ref, f"{day_text(1)}T10:00")
    program(*window, expect=2)
    program("case", "approve", ref, "--by", "Ada", "--how", "telephone")
    assert "Europe/Berlin" in program(*window, "--zone", "Europe/Berlin").out
    assert ref in program("case", "list", "--windows").out

    # The package, which is written once.
    package = tmp_path / "p.zip"
    program("case", "package", ref, "--output", str(package))
    assert stat.S_IMODE(package.stat().st_mode) == 0o600
    again = program("case", "package", ref, "--output", str(package), expect=3)
    assert "exists already" in again.err
    program("case", "close", ref, expect=3)

    # The server presents another certificate, then this one.
    machine.show(other, other.key)
    program("endpoint", "retire", "shop.example.com:443")
    endpoint = (f"shop.example.com:{machine.port}", "--domain", "shop.example.com")
    program("endpoint", "add", *endpoint, "--address", "127.0.0.8")
    program("case", "install", ref)
    assert "✗ not live" in program("case", "verify", ref, "--wait", "0", expect=1).out
    machine.show(issued, load_pem_private_key(key.read_bytes(), None))
    document = program("case", "verify", ref, "--format", "json").json
    assert (document["schema"], document["state"]) == ("certmgr.proof/1", "live")
    assert document["case_state"] == "closed"

    # Its history, the bill and the statistics.
    history = program("case", "show", ref, "--format", "json").json
    assert history["schema"] == "certmgr.case/1"
    assert [e["action"] for e in history["events"]][-3:] == ["look", "see", "close"]
    assert history["certificates"][0]["sha256"] == parse(issued.der).sha256
    bill = program("purchase", "billing", "--month", day_text()[:7], "--format", "json").json
    entries = [(e["client"], e["kind"], e["amount"]) for e in bill["entries"]]
    assert entries == [("1001", "installation", "25")]
    measures = program("case", "measures", "--format", "json").json["measures"]
    assert measures[0]["closed"] == 1
    assert "no such cases" in program("case", "list").out


@pytest.fixture
def ending(program: Program) -> Program:
    """As ``program``, with a purchase that ends in three weeks."""
    add = ("purchase", "add", "1001", "--vendor", "V", "--name", "shop.example.com")
    program(*add, "--start", day_text(-345), "--price", "50", "--currency", "EUR")
    return program


def test_forecast_counts_installations_by_month_and_by_client(ending: Program) -> None:
    until = ("forecast", "--until", day_text(400))
    forecast = ending(*until, "--format", "json").json
    assert forecast["schema"] == "certmgr.forecast/1"
    assert forecast["total"]["orders"] >= 1
    installations = forecast["total"]["installations"]
    assert sum(m["installations"] for m in forecast["months"]) == installations
    shorter = ending(*until, "--lifetime", "45d", "--format", "json").json
    assert shorter["total"]["installations"] > installations
    assert "█" in ending(*until, "--chart").out
    assert ending(*until, "--by", "client", "--format", "csv").out.startswith("client,")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--until", day_text(-1)),
        ("--until", "9999-12-31"),
        ("--until", day_text(9), "--lifetime", "0d"),
        ("--until", "soon"),
    ],
)
def test_forecast_until_an_invalid_date_is_refused(
    program: Program, arguments: tuple[str, ...]
) -> None:
    program("forecast", *arguments, expect=2)


def test_terms_are_compared_with_acme(ending: Program) -> None:
    comparison = ending("purchase", "compare", "shop.example.com", "--format", "json").json
    assert [c["choice"] for c in comparison["choices"]] == ["1 year", "2 years", "3 years", "ACME"]
    assert comparison["assumptions"]


def test_end_of_a_purchase_is_in_the_calendar_the_status_and_the_report(
    ending: Program, tmp_path: Path
) -> None:
    calendar = tmp_path / "all.ics"
    ending("calendar", "--output", str(calendar))
    assert "Order V (id 1) ends" in calendar.read_text().replace("\r\n ", "")
    document = ending("status", "--format", "json").json
    assert document["orders"][0]["what"] == "order"
    assert document["cases"] == {"open": 0, "overdue": 0}
    assert "buy again" in ending("status").out
    report = ending("report", "--client", "1001", "--format", "json").json
    assert "order" in {e["kind"] for e in report["events"]}
    assert [a["code"] for a in report["you_act"]] == ["order-ending"]


def test_incident_opens_from_a_file_of_serials_and_names_other_lines(
    program: Program, tmp_path: Path
) -> None:
    serials = tmp_path / "serials"
    serials.write_text("0a1b\nnot one\n")
    command, until = ("incident", "open"), ("--until", f"{day_text(1)}T12:00", "--reason", "x")
    program(*command, *until, expect=2)
    program(*command, "--serials", str(tmp_path / "none"), *until, expect=3)
    dry = program(*command, "--serials", str(serials), *until, "--dry-run")
    assert "not in the inventory" in dry.out
    assert "skipped: line 2" in dry.err
    opened = program(*command, "--serials", str(serials), *until, "--format", "json", expect=3)
    reference = opened.json["reference"]
    shown = program("incident", "show", reference, "--format", "json").json
    assert (shown["schema"], shown["left"]) == ("certmgr.incident/1", 0)
    assert shown["counts"]["unknown"]["all"] == 1
    assert reference in program("incident", "list").out


SHOP = ("--name", "shop.example.com")
ADD = ("purchase", "add", "1001", "--vendor")
RECEIVE = ("case", "receive", "CM-XXXXXX")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("purchase", "show", "nothing"), 2, "no purchase"),
        (("purchase", "add", "1009", "--vendor", "V", "--name", "x.example"), 2, "no client"),
        ((*ADD, "V", *SHOP, "--start", "2026-02-30"), 2, "not a date"),
        ((*ADD, "V\x1b[31m", *SHOP), 2, "control characters"),
        (("purchase", "billing", "--month", "November"), 2, "not a month"),
        (("case", "show", "CM-XXXXXX"), 2, "no case"),
        (("case", "open", "1001"), 2, "at least one name"),
        (("case", "open", "1001", "../../etc"), 2, "not a domain name"),
        ((*RECEIVE, "/nonexistent"), 3, "cannot be read"),
        (
            (*RECEIVE, "/etc/hostname", "--password", "hunter2"),
            2,
            "does not accept the password itself",
        ),
        (("purchase", "import", "/nonexistent.csv", "--from", "csv"), 3, "cannot be read"),
        (("incident", "show", "IN-XXXXXX"), 2, "no incident"),
        (("calendar", "--client", "9"), 2, "no client"),
    ],
)
def test_wrong_call_reports_the_reason_in_one_line(
    program: Program, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    done = program(*arguments, expect=code)
    assert reason in done.err
    assert done.err.count("\n") == 1, done.err
    assert "\x1b" not in done.err
    assert "hunter2" not in done.err + done.out


@pytest.mark.parametrize(
    ("now", "decision"),
    [
        ("2026-11-25 10:00", "send"),  # a Wednesday, in office hours
        ("2026-11-27 22:15", "wait"),  # a Friday night
        ("2026-11-28 03:00", "wait"),  # a Saturday
        ("2026-12-24 23:30", "wait"),
    ],
)
def test_hostile_text_stays_text_in_every_output_at_any_hour(
    program: Program, now: str, decision: str
) -> None:
    evil = "=cmd|'/C calc'!A0 {0.__class__} {names} {{1234*4321}} </pre><script>x</script>"
    purchase = ("purchase", "add", "1001", "--vendor", evil, "--number", "=1+1")
    program(*purchase, "--name", "shop.example.com", "--start", day_text(-320))
    clocks.clock.reset(datetime.fromisoformat(now).replace(tzinfo=UTC))
    ref = reference_in(program("case", "open", "1001", "--purchase", "#1", "--reason", evil).out)
    program("case", "csr", ref)
    program("case", "send", ref)
    dry = program("notify", "--dry-run").out
    assert f"decisions: 1 {decision}" in dry
    assert "5332114" not in dry
    clocks.clock.reset(datetime(2026, 12, 28, 10, tzinfo=UTC))  # a Monday, in office hours
    dry = program("notify", "--dry-run").out
    assert "{0.__class__}" in dry, "unchanged, and never evaluated"
    assert "5332114" not in dry
    assert "'=cmd" in program("purchase", "list", "--format", "csv").out
    history = program("case", "show", ref, "--format", "json").json
    assert history["events"][0]["text"] == evil
    page = program("report", "--client", "1001", "--format", "html").out
    assert "<script>" not in page
    assert "&lt;script&gt;" in page or "script" not in page


def test_csr_with_one_of_two_names_is_taken_with_names_and_shows_what_is_requested(
    program: Program, tmp_path: Path
) -> None:
    program("domain", "add", "www.shop.example.com", "--client", "1001")
    opened = program("case", "open", "1001", "shop.example.com", "www.shop.example.com").out
    found = re.search(r"[A-Z0-9]+-[A-Z0-9-]+", opened)
    assert found is not None
    source, key = tmp_path / "client.csr", tmp_path / "client.key"
    openssl = ("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-sha1")
    subject = ("-subj", "/CN=shop.example.com", "-keyout", str(key), "-out", str(source))
    subprocess.run([*openssl, *subject], check=True, capture_output=True)
    refused = program("case", "csr", found[0], "--from", str(source), expect=3)
    assert "does not name www.shop.example.com" in refused.out
    assert "add --names" in refused.err
    other = ("--names", "other.example.com")
    assert "is not a name of the case" in (
        program("case", "csr", found[0], "--from", str(source), *other, expect=2).err
    )
    assert "needs --from" in program("case", "csr", found[0], "--names", expect=2).err
    taken = program("case", "csr", found[0], "--from", str(source), "--names").out
    assert "signed with SHA-1. Its signature is correct" in taken
    assert "requested at the vendor: shop.example.com, www.shop.example.com" in taken
    shown = program("case", "show", found[0]).out
    assert "to be entered at the vendor: www.shop.example.com" in " ".join(shown.split())
    (tmp_path / "note.pdf").write_bytes(b"%PDF-1.7")
    # Nothing of the upload is dropped silently.
    sent = program(
        "case", "receive", found[0], str(tmp_path / "note.pdf"), str(source), "--dry-run", expect=2
    )
    assert "they contain a CSR" in sent.err


def test_case_or_purchase_for_a_name_of_no_client_names_it_and_the_similar_ones(
    program: Program,
) -> None:
    assert program("case", "open", "1001", "new.shop.example.com").err == ""
    opened = program("case", "open", "1001", "shop.exmaple.com")
    ref = reference_in(opened.out)
    assert opened.err.startswith("Note: shop.exmaple.com belongs to no client of the inventory")
    assert (
        "Did you mean shop.example.com? Then cancel this case: certmgr case cancel " in opened.err
    )
    assert ref in opened.err
    assert "certmgr domain add shop.exmaple.com --client 1001" in opened.err
    elsewhere = program("case", "open", "1001", "*.elsewhere.net").err
    assert "certmgr domain add elsewhere.net --client 1001" in elsewhere
    assert "Did you mean" not in elsewhere
    program("purchase", "add", "1001", "--vendor", "V", "--name", "shop.example.com")
    edited = program("purchase", "edit", "#1", "--name", "shop.example.cmo").err
    assert "Did you mean shop.example.com? To correct it: certmgr purchase edit id:1" in edited


def test_case_without_a_client_is_refused_and_the_owner_of_the_name_is_proposed(
    program: Program,
) -> None:
    for call in (
        ("www.shop.example.com",),
        ("1009", "shop.example.com"),
        ("shop.example.com", "b.test"),
    ):
        refused = program("case", "open", *call, expect=2).err
        assert "shop.example.com belongs to the client 1001. Name the client first: 1001" in refused
    assert "belongs to" not in program("case", "open", "1009", "b.test", expect=2).err


def test_step_of_all_cases_of_an_incident_is_one_command(program: Program) -> None:
    for wrong in (("csr",), ("send",), ("csr", "CM-AAAAAA", "--incident", "IN-AAAAAA")):
        assert "Exactly one of a case and an incident" in program("case", *wrong, expect=2).err
    assert "IN-AAAAAA" in program("case", "send", "--incident", "IN-AAAAAA", expect=2).err
    refused = program("case", "csr", "--incident", "IN-AAAAAA", "--again", expect=2)
    assert "--again cannot be combined with --incident" in refused.err
