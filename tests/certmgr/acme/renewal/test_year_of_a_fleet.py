"""A simulated year of renewals, on one clock for the lineages and their CA.

No certificate comes close to expiry, and none is ordered without need.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.settings import Settings
from inventory.db.database import from_epoch
from inventory.store import lineages
from tests.campaign import Campaign
from tests.certmgr.acme.inprocess import Ca, running
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.databases import open_sqlite

START = datetime(2027, 1, 1, tzinfo=UTC)


class Calendar:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


def environment_at(
    settings: Settings,
    folder: Path,
    ca: Ca,
    clock: Calendar,
    opened: ExitStack,
    per_domain: str = "",
) -> AcmeEnvironment:
    """An inventory with an account at ``ca``."""
    database = open_sqlite(folder / "year.db", clock=clock)
    opened.callback(database.close)
    made = make_environment(
        database, settings, folder, ca.directory, ca.ca_file, per_domain=per_domain
    )
    made.given = {"wait": lambda _: None}
    made.register()
    return made


def add_lineages(env: AcmeEnvironment, names: list[str]) -> list[int]:
    """Add a lineage for each name. No certificate is expected to be served."""
    env.client("1001", *names)
    env.unwatch(*names)
    return [env.lineage("1001", [n]) for n in names]


@pytest.mark.campaign
@pytest.mark.parametrize("ari", [True, False], ids=["ari", "no ari"])
def test_certificates_of_45_days_are_always_renewed_in_time(
    settings: Settings,
    tmp_path: Path,
    opened: ExitStack,
    clock: Calendar,
    campaign: Campaign,
    ari: bool,
) -> None:
    count, hours = (
        campaign.size("lineages", 2 if ari else 1, 3),
        campaign.size("hours between runs", 88, 36),
    )
    days = campaign.size("days", 130, 365)
    life = timedelta(days=45)
    ca = opened.enter_context(running(Ca(clock, life, ari), tmp_path / "ca"))
    env = environment_at(settings, tmp_path, ca, clock, opened)
    ids = add_lineages(env, [f"site{i}.shop{i % 5}.test" for i in range(count)])
    context, failed = env.context, 0
    while clock() < START + timedelta(days=days):
        summary = RenewalRunner(context).run_due()
        failed += summary.failed
        for lineage in ids:
            row = env.row(lineage)
            end = from_epoch(row.not_after)
            left = end - clock() if end is not None else None
            assert left is not None and left > life / 4, f"{row.name} had {left} left at {clock()}"
        clock.advance(hours=hours)
    assert failed == 0
    # Renewed at two thirds of 45 days: every 30 days, so 12 or 13 certificates each in a year.
    names = [p["identifiers"][0]["value"] for _, p in ca.orders]
    each = [names.count(env.row(i).name) for i in ids]
    assert all(days // 30 <= n <= days // 30 + 1 for n in each), each
    assert sum("replaces" in p for _, p in ca.orders) == (len(ca.orders) - len(ids) if ari else 0)


def test_certificate_of_160_hours_is_renewed_at_half_of_its_life(
    settings: Settings, tmp_path: Path, opened: ExitStack, clock: Calendar
) -> None:
    """The profile "shortlived" of Let's Encrypt. Runs are late, and the certificate never ends."""
    life = timedelta(hours=160)
    ca = opened.enter_context(running(Ca(clock, life, ari=False), tmp_path / "ca"))
    env = environment_at(settings, tmp_path, ca, clock, opened)
    (lineage,) = add_lineages(env, ["shop.test"])
    for _ in range(4):
        assert RenewalRunner(env.context).run_due().failed == 0
        end = from_epoch(env.row(lineage).not_after)
        assert end is not None and end - clock() > life / 3
        clock.advance(hours=40)
    ordered = [at for at, _ in ca.orders]
    between = [later - earlier for earlier, later in pairwise(ordered)]
    assert between == [timedelta(hours=80)]


@pytest.mark.campaign
def test_orders_over_a_limit_are_postponed_and_never_refused(
    settings: Settings, tmp_path: Path, opened: ExitStack, clock: Calendar, campaign: Campaign
) -> None:
    """A CA without ARI allows fewer names of one domain per week: the ledger delays the rest."""
    count = campaign.size("names of one domain", 5, 12)
    limit, days = campaign.size("certificates a week", 2, 5), campaign.size("days", 16, 30)
    ca = Ca(clock, timedelta(days=90), ari=False, limit=limit)
    opened.enter_context(running(ca, tmp_path / "ca"))
    env = environment_at(settings, tmp_path, ca, clock, opened, per_domain=f"{limit}/7d")
    add_lineages(env, [f"h{i}.shop.test" for i in range(count)])
    have, context = [], env.context
    for _ in range(days):
        summary = RenewalRunner(context).run_due()
        assert not summary.failed, summary
        with env.database.read() as conn:
            have.append(sum(r.sha256 is not None for r in lineages.listing(conn)))
        clock.advance(days=1)
    assert have[0] == limit and have[7] == 2 * limit and have[14] == count
    assert ca.refused == 0


def test_certificates_that_ended_while_no_run_took_place_are_all_renewed(
    settings: Settings, tmp_path: Path, opened: ExitStack, clock: Calendar
) -> None:
    ca = opened.enter_context(running(Ca(clock, timedelta(days=45)), tmp_path / "ca"))
    env = environment_at(settings, tmp_path, ca, clock, opened)
    ids = add_lineages(env, [f"site{i}.shop{i % 5}.test" for i in range(3)])
    RenewalRunner(env.context).run_due()
    clock.advance(days=60)
    summary = RenewalRunner(env.context).run_due()
    assert summary.planned == 3 and not summary.failed, summary
    for lineage in ids:
        end = from_epoch(env.row(lineage).not_after)
        assert end is not None and end > clock()
