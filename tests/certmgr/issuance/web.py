"""nginx with the sites of a lineage: it hands challenges to the solver, and reads the live directory; reloaded by a target as in real life."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certmgr.config_acme import TargetSettings
from certmgr.demo.authority import Authority
from tests.servers.ports import free_port, wait_for
from tests.servers.real import program, write_pair


@dataclass
class Nginx:
    """``target``: for [acme.target]. ``http_port``: where it hands challenges on; 0: nowhere."""

    folder: Path
    port: int
    http_port: int
    target: TargetSettings
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "nginx.conf"


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
    """Shows a certificate of its own until ``live`` (the folder live/NAME) holds one. ``http_port``: listens there and hands challenges to ``behind``."""
    folder.mkdir(parents=True, exist_ok=True)
    first, first_key = write_pair(folder / "first", Authority("Placeholder").issue(*names), "site")
    live.mkdir(parents=True, exist_ok=True)
    port = free_port(addresses[0])
    temp = " ".join(f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    listen = "".join(f"listen {a}:{port} ssl; " for a in addresses)
    plain = ""
    if http_port:
        plain = "".join(f"listen {a}:{http_port}; " for a in addresses)
        plain = f"server {{ {plain} location /.well-known/acme-challenge/ {{ proxy_pass http://127.0.0.1:{behind}; }} }}\n"
    head = f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log notice;\nevents {{ worker_connections 256; }}\n"

    def site(certificate: Path, key: Path) -> str:
        return f"{head}http {{ access_log off; {temp} {plain} server {{ {listen} server_name {' '.join(names)}; ssl_certificate {certificate}; ssl_certificate_key {key}; return 204; }} }}\n"

    config = folder / "nginx.conf"
    config.write_text(site(first, first_key))
    binary = program("nginx", "nginx-light")
    own = (binary, "-e", str(folder / "error.log"), "-c", str(config))
    process = subprocess.Popen(own, stderr=subprocess.DEVNULL)
    try:
        for address in addresses:
            wait_for(port, process, address)
        config.write_text(site(live / "fullchain.pem", live / "privkey.pem"))
        target = TargetSettings(kind="reload", test=(*own, "-t"), reload=(*own, "-s", "reload"), timeout=20.0)
        yield Nginx(folder, port, http_port, target, process)
    finally:
        process.terminate()
        process.wait(10)
