"""``certmgr revocation``, and ``certmgr run``, which does the same."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from inventory.store import findings
from tests.certmgr.revocation.two_clients import HOSTS, TwoClients


def test_dry_run_sends_no_request(two_clients: TwoClients) -> None:
    done = two_clients.run("revocation", "--dry-run", "--format", "json")
    assert (done.code, done.json["dry_run"], done.json["endpoints"]) == (0, True, 2)
    assert [(r["url"].rpartition("/")[2], r["certificates"]) for r in done.json["lists"]] == [
        ("1001.crl", 1),
        ("1002.crl", 1),
    ]
    assert two_clients.files.requests() == []
    assert two_clients.names.asked == []
    assert "Nothing was checked" in two_clients.run("revocation", "--dry-run").out
    with two_clients.database.read() as conn:
        assert findings.listing(conn) == []


def test_findings_are_printed_in_each_format(two_clients: TwoClients) -> None:
    done = two_clients.run("revocation", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["schema"] == "certmgr.revocation/1"
    assert sorted((f["target"], f["code"], f["severity"]) for f in done.json["findings"]) == [
        ("rose.example.test:443", "dane-mismatch", "info"),
        ("rose.example.test:443", "revoked", "critical"),
        ("tulip.example.test:443", "dane-mismatch", "info"),
        ("tulip.example.test:443", "revoked", "critical"),
    ]
    assert (
        done.json["lists"]["fetched"],
        done.json["lists"]["failed"],
        done.json["opened"],
        done.json["suspect"],
    ) == (
        2,
        [],
        4,
        [],
    )
    rows = list(csv.DictReader(io.StringIO(two_clients.run("revocation", "--format", "csv").out)))
    assert sorted({r["code"] for r in rows}) == ["dane-mismatch", "revoked"]
    output = two_clients.run("revocation").out
    assert "its key became known to others" in output
    assert "use --all to recheck" in output
    assert "0 certificate(s) checked" in output


def test_output_for_one_client_shows_no_other_client(two_clients: TwoClients) -> None:
    for output_format in ("table", "json", "csv"):
        done = two_clients.run("revocation", "--client", "1001", "--all", "--format", output_format)
        assert done.code == 0, done.err
        assert "rose" in done.out
        assert "tulip" not in done.out + done.err
        assert "1002" not in done.out + done.err
    assert two_clients.files.requests(at_least=3) == ["1001.crl"] * 3
    assert not [n for n, _, _ in two_clients.names.asked if "tulip" in n]


def test_unknown_client_is_refused(two_clients: TwoClients) -> None:
    done = two_clients.run("revocation", "--client", "9999")
    assert done.code == 2
    assert "9999" in done.err


def test_status_and_report_show_the_revocation(two_clients: TwoClients) -> None:
    two_clients.run("revocation")
    shown = two_clients.run("status", "--format", "json")
    assert shown.code == 1
    endpoint = next(e for e in shown.json["endpoints"] if e["target"] == f"{HOSTS['1001']}:443")
    assert endpoint["verdict"] == "fault"
    assert "revoked" in {f["code"] for f in endpoint["findings"]}
    causes = two_clients.run("status", "--causes", "--format", "json").json["causes"]
    assert {c["kind"] for c in causes if c["code"] == "revoked"} == {"certificate"}
    report = two_clients.run("report", "--client", "1001", "--format", "json").out
    assert "became known to others" in report
    assert "tulip" not in report


def test_run_command_checks_revocation_unless_disabled(
    two_clients: TwoClients, tmp_path: Path
) -> None:
    done = two_clients.run("run", "--no-scan", "--verbose")
    assert "2 revocation list(s) fetched, 4 finding(s) opened" in done.out + done.err
    (tmp_path / "certmgr.toml").write_text("[scan]\nrevocation = false\ndane = false\n")
    assert "revocation list" not in two_clients.run("run", "--no-scan", "--verbose").out
