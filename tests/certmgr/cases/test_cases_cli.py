"""Orders, cases and incidents as an administrator at a terminal uses them: whole programs, real files, exit codes."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from inventory.certificates import parse
from tests.certmgr.cases.place import Machine, issue
from tests.clock import clock
from tests.program import Ran

Program = Callable[..., Ran]


@pytest.fixture
def program(certmgr: Program, tmp_path: Path, root: Authority) -> Program:
    (tmp_path / "root.pem").write_bytes(root.pem)
    with (tmp_path / "certmgr.toml").open("a") as file:
        file.write(
            f'[cases]\nkeys = "{tmp_path}/keys"\n[trust]\nca_files = ["{tmp_path}/root.pem"]\n[provider]\nname = "Example Hosting"\n[forecast]\nfee = "20"\nprice_1 = "60"\n'
        )

    def run(*arguments: str, expect: int = 0, **given: Any) -> Ran:
        done = certmgr(*arguments, **given)
        assert done.code == expect, (arguments, done.out, done.err)
        assert "Traceback" not in done.err
        return done

    run("client", "add", "1001", "Rosen GmbH", "--buys", "client", "--renews", "client", "--hosts", "us")
    run("contact", "add", "Ada", "--client", "1001", "--way", "email:ada@rosen.example")
    run("contact", "add", "Bob", "--role", "administrator", "--way", "email:bob@provider.example")
    run("domain", "add", "shop.example.com", "--client", "1001")
    return run


def today(days: int = 0) -> str:
    return (clock() + timedelta(days=days)).strftime("%Y-%m-%d")


def test_from_order_to_proof(program: Program, tmp_path: Path, issuer: Authority) -> None:
    program(
        "order", "add", "1001", "--vendor", "DigiCert", "--number", "D-7", "--name", "shop.example.com", "--years", "3", "--price", "300", "--fee", "25", "--currency", "EUR",
        "--start", today(), "--domain-validated", today(), "--document", "/srv/d7.pdf",
    )  # fmt: skip
    page = program("order", "show", "D-7", "--format", "json").json
    assert page["schema"] == "certmgr.order/1"
    assert page["ahead"][0]["days"] == 199
    assert {c["what"] for c in page["order"]["clocks"]} == {"order", "dcv"}
    listed = program("order", "list", "--format", "json").json
    assert listed["schema"] == "certmgr.orders/1"
    assert listed["orders"][0]["number"] == "D-7"
    assert "names without" in program("order", "list", "--help").out
    would = program("case", "run", "--dry-run").out
    assert "the first certificate of the order" in would
    opened = program("case", "run").out
    reference = re.search(r"CM-\w{6}", opened)
    assert reference is not None
    ref = reference[0]
    csr = tmp_path / "shop.csr"
    program("case", "csr", ref, "--output", str(csr), "--organisation", "Rosen GmbH", "--country", "DE")
    assert "Never send a private key" in (tmp_path / "shop.csr.txt").read_text()
    key = tmp_path / "keys" / ref / "ec-p256.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert program("case", "csr", ref, "--again").out == csr.read_text()
    program("case", "send", ref)
    assert ref in program("case", "list", "--waiting", "client").out
    machine = Machine(tmp_path / "web", "shop.example.com", ("127.0.0.8",))
    try:
        issued = issue(issuer, csr.read_text())
        other = issuer.issue("shop.example.com")
        (tmp_path / "wrong.pem").write_bytes(other.chain_pem)
        refused = program("case", "receive", ref, str(tmp_path / "wrong.pem"), expect=3)
        assert "another key" in refused.out
        (tmp_path / "right.pem").write_bytes(issued.chain_pem)
        assert "Nothing was recorded" in program("case", "receive", ref, str(tmp_path / "right.pem"), "--dry-run").out
        program("case", "receive", ref, str(tmp_path / "right.pem"))
        program("case", "window", ref, f"{today(1)}T10:00", expect=2)
        program("case", "approve", ref, "--by", "Ada", "--how", "telephone")
        assert "Europe/Berlin" in program("case", "window", ref, f"{today(1)}T10:00", "--zone", "Europe/Berlin").out
        assert ref in program("case", "list", "--windows").out
        package = tmp_path / "p.zip"
        program("case", "package", ref, "--output", str(package))
        assert stat.S_IMODE(package.stat().st_mode) == 0o600
        assert "exists already" in program("case", "package", ref, "--output", str(package), expect=3).err
        program("case", "close", ref, expect=3)
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        machine.show(other, other.key)
        program("endpoint", "retire", "shop.example.com:443")
        program("endpoint", "add", f"shop.example.com:{machine.port}", "--domain", "shop.example.com", "--address", "127.0.0.8")
        program("case", "install", ref)
        absent = program("case", "verify", ref, expect=1)
        assert "✗ not there" in absent.out
        machine.show(issued, load_pem_private_key(key.read_bytes(), None))
        proof = program("case", "verify", ref, "--format", "json").json
        assert (proof["schema"], proof["state"], proof["case_state"]) == ("certmgr.proof/1", "live", "closed")
    finally:
        machine.close()
    story = program("case", "show", ref, "--format", "json").json
    assert story["schema"] == "certmgr.case/1"
    assert [e["action"] for e in story["events"]][-3:] == ["look", "see", "close"]
    assert story["certificates"][0]["sha256"] == parse(issued.der).sha256
    bill = program("order", "billing", "--month", today()[:7], "--format", "json").json
    assert [(e["client"], e["kind"], e["amount"]) for e in bill["entries"]] == [("1001", "installation", "25")]
    assert program("case", "measures", "--format", "json").json["measures"][0]["closed"] == 1
    assert "no such cases" in program("case", "list").out


def test_forecast_comparison_calendar_and_status(program: Program, tmp_path: Path) -> None:
    program(
        "order",
        "add",
        "1001",
        "--vendor",
        "V",
        "--name",
        "shop.example.com",
        "--start",
        today(-345),
        "--price",
        "50",
        "--currency",
        "EUR",
    )
    made = program("forecast", "--until", today(400), "--format", "json").json
    assert made["schema"] == "certmgr.forecast/1"
    assert made["total"]["orders"] >= 1
    assert sum(m["installations"] for m in made["months"]) == made["total"]["installations"]
    assert (
        program("forecast", "--until", today(400), "--lifetime", "45d", "--format", "json").json["total"]["installations"]
        > made["total"]["installations"]
    )
    assert "█" in program("forecast", "--until", today(400), "--chart").out
    assert program("forecast", "--until", today(400), "--by", "client", "--format", "csv").out.startswith("client,")
    for wrong in (
        ("--until", today(-1)),
        ("--until", "9999-12-31"),
        ("--until", today(9), "--lifetime", "0d"),
        ("--until", "soon"),
    ):
        program("forecast", *wrong, expect=2)
    side = program("order", "compare", "shop.example.com", "--format", "json").json
    assert [c["choice"] for c in side["choices"]] == ["1 year", "2 years", "3 years", "ACME"]
    assert side["assumptions"]
    program("calendar", "--output", str(tmp_path / "all.ics"))
    assert "Order V #1 ends" in (tmp_path / "all.ics").read_text().replace("\r\n ", "")
    document = program("status", "--format", "json").json
    assert document["orders"][0]["what"] == "order"
    assert document["cases"] == {"open": 0, "overdue": 0}
    text = program("status").out
    assert "buy again" in text
    report = program("report", "--client", "1001", "--format", "json").json
    assert "order" in {e["kind"] for e in report["events"]}
    assert [a["code"] for a in report["you_act"]] == ["order-ending"]


def test_an_incident(program: Program, tmp_path: Path) -> None:
    (tmp_path / "serials").write_text("0a1b\nnot one\n")
    program("incident", "open", "--until", f"{today(1)}T12:00", "--reason", "x", expect=2)
    program("incident", "open", "--serials", str(tmp_path / "none"), "--until", f"{today(1)}T12:00", "--reason", "x", expect=3)
    dry = program(
        "incident", "open", "--serials", str(tmp_path / "serials"), "--until", f"{today(1)}T12:00", "--reason", "x", "--dry-run"
    )
    assert "not known here" in dry.out
    assert "left out: line 2" in dry.err
    opened = program(
        "incident",
        "open",
        "--serials",
        str(tmp_path / "serials"),
        "--until",
        f"{today(1)}T12:00",
        "--reason",
        "CA must revoke",
        "--format",
        "json",
        expect=3,
    )
    reference = opened.json["reference"]
    shown = program("incident", "show", reference, "--format", "json").json
    assert (shown["schema"], shown["left"], shown["counts"]["unknown"]["all"]) == ("certmgr.incident/1", 0, 1)
    assert reference in program("incident", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("order", "show", "nothing"), 2, "no order"),
        (("order", "add", "1009", "--vendor", "V", "--name", "x.example"), 2, "no client"),
        (("order", "add", "1001", "--vendor", "V", "--name", "shop.example.com", "--start", "2026-02-30"), 2, "not a date"),
        (("order", "add", "1001", "--vendor", "V\x1b[31m", "--name", "shop.example.com"), 2, "control characters"),
        (("order", "billing", "--month", "November"), 2, "not a month"),
        (("case", "show", "CM-XXXXXX"), 2, "no case"),
        (("case", "open", "1001"), 2, "at least one name"),
        (("case", "open", "1001", "../../etc"), 2, "not a domain name"),
        (("case", "receive", "CM-XXXXXX", "/nonexistent"), 3, "cannot be read"),
        (("case", "receive", "CM-XXXXXX", "/etc/hostname", "--password", "hunter2"), 2, "not passed as an option"),
        (("order", "import", "/nonexistent.csv", "--from", "csv"), 3, "cannot be read"),
        (("incident", "show", "IN-XXXXXX"), 2, "no incident"),
        (("calendar", "--client", "9"), 2, "no client"),
    ],
)
def test_wrong_calls_say_what_to_do(program: Program, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = program(*arguments, expect=code)
    assert said in done.err
    assert done.err.count("\n") == 1, done.err
    assert "\x1b" not in done.err
    assert "hunter2" not in done.err + done.out


def test_hostile_text_is_text_everywhere(program: Program, tmp_path: Path) -> None:
    evil = "=cmd|'/C calc'!A0 {0.__class__} {names} {{1234*4321}} </pre><script>x</script>"
    program("order", "add", "1001", "--vendor", evil, "--number", "=1+1", "--name", "shop.example.com", "--start", today(-350))
    ref = re.search(r"CM-\w{6}", program("case", "open", "1001", "--order", "#1", "--reason", evil).out)
    assert ref is not None
    program("case", "csr", ref[0])
    program("case", "send", ref[0])
    dry = program("notify", "--dry-run").out
    assert "{0.__class__}" in dry, "as it was typed, and never evaluated"
    assert "5332114" not in dry
    listed = program("order", "list", "--format", "csv").out
    assert "'=cmd" in listed
    assert json.loads(program("case", "show", ref[0], "--format", "json").out)["events"][0]["text"] == evil
    page = program("report", "--client", "1001", "--format", "html").out
    assert "<script>" not in page
    assert "&lt;script&gt;" in page or "script" not in page
