"""Real servers under constant switching: every handshake that completes shows one of our certificates whole, and the last one is served in the end.

A handshake proves the key: OpenSSL checks that the server signs with that of the leaf. What a reload may do to a connection differs (Server.harmless).
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from certmgr.config_acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.targets import deliver
from tests.certmgr.deploy.rig import NAME, material, stored
from tests.servers.ports import free_port, wait_for
from tests.servers.real import program

SWITCHES = 30


@dataclass(frozen=True, slots=True)
class Server:
    """``harmless``: errors that a connection may meet in a reload: a worker that ends closes what has not begun its handshake. Never an alert, and never a refused connection
    where the listening socket is handed over.
    """

    target: TargetSettings
    port: int
    harmless: tuple[type[Exception], ...] = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


@contextmanager
def started(command: list[str], port: int, pid: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Until it listens and has written the file that its reload reads."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        for _ in range(1000):
            if pid.exists() and pid.read_text().strip():
                break
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def nginx(folder: Path, live: Path) -> Iterator[Server]:
    port, config = free_port(), folder / "nginx.conf"
    temp = " ".join(f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents {{ worker_connections 256; }}\nhttp {{ access_log off; {temp}\n"
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {live}/fullchain.pem; ssl_certificate_key {live}/privkey.pem; return 204; }}\n}}\n"
    )
    base = (program("nginx", "nginx-light"), "-e", str(folder / "error.log"), "-c", str(config))
    with started(list(base), port, folder / "pid"):
        yield Server(TargetSettings("reload", test=(*base, "-t", "-q"), reload=(*base, "-s", "reload"), settle=0.2), port)


@contextmanager
def apache(folder: Path, live: Path, more: Sequence[Path] = ()) -> Iterator[Server]:
    port, config = free_port(), folder / "apache.conf"
    modules = ("mpm_event", "authz_core", "ssl")
    loads = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in modules)
    user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"{loads}ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\nServerName localhost\n{user}DefaultRuntimeDir {folder}\nStartServers 1\n"
        f"Listen 127.0.0.1:{port}\n"
        + "".join(
            f"<VirtualHost *:{port}>\n{f'ServerName h{n}.example' if n else ''}\nSSLEngine on\nSSLCertificateFile {p}/fullchain.pem\nSSLCertificateKeyFile {p}/privkey.pem\n</VirtualHost>\n"
            for n, p in enumerate((live, *more))
        )
    )
    base = (program("apache2", "apache2-bin"), "-f", str(config))
    with started([*base, "-DFOREGROUND"], port, folder / "pid"):
        yield Server(TargetSettings("reload", test=(*base, "-t"), reload=(*base, "-k", "graceful"), settle=0.3), port)


@contextmanager
def haproxy(folder: Path, live: Path) -> Iterator[Server]:
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(
        f"global\n    stats socket {folder}/socket mode 600 level admin expose-fd listeners\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 1s\n"
        f"frontend https\n    bind 127.0.0.1:{port} ssl crt {live}/combined.pem\n    http-request return status 204\n"
    )
    binary = program("haproxy", "haproxy")
    with started([binary, "-W", "-f", str(config), "-p", str(folder / "pid")], port, folder / "pid") as process:
        reload = ("/bin/kill", "-USR2", str(process.pid))
        yield Server(TargetSettings("reload", test=(binary, "-c", "-f", str(config)), reload=reload, settle=0.3), port)


SERVERS: dict[str, Callable[[Path, Path], object]] = {"nginx": nginx, "apache": apache, "haproxy": haproxy}


@dataclass(slots=True)
class Prober:
    """Handshakes without a pause in a thread of its own: what was shown, and what went wrong."""

    server: Server
    root: Authority
    shown: Counter[str] = field(default_factory=Counter)
    errors: list[Exception] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def look(self) -> str:
        """SHA-256 of the leaf. A chain that does not verify, or a key that is another one, raises."""
        context = ssl.create_default_context(cadata=self.root.pem.decode())
        with (
            socket.create_connection(("127.0.0.1", self.server.port), 10) as sock,
            context.wrap_socket(sock, server_hostname=NAME) as tls,
        ):
            der = tls.getpeercert(True)
            assert der is not None
            return hashlib.sha256(der).hexdigest()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.shown[self.look()] += 1
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

    def until(self, wanted: str) -> bool:
        """Whether it is served, within a bounded number of looks."""
        for _ in range(200):
            try:
                if self.look() == wanted:
                    return True
            except self.server.harmless:
                pass
            time.sleep(0.05)
        return False


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_never_shows_a_broken_pair_under_constant_switching(
    lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path, kind: str
) -> None:
    versions = [material(issuer.issue(NAME)) for _ in range(4)]
    lineage.switch(lineage.store(versions[0].key_pem, versions[0].chain_der))
    with SERVERS[kind](tmp_path, lineage.live) as server:  # type: ignore[attr-defined]
        prober = Prober(server, root)
        with prober.probing():
            for n in range(1, SWITCHES + 1):
                done = deliver(server.target, NAME, versions[n % 4], lineage.base)
                assert done.ok, done
        assert prober.until(versions[SWITCHES % 4].sha256), "the last one is served in the end"
    broken = [e for e in prober.errors if not isinstance(e, server.harmless)]
    assert broken == [], Counter(map(repr, broken))
    assert set(prober.shown) == {v.sha256 for v in versions}, "each was seen, and nothing else"
    assert prober.shown.total() > 5 * SWITCHES
    assert len(prober.errors) < prober.shown.total() / 20, Counter(map(repr, prober.errors))


@pytest.mark.parametrize("kind", SERVERS)
def test_a_test_that_fails_brings_the_one_before_back_and_reloads_nothing(
    lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path, kind: str
) -> None:
    """The configuration is broken by somebody else while a new certificate comes."""
    old, new = material(issuer.issue(NAME)), material(issuer.issue(NAME))
    first = lineage.store(old.key_pem, old.chain_der)
    lineage.switch(first)
    with SERVERS[kind](tmp_path, lineage.live) as server:  # type: ignore[attr-defined]
        config = next(p for p in tmp_path.iterdir() if p.suffix in (".conf", ".cfg"))
        good = config.read_text()
        config.write_text(good + "\nnonsense here\n")
        done = deliver(server.target, NAME, new, lineage.base, label="web")
        assert (done.target, done.ok, done.retry) == ("web", False, True)
        assert "does not accept it" in done.what
        assert "nginx.conf" in done.output or "nonsense" in done.output
        assert lineage.current() == first
        prober = Prober(server, root)
        assert prober.look() == old.sha256
        config.write_text(good)
        assert deliver(server.target, NAME, new, lineage.base).ok
        assert prober.until(new.sha256)


def test_exit_codes_prove_nothing(lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path) -> None:
    """nginx accepts and reloads with 0, and cannot bind its new port: the old certificate stays. So a delivery says 'in place', and never 'live'."""
    old, new = material(issuer.issue(NAME)), material(issuer.issue(NAME))
    lineage.switch(lineage.store(old.key_pem, old.chain_der))
    with nginx(tmp_path, lineage.live) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "nginx.conf"
        config.write_text(config.read_text().replace("return 204;", f"listen 127.0.0.1:{taken.getsockname()[1]}; return 204;"))
        prober = Prober(server, root)
        done = deliver(server.target, NAME, new, lineage.base)
        assert (done.ok, done.what) == (True, "in place, and reloaded")
        for _ in range(500):
            if "still could not bind()" in (tmp_path / "error.log").read_text():
                break
            time.sleep(0.02)
        else:
            pytest.fail("the reload was tried")
        assert prober.look() == old.sha256


def test_two_lineages_of_one_server_do_not_meet_in_its_reload(
    lineage: Lineage, issuer: Authority, root: Authority, tmp_path: Path
) -> None:
    """Apache with 150 sites ends when it reads one file of each version: the switch of another lineage waits until it has read (settle)."""
    other = Lineage(lineage.base, "other.example.com")
    for one in (lineage, other):
        one.switch(stored(one, issuer.issue(one.name)))
    with apache(tmp_path, lineage.live, [other.live] * 150) as server:
        target = replace(server.target, settle=1.5)
        last = ""
        for n in range(8):
            one = (lineage, other)[n % 2]
            new = material(issuer.issue(one.name))
            done = deliver(target, one.name, new, lineage.base)
            assert done.ok, done
            last = new.sha256 if one is lineage else last
        assert Prober(server, root).until(last)
