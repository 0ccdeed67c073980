"""Tests of ``certmgr notify``: held notices, and failures in which no notice is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

from inventory.db.database import sqlite_module
from tests.certmgr.installation import ADA, EVE, Installation
from tests.servers.real import dns


def test_failing_name_server_makes_a_suspect_run_and_holds_client_notices(
    installation: Installation,
) -> None:
    """If a run is suspect, staff are notified once a day, and clients are not."""
    run, mail = installation.run, installation.mail
    names = [f"d{n}.example.test" for n in range(8)]
    installation.add_endpoints(*names, port=installation.site.port, addresses=())
    answers: dict[str, str | list[str]] = {name: ["127.0.0.1"] for name in names}
    with dns(answers) as resolver:
        installation.resolver = resolver
        run("scan", expect=None)
        run("notify")
        installation.release_all()
        answers |= dict.fromkeys(names, "SERVFAIL")
        assert "suspect" in run("scan", expect=3).err
        done = run("notify", expect=3)
        assert "client messages are held: the last run" in done.err
        assert mail.to(ADA) == []
        for _ in range(2):
            assert len([m for m in mail.to(EVE) if "messages are held" in m.subject]) == 1
            run("notify", expect=3)


def test_locked_database_is_reported_and_no_notice_lost(due_installation: Installation) -> None:
    run, mail = due_installation.run, due_installation.mail
    database = sqlite_module().connect(due_installation.database, isolation_level=None)
    with closing(database) as lock_holder:
        lock_holder.execute("BEGIN IMMEDIATE")
        done = run("notify", expect=3, CERTMGR_DATABASE_LOCK_TIMEOUT="0.5")
        assert "cannot be used" in done.err
        assert "locked" in done.err
        lock_holder.execute("ROLLBACK")
    assert mail.received == []
    run("notify")
    assert len(mail.to(ADA)) == 1


def test_full_disk_is_reported_and_no_notice_lost(due_installation: Installation) -> None:
    """A file size limit makes SQLite fail as on a full disk."""
    program = (
        "import resource, runpy, sys;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY));"
        " sys.argv[0] = 'certmgr'; runpy.run_module('certmgr', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *due_installation.options, "notify"],
        capture_output=True,
        text=True,
        # The data of a measurement (make coverage) could not be written either.
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
        | due_installation.environment,
    )
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert due_installation.mail.received == []
    assert "follow each other" in due_installation.run("audit", "verify").out
    due_installation.run("notify")
    assert len(due_installation.mail.to(ADA)) == 1
