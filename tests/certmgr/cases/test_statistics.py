"""Monthly statistics of cases."""

from __future__ import annotations

from datetime import UTC, timedelta

from certmgr.cases import installation, new_case
from certmgr.cases.states import CaseAction
from certmgr.cases.statistics import monthly_statistics
from certmgr.demo.authority import Authority
from inventory.store import cases
from tests.certmgr.cases.place import OTHER_HOST, START, CaseEnvironment


def test_reopened_case_counts_once_and_without_the_time_in_which_it_was_closed(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    env.pass_(hours=5)
    for hours in (0, 3):
        installation.mark_installed(env.service, reference, "x")
        env.pass_(hours=hours)
        installation.verify_case(env.service_seeing(leaf), reference)
        env.pass_(days=90)
        env.service.end(reference, CaseAction.REOPEN, "the old certificate is back")
    for _ in range(2):
        env.service.end(reference, CaseAction.CANCEL, "moved")
        env.service.end(reference, CaseAction.REOPEN, "moved back")
    with env.database.read() as conn:
        found = monthly_statistics(cases.listing(conn), cases.events_of(conn), env.now, UTC)
    assert [(m.month, m.opened, m.closed, m.ended, m.reopened, m.resolve) for m in found] == [
        ("2027-05", 0, 0, 1, 3, None),
        ("2027-02", 0, 0, 0, 1, 3.0),
        ("2026-11", 1, 1, 0, 0, 5.0),
    ]
    assert not {"closed", "cancelled"} & {s for m in found for s in m.states}


def test_statistics_of_a_month_count_its_cases_and_their_hours(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    env.pass_(hours=48)
    installation.mark_installed(env.service, reference, "x")
    env.pass_(hours=2)
    installation.verify_case(env.service_seeing(leaf), reference)
    new_case.open_case(env.service, "1002", [OTHER_HOST])
    env.now = START + timedelta(days=40)
    with env.database.read() as conn:
        found = monthly_statistics(cases.listing(conn), cases.events_of(conn), env.now, UTC)
    months = {m.month: m for m in found}
    november, january = months["2026-11"], months["2027-01"]
    assert (november.opened, november.closed, november.resolve) == (2, 1, 50.0)
    assert november.states["checked"] == 48.0
    assert january.overdue == {"provider": 1}
