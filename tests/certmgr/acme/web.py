"""nginx with the site of a lineage.

It passes challenges on to the solver and serves the live directory, and a target reloads it.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from certmgr.config.acme import SolverSettings, TargetSettings
from certmgr.demo.authority import Authority
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.servers.pebble import Pebble
from tests.servers.ports import held_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program, write_pair

RELOAD = """#!/bin/sh
set -e
pid=$(cat {pid})
old=$(cat /proc/$pid/task/$pid/children)
{nginx} -s reload
for worker in $old; do while kill -0 $worker 2>/dev/null; do sleep 0.02; done; done
"""


@dataclass
class Nginx:
    """A running nginx.

    Attributes:
        folder: Its directory.
        port: Its HTTPS port.
        http_port: The port on which it passes challenges on; 0 if it does not.
        target: The settings for [acme.target].
        process: The process.
    """

    folder: Path
    port: int
    http_port: int
    target: TargetSettings
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "nginx.conf"

    def workers(self) -> set[str]:
        """Return the process ids of its workers, including old ones that still answer."""
        pid = self.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def reload(self) -> None:
        """Reload, and wait until no worker of the old configuration is left."""
        subprocess.run(self.target.reload, check=True, capture_output=True)


@contextmanager
def nginx(
    folder: Path,
    live: Path,
    names: Sequence[str],
    *,
    addresses: Sequence[str] = ("127.0.0.1",),
    http_port: int = 0,
    behind: int = 0,
) -> Iterator[Nginx]:
    """Run nginx with the certificate of ``live``, and with a placeholder until it exists.

    Args:
        folder: The directory of nginx.
        live: The directory live/NAME of the lineage.
        names: The names of the site.
        addresses: The addresses on which it listens.
        http_port: The port for challenges, which it passes on to the port ``behind``; 0 for none.
        behind: The port of the solver.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placeholder = Authority("Placeholder").issue(*names)
    first, first_key = write_pair(folder / "first", placeholder, "site")
    live.mkdir(parents=True, exist_ok=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{k}_temp_path {folder}/{k};" for k in kinds)
    with ExitStack() as stack:
        port = held_port(stack)
        listen = "".join(f"listen {a}:{port} ssl; " for a in addresses)
        plain = ""
        if http_port:
            plain = "".join(f"listen {a}:{http_port}; " for a in addresses)
            path = (
                f"location /.well-known/acme-challenge/ {{ proxy_pass http://127.0.0.1:{behind}; }}"
            )
            plain = f"server {{ {plain} {path} }}\n"
        head = (
            f"daemon off; worker_processes 1; pid {folder}/pid; "
            f"error_log {folder}/error.log notice;\nevents {{ worker_connections 256; }}\n"
        )

        def site(certificate: Path, key: Path) -> str:
            pair = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
            server = f"server {{ {listen} server_name {' '.join(names)}; {pair} return 204; }}"
            return f"{head}http {{ access_log off; {temporary} {plain} {server} }}\n"

        config = folder / "nginx.conf"
        config.write_text(site(first, first_key))
        binary = program("nginx", "nginx-light")
        own = (binary, "-e", str(folder / "error.log"), "-c", str(config))
        process = subprocess.Popen(own, stderr=subprocess.DEVNULL)
        try:
            for address in addresses:
                wait_for(port, process, address)
            config.write_text(site(live / "fullchain.pem", live / "privkey.pem"))
            # Old and new workers of nginx answer in parallel for 100 ms. The reload of the tests
            # returns after that time, so no time to settle is necessary.
            reload = folder / "reload.sh"
            reload.write_text(RELOAD.format(pid=folder / "pid", nginx=shlex.join(own)))
            reload.chmod(0o755)
            target = TargetSettings(
                kind="reload", test=(*own, "-t"), reload=(str(reload),), timeout=120.0, settle=0.0
            )
            yield Nginx(folder, port, http_port, target, process)
        finally:
            stop(process)


def served(env: AcmeEnvironment, web: Nginx, host: str, *addresses: str) -> None:
    """Move the endpoint of a site to the port of nginx."""
    env.unwatch(host)
    with env.database.write() as tx:
        endpoints.add(tx, Target(host, web.port), addresses=addresses or ("127.0.0.1",))


def with_nginx(
    env: AcmeEnvironment,
    ca: Pebble,
    folder: Path,
    opened: ExitStack,
    name: str = "shop.test",
    *more: str,
) -> Nginx:
    """Run an nginx in front of the solver, as the target ``nginx``.

    ``more`` are further addresses on which it listens.
    """
    live, behind = env.context.base / "live" / name, held_port(opened)
    addresses = ("127.0.0.1", *more)
    site = nginx(
        folder / "nginx", live, [name], addresses=addresses, http_port=ca.http_port, behind=behind
    )
    web = opened.enter_context(site)
    solver = SolverSettings(
        kind="standalone", address="127.0.0.1", port=behind, http_port=ca.http_port
    )
    env.configure(solvers={"web": solver}, targets={"nginx": web.target})
    served(env, web, name, *addresses)
    return web
