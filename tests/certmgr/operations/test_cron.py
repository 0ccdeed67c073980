"""``certmgr run``: scheduled work without output if all is well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from certmgr.config.context import Context
from certmgr.config.settings import RunSettings, Settings
from certmgr.demo import servers
from certmgr.demo.servers import Server
from certmgr.operations import cron
from certmgr.operations.stopping import stoppable
from inventory.errors import CertmgrError
from inventory.models import Run
from inventory.store import domains, endpoints, jobs
from inventory.targets import Target
from tests.campaign import time_limits, wait_until
from tests.certmgr.installation import SHOP, Installation
from tests.certmgr.scanning import add_endpoint
from tests.certmgr.tls_servers import Stack
from tests.databases import open_sqlite


def test_run_prints_nothing_if_all_is_well_and_one_line_if_not(
    installation: Installation,
) -> None:
    run = installation.run
    installation.add_endpoints(SHOP, port=installation.site.port)
    done = run("run")
    assert (done.out, done.err) == ("", "")
    installation.config(notify='heartbeat = "https://localhost:1/beat"')
    done = run("run", "--no-scan", expect=3)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "heartbeat" in done.err
    metrics = run("metrics").out
    assert 'certmgr_last_success_timestamp_seconds{job="notify"}' in metrics
    assert 'certmgr_last_success_timestamp_seconds{job="run"}' in metrics
    assert 'certmgr_notices{state="queued"}' in metrics


class _Panic(BaseException):
    """As the panics of libraries in Rust, which are no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError, MemoryError, SystemExit, _Panic])
def test_internal_error_in_one_part_does_not_stop_the_others(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("the cause")

    database = open_sqlite(tmp_path / "run.db")
    monkeypatch.setattr(cron._Run, "_scan", fail)
    # Never SystemExit, which would end the program as if all was well.
    with pytest.raises(Exception, match="the cause"):
        cron.run(Context(database, settings, database.clock))
    with database.read() as conn:
        states = jobs.every(conn)
    database.close()
    assert states["notify"].success_at is not None
    assert states["run"].success_at is None
    reason = states["run"].error or ""
    assert "scan: an internal error of certmgr" in reason and "cause" not in reason


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("part", "name", "not_done"),
    [
        ("_scan", "scan", ("revocation", "renew", "cases", "notify")),
        ("_revocation", "revocation", ("renew", "cases", "notify")),
        ("_cases", "cases", ("notify",)),
        ("_notify", "notify", ()),
    ],
)
def test_interrupt_ends_the_run_and_names_what_was_not_done(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    name: str,
    not_done: tuple[str, ...],
) -> None:
    heartbeats: list[str] = []
    monkeypatch.setattr(cron, "heartbeat", heartbeats.append)
    monkeypatch.setattr(cron._Run if hasattr(cron._Run, part) else cron, part, _interrupt)
    settings = replace(
        settings, notify=replace(settings.notify, heartbeat="https://example.com/beat")
    )
    database = open_sqlite(tmp_path / "run.db")
    result = cron.run(Context(database, settings, database.clock))
    with database.read() as conn:
        states = jobs.every(conn)
    database.close()
    assert (result.interrupted, result.not_done) == (name, not_done)
    assert states["run"].success_at is None
    assert states["run"].error == f"it was interrupted: {name}"
    assert "notify" not in states
    assert heartbeats == []


def test_part_whose_budget_ends_does_not_stop_the_others(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> None:
        signal.pause()

    monkeypatch.setattr(cron, "_cases", wait)
    database = open_sqlite(tmp_path / "run.db")
    settings = replace(settings, run=RunSettings(cases_minutes=0.001))
    context = Context(database, settings, database.clock)
    with stoppable() as stop:
        result = cron.run(context, stop=stop)
    with database.read() as conn:
        states = jobs.every(conn)
    database.close()
    assert result.problems == [
        "cases: its time budget of 0.001 minutes has ended; the next run goes on"
    ]
    assert states["notify"].success_at is not None
    assert result.interrupted == ""


@pytest.mark.parametrize("write", ["started", "succeeded"])
def test_database_that_does_not_answer_does_not_hold_the_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """Before the first part and after the last one, there is no budget of a part."""

    def wait(*_: object) -> None:
        signal.pause()

    class Jobs:
        """The module, with one write that waits."""

        def __getattr__(self, name: str) -> object:
            return wait if name == write else getattr(jobs, name)

    monkeypatch.setattr(cron, "jobs", Jobs())
    monkeypatch.setattr(cron, "RECORD_SECONDS", 0.05)
    database = open_sqlite(tmp_path / "run.db")
    with stoppable() as stop, pytest.raises(CertmgrError, match="did not answer within"):
        cron.run(Context(database, settings, database.clock), stop=stop)
    database.close()


def test_late_scan_goes_on_after_the_notices(
    settings: Settings, tmp_path: Path, opened: Stack
) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    begun: list[str] = []

    def progress(part: str, done: int, planned: int) -> None:
        if not planned:
            begun.append(part)

    for number, limit in enumerate(time_limits(0.3)):
        database = open_sqlite(tmp_path / f"run{number}.db")
        opened.callback(database.close)
        with database.write() as tx:
            add_endpoint(tx, "late.example.test", silent.port, ("127.0.0.1",))
        begun.clear()
        late = replace(
            settings,
            scan=replace(settings.scan, timeout=5 * limit, revocation=False, dane=False),
            run=RunSettings(scan_minutes=limit / 60),
        )
        context = Context(database, late, database.clock)
        with stoppable() as stop:
            result = cron.run(context, stop=stop, progress=progress)
        if "rest of the scan" in begun:  # the scan had begun when its time was over
            break
    assert begun == ["scan", "renew", "cases", "notify", "rest of the scan"]
    # The endpoint is silent, so the scan as a whole is undetermined.
    assert result.problems == ["scan: 1 of 1 endpoints are undetermined"]
    with database.read() as conn:
        assert list(conn.scalars(select(Run.state))) == ["complete"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_run_queues_no_notice_and_prints_one_line(
    due_installation: Installation, opened: Stack, number: signal.Signals, code: int
) -> None:
    installation = due_installation
    silent = Server(servers.silent)
    opened.callback(silent.close)
    database = open_sqlite(installation.database)
    with database.write() as tx:
        domains.add(tx, "late.example.test", {"client": "1001"})
        changes = {"port": silent.port, "addresses": ["127.0.0.1"]}
        endpoints.edit(tx, Target("late.example.test"), changes)
    database.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "certmgr", *installation.options, "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **installation.environment},
    )
    wait_until(lambda: silent.connections > 0 or process.poll() is not None, "the first connection")
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (code, "")
    (line,) = err.splitlines()
    assert line.startswith("certmgr run: interrupted in: scan (")
    assert line.endswith("Not done: revocation, renew, cases, notify.")
    assert installation.mail.received == []
