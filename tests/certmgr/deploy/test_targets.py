"""Targets on this machine: files, their modes, and messages. A failure is a returned value."""

from __future__ import annotations

import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.targets import TargetResult, deploy_to_target
from inventory.certificates import from_pem
from tests.campaign import UNREACHED
from tests.certmgr.deploy.rig import NAME, hook, leftovers, make_bundle, read_by_path, stored
from tests.servers.real import program


def test_files_have_one_link_that_switches_and_stable_links_through_it(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    reload = hook(tmp_path, f'echo "$CERTMGR_LINEAGE $CERTMGR_SHA256" >>{tmp_path}/log')
    target = TargetSettings("files", f"{tmp_path}/tls/{{name}}", reload=reload, settle=0.0)
    one, two = make_bundle(issuer.issue(NAME)), make_bundle(issuer.issue(NAME))
    folder = tmp_path / "tls" / NAME
    for wanted in (one, two, two):
        done = deploy_to_target(target, NAME, wanted, lineage.base, label="web")
        assert done == TargetResult("web", True, "deployed and reloaded")
        assert read_by_path(folder).sha256 == wanted.sha256
    log = (tmp_path / "log").read_text().split()
    assert log == [w for m in (one, two, two) for w in (NAME, m.sha256)]
    current = str((folder / "current").readlink())
    assert current.startswith("versions/000002-")
    assert str((folder / "privkey.pem").readlink()) == "current/privkey.pem"
    versions = [
        p.name for p in (folder / "versions").iterdir() if p.is_dir() and not p.is_symlink()
    ]
    assert sorted(versions) == [f"00000{n}-{m.sha256[:12]}" for n, m in ((1, one), (2, two))]
    for path in (folder, folder / "versions", folder / current):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "privkey.pem").stat().st_mode) == 0o600


def test_folder_of_another_lineage_is_refused(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    target = TargetSettings("files", f"{tmp_path}/tls", settle=0.0)
    assert deploy_to_target(target, NAME, make_bundle(issuer.issue(NAME)), lineage.base).ok
    other = make_bundle(issuer.issue("other.example"))
    done = deploy_to_target(target, "other.example", other, lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "Write {name} in the directory" in done.message
    assert read_by_path(tmp_path / "tls").leaf.dns_names == (NAME,)


def test_only_five_versions_of_files_are_kept(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    target = TargetSettings("files", f"{tmp_path}/tls", settle=0.0)
    for _ in range(8):
        assert deploy_to_target(target, NAME, make_bundle(issuer.issue(NAME)), lineage.base).ok
    kept = [p for p in (tmp_path / "tls/versions").iterdir() if not p.is_symlink()]
    assert len(kept) == 5


@pytest.mark.parametrize("kind", ["reload", "files", "pkcs12"])
@pytest.mark.parametrize("fault", ["test fails", "test is missing", "test hangs", "reload fails"])
def test_failed_test_or_reload_is_returned_and_a_failed_test_is_rolled_back(
    lineage: Lineage, issuer: Authority, tmp_path: Path, kind: str, fault: str
) -> None:
    """After the failed test of the very first certificate, there is none again."""
    good = TargetSettings(
        kind,
        f"{tmp_path}/tls",
        path=f"{tmp_path}/site.pfx",
        password="pw",
        settle=0.0,
        timeout=UNREACHED,
    )
    test: tuple[str, ...] = ()
    reload = hook(tmp_path, f"touch {tmp_path}/reloaded")
    match fault:
        case "test fails":
            test = hook(tmp_path, r"printf 'line 7: \033[31mbad\033[0m\n'; exit 1", "test")
        case "test is missing":
            test = (str(tmp_path / "none"),)
        case "test hangs":
            test = hook(tmp_path, "sleep 600", "test")
        case _:
            reload = hook(tmp_path, "exit 7", "reload")
    limit = 0.3 if fault == "test hangs" else UNREACHED
    bad = replace(good, test=test, reload=reload, timeout=limit)
    fresh = Lineage(lineage.base, NAME)

    def in_place() -> str | None:
        match kind:
            case "reload":
                found = fresh.read_current()
                return found.sha256 if found is not None else None
            case "files":
                folder = tmp_path / "tls"
                return read_by_path(folder).sha256 if (folder / "current").exists() else None
            case _:
                path = tmp_path / "site.pfx"
                return _leaf_of(path, "pw") if path.exists() else None

    one, two = make_bundle(issuer.issue(NAME)), make_bundle(issuer.issue(NAME))
    rolled_back = fault != "reload fails"
    for before, wanted in ((None, one), (one, two)):
        if before is not None:
            assert deploy_to_target(good, NAME, before, lineage.base).ok
        done = deploy_to_target(bad, NAME, wanted, lineage.base)
        assert not done.ok
        assert done.retry
        expected = before if rolled_back else wanted
        assert in_place() == (expected.sha256 if expected is not None else None), done
        assert leftovers(tmp_path) == []
    assert not (tmp_path / "reloaded").exists()
    if fault == "test fails":
        assert done.output == "line 7: bad"
        assert "was rolled back" in done.message


NO_FOLDER = "/no/such/folder/x.pfx"


@pytest.mark.parametrize(
    "target, reason",
    [
        (TargetSettings("nonsense"), "is not a kind of target"),
        (TargetSettings("reload", owner="no-such-user"), "has no 'no-such-user'"),
        (TargetSettings("reload", group="no-such-group"), "has no 'no-such-group'"),
        (TargetSettings("reload", reload=("/no/such/program",)), "cannot be run"),
        (
            TargetSettings("reload", reload=("/bin/true",), user="no-such-user"),
            "no user 'no-such-user'",
        ),
        (
            TargetSettings("pkcs12", path=NO_FOLDER, password="pw"),
            f"{NO_FOLDER} cannot be written",
        ),
        (
            TargetSettings("pkcs12", path=NO_FOLDER, password="env:CERTMGR_TEST_UNSET"),
            "CERTMGR_TEST_UNSET",
        ),
        (TargetSettings("pkcs12", path=NO_FOLDER), "needs a password"),
        (
            TargetSettings(
                "ssh",
                "/x",
                host="127.0.0.1",
                login="x",
                key_file="/no/key",
                known_hosts="/no/hosts",
            ),
            "/no/key cannot be read",
        ),
    ],
)
def test_invalid_configuration_is_reported(
    lineage: Lineage, issuer: Authority, target: TargetSettings, reason: str
) -> None:
    issued = issuer.issue(NAME)
    stored(lineage, issued)
    done = deploy_to_target(target, NAME, make_bundle(issued), lineage.base)
    assert not done.ok
    assert reason in done.message


def test_name_that_is_a_path_is_refused(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    target = TargetSettings("files", f"{tmp_path}/{{name}}")
    done = deploy_to_target(target, "../../etc", make_bundle(issuer.issue(NAME)), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "cannot be the name of a lineage" in done.message


def test_nothing_is_written_to_a_folder_that_all_users_can_write_to(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    """A client could put links there."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    target = TargetSettings("files", f"{tmp_path}/open")
    done = deploy_to_target(target, NAME, make_bundle(issuer.issue(NAME)), lineage.base)
    assert not done.ok
    assert "Nothing is written below" in done.message
    assert list((tmp_path / "open").iterdir()) == []


def _openssl(*arguments: str) -> str:
    command = [program("openssl", "openssl"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _pkcs12(path: Path, password: str, *options: str) -> str:
    return _openssl("pkcs12", "-in", str(path), "-passin", f"pass:{password}", *options)


def _leaf_of(path: Path, password: str) -> str:
    return from_pem(_pkcs12(path, password, "-nokeys", "-clcerts").encode())[0].sha256


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["EC", "RSA"])
def test_pkcs12_is_parsed_by_openssl(
    lineage: Lineage,
    issuer: Authority,
    rsa_key: rsa.RSAPrivateKey,
    tmp_path: Path,
    legacy: bool,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PFX_PASSWORD", "a pass word")
    issued = issuer.issue(NAME, key=rsa_key if key == "RSA" else None)
    path = tmp_path / f"{NAME}.pfx"
    target = TargetSettings(
        "pkcs12",
        path=f"{tmp_path}/{{name}}.pfx",
        password="env:PFX_PASSWORD",
        alias="tomcat",
        legacy=legacy,
        settle=0.0,
    )
    done = deploy_to_target(target, NAME, make_bundle(issued), lineage.base)
    assert done == TargetResult("", True, "deployed")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = _pkcs12(path, "a pass word", "-nodes", "-info")
    assert ("pbeWithSHA1And3-KeyTripleDES-CBC" in text) is legacy
    assert ("AES-256-CBC" in text) is not legacy
    assert f"MAC: sha{'1' if legacy else '256'}" in text
    assert "friendlyName: tomcat" in text
    assert text.count("BEGIN CERTIFICATE") == 2
    assert _leaf_of(path, "a pass word") == make_bundle(issued).sha256
    (tmp_path / "key.pem").write_text(_pkcs12(path, "a pass word", "-nodes", "-nocerts"))
    (tmp_path / "ours.pem").write_bytes(issued.key_pem)
    in_file = _openssl("pkey", "-in", str(tmp_path / "key.pem"), "-pubout")
    assert in_file == _openssl("pkey", "-in", str(tmp_path / "ours.pem"), "-pubout")
    wrong = ["pkcs12", "-in", str(path), "-passin", "pass:x", "-noout"]
    assert subprocess.run([program("openssl", "openssl"), *wrong], capture_output=True).returncode


@pytest.mark.parametrize("legacy", [False, True])
def test_pkcs12_is_parsed_by_java_if_it_is_installed(
    lineage: Lineage, issuer: Authority, tmp_path: Path, legacy: bool
) -> None:
    """Without Java, only openssl parses the file."""
    path = tmp_path / f"{legacy}.pfx"
    target = TargetSettings(
        "pkcs12", path=str(path), password="password", alias="tomcat", legacy=legacy, settle=0.0
    )
    assert deploy_to_target(target, NAME, make_bundle(issuer.issue(NAME)), lineage.base).ok
    assert _leaf_of(path, "password")
    keytool = shutil.which("keytool")
    if keytool is not None:
        command = [keytool, "-list", "-keystore", str(path), "-storepass", "password"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "tomcat" in done.stdout, done.stdout
        assert "PrivateKeyEntry" in done.stdout


def test_pkcs12_without_the_key_is_refused(
    lineage: Lineage, issuer: Authority, tmp_path: Path
) -> None:
    target = TargetSettings("pkcs12", path=f"{tmp_path}/x.pfx", password="pw")
    done = deploy_to_target(target, NAME, make_bundle(issuer.issue(NAME), key=False), lineage.base)
    assert (done.ok, done.retry) == (False, False)
    assert "the client has it" in done.message
