"""Which certificates end without a known replacement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certmgr.dashboard.certificates import losing_cover, weeks_ahead
from certmgr.dashboard.facts import DashboardInput
from certmgr.inspection.status import EndpointStatus
from certmgr.renewers.renewer import RenewalFacts
from inventory.targets import Target
from inventory.vocabulary import Verdict
from notifiers.wording.catalogue import ENGLISH

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def _served(life: timedelta, left: timedelta) -> DashboardInput:
    """One certificate, of whose renewal nothing is recorded or was seen."""
    end = int((NOW + left).timestamp())
    status = EndpointStatus(
        id=1,
        target=Target("shop.example.com"),
        client="1001",
        client_id=1,
        server=None,
        leaf="aa",
        not_after=end,
        issuer="CA",
        last_attempt=end,
        last_good=end,
        error=None,
        verdict=Verdict.OK,
    )
    return DashboardInput(
        language=ENGLISH,
        as_of=NOW,
        provider="Provider",
        statuses=[status],
        rows=(),
        deadlines=(),
        history=(),
        client_names={"1001": "Client"},
        renewers=RenewalFacts(NOW),
        starts={"aa": end - int(life.total_seconds())},
    )


@pytest.mark.parametrize(
    ("life", "left", "listed"),
    [
        # People cannot renew every few days, so an automation that was not seen yet does.
        (timedelta(days=6), timedelta(days=5), False),
        (timedelta(days=6), timedelta(days=2), False),
        # It is late, or gone.
        (timedelta(days=6), timedelta(days=1), True),
        (timedelta(days=6), -timedelta(hours=1), True),
        (timedelta(days=90), timedelta(days=25), True),
    ],
)
def test_short_lived_certificate_is_listed_only_if_its_automation_is_late(
    life: timedelta, left: timedelta, *, listed: bool
) -> None:
    facts = _served(life, left)
    rows, _ = losing_cover(facts)
    assert [row.names for row in rows] == [("shop.example.com",)] * listed
    # The weeks ahead count it in the same way.
    if left > timedelta(0):
        assert sum(week.by_hand for week in weeks_ahead(facts, 10)) == listed
