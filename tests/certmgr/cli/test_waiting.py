"""What commands show on a terminal while they take longer than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certmgr.cli.progress import ProgressLine
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What commands wait for, in order. The clock of the machine is not waited for."""
    found: list[str] = []

    @contextmanager
    def waiting(self: ProgressLine, what: str) -> Iterator[None]:
        found.append(what)
        yield

    monkeypatch.setattr(ProgressLine, "waiting", waiting)
    return found


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, str]]:
    """What commands count, how much of it is done and planned, and what they wait for."""
    found: list[tuple[str, int, int, str]] = []

    def counted(
        self: ProgressLine, what: str, done: int, planned: int, waits_for: str = ""
    ) -> None:
        found.append((what, done, planned, waits_for))

    monkeypatch.setattr(ProgressLine, "counted", counted)
    return found


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("status",), ["status"]),
        (("compliance",), ["compliance"]),
        (("export",), ["export"]),
        (("audit", "verify"), ["audit verify"]),
        (("database", "check"), ["database check"]),
        (("notify", "--queue-only"), ["notify: deciding, and rechecking what is due"]),
        (("dashboard",), ["dashboard"]),
        (("finding", "list"), ["finding list"]),
        (("forecast",), ["forecast"]),
        (("metrics",), ["metrics"]),
        (("trust", "ends"), ["trust ends"]),
    ],
)
def test_long_command_states_what_it_waits_for(
    certmgr: Runner, waits: list[str], words: tuple[str, ...], shown: list[str]
) -> None:
    assert certmgr(*words).code == 0
    assert waits == shown


def test_report_and_doctor_and_purchases_state_what_they_wait_for(
    certmgr: Runner, waits: list[str], tmp_path: Path
) -> None:
    certmgr("client", "add", "7", "Rosen")
    assert certmgr("report", "--client", "7", "--output", str(tmp_path / "r.html")).code == 0
    certmgr("doctor")
    source = tmp_path / "bought.csv"
    source.write_text("client,vendor,names\n")
    certmgr("purchase", "import", str(source), "--from", "csv")
    assert waits == [
        "report: client 7",
        "doctor: DNS, mail server, mailbox and database",
        "purchase import: bought.csv",
    ]


def test_import_states_that_it_reads_and_how_much_it_writes(
    certmgr: Runner, waits: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "clients.csv"
    rows = [f"{n},Client {n},shop{n}.example" for n in range(1, 21)]
    source.write_text("\n".join(["client,name,domain", *rows]) + "\n")
    assert certmgr("import", str(source), "--dry-run").code == 0
    assert waits == ["import: reading clients.csv"], "a dry run writes nothing"
    assert certmgr("import", str(source)).code == 0
    assert waits[1:] == ["import: reading clients.csv", "import: writing, 60 records"]


def test_backup_states_what_it_waits_for(certmgr: Runner, waits: list[str], tmp_path: Path) -> None:
    assert certmgr("database", "backup", str(tmp_path / "b.db")).code == 0
    assert certmgr("database", "restore", str(tmp_path / "b.db"), "--yes").code == 0
    assert waits == ["database backup", "database restore"]


def test_announcement_and_incident_state_what_they_wait_for(
    certmgr: Runner, waits: list[str], tmp_path: Path
) -> None:
    certmgr("client", "add", "7", "Rosen")
    certmgr("deadline", "add", "all", "--rule", "https-only", "--date", "2027-06-30")
    ran = certmgr("notice", "broadcast", "--deadline", "all", "--dry-run")
    assert ran.code == 0, ran.err
    serials = tmp_path / "serials.txt"
    serials.write_text("0a1b\n")
    until = ("--until", "2026-12-01T12:00", "--reason", "stolen")
    ran = certmgr("incident", "open", "--serials", str(serials), *until)
    assert ran.code == 0, ran.err
    assert waits == [
        "notice broadcast: the status of each client",
        "incident open: finding its certificates",
        "incident open: 1 certificate(s)",
    ]


def test_revocation_counts_the_names_and_what_it_waits_for(
    certmgr: Runner, counts: list[tuple[str, int, int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    certmgr("client", "add", "7", "Rosen")
    certmgr("domain", "add", "shop.example", "--client", "7")
    # The name server refuses: what counts is that the check is shown while it waits.
    monkeypatch.setenv("CERTMGR_SCAN_RESOLVERS", "127.0.0.1:9")
    certmgr("revocation", "--all")
    assert ("revocation: DNS of names", 1, 1, "waits for name servers") in counts


def test_reports_of_all_clients_are_counted(
    certmgr: Runner,
    counts: list[tuple[str, int, int, str]],
    waits: list[str],
    tmp_path: Path,
) -> None:
    for number in ("7", "8"):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("domain", "add", f"shop{number}.example", "--client", number)
    assert certmgr("report", "--all", "--output", str(tmp_path / "reports")).code == 0
    assert counts == [("reports", 0, 2, "client 7"), ("reports", 1, 2, "client 8")]
    assert waits == ["report: the page of all clients"]


def test_commands_that_ask_a_ca_or_servers_state_that_they_wait_for_them(
    certmgr: Runner, waits: list[str], tmp_path: Path
) -> None:
    """Nothing answers: what counts is that the wait is shown before it begins."""
    file = tmp_path / "certmgr.toml"
    file.write_text(
        f'{file.read_text()}[acme.ca.lab]\ndirectory = "https://127.0.0.1:9/dir"\ninternal = true\n'
    )
    certmgr("client", "add", "7", "Rosen")
    certmgr("domain", "add", "shop.example", "--client", "7")
    assert certmgr("account", "add", "lab", "--agree").code == 3
    opened = certmgr("case", "open", "7", "shop.example")
    reference = opened.out.split()[1].rstrip(":,.")
    assert certmgr("case", "verify", reference).code != 0
    certmgr("issue", "shop.example", "--preflight")
    assert waits == [
        "account add: waiting for the CA",
        f"{reference}: waiting for its servers",
        "preflight: DNS and CAA of each name, and its servers",
    ]
