"""Measures of cases by month."""

from __future__ import annotations

from datetime import UTC, timedelta

from certmgr.cases.statistics import measures
from certmgr.demo.authority import Authority
from inventory.store import cases
from tests.certmgr.cases.place import OTHER_HOST, START, Place


def test_measures_of_a_month_count_its_cases_and_their_hours(
    place: Place, issuer: Authority
) -> None:
    reference, leaf = place.ready(issuer)
    place.pass_(hours=48)
    place.desk.installed(reference, "x")
    place.pass_(hours=2)
    place.desk_seeing(leaf).verify(reference)
    place.desk.open("1002", [OTHER_HOST])
    place.now = START + timedelta(days=40)
    with place.database.read() as conn:
        found = measures(cases.listing(conn), cases.events_of(conn), place.now, UTC)
    months = {m.month: m for m in found}
    november, january = months["2026-11"], months["2027-01"]
    assert (november.opened, november.closed, november.resolve) == (2, 1, 50.0)
    assert november.states["checked"] == 48.0
    assert january.overdue == {"provider": 1}
