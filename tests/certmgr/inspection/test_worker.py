"""Judgements that are remembered between runs."""

from __future__ import annotations

import asyncio

import pytest

from certmgr.inspection import judgement_basis
from certmgr.inspection.scan_job import ScanJob, ScanSetup
from certmgr.inspection.worker import ScanWorker
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST
from tests.clock import clock


async def keys(*ports: int) -> set[str]:
    """Return the evidence keys of one host at these ports, where the evidence is the same."""
    address = AddressEvidence("192.0.2.1", (b"x",), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    scanner = ScanWorker(ScanSetup(), lambda _: None)
    found = set()
    for port in ports:
        target = Target(HOST, port, "smtp")
        evidence = Evidence(target, clock(), Resolution("fixed", ("192.0.2.1",)), (address,))
        found.add(scanner._evidence_key(ScanJob(1, target), evidence))
    await scanner.close()
    return found


def test_same_evidence_at_another_port_is_judged_again() -> None:
    assert len(asyncio.run(keys(25, 587))) == 2


def test_same_evidence_is_judged_again_by_another_version_of_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = asyncio.run(keys(25))
    assert asyncio.run(keys(25)) == before
    monkeypatch.setattr(judgement_basis, "code_version", lambda *_packages: "another")
    assert asyncio.run(keys(25)).isdisjoint(before)
