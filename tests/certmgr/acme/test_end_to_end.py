"""End to end: an order at pebble, deployment to a real nginx, a scan, and the records."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from inventory.models.schema import metadata
from inventory.store import erase, findings, lineages
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.acme.web import with_nginx
from tests.servers.pebble import Pebble
from tests.servers.real import write_pair


def test_certificate_is_issued_deployed_verified_and_renewed(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    with_nginx(env, ca, tmp_path, opened, "shop.test", "127.0.0.2")
    lineage = env.lineage("1001", ["shop.test"], targets="nginx")
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert dict(summary.counts) == {"live": 1}, summary
    first = env.row(lineage)
    assert (
        first.proven_at
        and first.deployed == first.sha256
        and "2 address(es)" in (first.proof or "")
    )
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert dict(summary.counts) == {"live": 1}, summary
    assert env.row(lineage).sha256 != first.sha256
    assert RenewalRunner(env.context).run_due().counts == {}


def test_scan_reports_a_certificate_other_than_the_verified_one(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack, issuer: Authority
) -> None:
    web = with_nginx(env, ca, tmp_path, opened)
    env.lineage("1001", ["shop.test"], targets="nginx")
    assert dict(RenewalRunner(env.context).run_named(["shop.test"]).counts) == {"live": 1}

    def codes() -> set[str]:
        ScanRun(Context(env.database, env.settings, env.database.clock), ScanOptions()).run()
        with env.database.read() as conn:
            return {f.code for f in findings.listing(conn)}

    assert "unexpected-certificate" not in codes()
    other, key = write_pair(tmp_path / "other", issuer.issue("shop.test"))
    live = env.context.base / "live" / "shop.test"
    web.config.write_text(
        web.config.read_text()
        .replace(str(live / "fullchain.pem"), str(other))
        .replace(str(live / "privkey.pem"), str(key))
    )
    web.reload()
    assert "unexpected-certificate" in codes()


def test_erased_client_leaves_no_lineage_and_others_stay(env: AcmeEnvironment) -> None:
    env.unwatch("shop.test")
    env.client("1002", "other.test")
    mine, theirs = env.lineage("1001", ["shop.test"]), env.lineage("1002", ["other.test"])
    assert env.order(mine).state == env.order(theirs).state == "issued"
    with env.database.write() as tx:
        gone = erase.erase(tx, "1001")
    assert gone["lineages"] == 1
    with env.database.read() as conn:
        assert [r.name for r in lineages.listing(conn)] == ["other.test"]
        for table in metadata.sorted_tables:
            for row in conn.execute(table.select()):
                assert "shop.test" not in " ".join(str(v) for v in row if isinstance(v, str)), (
                    table.name,
                    row,
                )
