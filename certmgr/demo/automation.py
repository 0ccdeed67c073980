"""The demonstration of ACME: a certificate is issued, deployed, verified and renewed.

The CA is a local pebble and the web server a local nginx. If they are not installed, the
demonstration prints how to install them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from certmgr.acme.accounts import accounts
from certmgr.acme.arrange import IssueRequest, arrange
from certmgr.acme.context import IssuanceContext
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.acme import AcmeSettings, CaSettings, SolverSettings, TargetSettings
from certmgr.config.context import Context
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.db.database import from_epoch
from inventory.store import clients, domains, endpoints, lineages
from inventory.targets import Target

# A name below .test never exists in the DNS (RFC 6761 6.2), so that nothing of it leaves this
# machine.
HOST = "automatic.example.test"
# The Debian package of each program.
PROGRAMS = {"pebble": "pebble", "pebble-challtestsrv": "pebble", "nginx": "nginx-light"}


def _program(name: str) -> str | None:
    """Return the path of a program. The sbin directories are not in the PATH of all users."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _port() -> int:
    """Return a port on loopback that is free for TCP and UDP, since name servers need both."""
    # A port that is free for TCP may be taken for UDP; a name server needs both.
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no port on loopback is free")


def _wait(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a process listens on a port; return whether it does."""
    # Ten seconds in total, for a machine under load.
    for _ in range(200):
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        time.sleep(0.05)
    return False


@dataclass(frozen=True, slots=True)
class DemoCa:
    """The URLs and ports of the local CA."""

    directory: str
    ca_file: Path
    http_port: int
    resolver: str


def _write(folder: Path, name: str, issued: IssuedCertificate) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    key.chmod(0o600)
    return certificate, key


@contextlib.contextmanager
def _started(
    *command: str, port: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the context.

    Raises:
        RuntimeError: It does not listen on the port.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        if not _wait(port, process):
            raise RuntimeError(f"{Path(command[0]).name} does not start")
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


@contextlib.contextmanager
def _pebble(folder: Path) -> Iterator[DemoCa]:
    """Run pebble on loopback, with challtestsrv as its DNS. It validates challenges."""
    # The TLS certificate of pebble is not from the CA whose certificates it issues.
    tls = Authority("Demo pebble TLS")
    ca_file = folder / "pebble-ca.pem"
    ca_file.write_bytes(tls.pem)
    certificate, key = _write(folder, "pebble", tls.issue("localhost", "127.0.0.1"))
    # Chosen now and bound later by pebble: another program could take one in between, and then the
    # demonstration states that pebble does not start.
    dns, dns_control, listen, control, http, alpn = (_port() for _ in range(6))
    config = folder / "pebble.json"
    config.write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{listen}",
                    "managementListenAddress": f"127.0.0.1:{control}",
                    "certificate": str(certificate),
                    "privateKey": str(key),
                    "httpPort": http,
                    "tlsPort": alpn,
                    "externalAccountBindingRequired": False,
                    "certificateValidityPeriod": 90 * 86_400,
                }
            }
        )
    )
    # Only its DNS is used: the challenges are answered by certmgr, as in real life.
    server = (
        "-dns01",
        f"127.0.0.1:{dns}",
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
        "-management",
        f"127.0.0.1:{dns_control}",
        "-defaultIPv6",
        "",
    )
    with (
        _started(_program("pebble-challtestsrv") or "", *server, port=dns_control),
        _started(
            _program("pebble") or "",
            "-config",
            str(config),
            "-dnsserver",
            f"127.0.0.1:{dns}",
            port=listen,
            # pebble waits up to 15 seconds before it validates, to find clients that do not poll.
            environment={"PEBBLE_VA_NOSLEEP": "1"},
        ),
    ):
        yield DemoCa(f"https://127.0.0.1:{listen}/dir", ca_file, http, f"127.0.0.1:{dns}")


@contextlib.contextmanager
def _nginx(
    folder: Path, live: Path, placeholder: IssuedCertificate
) -> Iterator[tuple[int, TargetSettings]]:
    """Run nginx with a placeholder certificate until the first certificate is deployed."""
    folder.mkdir(parents=True)
    live.mkdir(parents=True, mode=0o700)
    certificate, key = _write(folder, "placeholder", placeholder)
    port = _port()
    temp = " ".join(
        f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = (
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents"
        " { worker_connections 64; }\n"
    )
    config = folder / "nginx.conf"

    def site(chain: Path, private: Path) -> str:
        return (
            f"{head}http {{ access_log off; {temp} server {{ listen 127.0.0.1:{port} ssl;"
            f" server_name {HOST}; ssl_certificate {chain}; ssl_certificate_key {private}; return"
            " 204; } }\n"
        )

    # nginx does not start without a certificate, and the first one is issued only while it runs.
    config.write_text(site(certificate, key))
    command = (_program("nginx") or "", "-e", str(folder / "error.log"), "-c", str(config))
    with _started(*command, port=port):
        # nginx reads this configuration at its first reload, when the certificate exists.
        config.write_text(site(live / "fullchain.pem", live / "privkey.pem"))
        yield (
            port,
            TargetSettings(kind="reload", test=(*command, "-t"), reload=(*command, "-s", "reload")),
        )


def show(context: Context, root: Authority, folder: Path) -> None:
    """Issue, deploy, verify and renew a certificate, or print why it is not possible."""
    missing = sorted({package for name, package in PROGRAMS.items() if _program(name) is None})
    if missing:
        click.echo(
            f"Skipped: {' and '.join(missing)} are not installed. On Debian, run as root:"
            f" apt-get install {' '.join(missing)}"
        )
        return
    try:
        with (
            _pebble(folder) as ca,
            _nginx(folder / "nginx", folder / "acme" / "live" / HOST, root.issue(HOST)) as (
                port,
                target,
            ),
        ):
            settings = _settings(context.settings, folder, ca, target)
            _issue_and_renew(replace(context, settings=settings), port)
    # A server that does not start on this machine is no reason to lose the rest of the
    # demonstration.
    except RuntimeError as error:
        click.echo(f"Skipped: {error}")


def _settings(settings: Settings, folder: Path, ca: DemoCa, target: TargetSettings) -> Settings:
    acme = AcmeSettings(
        directory=str(folder / "acme"),
        default_account="demo",
        default_solver="web",
        # A local nginx shows the new certificate within a second, or not at all.
        verification_seconds=10.0,
        cas={"demo": CaSettings(directory=ca.directory, ca_file=str(ca.ca_file), internal=True)},
        solvers={
            "web": SolverSettings(
                kind="standalone", address="127.0.0.1", port=ca.http_port, http_port=ca.http_port
            )
        },
        targets={"nginx": target},
    )
    return replace(
        settings,
        acme=acme,
        # The name exists only in the DNS of challtestsrv, and it resolves to loopback.
        scan=replace(settings.scan, resolvers=(ca.resolver,)),
        network=NetworkSettings(allow=("127.0.0.0/8",)),
    )


def _issue_and_renew(context: Context, port: int) -> None:
    """Register an account, and issue and renew the certificate."""
    with context.write() as tx:
        clients.add(tx, {"number": "1004", "name": "Automatic Ltd", "renews": "us"})
        domains.add(tx, HOST, {"client": "1004"})
        endpoints.edit(tx, Target(HOST), {"port": port, "addresses": ["127.0.0.1"]})
    account = accounts.add(context, accounts.AccountRequest("demo", "demo", agree=True, by="demo"))
    click.echo(f"certmgr account add      an account at a local pebble: {account.url}")
    names = arrange(context, IssueRequest((HOST,), targets=("nginx",)))
    # The same call twice: the second one renews, which shows that both take the same path.
    for command in (f"certmgr issue {HOST} --target nginx", f"certmgr renew {HOST}"):
        summary = RenewalRunner(IssuanceContext.of(context)).run_named(names)
        with context.read() as conn:
            row = lineages.find(conn, names[0])
        end = from_epoch(row.not_after)
        # The demonstration shows what works; a failure is stated as the reason why it is skipped.
        if summary.failed or end is None:
            raise RuntimeError(
                "; ".join(message for _, _, message in summary.problems)
                or "no certificate was issued"
            )
        click.echo(
            f"{command}\n  ✓ {(row.sha256 or '')[:16]}, until {end:%Y-%m-%d}, nginx reloaded;"
            f" {row.proof}"
        )
