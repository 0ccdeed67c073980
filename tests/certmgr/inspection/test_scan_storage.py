"""What a run stores about an endpoint: observations, findings, and failed checks."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select, update

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from inventory.db.database import Database, to_epoch
from inventory.models import ProbeState, Run, ServedChain, StoredCertificate
from inventory.store import findings
from tests.campaign import time_limits
from tests.certmgr.inspection.run_settings import DAY
from tests.certmgr.scanning import add, open_codes, scan
from tests.certmgr.tls_servers import HOST, Stack, serve
from tests.clock import clock
from tests.servers.ports import free_port


def standing_of(database: Database) -> dict[str, object]:
    with database.read() as conn:
        return dict(conn.execute(select(ProbeState)).mappings().one())


def test_complete_run_stores_observation_and_certificates(
    database: Database,
    settings: Settings,
    good: Server,
) -> None:
    add(database, good.port, HOST)
    summary = scan(database, settings)
    assert (summary.state, summary.checked, summary.opened) == ("complete", 1, 0)
    with database.read() as conn:
        row = conn.execute(select(ServedChain)).mappings().one()
        assert (row["address"], row["tls_version"]) == ("127.0.0.1", "TLSv1.3")
        assert (row["trusted"], row["open"], row["live"]) == (1, 1, 1)
        assert conn.execute(select(func.count()).select_from(StoredCertificate)).scalar() == 2
        state = conn.execute(select(Run.state, Run.planned, Run.looked)).one()
        assert state == ("complete", 1, 1)


def test_observation_lasts_until_another_certificate_is_served(
    database: Database, settings: Settings, issuer: Authority, opened: Stack, good: Server
) -> None:
    add(database, good.port, HOST)
    first = scan(database, settings)
    clock.advance(seconds=2)
    scan(database, settings)
    with database.read() as conn:
        (row,) = conn.execute(select(ServedChain)).mappings().all()
        assert row["last_seen"] > row["first_seen"], "the same certificate extends it"
        assert row["last_seen"] >= to_epoch(first.finished_at)
    port = good.port
    good.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(renewed.close)
    scan(database, settings)
    with database.read() as conn:
        rows = conn.execute(select(ServedChain).order_by(ServedChain.id)).mappings()
        old, new = rows.all()
    assert (old["open"], new["open"]) == (0, 1)
    assert old["leaf"] != new["leaf"]


def test_failed_check_changes_nothing_that_was_known(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - 60 * DAY, days=4)
    server = Server(servers.tls(server_context(issued)))
    add(database, server.port, HOST)
    scan(database, settings)
    known = standing_of(database)
    server.close()
    silent = Server(servers.silent, port=server.port)
    opened.callback(silent.close)
    summary = scan(database, settings, timeout=0.8)
    after = standing_of(database)
    kept = ("last_good", "leaf", "not_after", "issuer")
    assert {k: after[k] for k in kept} == {k: known[k] for k in kept}
    assert after["error_layer"] == "timeout"
    assert open_codes(database) == {
        "certificate-expiring": "high",
        "connection-timeout": "undetermined",
    }
    assert summary.too_undetermined
    with database.read() as conn:
        row = conn.execute(select(ServedChain)).mappings().one()
        assert (row["open"], row["live"]) == (1, 0)


def test_finding_closes_when_its_fault_is_gone(
    database: Database,
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = free_port()
    add(database, port, HOST)
    assert scan(database, settings).opened == 1
    assert open_codes(database) == {"https-missing": "high"}
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    assert scan(database, settings).closed == 1
    assert open_codes(database) == {}
    with database.read() as conn:
        (row,) = findings.listing(conn, closed=True)
    assert row.closed_at is not None


def test_silent_address_of_two_keeps_its_findings(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    old = servers.tls(server_context(issuer.issue(HOST, not_before=clock() - 60 * DAY, days=4)))
    first = Server(old)
    port = first.port
    second = Server(old, address="127.0.0.2", port=port)
    add(database, port, HOST, addresses=("127.0.0.1", "127.0.0.2"))
    scan(database, settings)
    first.close()
    second.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    silent = Server(servers.silent, address="127.0.0.2", port=port)
    opened.callback(renewed.close)
    opened.callback(silent.close)
    for limit in time_limits(1.5):
        scan(database, settings, timeout=limit)
        with database.read() as conn:
            rows = {r.code: r.addresses for r in findings.listing(conn)}
        if rows["connection-timeout"] == ("127.0.0.2",):  # the other one answered in time
            break
    assert rows == {"certificate-expiring": ("127.0.0.2",), "connection-timeout": ("127.0.0.2",)}


def test_endpoint_is_unreachable_after_three_failed_runs_in_a_day(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    add(database, serve(opened, servers.silent), HOST)
    for _ in range(2):
        scan(database, settings, timeout=0.5)
    with database.write() as tx:  # as if the first failure was yesterday
        since = to_epoch(clock() - timedelta(hours=25))
        tx.conn.execute(update(ProbeState).values(failing_since=since))
    scan(database, settings, timeout=0.5)
    assert open_codes(database) == {"unreachable": "high"}
