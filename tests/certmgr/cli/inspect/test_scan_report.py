"""Tests of the report of a scan."""

from __future__ import annotations

import pytest

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.cli.inspect.scan_report import note_families
from certmgr.inspection.report import build_report
from certmgr.scan.evidence import AddressEvidence, Evidence, Failure, FailureKind, Resolution
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST
from tests.clock import clock


def test_address_family_without_a_route_is_reported_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = Failure("local", FailureKind.NO_ROUTE, "Network is unreachable")
    unreachable = [AddressEvidence(f"2001:db8::{n}", failure=failure) for n in range(3)]
    local = Failure("local", FailureKind.LOCAL, "Too many open files")
    broken = AddressEvidence("192.0.2.1", failure=local)
    now = clock()
    resolution = Resolution("ok", tuple(a.address for a in unreachable))
    evidence = Evidence(Target(HOST), now, resolution, (*unreachable, broken))
    report = build_report(Judge(TrustStore([]), parse).judge(evidence, JudgingContext(), now))
    families = report.families_without_route()
    assert families == {6}
    note_families(families)
    assert capsys.readouterr().err.count("IPv6") == 1
