"""Solvers from [acme.solver.NAME]."""

from __future__ import annotations

import threading
from functools import partial

from certmgr.acme.challenges.interface import Solver, SolverTools
from certmgr.acme.challenges.kinds import kind_of
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from inventory.clock import Clock, system_clock
from inventory.errors import UsageError
from inventory.text import printable


class Solvers:
    """The configured solvers.

    Each is created once, so that parallel orders share its listening server.
    """

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock
        self._solvers: dict[str, Solver] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Solver:
        """Return the solver of a name.

        Raises:
            UsageError: The configuration has no solver of this name.
        """
        with self._lock:
            if name not in self._solvers:
                settings = find(self._settings, name)
                tools = SolverTools(partial(new_dns_client, self._settings), self._clock)
                self._solvers[name] = kind_of(settings).make(settings, tools)
            return self._solvers[name]


def new_dns_client(settings: Settings) -> DnsClient:
    """Return a new DNS client with an empty cache."""
    return DnsClient.of(settings)


def find(settings: Settings, name: str) -> SolverSettings:
    """Return the settings of a solver.

    Raises:
        UsageError: The configuration has no solver of this name.
    """
    solver = settings.acme.solvers.get(name)
    if solver is None:
        known = ", ".join(sorted(settings.acme.solvers)) or "none"
        raise UsageError(
            f"There is no solver '{printable(name, 60)}'",
            f"the configuration has {known}",
            f"Write [acme.solver.{printable(name, 40) or 'web'}] with its kind.",
        )
    return solver
