"""Checks before anything is written: key, leaf and chain must belong together."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from certmgr.demo.authority import Authority, self_signed
from certmgr.deploy.lineage import Lineage
from inventory.errors import CertmgrError
from tests.certmgr.deploy.rig import NAME, ders, read_by_path, stored
from tests.clock import frozen


@pytest.mark.parametrize(
    "fault",
    [
        "another key",
        "a foreign chain",
        "a wrong order",
        "no certificate",
        "no key",
        "damaged",
        "encrypted",
    ],
)
def test_parts_that_do_not_belong_together_are_not_written(
    lineage: Lineage, issuer: Authority, fault: str
) -> None:
    one = issuer.issue(NAME)
    two = Authority("Other", Authority("Other Root", clock=frozen)).issue(NAME)
    key: bytes = one.key_pem
    chain = ders(one)
    match fault:
        case "another key":
            key = two.key_pem
        case "a foreign chain":
            chain = [chain[0], ders(two)[1]]
        case "a wrong order":
            chain.reverse()
        case "no certificate":
            chain = []
        case "no key":
            key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        case "damaged":
            chain[0] = chain[0][:-40]
        case _:
            encryption = BestAvailableEncryption(b"x")
            key = one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    with pytest.raises(CertmgrError, match="Nothing was written"):
        lineage.store(key, chain)
    assert not lineage.base.exists()


def test_self_signed_leaf_alone_is_a_chain(lineage: Lineage) -> None:
    issued = self_signed(NAME, clock=frozen)
    lineage.switch(stored(lineage, issued))
    assert read_by_path(lineage.live).chain_der == (issued.der,)
