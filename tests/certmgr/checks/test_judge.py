"""The findings of one endpoint as a whole."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.demo.authority import Authority, self_signed
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST
from tests.clock import clock

ADDRESS = "192.0.2.1"
FIXED = Resolution("fixed", (ADDRESS,))


def test_wrong_name_and_missing_trust_are_info_on_smtp_port_25_only() -> None:
    # As evidence: an ordinary user cannot bind port 25.
    now = clock()
    other = self_signed("other.test", clock=clock)
    address = AddressEvidence(ADDRESS, (other.der,), "TLSv1.3", "TLS_AES_256_GCM_SHA384")
    judge = Judge(TrustStore([]), parse)
    at_25, at_587 = (
        judge.judge(
            Evidence(Target(HOST, port, "smtp"), now, FIXED, (address,)),
            JudgingContext(),
            now,
        )
        for port in (25, 587)
    )
    assert {f.severity for f in at_25.findings} == {"info"}
    assert "critical" in {f.severity for f in at_587.findings}


def test_any_mutated_certificate_is_judged_and_its_evidence_is_json(issuer: Authority) -> None:
    base = issuer.issue(HOST, key=ec.generate_private_key(ec.SECP256R1())).der
    now = clock()
    assert issuer.parent is not None
    judge = Judge(TrustStore([parse(issuer.parent.der)]), parse)
    edit = st.tuples(st.integers(0, len(base) - 1), st.integers(0, 255))

    @given(st.lists(edit, min_size=1, max_size=6), st.integers(0, len(base)))
    def judged(edits: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(base)
        for position, value in edits:
            data[position] = value
        der = bytes(data[:cut]) if cut % 7 == 0 else bytes(data)
        address = AddressEvidence(ADDRESS, (der, issuer.der))
        judgement = judge.judge(
            Evidence(Target(HOST), now, FIXED, (address,)), JudgingContext(), now
        )
        for finding in judgement.findings:
            json.dumps(finding.evidence)
        certificate = parse(der)
        assert certificate.subject.isprintable()
        assert certificate.issuer.isprintable()

    judged()
