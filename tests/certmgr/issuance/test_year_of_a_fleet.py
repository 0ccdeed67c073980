"""A year of a fleet, a run every day and a half, with a moved clock and a CA that has the same one: never without a certificate, never a needless order."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.config import Settings
from certmgr.issuance.renewing import Fleet
from certmgr.issuance.revoking import REASONS
from inventory.database import from_epoch, open_database
from inventory.store import endpoints, lineages
from inventory.targets import Target
from tests.certmgr.issuance.inprocess import Ca, running
from tests.certmgr.issuance.shop import Shop, shop

START = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> list[datetime]:
    return [START]


def place_at(settings: Settings, tmp_path: Path, ca: Ca, clock: list[datetime], per_domain: str = "") -> Shop:
    database = open_database(str(tmp_path / "year.db"), actor="tester")
    made = shop(database, settings, tmp_path, ca.directory, ca.ca_file, per_domain=per_domain)
    made.given = {"clock": lambda: clock[0], "wait": lambda _: None}
    return made


def fleet_of(place: Shop, count: int) -> list[int]:
    names = [f"site{i}.shop{i % 5}.test" for i in range(count)]
    place.client("1001", *names)
    with place.database.write() as tx:
        for name in names:
            endpoints.retire(tx, Target(name))
    place.register()
    return [place.lineage("1001", [n]) for n in names]


@pytest.mark.parametrize("ari", [True, False])
def test_a_year(settings: Settings, tmp_path: Path, opened: ExitStack, clock: list[datetime], ari: bool) -> None:
    life = timedelta(days=45)
    ca = opened.enter_context(running(Ca(lambda: clock[0], life, ari), tmp_path / "ca"))
    place = place_at(settings, tmp_path, ca, clock)
    ids = fleet_of(place, 3)
    step, failed, office = timedelta(hours=36), 0, place.office
    while clock[0] < START + timedelta(days=365):
        summary = Fleet(office).due()
        failed += summary.failed
        for lineage in ids:
            row = place.row(lineage)
            end = from_epoch(row["not_after"])
            assert end is not None and end > clock[0] + life / 4, (
                f"{row['name']} had {end - clock[0] if end else None} left at {clock[0]}"
            )
        clock[0] += step
    assert failed == 0
    # Renewed at two thirds of 45 days: every 30 days, so 12 or 13 certificates each.
    each = [sum(p["identifiers"][0]["value"] == place.row(i)["name"] for _, p in ca.orders) for i in ids]
    assert all(12 <= n <= 13 for n in each), each
    assert sum("replaces" in p for _, p in ca.orders) == (len(ca.orders) - len(ids) if ari else 0)


def test_a_year_within_a_limit_that_is_too_small_for_the_first_day(
    settings: Settings, tmp_path: Path, opened: ExitStack, clock: list[datetime]
) -> None:
    """Twelve names of one domain, and a CA that gives five a week and knows no ARI: the ledger puts the others off, and the CA never has to say no."""
    ca = Ca(lambda: clock[0], timedelta(days=90), ari=False, limit=5)
    opened.enter_context(running(ca, tmp_path / "ca"))
    place = place_at(settings, tmp_path, ca, clock, per_domain="5/7d")
    names = [f"h{i}.shop.test" for i in range(12)]
    place.client("1001", *names)
    with place.database.write() as tx:
        for name in names:
            endpoints.retire(tx, Target(name))
    place.register()
    for name in names:
        place.lineage("1001", [name])
    have, office = [], place.office
    for _ in range(30):
        summary = Fleet(office).due()
        assert not summary.failed, summary
        with place.database.read() as conn:
            have.append(sum(r["sha256"] is not None for r in lineages.listing(conn)))
        clock[0] += timedelta(days=1)
    assert have[0] == 5 and have[7] == 10 and have[14] == 12
    assert ca.refused == 0


def test_away_for_a_month_and_back(settings: Settings, tmp_path: Path, opened: ExitStack, clock: list[datetime]) -> None:
    """Cron did not run for the last third of a life: what has ended is renewed first, and nothing is skipped."""
    ca = opened.enter_context(running(Ca(lambda: clock[0], timedelta(days=45)), tmp_path / "ca"))
    place = place_at(settings, tmp_path, ca, clock)
    ids = fleet_of(place, 3)
    Fleet(place.office).due()
    clock[0] += timedelta(days=60)
    summary = Fleet(place.office).due()
    assert summary.planned == 3 and not summary.failed, summary
    for lineage in ids:
        end = from_epoch(place.row(lineage)["not_after"])
        assert end is not None and end > clock[0]


def test_the_reasons_are_those_of_rfc_5280() -> None:
    assert REASONS == {"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5}
