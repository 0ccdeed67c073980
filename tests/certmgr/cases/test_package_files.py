"""From a case to its package: its certificate, and its key if the file is the right one."""

from __future__ import annotations

import pytest

from certmgr.cases.package_files import pack
from certmgr.demo.authority import Authority
from certmgr.x509.key_store import generate, pem
from inventory.errors import CertmgrError, Conflict
from tests.certmgr.cases.place import HOST, Place
from tests.certmgr.cases.test_package import files


def test_case_is_packed_with_its_certificate_and_key(
    sqlite_place: Place, issuer: Authority
) -> None:
    reference, leaf = sqlite_place.ready(issuer)
    data, leaves = pack(sqlite_place.desk, reference, "")
    assert [c.sha256 for c in leaves] == [leaf]
    assert files(data)["privkey.pem"] == pem(sqlite_place.key(reference))


def test_case_without_a_certificate_is_not_packed(sqlite_place: Place) -> None:
    reference = sqlite_place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(Conflict, match="has no certificate yet"):
        pack(sqlite_place.desk, reference, "")


def test_key_file_that_was_changed_is_not_packed(sqlite_place: Place, issuer: Authority) -> None:
    reference, _ = sqlite_place.ready(issuer)
    path = sqlite_place.desk.keys.path(reference, "ec-p256")
    path.write_bytes(pem(generate("ec-p256")))
    with pytest.raises(CertmgrError, match="does not belong to the certificate"):
        pack(sqlite_place.desk, reference, "")
