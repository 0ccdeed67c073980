"""dns-persist-01: a record that the client adds once. The solver checks it and changes nothing."""

from __future__ import annotations

from certmgr.acme.challenges.interface import Solver, SolverKind, SolverTools
from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.challenges.persisted import Persisted
from certmgr.config.acme import SolverSettings


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return Persisted(tools.create_dns_client, tools.clock)


SOLVER = SolverKind(
    name="persist",
    challenges=(CHALLENGE,),
    make=_make,
    summary="nothing: the client adds a record once (`certmgr solver record`)",
)
