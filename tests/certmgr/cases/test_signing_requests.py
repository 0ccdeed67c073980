"""CSRs of a case: made by certmgr, or sent by the client."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.cases import installation, intake, new_case, signing_requests
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from certmgr.x509.csr import make
from inventory.errors import Conflict
from tests.certmgr.cases.place import HOST, CaseEnvironment, issue, sha256, vendor_upload


def test_csr_of_certmgr_is_refused_as_the_clients_own(env: CaseEnvironment) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    (csr,) = signing_requests.make_csr(env.service, reference)
    with pytest.raises(Conflict, match="created by certmgr"):
        signing_requests.record_client_csr(env.service, reference, csr.encode())


def test_received_certificate_is_dropped_if_another_one_was_received(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    csrs = signing_requests.make_csr(env.service, reference, ["ec-p256", "rsa-2048"])
    signing_requests.send_csr(env.service, reference)
    received = [issue(issuer, pem, start=env.now) for pem in csrs]
    intake.receive(env.service, reference, vendor_upload(received[1]))
    with pytest.raises(Conflict, match="no other certificate of the case was received yet"):
        signing_requests.drop_certificate(env.service, reference, "rsa-2048")
    intake.receive(env.service, reference, vendor_upload(received[0]))
    with pytest.raises(Conflict, match="its key types: ec-p256, rsa-2048"):
        signing_requests.drop_certificate(env.service, reference, "ec-p384")
    row = signing_requests.drop_certificate(env.service, reference, "rsa-2048")
    assert row.state == "checked"
    with pytest.raises(Conflict, match="the case has no other certificate"):
        signing_requests.drop_certificate(env.service, reference, "ec-p256")
    # The servers need to present the other one only.
    leaf = sha256(received[0])
    row, found = installation.verify_case(env.service_seeing(leaf), reference)
    assert (row.state, found.state) == ("closed", "live")
    with pytest.raises(Conflict, match="has ended"):
        signing_requests.drop_certificate(env.service, reference, "ec-p256")
    env.service.end(reference, CaseAction.REOPEN, "it is gone")
    with pytest.raises(Conflict, match="verified live"):
        signing_requests.drop_certificate(env.service, reference, "ec-p256")


def test_last_requested_certificate_of_a_case_is_not_dropped(env: CaseEnvironment) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    signing_requests.make_csr(env.service, reference, ["ec-p256", "rsa-2048"])
    signing_requests.drop_certificate(env.service, reference, "ec-p256")
    with pytest.raises(Conflict, match="certmgr case csr"):
        signing_requests.drop_certificate(env.service, reference, "rsa-2048")


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
