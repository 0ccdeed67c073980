"""Files that servers read are replaced by links, and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority
from certmgr.deploy.client_model import ServedFile
from certmgr.deploy.clients.pem_files import content_of
from certmgr.deploy.clients.served_files import (
    is_taken_over,
    take_over_files,
    undo_takeover,
)
from certmgr.deploy.lineage import Lineage
from certmgr.x509.bundle import CertificateBundle, build_bundle
from inventory.clock import system_clock
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.deploy.certbot_place import content
from tests.certmgr.deploy.clients.places import parts, write

Place = tuple[Lineage, list[ServedFile], CertificateBundle]


@pytest.fixture(scope="module")
def issuer() -> Authority:
    return Authority("Issuer", Authority("Root"))


def bundle_of(issuer: Authority, days: float = 90) -> CertificateBundle:
    issued = issuer.issue("shop.test", days=days)
    return build_bundle(issued.key_pem, [c.public_bytes(Encoding.DER) for c in issued.chain])


@pytest.fixture
def place(tmp_path: Path, issuer: Authority) -> Place:
    """A lineage with the certificate of three files and a link."""
    issued = issuer.issue("shop.test", days=30)
    key, leaf, _, full = parts(issued)
    bundle = build_bundle(key, [c.public_bytes(Encoding.DER) for c in issued.chain])
    web = tmp_path / "web"
    write(web / "shop.key", key, 0o640)
    write(web / "shop.pem", full, 0o644)
    write(web / "haproxy.pem", full + key)
    write(web / "store" / "cert-1.pem", leaf)
    (web / "cert.pem").symlink_to("store/cert-1.pem")
    files = [
        ServedFile(web / "shop.key", "privkey.pem"),
        ServedFile(web / "shop.pem", "fullchain.pem"),
        ServedFile(web / "haproxy.pem", "combined.pem"),
        ServedFile(web / "cert.pem", "cert.pem"),
    ]
    lineage = Lineage(tmp_path / "acme", "shop.test")
    lineage.switch(lineage.store(bundle.key_pem, bundle.chain_der))
    return lineage, files, bundle


def test_files_are_replaced_follow_renewals_and_are_restored_with_their_modes(
    place: Place, issuer: Authority
) -> None:
    lineage, files, _ = place
    web = files[0].path.parent
    before = content(web)
    modes = {f.path: f.path.stat().st_mode for f in files}
    take_over_files(files, lineage)
    take_over_files(files, lineage)  # a second call changes nothing
    assert all(f.path.is_symlink() for f in files) and is_taken_over(lineage)
    renewed = bundle_of(issuer, days=20)
    lineage.switch(lineage.store(renewed.key_pem, renewed.chain_der))
    assert all(content_of(f.path.read_bytes(), renewed) == f.content for f in files)
    assert not undo_takeover(lineage, system_clock).kept
    assert content(web) == before and {f.path: f.path.stat().st_mode for f in files} == modes
    assert not is_taken_over(lineage)
    with pytest.raises(UsageError, match="No files"):
        undo_takeover(lineage, system_clock)


def test_undo_keeps_a_certificate_that_ends_later_in_use(place: Place, issuer: Authority) -> None:
    lineage, files, _ = place
    take_over_files(files, lineage)
    renewed = bundle_of(issuer, days=120)
    lineage.switch(lineage.store(renewed.key_pem, renewed.chain_der))
    assert undo_takeover(lineage, system_clock).kept
    assert not any(f.path.resolve().is_relative_to(lineage.base) for f in files)
    assert all(content_of(f.path.read_bytes(), renewed) == f.content for f in files)
    assert files[0].path.stat().st_mode & 0o777 == 0o640
    assert not list(files[0].path.parent.glob(".certmgr*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda path, new: path.write_bytes(new.files["fullchain.pem"]),
        lambda path, _new: path.write_bytes(b""),
        lambda path, _new: path.write_bytes(b"-----BEGIN CERTIFICATE-----\n"),
    ],
)
def test_file_that_changed_since_the_plan_is_not_replaced(
    place: Place, issuer: Authority, change: Callable[[Path, CertificateBundle], object]
) -> None:
    lineage, files, _ = place
    change(files[1].path, bundle_of(issuer))
    before = content(files[0].path.parent)
    with pytest.raises(CertmgrError, match="another certificate"):
        take_over_files(files, lineage)
    assert content(files[0].path.parent) == before and not is_taken_over(lineage)


def test_content_of_a_file_is_recognised_by_its_key_and_certificates(
    place: Place, issuer: Authority
) -> None:
    _, _, bundle = place
    other = bundle_of(issuer)
    files = bundle.files
    assert all(content_of(data, bundle) == name for name, data in files.items())
    key = files["privkey.pem"]
    assert content_of(b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n" + key, bundle)
    assert content_of(files["fullchain.pem"].replace(b"\n", b"\r\n"), bundle) == "fullchain.pem"
    for data in (*other.files.values(), b"", b"x", key + other.files["fullchain.pem"]):
        if data != other.files["chain.pem"]:  # both have the same issuer
            assert content_of(data, bundle) == ""
