"""The package of a case: its certificate, and its key if the key matches."""

from __future__ import annotations

import pytest

from certmgr.cases import new_case
from certmgr.cases.package_files import build_case_package
from certmgr.demo.authority import Authority
from certmgr.x509.key_store import generate, pem
from inventory.errors import CertmgrError, Conflict
from tests.certmgr.cases.place import HOST, CaseEnvironment
from tests.certmgr.cases.test_package import files


def test_case_is_packed_with_its_certificate_and_key(
    sqlite_env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = sqlite_env.ready(issuer)
    data, leaves = build_case_package(sqlite_env.service, reference, "")
    assert [c.sha256 for c in leaves] == [leaf]
    assert files(data)["privkey.pem"] == pem(sqlite_env.key(reference))


def test_case_without_a_certificate_is_not_packed(sqlite_env: CaseEnvironment) -> None:
    reference = new_case.open_case(sqlite_env.service, "1001", [HOST]).reference
    with pytest.raises(Conflict, match="has no certificate yet"):
        build_case_package(sqlite_env.service, reference, "")


def test_key_file_that_was_changed_is_not_packed(
    sqlite_env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = sqlite_env.ready(issuer)
    path = sqlite_env.service.keys.path(reference, "ec-p256")
    path.write_bytes(pem(generate("ec-p256")))
    with pytest.raises(CertmgrError, match="does not belong to the certificate"):
        build_case_package(sqlite_env.service, reference, "")
