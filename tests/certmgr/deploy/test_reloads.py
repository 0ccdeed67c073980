"""Real servers during constant switches: each complete handshake presents one of the certificates
with its key, and the last one is served in the end.

OpenSSL verifies in the handshake that the server signs with the key of the leaf.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.targets import deploy_to_target
from certmgr.x509.bundle import CertificateBundle
from tests.campaign import Campaign, wait_until
from tests.certmgr.deploy.rig import NAME, make_bundle
from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import long_lived, program

# Errors that a reload may cause: a worker that ends closes connections that have not begun their
# handshake. An alert or a refused connection is an error of certmgr, since the new worker inherits
# the listening socket.
HARMLESS = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is configured with the live folder of a lineage.

    Attributes:
        config: its configuration file.
        log: its error log, if it has one.
        one_at_a_time: whether it may not be reloaded while it still reloads. Then the test switches
            again when the server has shown the certificate before.
    """

    target: TargetSettings
    port: int
    config: Path
    log: Path | None = None
    one_at_a_time: bool = False


@contextmanager
def started(command: list[str], port: int, pid: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start it, and wait until it listens and has written the file that its reload reads."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
    try:
        wait_for(port, process)
        wait_until(lambda: pid.exists() and pid.read_text().strip() != "", f"{pid}")
        yield process
    finally:
        stop(process)


@contextmanager
def nginx(folder: Path, live: Path) -> Iterator[Server]:
    port, config = free_port(), folder / "nginx.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{k}_temp_path {folder}/{k};" for k in kinds)
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {live}/fullchain.pem; "
        f"ssl_certificate_key {live}/privkey.pem; return 204; }}\n}}\n"
    )
    log = folder / "error.log"
    base = (program("nginx", "nginx-light"), "-e", str(log), "-c", str(config))
    reload = (*base, "-s", "reload")
    target = TargetSettings("reload", test=(*base, "-t", "-q"), reload=reload, settle=0.2)
    with started(list(base), port, folder / "pid"):
        yield Server(target, port, config, log)


@contextmanager
def apache(folder: Path, live: Path, more: Sequence[Path] = ()) -> Iterator[Server]:
    port, config, log = free_port(), folder / "apache.conf", folder / "error.log"
    modules = ("mpm_event", "authz_core", "ssl")
    text = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in modules)
    text += "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    text += (
        f"ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {log}\nServerName localhost\n"
        f"DefaultRuntimeDir {folder}\nStartServers 1\nListen 127.0.0.1:{port}\n"
    )
    for n, site in enumerate((live, *more)):
        name = f"ServerName h{n}.example\n" if n else ""
        text += (
            f"<VirtualHost *:{port}>\n{name}SSLEngine on\nSSLCertificateFile {site}/fullchain.pem\n"
            f"SSLCertificateKeyFile {site}/privkey.pem\n</VirtualHost>\n"
        )
    config.write_text(text)
    base = (program("apache2", "apache2-bin"), "-f", str(config))
    reload = (*base, "-k", "graceful")
    target = TargetSettings("reload", test=(*base, "-t"), reload=reload, settle=0.3)
    with started([*base, "-DFOREGROUND"], port, folder / "pid"):
        # It ends if it reads the files of two versions.
        yield Server(target, port, config, log, one_at_a_time=True)


@contextmanager
def haproxy(folder: Path, live: Path) -> Iterator[Server]:
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(
        f"global\n    stats socket {folder}/socket mode 600 level admin expose-fd listeners\n"
        "defaults\n    mode http\n    timeout connect 60s\n    timeout client 60s\n"
        f"    timeout server 60s\nfrontend https\n    bind 127.0.0.1:{port} ssl "
        f"crt {live}/combined.pem\n    http-request return status 204\n"
    )
    binary, pid = program("haproxy", "haproxy"), folder / "pid"
    command = [binary, "-W", "-f", str(config), "-p", str(pid)]
    with started(command, port, pid) as process:
        reload = ("/bin/kill", "-USR2", str(process.pid))
        test = (binary, "-c", "-f", str(config))
        target = TargetSettings("reload", test=test, reload=reload, settle=0.3)
        # On a busy machine it lost a signal that arrived during a reload.
        yield Server(target, port, config, one_at_a_time=True)


SERVERS: dict[str, Callable[[Path, Path], AbstractContextManager[Server]]] = {
    "nginx": nginx,
    "apache": apache,
    "haproxy": haproxy,
}


@dataclass(slots=True)
class Prober:
    """Handshakes without a pause in a separate thread, with the leaves and the errors."""

    server: Server
    root: Authority
    shown: Counter[str] = field(default_factory=Counter)
    errors: list[Exception] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self._context = ssl.create_default_context(cadata=self.root.pem.decode())

    def probe(self) -> str:
        """Return the SHA-256 of the leaf. A bad chain, or another key, raises."""
        with (
            socket.create_connection(("127.0.0.1", self.server.port), 60) as sock,
            self._context.wrap_socket(sock, server_hostname=NAME) as tls,
        ):
            der = tls.getpeercert(True)
            assert der is not None
            return hashlib.sha256(der).hexdigest()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.shown[self.probe()] += 1
            except (OSError, ssl.SSLError) as error:
                self.errors.append(error)

    @contextmanager
    def probing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def shows(self, wanted: str) -> bool:
        with suppress(*HARMLESS):
            return self.probe() == wanted
        return False


def certificate(issuer: Authority, name: str = NAME) -> CertificateBundle:
    """Issue a certificate for clients that compare it with the clock of the system."""
    return make_bundle(long_lived(issuer, name))


@pytest.mark.campaign
@pytest.mark.parametrize("kind", SERVERS)
def test_server_during_constant_switches_never_presents_a_broken_pair(
    lineage: Lineage,
    issuer: Authority,
    root: Authority,
    campaign: Campaign,
    tmp_path: Path,
    kind: str,
) -> None:
    switches = campaign.size("switches under handshakes", 8, 300)
    versions = [certificate(issuer) for _ in range(4)]
    lineage.switch(lineage.store(versions[0].key_pem, versions[0].chain_der))
    with SERVERS[kind](tmp_path, lineage.live) as server:
        prober = Prober(server, root)
        with prober.probing():
            for n in range(1, switches + 1):
                wanted = versions[n % 4]
                before = prober.shown[wanted.sha256]
                enough = prober.shown.total() + 25  # however slow the machine is
                done = deploy_to_target(server.target, NAME, wanted, lineage.base)
                assert done.ok, done
                if n <= 4 or server.one_at_a_time:  # so that each one is seen at least once
                    wait_until(
                        lambda: prober.shown[wanted.sha256] > before,  # noqa: B023
                        f"version {n % 4} is shown",
                    )
                wait_until(lambda: prober.shown.total() >= enough, "25 handshakes")  # noqa: B023
        wait_until(lambda: prober.shows(versions[switches % 4].sha256), "the last one is served")
    broken = [e for e in prober.errors if not isinstance(e, HARMLESS)]
    assert broken == [], Counter(map(repr, broken))
    assert set(prober.shown) == {v.sha256 for v in versions}, "each was seen, and nothing else"
    assert prober.shown.total() > 5 * switches
    assert len(prober.errors) < prober.shown.total() / 20, Counter(map(repr, prober.errors))
    campaign.report("handshakes", prober.shown.total())


@pytest.mark.parametrize("kind", SERVERS)
def test_failed_test_restores_the_previous_version_and_reloads_nothing(
    lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path, kind: str
) -> None:
    """An administrator broke the configuration before a new certificate is deployed."""
    old, new = certificate(issuer), certificate(issuer)
    first = lineage.store(old.key_pem, old.chain_der)
    lineage.switch(first)
    with SERVERS[kind](tmp_path, lineage.live) as server:
        good = server.config.read_text()
        server.config.write_text(good + "\nnonsense here\n")
        done = deploy_to_target(server.target, NAME, new, lineage.base, label="web")
        assert (done.target, done.ok, done.retry) == ("web", False, True)
        assert "does not accept the certificate" in done.message
        assert "nginx.conf" in done.output or "nonsense" in done.output
        assert lineage.current() == first
        prober = Prober(server, root)
        assert prober.probe() == old.sha256
        server.config.write_text(good)
        assert deploy_to_target(server.target, NAME, new, lineage.base).ok
        wait_until(lambda: prober.shows(new.sha256), "the new one is served")


def test_reload_that_reports_success_may_not_have_happened(
    lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path
) -> None:
    """nginx accepts the configuration and reloads with exit code 0, but cannot bind a new port.

    The old certificate stays. So a delivery reports 'deployed', and never 'live'.
    """
    old, new = certificate(issuer), certificate(issuer)
    lineage.switch(lineage.store(old.key_pem, old.chain_der))
    with nginx(tmp_path, lineage.live) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port, log = taken.getsockname()[1], server.log
        assert log is not None
        listens = f"listen 127.0.0.1:{port}; return 204;"
        server.config.write_text(server.config.read_text().replace("return 204;", listens))
        done = deploy_to_target(server.target, NAME, new, lineage.base)
        assert (done.ok, done.message) == (True, "deployed and reloaded")
        wait_until(lambda: "still could not bind()" in log.read_text(), "the reload is tried")
        assert Prober(server, root).probe() == old.sha256


@pytest.mark.campaign
def test_switch_of_another_lineage_waits_until_the_server_has_read_its_files(
    lineage: Lineage, issuer: Authority, root: Authority, campaign: Campaign, tmp_path: Path
) -> None:
    """Apache ends if it reads the files of two versions, and reads long with many sites.

    So each switch waits for ``settle`` after the last reload, whichever lineage that was for.
    """
    settle = 0.3
    other = Lineage(lineage.base, "other.example.com")
    both = (lineage, other)
    versions = {one.name: [certificate(issuer, one.name) for _ in range(2)] for one in both}
    for one in both:
        for version in versions[one.name]:  # stored in advance, so that a switch is fast
            one.switch(one.store(version.key_pem, version.chain_der))
    with apache(tmp_path, lineage.live, [other.live, lineage.live] * 50) as server:
        target = replace(server.target, settle=settle, test=())
        # Its port is open before it logs that it runs, and that line would count as a reload.
        wait_until(partial(_reloaded_since, server, 0), "the start of Apache")
        marks = []
        for n in range(campaign.size("switches of two lineages", 8, 100)):
            one = (other, lineage)[n % 2]
            wanted, reloads = versions[one.name][n // 2 % 2], _reloads(server)
            done = deploy_to_target(target, one.name, wanted, lineage.base)
            assert done.ok, done
            marks.append(float(lineage.lock_file.read_text()))
            # On a busy machine Apache may need longer, and it would end if a switch happened then.
            happened = partial(_reloaded_since, server, reloads)
            wait_until(happened, "a reload")
        assert all(later - earlier >= settle for earlier, later in pairwise(marks))
        prober = Prober(server, root)
        wait_until(lambda: prober.shows(wanted.sha256), "the last one is served")


def _reloaded_since(server: Server, before: int) -> bool:
    return _reloads(server) > before


def _reloads(server: Server) -> int:
    assert server.log is not None
    return server.log.read_text().count("resuming normal operations")
