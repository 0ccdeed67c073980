"""The result of one check of the set-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """How serious a result is."""

    # A state that is not known is a warning: an administrator has to find out, and nothing is
    # proven to be wrong.
    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One result of a check.

    Attributes:
        check: The name of the check.
        state: How serious it is.
        what: What was found.
        todo: What the administrator should do; empty for ok.
    """

    check: str
    state: CheckState
    what: str
    todo: str = ""


Check = Callable[[], Iterator[CheckResult]]
