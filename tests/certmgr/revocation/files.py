"""nginx that serves files over plain HTTP. It is started once; each test has a separate folder."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import wait_until
from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program

# A name that ends in one of these gets the status instead of a file; 444 closes the connection.
STATUSES = {
    "redirect": "return 301 http://127.0.0.1:$server_port$uri.crl;",
    "empty": "return 204;",
    "closed": "return 444;",
}


@dataclass(frozen=True, slots=True)
class Files:
    """The folder of one test, and its part of the URLs and of the log."""

    port: int
    folder: Path
    log: Path

    def url(self, name: str = "1.crl", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{self.folder.name}/{name}"

    def publish(self, body: bytes, name: str = "1.crl") -> None:
        (self.folder / name).write_bytes(body)

    def remove(self, name: str = "1.crl") -> None:
        (self.folder / name).unlink(missing_ok=True)

    def requests(self, at_least: int = 0) -> list[str]:
        """Return the name of each file that was requested, in order.

        nginx writes its log after the response, so wait until it holds ``at_least`` lines of this
        test.
        """
        wait_until(
            lambda: len(self._logged()) >= at_least, f"request {at_least} for {self.folder.name}"
        )
        return [name for _, name in self._logged()]

    def hosts(self) -> list[str]:
        """Return the Host header of each request, in order."""
        return [host for host, _ in self._logged()]

    def _logged(self) -> list[tuple[str, str]]:
        lines = [line.split() for line in self.log.read_text().splitlines()]
        prefix = f"/{self.folder.name}/"
        return [
            (host, path.removeprefix(prefix)) for host, path in lines if path.startswith(prefix)
        ]


@dataclass(frozen=True, slots=True)
class FileServer:
    port: int
    root: Path
    log: Path

    def new(self) -> Files:
        """Make an empty folder for one test."""
        folder = self.root / uuid.uuid4().hex[:12]
        folder.mkdir()
        return Files(self.port, folder, self.log)


@contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    root, log = folder / "served", folder / "access.log"
    root.mkdir()
    log.touch()
    port = free_port()
    temp = " ".join(
        f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    statuses = " ".join(f"location ~ /{name}$ {{ {action} }}" for name, action in STATUSES.items())
    (folder / "files.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/files.pid; error_log {folder}/files.log;"
        " user root;\nevents { worker_connections 64; }\nhttp { log_format host '$http_host"
        f" $uri'; access_log {log} host; {temp}\nserver {{ listen 127.0.0.1:{port}; root {root};"
        f" default_type application/pkix-crl; {statuses} }}\n}}\n"
    )
    command = [
        program("nginx", "nginx-light"),
        "-e",
        str(folder / "files.log"),
        "-c",
        str(folder / "files.conf"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield FileServer(port, root, log)
    finally:
        stop(process)
