"""The periodic run: it opens due cases, verifies waiting ones, and reopens closed ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certmgr.cases import agreement
from certmgr.cases.opening import run
from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.inspection.verification import Observation
from certmgr.operations.cron import run as cron
from inventory.errors import CertmgrError
from inventory.vocabulary import Finding
from tests.certmgr.cases.place import (
    HOST,
    OTHER_HOST,
    CaseEnvironment,
    add_purchase,
    prober_showing,
    serve,
    sha256,
)

DAY = timedelta(days=1)


def test_case_whose_window_is_over_is_verified_despite_an_error_of_another(
    env: CaseEnvironment, issuer: Authority
) -> None:
    first, _ = env.ready(issuer)
    second, leaf = env.ready(issuer, OTHER_HOST, client="1002")
    for reference in (first, second):
        agreement.agree_window(env.service, reference, "2026-11-26T10:00", text="agreed by mail")
    env.pass_(days=2)

    def probe(settings: Any, targets: Any, overrides: Any) -> list[Observation]:
        if targets[0].target.host == HOST:
            raise CertmgrError("The resolver does not answer")
        return prober_showing(leaf)(settings, targets, overrides)

    done = run(replace(env.service, prober=probe))
    assert done.closed == [second]
    assert len(done.problems) == 1
    assert first in done.problems[0]


def test_case_is_reopened_once_after_a_scan_saw_the_old_certificate(
    env: CaseEnvironment, issuer: Authority
) -> None:
    end = env.now + 10 * DAY
    old = issuer.issue(HOST, not_before=env.now - 80 * DAY, not_after=end)
    serve(env.database, HOST, old, env.now)
    reference, _ = env.closed(issuer)
    assert run(env.service).reopened == []
    env.pass_(days=3)
    evidence = {"serial": "1", "sha256": [sha256(old)], "issuer": "x"}
    finding = Finding("unexpected-certificate", "high", ("192.0.2.1",), evidence, "staff")
    serve(env.database, HOST, old, env.now, findings=[finding])
    assert run(env.service).reopened == [reference]
    row = env.row(reference)
    assert (row.state, row.closed_at) == ("reopened", None)
    assert run(env.service).reopened == [], "once"


def test_cron_run_opens_what_is_due(env: CaseEnvironment) -> None:
    add_purchase(env, "1001", "1", HOST, begun=None)
    done = cron(Context(env.database, env.settings, env.database.clock), scan=False)
    assert "1 case(s) opened, 0 closed, 0 reopened" in done.messages
    assert not [p for p in done.problems if p.startswith("cases")]
