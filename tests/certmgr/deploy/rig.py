"""What the tests of placing share: certificates as they are stored, readers, and an sshd of their own."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.config_acme import TargetSettings
from certmgr.demo.authority import Authority, Issued
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.material import Material, checked, from_files
from inventory.certificates import from_pem
from tests.clock import clock
from tests.servers.ports import free_port, wait_for
from tests.servers.real import program

NAME = "shop.example.com"


def ders(issued: Issued) -> list[bytes]:
    return [c.public_bytes(Encoding.DER) for c in issued.chain]


def material(issued: Issued, *, key: bool = True) -> Material:
    return checked(issued.key_pem if key else None, ders(issued))


def stored(lineage: Lineage, issued: Issued) -> Version:
    return lineage.store(issued.key_pem, ders(issued))


def by_path(folder: Path) -> Material:
    """All files of a folder by their paths, as somebody reads who knows no better; checked to belong together."""
    names = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem")
    return from_files({n: (folder / n).read_bytes() for n in names if (folder / n).exists()})


def by_links(live: Path) -> Material:
    """As :func:`by_path`, for a folder of certbot's, which may have no combined.pem yet."""
    found = checked((live / "privkey.pem").read_bytes(), [c.der for c in from_pem((live / "fullchain.pem").read_bytes())])
    for name, data in found.files.items():
        assert (live / name).read_bytes() == data if name != "combined.pem" or (live / name).exists() else True, name
    return found


def leftovers(base: Path) -> list[str]:
    return [str(p) for p in base.rglob(".certmgr-*")]


def authority() -> Authority:
    return Authority("Test Issuer", Authority("Test Root", clock=clock), path_length=0)


@dataclass(slots=True)
class Sshd:
    """``target``: for a directory of this machine. ``known_hosts``: holds the key of this server."""

    folder: Path
    port: int

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def target(self, directory: str, **given: object) -> TargetSettings:
        values = {
            "timeout": 20.0,
            "settle": 0.0,
            "known_hosts": str(self.known_hosts),
            "key_file": str(self.folder / "client"),
            **given,
        }
        return TargetSettings("ssh", directory, host="127.0.0.1", port=self.port, login=getpass.getuser(), **values)  # type: ignore[arg-type]


def new_key(path: Path) -> str:
    """An Ed25519 key at ``path``; its public line, without the comment."""
    subprocess.run([program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Debian's OpenSSH server with a host key of its own, which lets the user of the tests in by key."""
    folder.mkdir()
    host_key = new_key(folder / "host")
    (folder / "authorized_keys").write_text(new_key(folder / "client") + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it wants this folder of its own
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nPrintMotd no\nMaxStartups 100\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program("sshd", "openssh-server"), "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        wait_for(port, process)
        yield Sshd(folder, port)
    finally:
        process.terminate()
        process.wait(10)
