"""Each check stands alone: an internal error of one hides nothing that the others found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from certmgr.checks import judge as judging
from certmgr.checks.collector import PARTS, FindingCollector
from certmgr.checks.judge import Judge
from certmgr.checks.judgement import Judgement, JudgingContext
from certmgr.checks.transport import finding
from certmgr.demo.authority import Authority, self_signed
from certmgr.inspection.reconcile import OpenFinding, reconcile
from certmgr.inspection.report import build_report
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.scan.visits import Hop, Page, Visit, VisitEnd
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.wording.sentences import sentence
from tests.certmgr.tls_servers import HOST
from tests.clock import frozen
from tests.private_ca import two_tiers, with_dates

ADDRESS = "192.0.2.1"


def judged(*chain: bytes, visits: tuple[Visit, ...] | None = None) -> Judgement:
    """Judge what one address served, without anchors."""
    seen = AddressEvidence(ADDRESS, chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    evidence = Evidence(
        Target(HOST), frozen(), Resolution("fixed", (ADDRESS,)), (seen,), visits=visits
    )
    return Judge(TrustStore([]), parse).judge(evidence, JudgingContext(), frozen())


def _fail(*_: Any, **__: Any) -> Any:
    raise OverflowError("date value out of range")


def _codes(judgement: Judgement) -> dict[str, Finding]:
    return {f.code: f for f in judgement.findings}


# What to break -> (part, a finding that stays).
BROKEN = {
    "dns_findings": ("resolution", "self-signed"),
    "pointing_findings": ("resolution", "self-signed"),
    "transport_findings": ("connection", "self-signed"),
    "date_findings": ("dates", "self-signed"),
    "leaf_findings": ("certificate", "self-signed"),
    "path_findings": ("chain", "certificate-expired"),
    "staple_of": ("staple", "self-signed"),
    "staple_findings": ("staple", "self-signed"),
    "unexpected_findings": ("comparison", "self-signed"),
    "http_findings": ("pages", "self-signed"),
    "confirmed_unreachable": ("summary", "self-signed"),
}


@pytest.mark.parametrize("function", BROKEN)
def test_check_that_fails_is_the_finding_of_its_part_and_the_rest_stays(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    part, stays = BROKEN[function]
    monkeypatch.setattr(judging, function, _fail)
    judgement = judged(self_signed(HOST, days=-0.5, clock=frozen).der)
    codes = _codes(judgement)
    error = codes["scanner-error"]
    assert error.severity == "undetermined"
    assert error.evidence["parts"] == [part]
    assert stays in codes
    assert judgement.addresses[0].leaf is not None
    # The same evidence must be judged again in the next scan.
    assert judgement.stable_until(frozen()) is None
    assert not re.search(r"Error|out of range|\(\)", sentence(error, Target(HOST)))


class Panic(BaseException):
    """As the panics of libraries in Rust, which are no Exception."""


def test_panic_of_a_library_in_one_check_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: Any, **__: Any) -> Any:
        raise Panic("index out of bounds")

    monkeypatch.setattr(judging, "date_findings", panic)
    codes = _codes(judged(self_signed(HOST).der))
    assert {"scanner-error", "self-signed"} <= set(codes)


@pytest.mark.parametrize("wish", [KeyboardInterrupt, SystemExit])
def test_wish_to_end_is_no_internal_error(
    wish: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> Any:
        raise wish

    monkeypatch.setattr(judging, "date_findings", end)
    with pytest.raises(wish):
        judged(self_signed(HOST).der)


def test_path_that_cannot_be_assessed_leaves_trust_undetermined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TrustStore, "assess", _fail)
    judgement = judged(self_signed("other.test", days=-0.5, clock=frozen).der)
    codes = _codes(judgement)
    assert codes["scanner-error"].evidence["parts"] == ["chain"]
    assert {"name-mismatch", "certificate-expired"} <= codes.keys()
    assert judgement.addresses[0].trusted is None


def test_findings_before_an_error_within_one_check_stay() -> None:
    collector = FindingCollector()

    def checks() -> Iterator[Finding]:
        yield finding("key-weak", (ADDRESS,), key="RSA 512")
        _fail()

    collector.check("certificate", (ADDRESS,), checks)
    collector.check("pages", ("192.0.2.2",), _fail)
    (error,) = collector.errors()
    assert [f.code for f in collector.findings] == ["key-weak"]
    assert error.evidence["parts"] == ["certificate", "pages"]
    assert error.addresses == (ADDRESS, "192.0.2.2")


@pytest.mark.parametrize("part", PARTS)
def test_open_findings_of_a_part_that_failed_stay_open(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    code = {"dns": "name-not-found", "transport": "not-tls", "http": "http-served"}.get(
        PARTS[part], "certificate-expired"
    )
    function = next((f for f, (p, _) in BROKEN.items() if p == part), "")
    known = [OpenFinding(1, finding(code, (ADDRESS,)))]
    chain = self_signed(HOST, clock=frozen).der
    visits: tuple[Visit, ...] = ()
    if part == "pages":
        hop = Hop(f"https://{HOST}/", ADDRESS, status=200)
        visits = tuple(
            Visit(f"{s}://{HOST}/", ADDRESS, VisitEnd.PAGE, (hop,)) for s in ("http", "https")
        )
    without = build_report(judged(chain, visits=visits or None))
    monkeypatch.setattr(judging, function, _fail)
    failed = build_report(judged(chain, visits=visits or None))
    assert reconcile(known, failed).closed == []
    if PARTS[part] not in ("http", "dns"):
        assert reconcile(known, without).closed == [1]


def _site(edit: Callable[[bytes], bytes]) -> bytes:
    return two_tiers(edit_leaf=edit).issued.der


@pytest.mark.parametrize(
    "dates",
    [
        ("20200101000000Z", "99991231235959Z"),
        ("00010101000000Z", "99991231235959Z"),
        ("00000101000000Z", "00001231235959Z"),
        ("00010101000000Z", "00010101000000Z"),
        ("19000101000000Z", "19490101000000Z"),
        ("99991231235959Z", "99991231235959Z"),
        ("99991231235959Z", "00010101000000Z"),
        ("20200101000000Z", "30000101000000Z"),
    ],
)
def test_password_form_stays_critical_whatever_the_dates_of_the_certificate(
    dates: tuple[str, str],
) -> None:
    page = Page(secrets=("password",))
    hop = Hop(f"http://{HOST}/", ADDRESS, status=200)
    visit = Visit(f"http://{HOST}/", ADDRESS, VisitEnd.PAGE, (hop,), page=page)
    judgement = judged(_site(with_dates(*dates)), visits=(visit,))
    codes = _codes(judgement)
    assert codes["http-collects-secrets"].severity == "critical"
    assert "scanner-error" not in codes
    over = dates[1] < "2026"
    early = dates[0] > "2027"
    assert ("certificate-expired" in codes) is over
    assert ("certificate-not-yet-valid" in codes) is (early and not over)
    stable = judgement.stable_until(frozen())
    assert stable is None or frozen() < stable <= datetime.max.replace(tzinfo=UTC)
    assert build_report(judgement).fingerprint()


def test_malformed_certificate_of_one_address_does_not_hide_another(issuer: Authority) -> None:
    good, bad = issuer.issue(HOST), issuer.issue(HOST).der[:-30]
    seen = (
        AddressEvidence(ADDRESS, (bad,), "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        AddressEvidence("192.0.2.2", (good.der,), "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    )
    resolution = Resolution("fixed", (ADDRESS, "192.0.2.2"))
    evidence = Evidence(Target(HOST), frozen(), resolution, seen)
    judgement = Judge(TrustStore([]), parse).judge(evidence, JudgingContext(), frozen())
    codes = _codes(judgement)
    assert codes["certificate-malformed"].addresses == (ADDRESS,)
    assert codes["chain-incomplete"].addresses == ("192.0.2.2",)
