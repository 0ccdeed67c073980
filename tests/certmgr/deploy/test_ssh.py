"""Targets on another machine, over a real sshd: the layout, host keys, and failures."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy import ssh
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.targets import TargetResult, deploy_to_target
from inventory.errors import CertmgrError
from tests.campaign import PATIENCE, UNREACHED, time_limits
from tests.certmgr.deploy.hostile_sftp import (
    Talk,
    drip,
    endless_folder,
    garbage,
    hostile_sftp,
    short,
)
from tests.certmgr.deploy.rig import (
    NAME,
    Sshd,
    hook,
    leftovers,
    make_bundle,
    new_key,
    read_by_path,
    stored,
)
from tests.servers.ports import free_port
from tests.servers.real import program


@pytest.fixture
def server(sshd: Sshd, tmp_path: Path) -> Sshd:
    """The sshd of the session, with known hosts that a test may change."""
    return sshd.with_known_hosts(tmp_path / "known_hosts")


def fingerprint(public: Path) -> str:
    command = [program("ssh-keygen", "openssh-client"), "-lf", str(public)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]


@pytest.mark.parametrize("place", ["tls", "a folder with 'blanks' & $(signs)"])
def test_deployment_creates_the_same_layout_tests_and_reloads(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd, place: str
) -> None:
    (tmp_path / place).mkdir(mode=0o700)
    directory = tmp_path / place / NAME
    log = str(tmp_path / "log")
    test = hook(tmp_path / place, 'test -s "$1" && echo tested >>"$2"', "test it")
    reload = hook(tmp_path / place, 'echo "reloaded $1" >>"$2"', "reload it")
    target = server.target(
        str(tmp_path / place / "{name}"),
        test=(*test, str(directory / "combined.pem"), log),
        reload=(*reload, "$(id); a b", log),
    )
    for n in range(7):
        issued = issuer.issue(NAME)
        version = stored(lineage, issued)
        for _ in range(2 if n == 0 else 1):
            done = deploy_to_target(target, NAME, make_bundle(issued), lineage.base, label="far")
            assert done == TargetResult("far", True, "deployed and reloaded")
        assert read_by_path(directory).sha256 == make_bundle(issued).sha256
        assert str((directory / "current").readlink()) == f"versions/{version.name}"
    assert Path(log).read_text().splitlines() == ["tested", "reloaded $(id); a b"] * 8
    kept = sorted(p.name for p in (directory / "versions").iterdir())
    assert kept == [v.name for v in lineage.versions()[-5:]]
    for path in (directory, directory / "versions", directory / "versions" / version.name):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    files = (directory / "current").resolve().iterdir()
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert leftovers(tmp_path) == []


def test_unknown_host_key_is_refused_and_named(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    server.known_hosts.write_text("")
    done = deploy_to_target(
        server.target(f"{tmp_path}/tls"), NAME, make_bundle(issued), lineage.base
    )
    assert (done.ok, done.retry) == (False, False)
    shown = fingerprint(server.folder / "host.pub")
    assert f"is unknown: ssh-ed25519 {shown}" in done.message
    assert str(server.known_hosts) in done.message
    assert not (tmp_path / "tls").exists()
    assert server.known_hosts.read_text() == "", "the key is not added"


def test_changed_host_key_is_refused_and_both_are_named(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    other = new_key(tmp_path / "other")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    done = deploy_to_target(
        server.target(f"{tmp_path}/tls"), NAME, make_bundle(issued), lineage.base
    )
    assert (done.ok, done.retry) == (False, False)
    shown, known = fingerprint(server.folder / "host.pub"), fingerprint(tmp_path / "other.pub")
    assert (
        f"has CHANGED: it presents ssh-ed25519 {shown}, known is ssh-ed25519 {known}"
        in done.message
    )
    assert not (tmp_path / "tls").exists()


def test_revoked_host_key_is_refused(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    line = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{line}@revoked * {line.split(' ', 1)[1]}")
    done = deploy_to_target(
        server.target(f"{tmp_path}/tls"), NAME, make_bundle(issued), lineage.base
    )
    assert (done.ok, done.retry) == (False, False)
    assert "is revoked" in done.message
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("fault", ["test fails", "test hangs", "reload fails", "reload hangs"])
def test_failed_remote_test_or_reload_is_returned_and_a_failed_test_is_rolled_back(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd, fault: str
) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    for issued in (one, two):
        stored(lineage, issued)
    directory = f"{tmp_path}/tls"
    what, _, how = fault.partition(" ")
    command = hook(tmp_path, "echo no; exec sleep 600" if how == "hangs" else "echo no; exit 9")
    for before, issued in ((None, one), (one, two)):
        if before is not None:
            good = server.target(directory)
            assert deploy_to_target(good, NAME, make_bundle(before), lineage.base).ok
        # The limit holds for each step of the connection too.
        for limit in time_limits(2.0 if how == "hangs" else UNREACHED):
            bad = server.target(directory, **{what: command, "timeout": limit})
            done = deploy_to_target(bad, NAME, make_bundle(issued), lineage.base)
            if done.output:  # the hook was reached
                break
        assert (done.ok, done.retry, done.output) == (False, True, "no"), done
        stays = before if what == "test" else issued
        if stays is None:
            assert not Path(directory, "current").is_symlink()
        else:
            assert read_by_path(Path(directory)).sha256 == make_bundle(stays).sha256
        assert ("did not finish in time" if how == "hangs" else "exit code 9") in done.message


def test_deployment_after_a_broken_connection_knows_the_version_to_restore(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    """The connection breaks during the test, so that nothing is rolled back then."""
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    for issued in (one, two):
        stored(lineage, issued)
    directory = f"{tmp_path}/tls"
    assert deploy_to_target(server.target(directory), NAME, make_bundle(one), lineage.base).ok
    cut = server.target(directory, test=hook(tmp_path, "kill -9 $PPID", "cut"))
    done = deploy_to_target(cut, NAME, make_bundle(two), lineage.base)
    assert (done.ok, done.retry) == (False, True)
    assert read_by_path(Path(directory)).sha256 == make_bundle(two).sha256
    failing = server.target(directory, test=("/bin/false",))
    done = deploy_to_target(failing, NAME, make_bundle(two), lineage.base)
    assert (done.ok, done.retry) == (False, True)
    assert "was rolled back" in done.message
    assert read_by_path(Path(directory)).sha256 == make_bundle(one).sha256


@pytest.mark.parametrize(
    "fault, reason, retry",
    [
        ("strange key", "does not accept the key", False),
        ("open key", "Other users can read the key file", False),
        ("no known hosts", "cannot be read", False),
        ("no server", "", True),
    ],
)
def test_connection_that_cannot_be_made_reports_why(
    lineage: Lineage,
    issuer: Authority,
    tmp_path: Path,
    server: Sshd,
    fault: str,
    reason: str,
    retry: bool,
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    target = server.target(f"{tmp_path}/tls")
    match fault:
        case "strange key":
            new_key(tmp_path / "stranger")
            target = replace(target, key_file=str(tmp_path / "stranger"))
        case "open key":
            new_key(tmp_path / "open")
            (tmp_path / "open").chmod(0o644)
            target = replace(target, key_file=str(tmp_path / "open"))
        case "no known hosts":
            target = replace(target, known_hosts=str(tmp_path / "none"))
        case _:
            target = replace(target, port=free_port())
    done = deploy_to_target(target, NAME, make_bundle(issued), lineage.base)
    assert (done.ok, done.retry) == (False, retry), done
    assert reason in done.message


def test_version_that_was_not_stored_before_is_not_deployed(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    stored(lineage, issuer.issue(NAME))
    fresh = make_bundle(issuer.issue(NAME))
    done = deploy_to_target(server.target(f"{tmp_path}/tls"), NAME, fresh, lineage.base)
    assert "no such version" in done.message


def test_manual_change_on_the_other_machine_is_not_overwritten(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    issued = issuer.issue(NAME)
    version = stored(lineage, issued)
    target = server.target(f"{tmp_path}/tls")
    assert deploy_to_target(target, NAME, make_bundle(issued), lineage.base).ok
    (tmp_path / "tls/versions" / version.name / "privkey.pem").write_text("changed")
    done = deploy_to_target(target, NAME, make_bundle(issued), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "changed by hand" in done.message
    assert not deploy_to_target(target, "other.example", make_bundle(issued), lineage.base).ok


def test_machine_that_answers_byte_by_byte_does_not_hold_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in time_limits(1.0):
        monkeypatch.setattr(ssh, "SESSION_TIMEOUTS", limit / PATIENCE)
        with (
            hostile_sftp(tmp_path, drip, PATIENCE) as target,
            pytest.raises(CertmgrError, match="failed") as error,
            ssh.connect(target),
        ):
            raise AssertionError("the machine never opens the session")
        # A busy machine may need more time for the connection itself.
        if "took more than" in str(error.value):
            return
    raise AssertionError("no time limit was long enough")


@pytest.mark.parametrize("talk", [garbage, short])
def test_machine_that_does_not_speak_sftp_is_an_error_with_its_name(
    tmp_path: Path, talk: Talk
) -> None:
    with (
        hostile_sftp(tmp_path, talk, PATIENCE) as target,
        pytest.raises(CertmgrError, match=r"certmgr@127.0.0.1:\d+.* failed"),
        ssh.connect(target),
    ):
        raise AssertionError("the machine never opens the session")


def test_folder_with_names_without_end_is_not_used(tmp_path: Path) -> None:
    with (
        hostile_sftp(tmp_path, endless_folder, PATIENCE) as target,
        ssh.connect(target) as remote,
        pytest.raises(CertmgrError, match="more than 10000 files"),
    ):
        remote.prune("/etc/tls", ())
