"""Each kind of target: what is written there, with which modes, and what is said when it fails. One that fails is a value."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.config_acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.targets import Delivered, deliver
from tests.certmgr.deploy.rig import NAME, Sshd, by_path, leftovers, material, new_key, sshd, stored
from tests.servers.ports import free_port
from tests.servers.real import program


def hook(folder: Path, text: str, name: str = "hook") -> tuple[str, ...]:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return (str(path),)


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_have_one_link_that_switches_and_stable_ones_through_it(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    reload = hook(tmp_path, f'echo "$CERTMGR_LINEAGE $CERTMGR_SHA256" >>{tmp_path}/log')
    target = TargetSettings("files", f"{tmp_path}/tls/{{name}}", reload=reload, settle=0.0)
    one, two = material(issuer.issue(NAME)), material(issuer.issue(NAME))
    folder = tmp_path / "tls" / NAME
    for wanted in (one, two, two):
        done = deliver(target, NAME, wanted, lineage.base, label="web")
        assert done == Delivered("web", True, "in place, and reloaded")
        assert by_path(folder).sha256 == wanted.sha256
    assert (tmp_path / "log").read_text().split() == [w for m in (one, two, two) for w in (NAME, m.sha256)]
    assert str((folder / "current").readlink()).startswith("versions/000002-")
    assert str((folder / "privkey.pem").readlink()) == "current/privkey.pem"
    assert sorted(p.name for p in (folder / "versions").iterdir() if p.is_dir() and not p.is_symlink()) == [
        f"00000{n}-{m.sha256[:12]}" for n, m in ((1, one), (2, two))
    ]
    for path in (folder, folder / "versions", folder / "versions" / str((folder / "current").readlink()).partition("/")[2]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "privkey.pem").stat().st_mode) == 0o600


def test_two_lineages_do_not_take_turns_in_one_folder(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    target = TargetSettings("files", f"{tmp_path}/tls", settle=0.0)
    assert deliver(target, NAME, material(issuer.issue(NAME)), lineage.base).ok
    done = deliver(target, "other.example", material(issuer.issue("other.example")), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "Write {name} in the directory" in done.what
    assert by_path(tmp_path / "tls").leaf.dns_names == (NAME,)


def test_only_so_many_versions_are_kept(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    target = TargetSettings("files", f"{tmp_path}/tls", settle=0.0)
    for _ in range(8):
        assert deliver(target, NAME, material(issuer.issue(NAME)), lineage.base).ok
    assert len([p for p in (tmp_path / "tls/versions").iterdir() if not p.is_symlink()]) == 5


@pytest.mark.parametrize("kind", ["reload", "files", "pkcs12"])
@pytest.mark.parametrize("fault", ["test fails", "test is missing", "test hangs", "reload fails"])
def test_what_fails_is_a_value_and_the_one_before_stays(
    lineage: Lineage, issuer: Authority, tmp_path: Path, kind: str, fault: str
) -> None:
    """Also for the very first certificate: then there is nothing again."""
    good = TargetSettings(kind, f"{tmp_path}/tls", path=f"{tmp_path}/site.pfx", password="pw", settle=0.0, timeout=20.0)
    test, reload = (), hook(tmp_path, f"touch {tmp_path}/reloaded")
    match fault:
        case "test fails":
            test = hook(tmp_path, r"printf 'line 7: \033[31mbad\033[0m\n'; exit 1", "test")  # type: ignore[assignment]
        case "test is missing":
            test = (str(tmp_path / "none"),)  # type: ignore[assignment]
        case "test hangs":
            test = hook(tmp_path, "sleep 100", "test")  # type: ignore[assignment]
        case _:
            reload = hook(tmp_path, "exit 7", "reload")
    bad = replace(good, test=test, reload=reload, timeout=0.5 if fault == "test hangs" else 20.0)
    fresh = Lineage(lineage.base, NAME)

    def now() -> str | None:
        match kind:
            case "reload":
                found = fresh.read_current()
                return found.sha256 if found is not None else None
            case "files":
                return by_path(tmp_path / "tls").sha256 if (tmp_path / "tls/current").exists() else None
            case _:
                return _leaf_of(tmp_path / "site.pfx", "pw") if (tmp_path / "site.pfx").exists() else None

    one, two = material(issuer.issue(NAME)), material(issuer.issue(NAME))
    taken_back = fault != "reload fails"
    for before, wanted in ((None, one), (one, two)):
        if before is not None:
            assert deliver(good, NAME, before, lineage.base).ok
        done = deliver(bad, NAME, wanted, lineage.base)
        assert not done.ok
        assert done.retry
        expected = before if taken_back else wanted
        assert now() == (expected.sha256 if expected is not None else None), done
        assert leftovers(tmp_path) == []
    assert not (tmp_path / "reloaded").exists()
    if fault == "test fails":
        assert done.output == "line 7: bad"
        assert "was taken back" in done.what


@pytest.mark.parametrize(
    "target, said",
    [
        (TargetSettings("nonsense"), "no kind of target"),
        (TargetSettings("reload", owner="no-such-user"), "no 'no-such-user' here"),
        (TargetSettings("reload", group="no-such-group"), "no 'no-such-group' here"),
        (TargetSettings("reload", reload=("/no/such/program",)), "cannot be run"),
        (TargetSettings("reload", reload=("/bin/true",), user="no-such-user"), "no user 'no-such-user'"),
        (TargetSettings("pkcs12", path="/no/such/folder/x.pfx", password="pw"), "/no/such/folder/x.pfx cannot be written"),
        (TargetSettings("pkcs12", path="/no/such/folder/x.pfx", password="env:CERTMGR_TEST_UNSET"), "CERTMGR_TEST_UNSET"),
        (TargetSettings("pkcs12", path="/no/such/folder/x.pfx"), "needs a password"),
        (
            TargetSettings("ssh", "/x", host="127.0.0.1", login="x", key_file="/no/key", known_hosts="/no/hosts"),
            "/no/key cannot be read",
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_told(lineage: Lineage, issuer: Authority, target: TargetSettings, said: str) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    done = deliver(target, NAME, material(issued), lineage.base)
    assert not done.ok
    assert said in done.what


def test_a_name_is_never_a_path(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    done = deliver(TargetSettings("files", f"{tmp_path}/{{name}}"), "../../etc", material(issuer.issue(NAME)), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "cannot be the name of a lineage" in done.what


def test_files_do_not_go_where_a_client_can_put_links(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    """Everybody refuses a folder that all can write to."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    done = deliver(TargetSettings("files", f"{tmp_path}/open"), NAME, material(issuer.issue(NAME)), lineage.base)
    assert not done.ok
    assert "Nothing is written below" in done.what
    assert list((tmp_path / "open").iterdir()) == []


# -- PKCS#12 -----------------------------------------------------------------------------------------------------------


def _openssl(*arguments: str) -> str:
    done = subprocess.run([program("openssl", "openssl"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _leaf_of(path: Path, password: str) -> str:
    from inventory.certificates import from_pem

    text = _openssl("pkcs12", "-in", str(path), "-passin", f"pass:{password}", "-nokeys", "-clcerts")
    return from_pem(text.encode())[0].sha256


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["EC", "RSA"])
def test_openssl_reads_the_pkcs12_back(lineage: Lineage, issuer: Authority, tmp_path: Path, legacy: bool, key: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from cryptography.hazmat.primitives.asymmetric import rsa

    monkeypatch.setenv("PFX_PASSWORD", "a pass word")
    issued = issuer.issue(NAME, key=rsa.generate_private_key(65537, 2048) if key == "RSA" else None)
    path = tmp_path / f"{NAME}.pfx"
    target = TargetSettings(
        "pkcs12", path=f"{tmp_path}/{{name}}.pfx", password="env:PFX_PASSWORD", alias="tomcat", legacy=legacy, settle=0.0
    )
    assert deliver(target, NAME, material(issued), lineage.base) == Delivered("", True, "in place")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = _openssl("pkcs12", "-in", str(path), "-passin", "pass:a pass word", "-nodes", "-info")
    assert ("pbeWithSHA1And3-KeyTripleDES-CBC" in text) is legacy
    assert ("AES-256-CBC" in text) is not legacy
    assert f"MAC: sha{'1' if legacy else '256'}" in text
    assert "friendlyName: tomcat" in text
    assert text.count("BEGIN CERTIFICATE") == 2
    assert _leaf_of(path, "a pass word") == material(issued).sha256
    key_of_file = _openssl("pkcs12", "-in", str(path), "-passin", "pass:a pass word", "-nodes", "-nocerts")
    (tmp_path / "key.pem").write_text(key_of_file)
    (tmp_path / "ours.pem").write_bytes(issued.key_pem)
    assert _openssl("pkey", "-in", str(tmp_path / "key.pem"), "-pubout") == _openssl(
        "pkey", "-in", str(tmp_path / "ours.pem"), "-pubout"
    )
    bad = subprocess.run(
        [program("openssl", "openssl"), "pkcs12", "-in", str(path), "-passin", "pass:x", "-noout"], capture_output=True
    )
    assert bad.returncode


def test_java_reads_the_pkcs12_where_there_is_one(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    """Beside openssl, which is everywhere: without a Java this says only that the file is there."""
    for legacy in (False, True):
        path = tmp_path / f"{legacy}.pfx"
        target = TargetSettings("pkcs12", path=str(path), password="password", alias="tomcat", legacy=legacy, settle=0.0)
        assert deliver(target, NAME, material(issuer.issue(NAME)), lineage.base).ok
        assert _leaf_of(path, "password")
        keytool = shutil.which("keytool")
        if keytool is not None:
            done = subprocess.run(
                [keytool, "-list", "-keystore", str(path), "-storepass", "password"], capture_output=True, text=True
            )
            assert "tomcat" in done.stdout, done.stdout
            assert "PrivateKeyEntry" in done.stdout


def test_a_clients_own_key_makes_no_pkcs12(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    target = TargetSettings("pkcs12", path=f"{tmp_path}/x.pfx", password="pw")
    done = deliver(target, NAME, material(issuer.issue(NAME), key=False), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "the client has it" in done.what


# -- SSH ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd") as running:
        yield running


@pytest.mark.parametrize("place", ["tls", "a folder with 'blanks' & $(signs)"])
def test_over_ssh_the_same_layout_is_made_tested_and_reloaded(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd, place: str
) -> None:
    (tmp_path / place).mkdir(mode=0o700)
    directory = tmp_path / place / NAME
    test = hook(tmp_path / place, 'test -s "$1" && echo tested >>"$2"', "test it")
    reload = (*hook(tmp_path / place, 'echo "reloaded $1" >>"$2"', "reload it"), "$(id); a b", str(tmp_path / "log"))
    target = server.target(
        str(tmp_path / place / "{name}"), test=(*test, str(directory / "combined.pem"), str(tmp_path / "log")), reload=reload
    )
    for n in range(7):
        issued = issuer.issue(NAME)
        version = stored(lineage, issued)
        for _ in range(2 if n == 0 else 1):
            done = deliver(target, NAME, material(issued), lineage.base, label="far")
            assert done == Delivered("far", True, "in place, and reloaded")
        assert by_path(directory).sha256 == material(issued).sha256
        assert str((directory / "current").readlink()) == f"versions/{version.name}"
    assert (tmp_path / "log").read_text().splitlines() == ["tested", "reloaded $(id); a b"] * 8
    assert sorted(p.name for p in (directory / "versions").iterdir()) == [v.name for v in lineage.versions()[-5:]]
    for path in (directory, directory / "versions", directory / "versions" / version.name):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert {stat.S_IMODE(p.stat().st_mode) for p in (directory / "current").resolve().iterdir()} == {0o600}
    assert leftovers(tmp_path) == []


def test_an_unknown_host_key_is_refused_and_named(lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    server.known_hosts.write_text("")
    done = deliver(server.target(f"{tmp_path}/tls"), NAME, material(issued), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(server.folder / "host.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert f"is unknown: ssh-ed25519 {shown}" in done.what
    assert str(server.known_hosts) in done.what
    assert not (tmp_path / "tls").exists()
    assert server.known_hosts.read_text() == "", "nothing is learnt"


def test_a_changed_host_key_is_refused_and_both_are_named(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    other = new_key(tmp_path / "other")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    done = deliver(server.target(f"{tmp_path}/tls"), NAME, material(issued), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    prints = [
        subprocess.run(["ssh-keygen", "-lf", str(p)], capture_output=True, text=True, check=True).stdout.split()[1]
        for p in (server.folder / "host.pub", tmp_path / "other.pub")
    ]
    assert f"has CHANGED: it shows ssh-ed25519 {prints[0]}, known is ssh-ed25519 {prints[1]}" in done.what
    assert not (tmp_path / "tls").exists()


def test_a_revoked_host_key_is_refused(lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    line = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{line}@revoked * {line.split(' ', 1)[1]}")
    done = deliver(server.target(f"{tmp_path}/tls"), NAME, material(issued), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "is revoked" in done.what
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("fault", ["test fails", "test hangs", "reload fails", "reload hangs"])
def test_what_fails_there_is_a_value_too(lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd, fault: str) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    for issued in (one, two):
        stored(lineage, issued)
    directory = f"{tmp_path}/tls"
    for before, issued in ((None, one), (one, two)):
        if before is not None:
            assert deliver(server.target(directory), NAME, material(before), lineage.base).ok
        what, _, how = fault.partition(" ")
        command = hook(tmp_path, "echo no; sleep 100" if how == "hangs" else "echo no; exit 9")
        given = {what: command, "timeout": 6.0 if how == "hangs" else 20.0}
        done = deliver(server.target(directory, **given), NAME, material(issued), lineage.base)
        assert (done.ok, done.retry, done.output) == (False, True, "no"), done
        stays = before if what == "test" else issued
        if stays is None:
            assert not Path(directory, "current").is_symlink()
        else:
            assert by_path(Path(directory)).sha256 == material(stays).sha256
        assert ("did not end in time" if how == "hangs" else "exit code 9") in done.what


def test_a_broken_connection_there_is_settled_by_the_next_one(
    lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd
) -> None:
    """The connection breaks in the middle of the test: the next delivery knows what to go back to."""
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    for issued in (one, two):
        stored(lineage, issued)
    directory = f"{tmp_path}/tls"
    assert deliver(server.target(directory), NAME, material(one), lineage.base).ok
    cut = hook(tmp_path, "kill -9 $PPID", "cut")
    done = deliver(server.target(directory, test=cut), NAME, material(two), lineage.base)
    assert (done.ok, done.retry) == (False, True)
    assert by_path(Path(directory)).sha256 == material(two).sha256, "nobody was left to take it back"
    done = deliver(server.target(directory, test=("/bin/false",)), NAME, material(two), lineage.base)
    assert (done.ok, done.retry) == (False, True)
    assert "was taken back" in done.what
    assert by_path(Path(directory)).sha256 == material(one).sha256


def test_what_is_wrong_with_ssh_is_told(lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    new_key(tmp_path / "stranger")
    (tmp_path / "open").write_bytes((tmp_path / "stranger").read_bytes())
    (tmp_path / "open").chmod(0o644)
    for given, said, retry in (
        ({"key_file": str(tmp_path / "stranger")}, "does not accept our key", False),
        ({"key_file": str(tmp_path / "open")}, "can be read by others", False),
        ({"known_hosts": str(tmp_path / "none")}, "cannot be read", False),
        ({}, "", True),
    ):
        target = server.target(f"{tmp_path}/tls", **given)
        if not given:
            target = replace(target, port=free_port())
        done = deliver(target, NAME, material(issued), lineage.base)
        assert (done.ok, done.retry) == (False, retry), done
        assert said in done.what
    fresh = material(issuer.issue(NAME))
    assert "no such version" in deliver(server.target(f"{tmp_path}/tls"), NAME, fresh, lineage.base).what


def test_a_hand_made_change_there_is_not_overwritten(lineage: Lineage, issuer: Authority, tmp_path: Path, server: Sshd) -> None:
    issued = issuer.issue(NAME)
    version = stored(lineage, issued)
    target = server.target(f"{tmp_path}/tls")
    assert deliver(target, NAME, material(issued), lineage.base).ok
    (tmp_path / "tls/versions" / version.name / "privkey.pem").write_text("changed")
    done = deliver(target, NAME, material(issued), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "changed by hand" in done.what
    other = deliver(target, "other.example", material(issued), lineage.base)
    assert not other.ok
