"""http-01 by files in one directory, to which web servers map the challenge's path of all sites."""

from __future__ import annotations

from certmgr.acme.challenges.interface import HTTP_01, WELL_KNOWN, Solver, SolverKind, SolverTools
from certmgr.acme.challenges.solvers.webroot import WebRoot
from certmgr.config.acme import SolverSettings


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return WebRoot(settings.path, alias=True)


def _snippet(settings: SolverSettings, server: str) -> str:
    # nginx replaces the matched prefix literally: without the slash at the end it would look in
    # another folder.
    folder = settings.path.rstrip("/") + "/"
    if server == "nginx":
        return (
            f"location ^~ {WELL_KNOWN} {{\n    alias {folder};\n    default_type"
            " application/octet-stream;\n}\n"
        )
    return (
        f'Alias "{WELL_KNOWN}" "{folder}"\n<Directory "{folder}">\n    Options None\n   '
        " AllowOverride None\n    Require all granted\n</Directory>\n"
    )


SOLVER = SolverKind(
    name="alias",
    challenges=(HTTP_01,),
    make=_make,
    needs=("path",),
    snippet=_snippet,
    summary="`path`: one directory for all sites, and a snippet in the web server. Recommended",
)
