"""The kinds of solvers and the check of their settings.

Every command reads the configuration, and most need no solver. A kind is therefore found by the
name of its module, and only the modules of configured kinds are imported.
"""

from __future__ import annotations

from functools import cache

from certmgr.acme.challenges import solvers
from certmgr.acme.challenges.interface import SolverKind
from certmgr.config.acme import AcmeSettings, SolverSettings
from inventory.errors import ConfigError, UsageError
from inventory.registry import declaration, module_names
from inventory.text import printable


@cache
def kinds() -> tuple[str, ...]:
    """Return the kinds of solvers."""
    return tuple(name.replace("_", "-") for name in module_names(solvers))


def kind_of(settings: SolverSettings, where: str = "The solver") -> SolverKind:
    """Return the kind of a solver.

    Args:
        settings: The settings of the solver.
        where: Names the solver in the error.

    Raises:
        ConfigError: There is no such kind.
    """
    if settings.kind not in kinds():
        raise ConfigError(
            f"{where} kind is '{printable(settings.kind, 60)}'",
            f"it must be one of {', '.join(kinds())}",
        )
    return _declared(settings.kind)


@cache
def _declared(kind: str) -> SolverKind:
    return declaration(solvers, kind.replace("-", "_"), "SOLVER", SolverKind)


def check_solvers(acme: AcmeSettings) -> None:
    """Check the kind of each solver and what it requires, also of those that no lineage uses.

    Raises:
        ConfigError: A solver is invalid.
    """
    for name, settings in acme.solvers.items():
        where = f"[acme.solver.{name}]"
        kind = kind_of(settings, where)
        if missing := [key for key in kind.needs if not getattr(settings, key)]:
            raise ConfigError(
                f"{where} lacks {', '.join(missing)}", f"kind {settings.kind} requires it"
            )
        if len(kind.challenges) > 1 and settings.challenge not in kind.challenges:
            raise ConfigError(
                f"{where} challenge is '{printable(settings.challenge, 60)}'",
                f"kind {settings.kind} supports {' or '.join(kind.challenges)}",
            )


def challenge_of(settings: SolverSettings) -> str:
    """Return the challenge type of a solver: http-01, dns-01, tls-alpn-01 or dns-persist-01."""
    challenges = kind_of(settings).challenges
    return settings.challenge if len(challenges) > 1 else challenges[0]


def snippet(settings: SolverSettings, server: str) -> str:
    """Return the configuration for nginx or Apache that exposes the answers of a solver.

    Raises:
        UsageError: The solver needs no configuration of the web server.
    """
    make_snippet = kind_of(settings).snippet
    text = make_snippet(settings, server) if make_snippet is not None else ""
    if not text:
        raise UsageError(
            "This solver needs nothing in the configuration of a web server",
            f"its kind is {settings.kind}",
            "Only an alias directory, or a standalone server on an internal port, needs a snippet.",
        )
    return text
