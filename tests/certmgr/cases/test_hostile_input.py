"""What somebody could hand to a case or an order to make it run, read, hang or tell what it should not."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases import intake
from certmgr.cases.csr import make as build
from certmgr.cases.keys import KeyStore
from certmgr.cases.material import Material, read_files, unpack
from certmgr.config import load
from certmgr.demo.authority import Authority
from inventory.certificates import parse
from inventory.database import Database
from inventory.errors import CertmgrError, ConfigError, Conflict, UsageError
from inventory.exchange.files import read_regular
from inventory.store import orders
from tests.certmgr.cases.place import Place, issue
from tests.certmgr.cases.place import place as make

HOST = "shop.example.com"


@pytest.fixture
def place(database: Database, settings: Any, tmp_path: Path) -> Place:
    made = make(database, settings, tmp_path)
    made.staff()
    made.client("1001", HOST)
    made.client("1002", "other.example.org")
    return made


def test_no_code_of_the_folder_that_one_stands_in_is_run(
    issuer: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of downloads may hold a base64.py; the process that reads material would import it."""
    for name in ("base64", "zipfile", "json", "cryptography", "inventory"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\nraise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert len(unpack([issuer.issue(HOST).chain_pem]).certificates) == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "nothing"])
def test_what_never_ends_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    if kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(CertmgrError, match="cannot be read"):
        read_files([str(path)])
    with pytest.raises(CertmgrError, match="cannot be read"):
        read_regular(path, 10)


def test_no_more_is_read_than_is_asked(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a" * 100)
    assert len(read_regular(tmp_path / "x", 10)) == 11


def test_a_certificate_of_another_client_leaves_no_trace(place: Place, issuer: Authority) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    (csr,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    before = place.row(reference), place.events(reference)
    wrong = issue(issuer, csr, "other.example.org", start=place.now)
    with pytest.raises(Conflict, match="client 1002"):
        intake.receive(place.desk, reference, Material(tuple(parse(c.public_bytes(Encoding.DER)) for c in wrong.chain)))
    assert (place.row(reference), place.events(reference)) == before


@pytest.mark.parametrize("fault", ["others", "link", "file"])
def test_keys_are_made_in_a_private_folder_alone(tmp_path: Path, fault: str) -> None:
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


def test_a_folder_of_keys_does_not_depend_on_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "certmgr.toml").write_text('[cases]\nkeys = "keys"\n')
    with pytest.raises(ConfigError, match="folder in which somebody stands"):
        load(str(tmp_path / "certmgr.toml"))


def test_our_own_csr_does_not_come_back_as_the_clients(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    (csr,) = intake.make_csr(place.desk, reference)
    with pytest.raises(Conflict, match="made ourselves"):
        intake.take_csr(place.desk, reference, csr.encode())


def test_a_csr_of_the_client_is_taken(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    theirs = build(ec.generate_private_key(ec.SECP256R1()), [HOST])
    intake.take_csr(place.desk, reference, theirs)
    assert place.row(reference)["own_csr"]
    weak = build(rsa.generate_private_key(65537, 1024), [HOST])
    assert intake.take_csr(place.desk, reference, weak).problems
    assert place.events(reference).count("csr") == 1, "a weak one is not taken"


@pytest.mark.parametrize(
    "given",
    [
        {"starts_at": datetime(1900, 1, 1, tzinfo=UTC)},
        {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(9999, 1, 1, tzinfo=UTC)},
        {"dcv_at": datetime(2040, 1, 1, tzinfo=UTC)},
    ],
)
def test_years_that_cannot_be(place: Place, given: dict[str, Any]) -> None:
    with place.database.write(place.now) as tx, pytest.raises(UsageError):
        orders.add(tx, "1001", {"vendor": "V", "number": "1", **given}, [HOST])
