"""``certmgr status`` of a provider with 301 domains: order, filters, totals, causes, decisions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.cli.inspect import status as status_module
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.report.load import load_report_input
from certmgr.report.view import build
from inventory.db.database import Database
from inventory.models import StoredFinding
from inventory.vocabulary import SEVERITY_ORDER, Severity
from tests.certmgr import provider_inventory
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran, run

Runner = Callable[..., Ran]
FOOTER = re.compile(r"(\d+) finding\(s\) and (\d+) remark\(s\)")
HOSTS_IN = re.compile(r"\S+\.example")
HOST = re.compile(r"^. (?:fault|unknown|attention|ok) +(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("provider") / "inventory.db"
    clock.reset()
    database = open_sqlite(path)
    provider_inventory.fill(database)
    database.close()
    return path.read_bytes()


@pytest.fixture
def database(filled: bytes, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "inventory.db"
    path.write_bytes(filled)
    opened = open_sqlite(path)
    yield opened
    opened.close()


@pytest.fixture
def call(database: Database, tmp_path: Path) -> Runner:
    def call_(*arguments: str, **environment: str) -> Ran:
        url = str(tmp_path / "inventory.db")
        return run(["--database", url, *arguments], clock, environment=environment)

    return call_


def _rows(ran: Ran) -> list[dict[str, Any]]:
    return list(ran.json["endpoints"])


def _worst(row: dict[str, Any]) -> int:
    return min(SEVERITY_ORDER[f["severity"]] for f in row["findings"])


def test_rows_are_sorted_by_severity_then_date(call: Runner) -> None:
    rows = _rows(call("status", "--format", "json"))
    keys = [(_worst(r), r["not_after"]) for r in rows]
    assert keys == sorted(keys)
    assert len({k for k, _ in keys}) == 4, "critical, high, undetermined and medium"


@pytest.mark.parametrize("sort", ["severity", "date", "client", "server", "host"])
def test_limit_never_leaves_out_a_fault_for_something_lesser(call: Runner, sort: str) -> None:
    faults = call("status", "--format", "json").json["summary"]["fault"]
    out = call("status", "--sort", sort, "--limit", str(faults)).out
    shown = HOST.findall(out)
    assert len(shown) == faults
    assert out.count("✗ fault") == faults
    assert "no HSTS" not in out, "a remark does not distract from a fault"


def test_filters_by_server_severity_code_and_client(call: Runner) -> None:
    everything = _rows(call("status", "--all", "--format", "json"))
    assert len(everything) == provider_inventory.DOMAINS

    def hosts(*options: str) -> set[object]:
        return {r["target"] for r in _rows(call("status", *options, "--format", "json"))}

    assert hosts("--server", "web2") == {
        r["target"] for r in everything if r["server"] == "web2" and r["verdict"] != "ok"
    }
    assert hosts("--code", "hsts-missing", "--client", "10004") == {
        r["target"] for r in everything if r["client"] == "10004" and "hsts-missing" in r["codes"]
    }
    assert hosts("--severity", "critical", "--severity", "undetermined") == {
        r["target"]
        for r in everything
        if {f["severity"] for f in r["findings"]} & {"critical", "undetermined"}
    }
    wrong = call("status", "--code", "hsts-mising")
    assert (wrong.code, "hsts-missing" in wrong.err) == (2, True)
    assert call("status", "--server", "web9").code != 0


def test_low_findings_are_remarks_and_the_site_is_ok(call: Runner) -> None:
    rows = _rows(call("status", "--code", "hsts-missing", "--format", "json"))
    alone = [r for r in rows if r["codes"] == ["hsts-missing"]]
    assert len(alone) > 100
    assert {r["verdict"] for r in alone} == {"ok"}


def test_numbers_agree_between_commands(call: Runner, database: Database) -> None:
    total = call("status", "--format", "json").json["summary"]
    causes = call("status", "--causes", "--format", "json").json["causes"]
    by_code: Counter[str] = Counter()
    for cause in causes:
        by_code[cause["code"]] += cause["endpoints"]
    metrics = call("metrics").out
    measured: Counter[str] = Counter()
    for code, number in re.findall(r'^certmgr_findings\{code="([^"]+)".*\} (\d+)', metrics, re.M):
        measured[code] += int(number)
    assert measured == by_code
    for options in ((), ("--all",), ("--causes",)):
        (counted,) = FOOTER.findall(call("status", *options).out)
        assert sum(map(int, counted)) == sum(by_code.values())
    for verdict in ("ok", "attention", "fault", "unknown"):
        assert f'certmgr_endpoints{{verdict="{verdict}"}} {total[verdict]}.0' in metrics
        assert re.search(rf"\b{verdict}={total[verdict]};", call("check").out)
    reported: Counter[str] = Counter()
    for number in range(10_000, 10_000 + provider_inventory.CLIENTS):
        report = build(
            load_report_input(
                Context(database, Settings(), clock), str(number), as_of=None, deadlines=()
            )
        )
        reported.update({k: v for k, v in report.counts.items() if k != "sites"})
    assert dict(reported) == {k: v for k, v in total.items() if k != "endpoints"}


def test_causes_are_sorted_and_give_the_command_that_assigns_them(call: Runner) -> None:
    causes = call("status", "--causes", "--format", "json").json["causes"]
    ends = {r["target"]: r["not_after"] for r in _rows(call("status", "--all", "--format", "json"))}
    keys = [
        (
            SEVERITY_ORDER[c["severity"]],
            -c["endpoints"],
            c["code"],
            min(ends[t] for t in c["targets"]),
        )
        for c in causes
    ]
    assert keys == sorted(keys)
    # The printed command works as it stands, but for the name and the date.
    for cause in next(c for c in causes if c["endpoints"] > 1), causes[0]:
        words = cause["assign"].replace("NAME", "Ada").replace("DATE", "2027-01-01").split()
        done = call(*words[1:])
        assert done.code == 0, done.err
    table = call("status", "--causes").out
    assert "10001 株式会社" in table or "Autohaus Nguyen" in table
    assert not re.search(r"\b[0-9a-f]{16}\b", table)


def test_long_list_of_causes_ends_with_the_numbers_and_with_how_to_record_who_acts(
    call: Runner, database: Database
) -> None:
    causes = call("status", "--causes", "--format", "json").json["causes"]
    assert "does not state" not in call("status", "--causes").out
    with database.write(clock()) as tx:
        tx.conn.execute(
            update(StoredFinding)
            .where(StoredFinding.code == "certificate-expired")
            .values(actor="staff")
        )
    out = call("status", "--causes", COLUMNS="100").out
    end = out[out.index("SEVERITY") :]
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +([a-z-]+)$", end, re.MULTILINE)
    # A row per code and severity: a certificate that ends in a week is worse than one in a month.
    found = Counter(
        (f["severity"], f["code"])
        for r in _rows(call("status", "--all", "--format", "json"))
        for f in r["findings"]
        if f["code"] in r["codes"]
    )
    assert {(severity, code): int(number) for severity, number, _, code in rows} == found
    assert {("high", "certificate-expiring"), ("medium", "certificate-expiring")} <= set(found)
    order = [SEVERITY_ORDER[Severity(severity)] for severity, *_ in rows]
    assert order == sorted(order)
    for code in {c["code"] for c in causes}:
        assert sum(int(n) for _, _, n, c in rows if c == code) == len(
            [c for c in causes if c["code"] == code]
        )
    assert "the inventory does not state who buys" in end
    assert re.search(r"^  certmgr server edit \S+ --renews us$", end, re.MULTILINE)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (("--server", "web1"), 51),
        (("--cause", provider_inventory.host_name(0)), 51),
        (("--everywhere",), 151),
    ],
)
def test_finding_is_accepted_for_a_server_a_cause_or_everywhere(
    call: Runner,
    scope: tuple[str, ...],
    expected: int,
) -> None:
    options = ("--until", "2027-01-01", "--reason", "not wanted")
    done = call("finding", "accept", "hsts-missing", *scope, *options)
    assert done.code == 0, done.err
    rows = _rows(call("status", "--all", "--format", "json"))
    accepted = [r for r in rows if r["accepted"]]
    assert len(accepted) == expected
    assert not any("hsts-missing" in r["codes"] for r in accepted)
    listed = call("finding", "list", "--accepted")
    assert ("all clients" in listed.out) is (scope == ("--everywhere",))
    if scope != ("--everywhere",):
        assert re.search("10000 +Autohaus Nguyen 0 ", listed.out)


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ((), "needs a scope"),
        (("--server", "web1", "--everywhere"), "More than one scope"),
        (("--cause", provider_inventory.host_name(0), "--client", "10000"), "More than one scope"),
        (("--cause", provider_inventory.host_name(1)), "does not have the finding"),
        (("--server", "web9"), "web9"),
    ],
)
def test_unclear_scope_is_refused(call: Runner, scope: tuple[str, ...], reason: str) -> None:
    options = ("--until", "2027-01-01", "--reason", "x")
    done = call("finding", "accept", "hsts-missing", *scope, *options)
    assert done.code != 0
    assert reason in done.err
    assert call("finding", "list", "--accepted", "--format", "json").json["acceptances"] == []


def test_watch_shows_the_status_again_until_it_is_interrupted(
    call: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[int] = []

    def wait(seconds: int) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(f"{status_module.__name__}.time.sleep", wait)
    done = call("status", "--watch", "7", "--limit", "1")
    assert (waits, done.code) == ([7, 7, 7], 130)
    assert done.out.count("again every 7 s") == 3
    assert call("status", "--watch", "7", "--format", "json").code == 2
    assert json.loads(call("status", "--format", "json").out)


def test_compliance_answers_on_one_screen_and_lists_one_row_per_domain(call: Runner) -> None:
    summary = call("compliance", COLUMNS="80")
    lines = summary.out.splitlines()
    assert lines[0].split()[:4] == ["DATE", "COMPLY", "DO", "NOT"]
    assert len(lines) <= 24, "one screen"
    for options in (("--client", "10004"), ("--deadline", "all-https"), ("--all",)):
        rows = call("compliance", *options).out.splitlines()[1:-1]
        hosts = [HOSTS_IN.findall(r)[0] for r in rows]
        assert hosts
        assert len(hosts) == len(set(hosts)), "one row per domain"
    one = call("compliance", "--domain", provider_inventory.host_name(5), "--all").out
    assert "chrome-68" in one
    assert provider_inventory.host_name(0) not in one
    other = ("--domain", provider_inventory.host_name(5), "--client", "10000")
    assert call("compliance", *other).code == 2


def test_dashboard_folds_causes_beyond_the_first_of_each_severity(call: Runner) -> None:
    causes = call("status", "--causes", "--format", "json").json["causes"]
    critical = sum(c["severity"] == "critical" for c in causes)
    assert critical > 10
    page = call("dashboard").out
    group = page[page.index('id="severity-critical"') : page.index('id="severity-high"')]
    shown, _, folded = group.partition("<details>")
    assert shown.count('class="card"') == 10
    assert folded.count('class="card"') == critical - 10
    # On paper nothing can be opened, so the command is printed.
    assert "certmgr status --causes" in folded.partition('class="printed"')[2]
