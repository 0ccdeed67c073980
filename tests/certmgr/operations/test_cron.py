"""``certmgr run``: scheduled work without output if all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.operations import cron
from inventory.store import jobs
from tests.certmgr.installation import SHOP, Installation
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


def test_internal_error_in_one_part_does_not_stop_the_others(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    database = open_sqlite(tmp_path / "run.db")
    monkeypatch.setattr(cron, "_scan", fail)
    with pytest.raises(ZeroDivisionError):
        cron.run(Context(database, settings, database.clock))
    with database.read() as conn:
        states = jobs.every(conn)
    database.close()
    assert states["notify"].success_at is not None
    assert states["run"].success_at is None
    error = states["run"].error or ""
    assert "scan: an internal error of certmgr" in error and "ZeroDivisionError" not in error
