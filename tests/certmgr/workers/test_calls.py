"""Work that a command leaves to workers: results, errors, lost jobs, and no worker at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from certmgr.config.context import Context
from certmgr.operations.client_reports import ReportOptions
from certmgr.operations.stopping import StopState
from certmgr.workers import call_handlers
from certmgr.workers.call_handlers import MAX_ATTEMPTS, answer
from certmgr.workers.calls import RemoteCalls
from certmgr.workers.engine import WorkQueues
from certmgr.workers.queue_names import IMPORT, REPORT
from certmgr.workers.spread_reports import SpreadReports
from inventory.errors import CertmgrError, ConfigError, UsageError
from inventory.models import WorkerCall, WorkerCallFile
from inventory.records import CallResult
from inventory.store import clients, domains, worker_calls, zone_workers
from inventory.vocabulary import CallKind
from tests.campaign import wait_until
from tests.certmgr.workers.fleet import Fleet
from tests.clock import frozen
from tests.program import Ran, run
from tests.servers.bind import named, real_clock


@dataclass(slots=True)
class AtOnce:
    """Queues whose workers do each call at once. The first ``lost`` jobs vanish."""

    context: Context
    lost: int = 0
    deferred: list[int] = field(default_factory=list)

    def defer_call(self, call_id: int, queue: str) -> None:
        self.deferred.append(call_id)
        if len(self.deferred) > self.lost:
            answer(self.context, call_id)


def seen(context: Context, *queues: str) -> None:
    """Let the database know a worker of these queues."""
    with context.write() as tx:
        zone_workers.seen(tx, "test:1", "default", queues)


def calls_left(context: Context) -> int:
    with context.read() as conn:
        rows = [conn.scalar(select(func.count()).select_from(t)) for t in TABLES]
    return sum(n or 0 for n in rows)


TABLES = (WorkerCall, WorkerCallFile)


def echo(monkeypatch: pytest.MonkeyPatch, handler: Callable[..., CallResult]) -> None:
    handlers = {CallKind.TRANSFER: handler}
    monkeypatch.setattr(call_handlers, "_HANDLERS", handlers)


def test_results_come_in_order_and_are_deleted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo(monkeypatch, lambda _, a: CallResult(values=a, files={"f": b"x" * a["n"]}))
    calls = RemoteCalls(context, AtOnce(context), IMPORT)
    results = list(calls.each(CallKind.TRANSFER, ({"n": n} for n in range(40))))
    assert [(r.values["n"], len(r.files["f"])) for r in results] == [(n, n) for n in range(40)]
    assert calls_left(context) == 0


def test_error_of_a_worker_has_its_text_and_exit_code(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OwnError(UsageError):
        """A type that another version may not know."""

    def fail(*_: object) -> CallResult:
        raise OwnError("It failed", "the reason", "Do this.")

    echo(monkeypatch, fail)
    calls = RemoteCalls(context, AtOnce(context), IMPORT)
    with pytest.raises(UsageError) as raised:
        list(calls.each(CallKind.TRANSFER, [{}, {}, {}]))
    assert str(raised.value) == "It failed: the reason. Do this."
    assert raised.value.exit_code == 2
    # Those of the command that ended are gone too.
    assert calls_left(context) == 0


def test_internal_error_ends_the_waiting_and_stays_a_failed_job(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> CallResult:
        raise RuntimeError("a fault of the program")

    echo(monkeypatch, fail)
    with context.write() as tx:
        key = worker_calls.add(tx, CallKind.TRANSFER, {})
    with pytest.raises(RuntimeError):
        answer(context, key)
    with context.read() as conn:
        state = worker_calls.state(conn, key)
    assert state is not None
    assert state.error is not None
    assert "internal error" in state.error["why"]
    assert "fault of the program" not in str(state.error)


def test_job_that_was_lost_is_deferred_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a database that was restored, or a command that died between two steps."""
    monkeypatch.setattr("certmgr.workers.calls.RECOVERY_SECONDS", 0.0)
    echo(monkeypatch, lambda _, a: CallResult(values=a))
    seen(context, IMPORT)
    queues = AtOnce(context, lost=1)
    assert RemoteCalls(context, queues, IMPORT).one(CallKind.TRANSFER, {"n": 1}).values == {"n": 1}
    assert len(queues.deferred) == 2


def test_call_that_kills_its_workers_is_given_up(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo(monkeypatch, lambda _, a: CallResult(values=a))
    with context.write() as tx:
        key = worker_calls.add(tx, CallKind.TRANSFER, {})
        for _ in range(MAX_ATTEMPTS):
            worker_calls.begin(tx, key)
    answer(context, key)
    with context.read() as conn:
        state = worker_calls.state(conn, key)
    assert state is not None
    assert state.error is not None
    assert "none finished it" in state.error["why"]


@pytest.mark.parametrize("others", [(), ("scan", "notify")])
def test_missing_worker_is_stated_with_its_command(
    context: Context,
    queues: WorkQueues,
    others: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen(context, *others)
    calls = RemoteCalls(context, queues, REPORT, patience=0.0)
    with pytest.raises(CertmgrError, match="Start certmgr worker --queues report") as raised:
        calls.one(CallKind.REPORTS, {})
    assert "queue report" in raised.value.what
    assert calls_left(context) == 0
    # Stated before the wait, which ends after two minutes.
    waiting = "no worker takes jobs of the queue report; waiting up to 0 seconds for one"
    assert [r.getMessage() for r in caplog.records] == [waiting]


def test_interrupted_command_leaves_nothing_to_do(context: Context, queues: WorkQueues) -> None:
    seen(context, REPORT)
    stop = StopState(terminated=True)
    with (
        closing(
            RemoteCalls(context, queues, REPORT, stop=stop).each(CallKind.REPORTS, [{}, {}])
        ) as (results),
        pytest.raises(KeyboardInterrupt),
    ):
        next(results)
    assert calls_left(context) == 0
    # The jobs are still in their queue. A worker finds that no command waits.
    with context.read() as conn:
        ids = conn.scalars(text("SELECT (args->>'call_id')::bigint FROM procrastinate_jobs")).all()
    assert len(ids) == 2
    for key in ids:
        answer(context, key)


def _has_worker(context: Context) -> bool:
    with context.read() as conn:
        return bool(zone_workers.live(conn, REPORT, 60))


@real_clock
def test_reports_and_a_zone_by_a_worker_have_the_output_of_one_process(
    small: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has another clock, time zone, language and section [provider]."""
    monkeypatch.setattr("certmgr.workers.spread_reports.CLIENTS_PER_CALL", 2)
    own_config = tmp_path / "command.toml"

    def certmgr(*arguments: str) -> Ran:
        # The clock stands still, because a page states the minute of its command.
        return run(["--config", str(own_config), *arguments], frozen)

    with small.context() as context, context.write() as tx:
        for number in range(4):
            clients.add(tx, {"number": f"2{number:03}", "name": f"Client {number}"})
            domains.add(tx, f"site{number}.example", {"client": f"2{number:03}"})
    with named(tmp_path / "bind", "rosen.example") as server:
        server.add("www.rosen.example", "A", "192.0.2.1")
        solver = (
            f'[acme.solver.ns1]\nkind = "rfc2136"\nserver = "{server.server}"\n'
            f'tsig_name = "{server.key_name}"\ntsig_secret = "{server.secret}"\n'
        )
        small.config.write_text(small.config.read_text() + solver)
        own_config.write_text(
            small.config.read_text()
            + '[provider]\nname = "Example Hosting"\ntime_zone = "Pacific/Auckland"\n'
            + 'language = "de"\n'
        )
        with monkeypatch.context() as environment:
            environment.setenv("TZ", "America/Los_Angeles")
            environment.setenv("LC_ALL", "fr_FR.UTF-8")
            small.start("--queues", "report,import")
        # Without a worker, a command states that it waits for one.
        with small.context() as context:
            wait_until(lambda: _has_worker(context), "the worker has started")
        written: dict[str, dict[str, bytes]] = {}
        printed = []
        folder = tmp_path / "out"
        for place in (("--here",), ()):
            shutil.rmtree(folder, ignore_errors=True)
            for output_format in ("html", "badge"):
                ran = certmgr(
                    "report", "--all", "--output", str(folder), "--format", output_format, *place
                )
                printed.append((ran.code, ran.out, ran.err))
                files = {p.name: p.read_bytes() for p in folder.iterdir()}
                written[f"{output_format}{place}"] = files
            for source in ("axfr:rosen.example@ns1", "axfr:absent.example@ns1", "axfr:x@other"):
                ran = certmgr("import", source, "--client", "1001", "--dry-run", *place)
                printed.append((ran.code, ran.out, ran.err))
    half = len(printed) // 2
    assert printed[:half] == printed[half:]
    assert [code for code, _, _ in printed[:half]] == [0, 0, 0, 3, 2]
    for output_format in ("html", "badge"):
        here, there = written[f"{output_format}('--here',)"], written[f"{output_format}()"]
        assert here == there
        assert len(here) > 5
    page = written["html()"]["client-2001.html"]
    assert b'lang="de"' in page
    assert b"23:00" in page


def test_worker_with_other_trust_data_renders_nothing(small: Fleet, context: Context) -> None:
    """Its reports would judge by other roots than those of the machine of the command."""
    store = str(small.config.parent / "root.pem")
    other = replace(context.settings, trust=replace(context.settings.trust, store=store))
    queues = AtOnce(replace(context, settings=other))
    reports = SpreadReports(context, queues, ReportOptions("html"), StopState())
    with pytest.raises(ConfigError, match="Install the same version of certmgr"):
        list(reports.render(["1001"]))
    assert calls_left(context) == 0
