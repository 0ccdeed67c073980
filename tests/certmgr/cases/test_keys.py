"""Key files: private, whole, one for a case, also when the process dies at any point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certmgr.cases.keys import KeyStore, key_reference, local_path, pem
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.cases.place import Place


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"])
def test_each_kind_is_made_and_private(tmp_path: Path, key_type: str) -> None:
    store = KeyStore(tmp_path / "keys")
    path, key = store.make("CM-ABC234", key_type)
    assert (mode(path), mode(path.parent), mode(store.directory)) == (0o600, 0o700, 0o700)
    assert pem(store.load(path)) == pem(key)
    assert [p.name for p in path.parent.iterdir()] == [f"{key_type}.key"], "nothing half-done remains"


def test_a_key_is_made_under_umask_022_as_privately(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path, _ = KeyStore(tmp_path / "keys").make("CM-ABC234", "ec-p256")
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_the_same_key_is_found_again(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    first, second = store.make("CM-ABC234", "ec-p256"), store.make("CM-ABC234", "ec-p256")
    assert pem(first[1]) == pem(second[1])


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    path, key = KeyStore(tmp_path / "keys", lambda: "correct horse").make("CM-ABC234", "ec-p256")
    assert b"ENCRYPTED" in path.read_bytes()
    assert pem(KeyStore(tmp_path / "keys", lambda: "correct horse").load(path)) == pem(key)
    with pytest.raises(CertmgrError, match="passphrase"):
        KeyStore(tmp_path / "keys", lambda: "wrong").load(path)
    with pytest.raises(CertmgrError, match="passphrase"):
        KeyStore(tmp_path / "keys").load(path)


def test_what_others_can_read_is_not_used(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    path, _ = store.make("CM-ABC234", "ec-p256")
    path.chmod(0o644)
    with pytest.raises(CertmgrError, match="can be read by others"):
        store.load(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    from certmgr.cases.keys import generate

    store = KeyStore(tmp_path / "keys")
    path, key = store.make("CM-ABC234", "ec-p256")
    assert store.keep("CM-ABC234", "ec-p256", key) == path
    with pytest.raises(CertmgrError, match="another key"):
        store.keep("CM-ABC234", "ec-p256", generate("ec-p256"))
    assert pem(store.load(path)) == pem(key)


def test_what_is_no_kind_of_key_is_refused(place: Place) -> None:
    from certmgr.cases import intake

    reference = place.desk.open("1001", ["shop.example.com"])["reference"]
    with pytest.raises((UsageError, AssertionError)):
        intake.make_csr(place.desk, reference, ["dsa-1024"])
    with pytest.raises(UsageError, match="one RSA and one EC"):
        intake.make_csr(place.desk, reference, ["rsa-2048", "rsa-4096"])
    assert place.row(reference)["state"] == "requested"


def test_a_key_on_another_machine_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    assert local_path(key_reference(path)) == path.resolve()
    with pytest.raises(CertmgrError, match="is on elsewhere"):
        local_path("elsewhere:/a.key")


def test_a_full_disk_leaves_no_key_and_no_word_of_one(place: Place) -> None:
    """As a limit on the size of files."""
    import resource

    from certmgr.cases import intake

    reference = place.desk.open("1001", ["shop.example.com"])["reference"]
    store = place.desk.keys
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(CertmgrError, match="cannot be written"):
            store.make(reference, "ec-p256")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert [p for p in store.directory.rglob("*") if p.is_file()] == []
    intake.make_csr(place.desk, reference)
    assert place.row(reference)["state"] == "csr-ready"


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from dataclasses import replace
from certmgr.cases import intake
from certmgr.cases.work import Desk
from certmgr.config import CasesSettings, Settings
from inventory.database import open_database
folder, reference = Path(sys.argv[1]), sys.argv[2]
settings = replace(Settings(), cases=CasesSettings(keys=str(folder / "keys")))
print("ready", flush=True)
intake.make_csr(Desk(open_database(str(folder / "cases.db")), settings, system_clock()), reference)
"""


def test_a_kill_between_key_and_record_leaves_one_key_that_is_found_again(place: Place) -> None:
    """SIGKILL at forty points of the way from the key to the database; then once more to the end."""
    from certmgr.cases import intake
    from certmgr.cases.csr import spki
    from inventory.store import cases

    unfinished = 0
    for number in range(40):
        reference = place.desk.open("1001", [f"n{number}.shop.example.com"])["reference"]
        process = subprocess.Popen([sys.executable, "-c", CHILD, str(place.folder), reference], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(number * 0.004)
        process.kill()
        process.wait()
        process.stdout.close()
        folder = place.desk.keys.directory / reference
        left = list(folder.glob("*.key")) if folder.exists() else []
        assert len(left) <= 1
        known = place.desk.keys.load(left[0]) if left else None
        if place.row(reference)["state"] == "requested":
            unfinished += 1
            intake.make_csr(place.desk, reference)
        assert [p.name for p in folder.iterdir()] == ["ec-p256.key"], "one key, and nothing beside it"
        key = place.desk.keys.load(folder / "ec-p256.key")
        if known is not None:
            assert pem(key) == pem(known), "the key that was there is the one"
        with place.database.read() as conn:
            row = cases.find(conn, reference)
            (issued,) = cases.issuances(conn, [row["id"]])[row["id"]]
        assert issued["spki"] == spki(key.public_key())
    assert unfinished, "some were killed before they were recorded"
