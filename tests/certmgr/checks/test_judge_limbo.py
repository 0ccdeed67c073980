"""The judgement of chains against the SERVER cases of x509-limbo (tests/data/README.md).

``make test`` runs a fixed sample: each kind of case with each expected result, and all cases on the
two lists below. ``make soak`` runs all cases.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import TrustStore
from inventory.certificates import from_pem, parse
from inventory.targets import Target
from tests.campaign import Campaign, size

CASES = json.loads((Path(__file__).parents[2] / "data" / "x509-limbo.json").read_text())[
    "testcases"
]
LENIENT = (
    "RFC 5280 or the Web PKI profile forbids it; Chrome, Firefox and Safari accept it, and so do"
    " both verifiers"
)

# FAILURE cases without a finding: id -> why, and what browsers do.
ACCEPTED = {
    "pathlen::max-chain-depth-0-exhausted": (
        "a limit that the verifying program sets; browsers set none so low"
    ),
    "pathlen::max-chain-depth-1-exhausted": (
        "a limit that the verifying program sets; browsers set none so low"
    ),
    "rfc5280::nc::permitted-dns-match-noncritical": (
        "webpki::nc::permitted-dns-match-noncritical requires the opposite; browsers accept it"
    ),
    "rfc5280::aki::intermediate-missing-aki": LENIENT,
    "rfc5280::aki::cross-signed-root-missing-aki": LENIENT,
    "rfc5280::serial::zero": LENIENT,
    "rfc5280::ski::root-missing-ski": LENIENT,
    "rfc5280::ski::intermediate-missing-ski": LENIENT,
    "webpki::aki::root-with-aki-authoritycertissuer": (
        "a rule about what CAs may put into a root; browsers do not check the AKI of an anchor"
    ),
    "webpki::aki::root-with-aki-authoritycertserialnumber": "as above",
    "webpki::aki::root-with-aki-all-fields": "as above",
    "webpki::aki::root-with-aki-ski-mismatch": "as above",
    "webpki::eku::ee-anyeku": "Chrome and Firefox accept anyExtendedKeyUsage under a private root",
    "webpki::eku::ee-without-eku": "browsers accept a leaf without EKU under a private root",
    "webpki::eku::root-has-eku": "browsers do not check the EKU of an anchor",
}
# FAILURE cases in which the two verifiers disagree. They are undetermined, so that staff decide.
# Browsers accept them, unless a comment states the opposite.
DISPUTED = {
    "rfc5280::aki::leaf-missing-aki",
    "rfc5280::nc::not-allowed-in-ee-noncritical",
    "rfc5280::nc::not-allowed-in-ee-critical",
    "rfc5280::nc::nc-permits-invalid-dns-san",  # Firefox refuses
    "rfc5280::serial::too-long",
    "rfc5280::root-missing-basic-constraints",
    "rfc5280::root-non-critical-basic-constraints",
    "rfc5280::leaf-ku-keycertsign",
    "webpki::aki::root-with-aki-missing-keyidentifier",
    "webpki::eku::ee-critical-eku",
    "webpki::san::san-critical-with-nonempty-subject",
    "webpki::ee-basicconstraints-ca",  # Firefox refuses a CA certificate as a leaf
}
# A FAILURE case in which the anchor is a CA that is not self-signed. An administrator may pin it.
# rfc5280::serial::negative pins its leaf, which has a critical extension that browsers refuse.
PINNED = {"rfc5280::ee-empty-issuer"}
# Browsers read issuer and serial number of an authority key identifier only together (RFC 5280
# 4.2.1.1), so they do not know a private anchor that has one of them. Chromium shows
# ERR_CERT_AUTHORITY_INVALID.
UNREADABLE_ANCHOR = {
    "webpki::aki::root-with-aki-authoritycertissuer",
    "webpki::aki::root-with-aki-authoritycertserialnumber",
}
# Findings about the name and not about the chain.
NAME = {"name-mismatch", "san-missing", "default-certificate"}


STEP = size(3, 1)
"""One of this many cases runs, per kind of case and expected result."""


def _kind(case: dict[str, Any]) -> tuple[str, str]:
    return case["expected_result"], case["id"].rpartition("::")[0]


def sample(expected: str) -> list[dict[str, Any]]:
    """Return the cases to run whose expected result is ``expected``."""
    listed = ACCEPTED.keys() | DISPUTED
    chosen = []
    for (result, _), group in groupby(sorted(CASES, key=_kind), _kind):
        if result == expected:
            chosen += [c for i, c in enumerate(group) if i % STEP == 0 or c["id"] in listed]
    return chosen


def judged(case: dict[str, Any], *, private: bool = False) -> dict[str, str]:
    """Return code and severity of each finding that is undetermined or worse than medium.

    Args:
        private: Whether the anchors are those of the administrator, not of a root programme.
    """
    roots = [c for pem in case["trusted_certs"] for c in from_pem(pem.encode())]
    chain = [
        c.der
        for pem in (case["peer_certificate"], *case["untrusted_intermediates"])
        for c in from_pem(pem.encode())
    ]
    now = (
        datetime.fromisoformat(case["validation_time"])
        if case["validation_time"]
        else datetime(2026, 11, 22, tzinfo=UTC)
    )
    peer = case["expected_peer_name"]
    host = peer["value"].lower() if peer else next(iter(parse(chain[0]).names), "unnamed.test")
    seen = AddressEvidence("192.0.2.1", tuple(chain), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    evidence = Evidence(Target(host), now, Resolution("fixed", ("192.0.2.1",)), (seen,))
    trust = TrustStore([], roots) if private else TrustStore(roots)
    found = Judge(trust, parse).judge(evidence, JudgingContext(), now).findings
    return {
        f.code: str(f.severity)
        for f in found
        if f.severity in ("critical", "high", "undetermined")
        # The suite judges paths. The key usage belongs to the handshake.
        and f.evidence.get("rule") != "key-usage"
    }


@pytest.mark.campaign
@pytest.mark.parametrize("case", sample("SUCCESS"), ids=lambda c: c["id"])
def test_valid_chain_has_no_severe_finding(case: dict[str, Any]) -> None:
    assert {c for c, severity in judged(case).items() if severity != "undetermined"} - NAME == set()


@pytest.mark.campaign
@pytest.mark.parametrize("case", sample("FAILURE"), ids=lambda c: c["id"])
def test_invalid_chain_has_a_severe_finding_or_is_listed(case: dict[str, Any]) -> None:
    found = judged(case)
    if case["id"] in ACCEPTED:
        assert found == {}, "it has a finding: remove it from ACCEPTED"
    elif case["id"] in DISPUTED:
        assert found == {"verification-disputed": "undetermined"}
    else:
        assert {"critical", "high"} & set(found.values())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [*sample("SUCCESS"), *sample("FAILURE")], ids=lambda c: c["id"])
def test_chain_under_a_private_anchor_is_never_disputed(case: dict[str, Any]) -> None:
    """What only the profile of public CAs forbids is accepted, and all else is refused."""
    found = judged(case, private=True)
    if case["expected_result"] == "SUCCESS":
        assert found.keys() - NAME == set()
    elif case["id"] in (ACCEPTED.keys() | DISPUTED | PINNED) - UNREADABLE_ANCHOR:
        assert found == {}
    else:
        assert {"critical", "high"} & set(found.values())


@pytest.mark.campaign
def test_sample_has_each_kind_and_each_listed_case(campaign: Campaign) -> None:
    chosen = [*sample("SUCCESS"), *sample("FAILURE")]
    campaign.report("cases of x509-limbo", len(chosen))
    assert {_kind(c) for c in chosen} == {_kind(c) for c in CASES}
    assert {c["id"] for c in chosen} >= ACCEPTED.keys() | DISPUTED
    assert len(chosen) == size(72, 135)


def test_file_holds_all_cases() -> None:
    assert len(CASES) == 135
    assert {c["validation_kind"] for c in CASES} == {"SERVER"}
