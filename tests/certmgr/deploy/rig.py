"""Helpers of the deployment tests: stored certificates, readers, and an sshd."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.deploy.lineage import Lineage, Version
from certmgr.x509.bundle import CertificateBundle, build_bundle, from_files
from inventory.certificates import from_pem
from tests.campaign import UNREACHED
from tests.clock import frozen
from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program

NAME = "shop.example.com"


def ders(issued: IssuedCertificate) -> list[bytes]:
    return [c.public_bytes(Encoding.DER) for c in issued.chain]


def make_bundle(issued: IssuedCertificate, *, key: bool = True) -> CertificateBundle:
    return build_bundle(issued.key_pem if key else None, ders(issued))


def stored(lineage: Lineage, issued: IssuedCertificate) -> Version:
    return lineage.store(issued.key_pem, ders(issued))


def read_by_path(folder: Path) -> CertificateBundle:
    """Read each file of a folder by its path, as a simple reader does.

    They are checked to belong together.
    """
    names = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem")
    return _checked_bundle({n: (folder / n).read_bytes() for n in names if (folder / n).exists()})


def _checked_bundle(files: Mapping[str, bytes]) -> CertificateBundle:
    return _checked_bundle_cached(tuple(files.items()))


@lru_cache(maxsize=64)
def _checked_bundle_cached(files: tuple[tuple[str, bytes], ...]) -> CertificateBundle:
    """Check files whose bytes were not checked before: a campaign reads the same ones often."""
    return from_files(dict(files))


def read_by_links(live: Path) -> CertificateBundle:
    """As :func:`read_by_path`, for a folder of certbot's, which may have no combined.pem yet."""
    files = {n: (live / n).read_bytes() for n in ("privkey.pem", "fullchain.pem")}
    found = _bundle_of_files(files["privkey.pem"], files["fullchain.pem"])
    for name, data in found.files.items():
        if name != "combined.pem" or (live / name).exists():
            assert (live / name).read_bytes() == data, name
    return found


@lru_cache(maxsize=64)
def _bundle_of_files(key: bytes, chain: bytes) -> CertificateBundle:
    return build_bundle(key, [c.der for c in from_pem(chain)])


def leftovers(base: Path) -> list[str]:
    return [str(p) for p in base.rglob(".certmgr-*")]


def hook(folder: Path, text: str, name: str = "hook") -> tuple[str, ...]:
    """Write a script, and return the command that runs it."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return (str(path),)


def authority() -> Authority:
    return Authority("Test Issuer", Authority("Test Root", clock=frozen), path_length=0)


@dataclass(frozen=True, slots=True)
class Sshd:
    """An OpenSSH server. ``known_hosts`` holds its host key."""

    folder: Path
    port: int
    known_hosts: Path

    def target(self, directory: str, **given: object) -> TargetSettings:
        """Return a target for a directory of this machine."""
        values = {
            "host": "127.0.0.1",
            "port": self.port,
            "login": getpass.getuser(),
            "timeout": UNREACHED,
            "settle": 0.0,
            "known_hosts": str(self.known_hosts),
            "key_file": str(self.folder / "client"),
            **given,
        }
        return TargetSettings("ssh", directory, **values)  # type: ignore[arg-type]

    def with_known_hosts(self, path: Path) -> Sshd:
        """Return it with a copy of its ``known_hosts``, which a test may change."""
        path.write_text(self.known_hosts.read_text())
        return replace(self, known_hosts=path)


def new_key(path: Path) -> str:
    """Make an Ed25519 key at ``path``, and return its public line without the comment."""
    keygen = program("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Debian's OpenSSH server with a separate host key. The user of the tests logs in by key."""
    folder.mkdir()
    host_key = new_key(folder / "host")
    (folder / "authorized_keys").write_text(new_key(folder / "client") + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd separates privileges there
    port = free_port()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\nPrintMotd no\nMaxStartups 100\n"
        f"SetEnv HOME={folder}\n"  # the shell would read the start-up files of the user
    )
    command = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(port, process)
        yield Sshd(folder, port, known_hosts)
    finally:
        stop(process)
