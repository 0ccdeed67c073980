"""The result of a scan run, as commands report it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Above this share of undetermined endpoints, a run does not count as a check of the inventory.
UNDETERMINED_PERCENT = 20.0


@dataclass(slots=True)
class ScanSummary:
    """The result of a run.

    Attributes:
        state: complete, incomplete or suspect.
        reason: Why it is not complete.
        planned: The number of endpoints of the run. For a resumed one, those that it had checked
            and that are still active, and those that were left.
        checked: The number of endpoints that gave a result.
        undetermined: Those of which it is unknown what they serve.
        opened: Findings that were opened.
        closed: Findings that were closed.
        no_route: The IP versions to which this machine has no route.
        resumed: The number of endpoints that the run had checked before it was interrupted.
        not_resumed: Why an interrupted run was not taken up, although that was asked for; empty: it
            was, or there was none.
        interrupted: Whether it ended by Ctrl-C, SIGTERM or a time budget.
        notes: What it left out although it is complete, such as zones without workers.
    """

    run_id: int
    state: str
    reason: str | None
    planned: int
    checked: int
    undetermined: int
    opened: int
    closed: int
    started_at: datetime
    finished_at: datetime
    seconds: float
    no_route: frozenset[int] = frozenset()
    resumed: int = 0
    not_resumed: str = ""
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def too_undetermined(self) -> bool:
        """Whether the share of undetermined endpoints is above the limit."""
        return self.checked > 0 and 100.0 * self.undetermined / self.checked > UNDETERMINED_PERCENT
