"""Snippets for web servers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from certmgr.acme.challenges.build import snippet
from certmgr.config.acme import SolverSettings
from inventory.errors import UsageError
from tests.servers.ports import free_port
from tests.servers.real import program


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
