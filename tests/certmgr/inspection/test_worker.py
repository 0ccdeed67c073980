"""Judgements that are remembered between runs."""

from __future__ import annotations

import asyncio

from certmgr.inspection.scan_job import ScanJob, ScanSetup
from certmgr.inspection.worker import ScanWorker
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST
from tests.clock import clock


def test_same_evidence_at_another_port_is_judged_again() -> None:
    address = AddressEvidence("192.0.2.1", (b"x",), "TLSv1.3", "TLS_AES_128_GCM_SHA256")

    async def keys() -> set[str]:
        worker = ScanWorker(ScanSetup(), lambda _: None)
        found = set()
        for port in (25, 587):
            target = Target(HOST, port, "smtp")
            evidence = Evidence(target, clock(), Resolution("fixed", ("192.0.2.1",)), (address,))
            found.add(worker._evidence_key(ScanJob(1, target), evidence))
        await worker.close()
        return found

    assert len(asyncio.run(keys())) == 2
