"""The kinds of solvers: each is one file, which states what its settings require."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certmgr.acme.challenges import solvers
from certmgr.acme.challenges.interface import SolverKind, SolverTools
from certmgr.acme.challenges.kinds import challenge_of, check_solvers, kind_of, kinds, snippet
from certmgr.config.acme import AcmeSettings, SolverSettings
from certmgr.net.dns import DnsClient
from inventory.clock import system_clock
from inventory.errors import ConfigError, UsageError
from inventory.registry import declared
from tests.additions import added_module
from tests.program import Ran
from tests.servers.ports import free_port
from tests.servers.real import program
from tools.doc_tables import with_tables


def test_snippets_are_accepted_by_nginx_and_apache(tmp_path: Path) -> None:
    alias, inside = (
        SolverSettings(kind="alias", path="/srv/acme"),
        SolverSettings(kind="standalone", port=8402),
    )
    for number, own in enumerate((alias, inside)):
        config = tmp_path / f"nginx{number}.conf"
        config.write_text(
            f"pid {tmp_path}/pid; error_log {tmp_path}/e;\nevents {{}}\nhttp {{ access_log off;"
            f" server {{ listen 127.0.0.1:{free_port()}; {snippet(own, 'nginx')} }} }}"
        )
        done = subprocess.run(
            [program("nginx", "nginx-light"), "-t", "-e", str(tmp_path / "e"), "-c", str(config)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        modules = "/usr/lib/apache2/modules"
        load = "".join(
            f"LoadModule {m}_module {modules}/mod_{m}.so\n"
            for m in ("mpm_event", "authz_core", "alias", "proxy", "proxy_http")
        )
        apache = tmp_path / f"apache{number}.conf"
        apache.write_text(
            f"ServerRoot {tmp_path}\nServerName x.test\nPidFile {tmp_path}/apid\nErrorLog"
            f" {tmp_path}/ae\nListen 127.0.0.1:{free_port()}\n{load}{snippet(own, 'apache')}"
        )
        done = subprocess.run(
            [program("apache2", "apache2-bin"), "-t", "-f", str(apache)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    with pytest.raises(UsageError, match="needs nothing"):
        snippet(SolverSettings(kind="webroot", path="/srv"), "nginx")


def test_each_kind_is_the_name_of_its_module() -> None:
    assert tuple(kind.name for kind in declared(solvers, "SOLVER", SolverKind)) == kinds()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (SolverSettings(kind="webrot", path="/srv"), "must be one of alias, hook, lexicon"),
        (SolverSettings(), "must be one of"),
        (SolverSettings(kind="webroot"), "lacks path: kind webroot requires it"),
        (SolverSettings(kind="rfc2136", server="192.0.2.1"), "lacks tsig_name, tsig_secret"),
        (
            SolverSettings(kind="hook", command=("/bin/true",), challenge="tls-alpn-01"),
            "kind hook supports dns-01 or http-01",
        ),
    ],
)
def test_invalid_solver_is_refused_with_what_is_valid(
    settings: SolverSettings, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        check_solvers(AcmeSettings(solvers={"web": settings}))
    assert "[acme.solver.web]" in str(refused.value)


def test_invalid_solver_is_reported_by_any_command(
    certmgr: Callable[..., Ran], tmp_path: Path
) -> None:
    config = tmp_path / "certmgr.toml"
    config.write_text('[acme.solver.web]\nkind = "webroot"\n')
    done = certmgr("--config", str(config), "client", "list")
    assert done.code == 2
    assert "[acme.solver.web] lacks path" in done.err


PIGEON = """
    from certmgr.acme.challenges.interface import SolverKind

    SOLVER = SolverKind(
        name="carrier-pigeon",
        challenges=("dns-01",),
        make=lambda settings, tools: f"{settings.path} {tools.clock}",
        needs=("path",),
        summary="a loft",
    )
"""


@pytest.fixture
def pigeon(tmp_path: Path) -> Iterator[None]:
    """A further kind, whose module is in another folder."""
    kinds.cache_clear()
    with added_module(tmp_path, solvers, "carrier_pigeon", PIGEON):
        yield
    kinds.cache_clear()


@pytest.mark.usefixtures("pigeon")
def test_new_kind_is_checked_made_and_documented() -> None:
    settings = SolverSettings(kind="carrier-pigeon", path="/loft")
    check_solvers(AcmeSettings(solvers={"bird": settings}))
    tools = SolverTools(DnsClient, system_clock)
    assert str(kind_of(settings).make(settings, tools)) == f"/loft {system_clock}"
    assert challenge_of(settings) == "dns-01"
    with pytest.raises(ConfigError, match="lacks path"):
        check_solvers(AcmeSettings(solvers={"bird": SolverSettings(kind="carrier-pigeon")}))
    assert "| `carrier-pigeon` | dns-01 | a loft |" in with_tables("acme.md")
