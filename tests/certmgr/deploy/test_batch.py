"""One test and one reload for many lineages, at a real nginx and with programs that fail."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy import batch
from certmgr.deploy.batch import BatchMember, deploy_batch
from certmgr.deploy.lineage import Lineage
from tests.campaign import Campaign, wait_until
from tests.certmgr.deploy.forks import Forks, forks
from tests.certmgr.deploy.rig import make_bundle, read_by_links
from tests.certmgr.deploy.test_reloads import started
from tests.servers.ports import free_port
from tests.servers.real import long_lived, program

COUNT = 8
NAMES = tuple(f"n{i}.example.com" for i in range(COUNT))


@dataclass
class Machine:
    """Lineages with an old certificate each, and programs that count their calls.

    Attributes:
        folder: The folder of everything.
        old: Name -> its old certificate.
        new: Name -> its new one.
    """

    folder: Path
    old: dict[str, BatchMember]
    new: dict[str, BatchMember]

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def target(self, *, test: str = "", reload: str = "", **given: object) -> TargetSettings:
        """Return a target whose programs are shell lines after the one that counts."""
        made = TargetSettings(
            "reload", test=self._program("test", test), reload=self._program("reload", reload)
        )
        return replace(made, settle=0.0, **given)  # type: ignore[arg-type]

    def _program(self, name: str, line: str) -> tuple[str, ...]:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "$CERTMGR_LINEAGES" >>{path}.log\n{line}\n')
        path.chmod(0o755)
        return (str(path),)

    def calls(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []

    def live(self, name: str) -> str:
        return read_by_links(self.base / "live" / name).sha256

    def require(self, new: Sequence[str], old: Sequence[str]) -> None:
        assert {n: self.live(n) for n in new} == {n: self.new[n].bundle.sha256 for n in new}
        assert {n: self.live(n) for n in old} == {n: self.old[n].bundle.sha256 for n in old}


def make_machine(tmp_path: Path, issuer: Authority, names: Sequence[str]) -> Machine:
    pairs = [
        {n: BatchMember(n, make_bundle(long_lived(issuer, n))) for n in names} for _ in range(2)
    ]
    made = Machine(tmp_path, *pairs)
    for member in made.old.values():
        lineage = Lineage(made.base, member.name)
        lineage.switch(lineage.store(member.bundle.key_pem, member.bundle.chain_der))
    return made


@pytest.fixture
def machine(tmp_path: Path, issuer: Authority) -> Machine:
    return make_machine(tmp_path, issuer, NAMES)


def served(port: int, name: str, root: Authority) -> str:
    context = ssl.create_default_context(cadata=root.pem.decode())
    with (
        socket.create_connection(("127.0.0.1", port), 60) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        der = tls.getpeercert(True)
        assert der is not None
        return hashlib.sha256(der).hexdigest()


def test_twenty_lineages_of_one_nginx_are_one_reload(
    tmp_path: Path, issuer: Authority, root: Authority, opened: ExitStack
) -> None:
    names = [f"n{i}.example.com" for i in range(20)]
    machine = make_machine(tmp_path, issuer, names)
    folder, port = machine.folder, free_port()
    config, log = folder / "nginx.conf", folder / "error.log"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{k}_temp_path {folder}/{k};" for k in kinds)
    sites = "\n".join(
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {n}; return 204; ssl_certificate"
        f" {machine.base}/live/{n}/fullchain.pem; ssl_certificate_key"
        f" {machine.base}/live/{n}/privkey.pem; }}"
        for n in names
    )
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {log} notice;\nevents {{"
        f" worker_connections 64; }}\nhttp {{ access_log off; {temporary}\n{sites}\n}}\n"
    )
    own = f"{program('nginx', 'nginx-light')} -e {log} -c {config}"
    opened.enter_context(started(own.split(), port, folder / "pid"))
    target = machine.target(test=f"exec {own} -t -q", reload=f"exec {own} -s reload")
    results = deploy_batch(target, list(machine.new.values()), machine.base, label="web")
    assert set(results) == set(names) and all(r.ok for r in results.values()), results
    assert machine.calls("reload") == machine.calls("test") == [" ".join(names)]
    for name in names:
        wanted = machine.new[name].bundle.sha256
        wait_until(lambda: served(port, name, root) == wanted, name)  # noqa: B023
    assert log.read_text().count("SIGHUP) received") == 1


@pytest.mark.parametrize(("size", "reloads"), [(8, 1), (7, 2), (2, 4), (1, 8)])
def test_batch_has_a_bound(machine: Machine, size: int, reloads: int) -> None:
    target = machine.target(batch=size)
    results = deploy_batch(target, list(machine.new.values()), machine.base)
    assert all(r.ok for r in results.values())
    assert len(machine.calls("reload")) == reloads
    machine.require(NAMES, ())


BAD = NAMES[5]
REFUSES = 'grep -q -- "{pem}" {live}/{bad}/cert.pem && exit 1; exit 0'


def refusing(machine: Machine, bad: str = BAD) -> str:
    """Return a shell line that fails while the new certificate of ``bad`` is live."""
    pem = machine.new[bad].bundle.files["cert.pem"].decode().splitlines()[4]
    return REFUSES.format(pem=pem, live=machine.base / "live", bad=bad)


@pytest.mark.parametrize("program_", ["test", "reload"])
def test_certificate_that_the_server_refuses_stays_behind_alone(
    machine: Machine, program_: str
) -> None:
    target = machine.target(**{program_: refusing(machine)})
    results = deploy_batch(target, list(machine.new.values()), machine.base, label="web")
    failed = {n: r for n, r in results.items() if not r.ok}
    assert set(failed) == {BAD} and failed[BAD].retry and failed[BAD].target == "web"
    machine.require([n for n in NAMES if n != BAD], [BAD])


@pytest.mark.parametrize("program_", ["test", "reload"])
def test_server_that_refuses_everything_is_asked_a_few_times(
    machine: Machine, program_: str
) -> None:
    """The cause is not in the batch: all of it is rolled back, and a later run tries again."""
    target = machine.target(**{program_: "echo broken line 3; exit 1"})
    results = deploy_batch(target, list(machine.new.values()), machine.base)
    assert len(results) == COUNT
    for result in results.values():
        assert (result.ok, result.retry, result.output) == (False, True, "broken line 3")
        assert "rolled back" in result.message
    # With and without the batch, and the same with one certificate.
    assert machine.calls(program_) == [" ".join(NAMES)] * 2 + [NAMES[0]] * 2
    assert len(machine.calls("reload")) == (4 if program_ == "reload" else 0)
    machine.require((), NAMES)


def test_search_for_bad_certificates_has_an_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server accepts only what it has, as if each new certificate was bad."""
    monkeypatch.setattr(batch, "MAX_FAILED_ATTEMPTS", 3)
    line = f'test "$(cat {machine.base}/live/*/cert.pem | md5sum)" = "$(cat {machine.folder}/sum)"'
    target = machine.target(test=line)
    data = b"".join(p.read_bytes() for p in sorted(machine.base.glob("live/*/cert.pem")))
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    (machine.folder / "sum").write_text(f"{digest}  -\n")
    results = deploy_batch(target, list(machine.new.values()), machine.base)
    assert not any(r.ok for r in results.values()) and len(results) == COUNT
    assert len(machine.calls("test")) <= 2 * 6
    machine.require((), NAMES)


def test_member_that_cannot_be_staged_stops_no_other(machine: Machine) -> None:
    Lineage(machine.base, BAD).hold("a takeover is not complete")
    results = deploy_batch(machine.target(), list(machine.new.values()), machine.base)
    assert {n for n, r in results.items() if not r.ok} == {BAD}
    assert "a takeover is not complete" in results[BAD].message
    assert len(machine.calls("reload")) == 1
    machine.require([n for n in NAMES if n != BAD], [BAD])


def test_program_that_needs_the_name_of_its_lineage_gets_it(machine: Machine) -> None:
    """It fails without CERTMGR_LINEAGE, and is then called once per lineage."""
    line = f'set -u; echo "$CERTMGR_LINEAGE" >>{machine.folder}/single.log'
    few = [machine.new[n] for n in NAMES[:3]]
    results = deploy_batch(machine.target(reload=line), few, machine.base)
    assert all(r.ok for r in results.values()), results
    assert machine.calls("single") == list(NAMES[:3])


@pytest.mark.parametrize("kind", ["files", "pkcs12"])
def test_other_kinds_of_targets_share_a_reload(machine: Machine, kind: str) -> None:
    copies = machine.folder / "copies"
    copies.mkdir(mode=0o700)
    given = {
        "files": {"directory": f"{copies}/{{name}}"},
        "pkcs12": {"path": f"{copies}/{{name}}.p12", "password": "secret"},
    }[kind]
    target = replace(machine.target(), kind=kind, **given)  # type: ignore[arg-type]
    few = [machine.new[n] for n in NAMES[:3]]
    results = deploy_batch(target, few, machine.base)
    assert all(r.ok for r in results.values()), results
    assert len(machine.calls("reload")) == 1 and len(list(copies.iterdir())) == 3


@pytest.fixture(scope="module")
def dying() -> Iterator[Forks]:
    with forks("tests.certmgr.deploy.dying_batch") as running:
        yield running


@pytest.mark.campaign
def test_batch_that_dies_at_any_step_loses_nothing(
    dying: Forks, campaign: Campaign, tmp_path: Path
) -> None:
    stride = campaign.size("of its steps one in ... is killed", 40, 1)
    kills = dying.call("batch", folder=str(tmp_path), stride=stride)
    assert kills >= 60 // stride
    campaign.report("kills", kills)
