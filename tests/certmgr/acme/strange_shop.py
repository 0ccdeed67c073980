"""A lineage at a strange CA, on a clock that waits move."""

from __future__ import annotations

from certmgr.acme.results import IssueResult, IssueState
from inventory.db.database import from_epoch
from tests.certmgr.acme.renewal.test_year_of_a_fleet import Calendar, add_lineages
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.acme.strange_ca import Fault, StrangeCa

NAME = "site.shop.test"


class Shop:
    """A lineage at a strange CA. Waits move the clock."""

    def __init__(self, env: AcmeEnvironment, ca: StrangeCa, clock: Calendar) -> None:
        self.env, self.ca, self.clock = env, ca, clock
        env.given = {"wait": lambda seconds: clock.advance(seconds=seconds)}
        (self.lineage,) = add_lineages(env, [NAME])
        ca.asked.clear()

    def order(self, **faults: list[Fault | None]) -> IssueResult:
        self.ca.faults |= faults
        return self.env.order(self.lineage)

    def until_issued(self, runs: int = 6) -> list[IssueState]:
        """Run at each time of the next attempt, and return how the runs ended."""
        states = []
        for _ in range(runs):
            states.append(self.env.order(self.lineage).state)
            if states[-1] is IssueState.ISSUED:
                return states
            next_at = from_epoch(self.env.row(self.lineage).next_at)
            assert next_at is not None
            self.clock.now = max(self.clock(), next_at)
        raise AssertionError(states)

    @property
    def placed(self) -> int:
        return len(self.ca.orders)
