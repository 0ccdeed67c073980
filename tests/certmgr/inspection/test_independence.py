"""No verdict depends on what was judged before, over processes and repeated runs too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from certmgr.demo.authority import Authority, self_signed
from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.inspection.scan_run import POOL_THRESHOLD
from certmgr.inspection.worker import ScanWorker
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import Issuers, TrustStore
from inventory.certificates import from_pem, parse
from inventory.db.opening import open_database
from inventory.targets import Target
from tests.campaign import size
from tests.certmgr.scanning import add_endpoint
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.clock import frozen
from tests.databases import write_sqlite
from tests.private_ca import new_key, two_tiers, with_dates
from tests.program import run_process
from tests.servers import real

DAY = timedelta(days=1)
ADDRESS = "192.0.2.1"
Chain = tuple[bytes, ...]


def _authority(subject: str, parent: Authority | None = None, **options: Any) -> Authority:
    return Authority(subject, parent, clock=frozen, **options)


@cache
def sites() -> tuple[dict[str, Chain], bytes]:
    """Return host -> what its server sends, and the anchors as PEM."""
    now = frozen().replace(microsecond=0)
    root, second = _authority("Root"), _authority("Second Root")
    issuer, upper = _authority("Issuer", root), _authority("Upper", root)
    lower = _authority("Lower", upper)
    key = new_key()
    crossed = [_authority("Crossed", parent, key=key) for parent in (root, second)]
    renewed = _authority("Renewed", root, key=key)
    stale = _authority(
        "Renewed", root, key=key, not_before=now - 900 * DAY, not_after=now - 2 * DAY
    )
    narrow = x509.NameConstraints([x509.DNSName("narrow.test")], None)
    limited = _authority("Limited", root, extensions=[(narrow, True)])
    unknown = _authority("Unknown Root")
    middle = _authority("Unknown Issuer", unknown)
    odd, endless = (
        two_tiers(),
        two_tiers(edit_leaf=with_dates("20200101000000Z", "99991231235959Z")),
    )
    ancient = two_tiers(edit_leaf=with_dates("00010101000000Z", "19490101000000Z"))

    def leaf(authority: Authority, host: str, *sent: Authority, **options: Any) -> Chain:
        return (authority.issue(host, **options).der, *[a.der for a in sent])

    served = {
        "good.test": leaf(issuer, "good.test", issuer),
        "my_shop.good.test": leaf(issuer, "my_shop.good.test", issuer),
        "direct.test": leaf(root, "direct.test"),
        "old-self-signed.test": (self_signed("old-self-signed.test", days=-0.5, clock=frozen).der,),
        "self-signed.test": (self_signed("self-signed.test", clock=frozen).der,),
        "expired.test": leaf(issuer, "expired.test", issuer, days=-3),
        "future.test": leaf(issuer, "future.test", issuer, not_before=now + 2 * DAY),
        "long.test": leaf(lower, "long.test", lower, upper),
        "without-upper.test": leaf(lower, "without-upper.test", lower),
        "without-any.test": leaf(lower, "without-any.test"),
        "only-upper.test": leaf(root, "only-upper.test", upper),
        "crossed-a.test": leaf(crossed[0], "crossed-a.test", crossed[0]),
        "crossed-b.test": leaf(crossed[0], "crossed-b.test", crossed[1]),
        "crossed-none.test": leaf(crossed[0], "crossed-none.test"),
        "renewed.test": leaf(renewed, "renewed.test", renewed),
        "stale.test": leaf(renewed, "stale.test", stale),
        "site.narrow.test": leaf(limited, "site.narrow.test", limited),
        "wide.test": leaf(limited, "wide.test", limited),
        "unknown.test": leaf(middle, "unknown.test", middle),
        "untrusted.test": leaf(middle, "untrusted.test", middle, unknown),
        "odd.test": (odd.issued.der,),
        "endless.test": (endless.issued.der,),
        "ancient.test": (ancient.issued.der,),
        "malformed.test": (issuer.issue("malformed.test").der[:-30], issuer.der),
    }
    anchors = root.pem + second.pem + odd.anchors + endless.anchors + ancient.anchors
    return served, anchors


class _Prober:
    """Returns evidence as it was recorded, without a network."""

    async def probe(
        self, target: Target, fixed: tuple[str, ...], known: str, paths: Any, pages: str
    ) -> Evidence:
        address = AddressEvidence(
            ADDRESS, sites()[0][target.host], "TLSv1.3", "TLS_AES_128_GCM_SHA256"
        )
        return Evidence(target, frozen(), Resolution("fixed", (ADDRESS,)), (address,))


def judged(
    hosts: Sequence[str],
    anchors: Path,
    issuers: tuple[bytes, ...] = (),
    keys: Sequence[str] = (),
) -> dict[int, ScanResult]:
    """Judge sites one after the other in one worker.

    Args:
        hosts: The sites; a site may occur several times.
        anchors: The PEM file with the anchors.
        issuers: Issuers that are known before.
        keys: The evidence keys of the last run.
    """
    results: dict[int, ScanResult] = {}

    async def run() -> None:
        # A report is wanted in any case, unless a key of the last run is given.
        setup = ScanSetup(ca_files=(str(anchors),), issuers=issuers, full=not keys, clock=frozen)
        worker = ScanWorker(setup, lambda r: results.__setitem__(r.key, r))
        worker.prober = _Prober()  # type: ignore[assignment]
        for number, host in enumerate(hosts):
            key = keys[number] if keys else ""
            await worker.scan(ScanJob(number, Target(host), evidence_key=key))
        worker.finish()
        await worker.close()

    asyncio.run(run())
    assert set(results) == set(range(len(hosts)))
    return results


def _facts(result: ScanResult) -> tuple[Any, ...]:
    assert result.report is not None
    found = [(f.code, f.severity, json.dumps(f.evidence)) for f in result.report.findings]
    return result.fingerprint, found, result.report.addresses[0].trusted


def _issuers(hosts: Sequence[str]) -> tuple[bytes, ...]:
    """Return what all these sites send: a run completes chains with it, in any order."""
    return tuple(dict.fromkeys(der for h in sorted(hosts) for der in sites()[0][h][1:]))


@pytest.mark.campaign
def test_verdict_of_each_site_is_that_of_the_site_alone_in_any_order(tmp_path: Path) -> None:
    served, pem = sites()
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(pem)
    alone: dict[tuple[str, tuple[bytes, ...]], tuple[Any, ...]] = {}

    @settings(max_examples=size(25, 600))
    @given(st.lists(st.sampled_from(sorted(served)), min_size=1, max_size=8))
    def in_any_order(hosts: list[str]) -> None:
        issuers = _issuers(hosts)
        together = judged(hosts, anchors)
        for number, host in enumerate(hosts):
            if (host, issuers) not in alone:
                alone[host, issuers] = _facts(judged([host], anchors, issuers)[0])
            assert _facts(together[number]) == alone[host, issuers], host
        # A repeated run reuses a judgement only if it would be the same.
        keys = [together[n].evidence_key for n in range(len(hosts))]
        if any(keys):
            again = judged(hosts, anchors, issuers, keys)
            for number in range(len(hosts)):
                repeated = again[number].report
                if repeated is not None:
                    assert _facts(again[number])[1:] == _facts(together[number])[1:]
                else:
                    assert keys[number]
                    assert together[number].good

    in_any_order()


def test_expired_self_signed_site_does_not_change_the_next_one(tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(sites()[1])
    pair = ["old-self-signed.test", "my_shop.good.test"]
    for hosts in (pair, pair[::-1]):
        results = judged(hosts, anchors)
        codes = {
            host: [f.code for f in report.findings]
            for host, result in zip(hosts, results.values(), strict=True)
            if (report := result.report) is not None
        }
        assert codes["my_shop.good.test"] == []
        assert set(codes["old-self-signed.test"]) >= {"self-signed", "certificate-expired"}


@pytest.mark.parametrize("offset", [-400, -1, 0, 30, 4000])
def test_cached_verdict_is_that_of_a_new_store_at_each_time(offset: int) -> None:
    served, _ = sites()
    parsed = {h: tuple(map(parse, chain)) for h, chain in served.items()}
    anchors = from_pem(sites()[1])
    shared = TrustStore([], anchors)
    now = frozen()
    for chain in parsed.values():
        shared.assess(chain, Issuers(), now)
    at = now + offset * DAY
    for host, chain in parsed.items():
        fresh = TrustStore([], anchors, cache=False).assess(chain, Issuers(), at)
        cached = shared.assess(chain, Issuers(), at)
        assert (cached.reason, cached.trusted, cached.path) == (
            fresh.reason,
            fresh.trusted,
            fresh.path,
        ), host


def test_issuers_that_waiting_sites_send_complete_chains_of_other_processes(
    root: Authority, root_file: Path, opened: Stack, tmp_path: Path
) -> None:
    """Each of two sites waits for an issuer that only the other one sends."""
    url = write_sqlite(tmp_path / "inventory.db")
    upper = Authority("Waiting Upper", root)
    lower = Authority("Waiting Lower", upper)
    other = Authority("Waiting Other", upper)
    hosts = [f"w{n}.example.test" for n in range(POOL_THRESHOLD + 6)]
    # The first half sends only the lower issuer, the second half only the upper one.
    first = serve_certificate(opened, real.long_lived(lower, *hosts), chain=(lower.der,))
    last = serve_certificate(opened, real.long_lived(other, *hosts), chain=(upper.der,))
    database = open_database(url, actor="tester")
    opened.callback(database.close)
    with database.write() as tx:
        for number, host in enumerate(hosts):
            add_endpoint(tx, host, first if number < len(hosts) - 3 else last)
    config = tmp_path / "c.toml"
    config.write_text("[scan]\nper_address = 0\nrate = 0.0\n[http]\nenabled = false\n")
    files = ("--config", str(config), "--database", url)
    ran = run_process([*files, "scan", "--ca-file", str(root_file), "--format", "json"])
    held = {
        row["host"]: [
            f["evidence"]["held"] for f in row["findings"] if f["code"] == "chain-incomplete"
        ]
        for row in ran.json["endpoints"]
    }
    assert sorted(held) == sorted(hosts)
    assert {tuple(v) for h, v in held.items() if h in hosts[:-3]} == {(True,)}
    assert {tuple(v) for h, v in held.items() if h in hosts[-3:]} == {(False,)}
