"""CSRs of a case: made by certmgr, or sent by the client."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.cases import new_case, signing_requests
from certmgr.x509.csr import make
from inventory.errors import Conflict
from tests.certmgr.cases.place import HOST, CaseEnvironment


def test_csr_of_certmgr_is_refused_as_the_clients_own(env: CaseEnvironment) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    (csr,) = signing_requests.make_csr(env.service, reference)
    with pytest.raises(Conflict, match="created by certmgr"):
        signing_requests.record_client_csr(env.service, reference, csr.encode())


def test_csr_of_the_client_is_recorded_and_a_weak_one_is_not(
    env: CaseEnvironment, weak_key: rsa.RSAPrivateKey
) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    client_csr = make(ec.generate_private_key(ec.SECP256R1()), [HOST])
    signing_requests.record_client_csr(env.service, reference, client_csr)
    assert env.row(reference).own_csr
    assert signing_requests.record_client_csr(
        env.service, reference, make(weak_key, [HOST])
    ).problems
    assert env.events(reference).count("csr") == 1
