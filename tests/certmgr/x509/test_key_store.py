"""Key files: private, complete, one per case and type, also if the process dies at any step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.cases import new_case, signing_requests
from certmgr.config.checks import KEY_TYPES
from certmgr.config.loading import load
from certmgr.x509.key_store import KeyStore, generate, key_reference, local_path, pem
from inventory.errors import CertmgrError, ConfigError, UsageError
from tests.campaign import Campaign
from tests.certmgr.cases.place import CaseEnvironment
from tests.certmgr.deploy.forks import Forks, forks


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_key_type_is_tested() -> None:
    assert set(KEY_TYPES) == {"ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"}


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_key_of_each_type_is_made_and_private(tmp_path: Path, key_type: str) -> None:
    store = KeyStore(tmp_path / "keys")
    path, key = store.make("CM-ABC234", key_type)
    assert (mode(path), mode(path.parent), mode(store.directory)) == (0o600, 0o700, 0o700)
    assert pem(store.load(path)) == pem(key)
    assert [p.name for p in path.parent.iterdir()] == [f"{key_type}.key"], "no partial file"


def test_key_that_is_made_under_umask_022_is_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path, _ = KeyStore(tmp_path / "keys").make("CM-ABC234", "ec-p256")
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_second_make_returns_the_same_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    first, second = store.make("CM-ABC234", "ec-p256"), store.make("CM-ABC234", "ec-p256")
    assert pem(first[1]) == pem(second[1])


def test_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys", lambda: "correct horse")
    path, key = store.make("CM-ABC234", "ec-p256")
    assert b"ENCRYPTED" in path.read_bytes()
    assert pem(KeyStore(tmp_path / "keys", lambda: "correct horse").load(path)) == pem(key)
    with pytest.raises(CertmgrError, match="passphrase"):
        KeyStore(tmp_path / "keys", lambda: "wrong").load(path)
    with pytest.raises(CertmgrError, match="passphrase"):
        KeyStore(tmp_path / "keys").load(path)


def test_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    path, _ = store.make("CM-ABC234", "ec-p256")
    path.chmod(0o644)
    with pytest.raises(CertmgrError, match="Other users can read the key"):
        store.load(path)


def test_key_is_never_overwritten(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    path, key = store.make("CM-ABC234", "ec-p256")
    assert store.store_key("CM-ABC234", "ec-p256", key) == path
    with pytest.raises(CertmgrError, match="another key"):
        store.store_key("CM-ABC234", "ec-p256", generate("ec-p256"))
    assert pem(store.load(path)) == pem(key)


def test_unknown_key_type_or_two_of_one_kind_are_refused(sqlite_env: CaseEnvironment) -> None:
    env = sqlite_env
    reference = new_case.open_case(env.service, "1001", ["shop.example.com"]).reference
    with pytest.raises(UsageError, match="is not a key type"):
        signing_requests.make_csr(env.service, reference, ["dsa-1024"])
    with pytest.raises(UsageError, match="one RSA and one EC"):
        signing_requests.make_csr(env.service, reference, ["rsa-2048", "rsa-4096"])
    assert env.row(reference).state == "requested"


def test_key_on_another_machine_is_refused_and_the_machine_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    assert local_path(key_reference(path)) == path.resolve()
    with pytest.raises(CertmgrError, match="is on elsewhere"):
        local_path("elsewhere:/a.key")


@pytest.mark.parametrize("fault", ["others", "link", "file"])
def test_folder_that_is_not_private_gets_no_keys(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "keys"
    if fault == "others":
        folder.mkdir()
        folder.chmod(0o777)
    if fault == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    if fault == "file":
        folder.write_text("")
    with pytest.raises(CertmgrError):
        KeyStore(folder).make("CM-ABC234", "ec-p256")
    assert not list(tmp_path.rglob("*.key"))


def test_relative_folder_of_keys_is_refused(tmp_path: Path) -> None:
    """It would depend on the current directory."""
    (tmp_path / "certmgr.toml").write_text('[cases]\nkeys = "keys"\n')
    with pytest.raises(ConfigError, match="depend on the current directory"):
        load(str(tmp_path / "certmgr.toml"))


@pytest.fixture(scope="module")
def process() -> Iterator[Forks]:
    with forks("tests.certmgr.cases.jobs") as started:
        yield started


def test_full_disk_leaves_no_key_and_no_record_of_one(process: Forks, tmp_path: Path) -> None:
    """A limit on the file size simulates the full disk."""
    result = process.call("full disk", folder=str(tmp_path), limit=10)
    assert "cannot be written" in result["error"]
    assert result["left"] == []
    assert result["state"] == "csr-ready", "the key can be created later"


def test_death_at_any_step_leaves_one_key_that_the_next_call_uses(
    process: Forks, tmp_path: Path, campaign: Campaign
) -> None:
    result = process.call("deaths at each step", folder=str(tmp_path))
    assert result["deaths"] >= 25, "the operation has at least 25 steps"
    assert 0 < result["unfinished"] < result["deaths"], "some died before the record, some after it"
    campaign.report("deaths", result["deaths"])


@pytest.mark.campaign
def test_kill_at_any_moment_leaves_one_key_that_the_next_call_uses(
    process: Forks, tmp_path: Path, campaign: Campaign
) -> None:
    kills = campaign.size("kills between key and record", 20, 400)
    result = process.call("kills at any moment", folder=str(tmp_path), kills=kills)
    assert result["unfinished"], "some were killed before the record"
