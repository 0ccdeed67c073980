"""What a run stores: certificates, observations, and the state of endpoints."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from inventory.db.database import Database
from inventory.models import (
    Endpoint,
    ProbeState,
    ServedChain,
    StoredCertificate,
    StoredFinding,
)
from inventory.store import certificates, findings, runs, scan_results
from inventory.store.finding_columns import columns_of
from inventory.store.scan_results import CacheKeys
from inventory.vocabulary import Finding, Severity
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_finding,
    count,
    many_clients,
    rows,
    two_endpoints,
)
from tests.inventory.store.chunked import across_chunks, unknown_id
from tests.inventory.store.scan_rows import (
    add_leaf,
    add_status,
    certificate_row,
    facts,
    failure_row,
    observe,
    status_row,
)


def spans(database: Database, endpoint_id: int) -> list[tuple[str, str | None, int, int, int, int]]:
    """(address, leaf, first seen, last seen, open, live) of each span, oldest first."""
    with database.read() as conn:
        found = [r for r in rows(conn, ServedChain) if r["endpoint_id"] == endpoint_id]
    columns = ("address", "leaf", "first_seen", "last_seen", "open", "live")
    return [tuple(r[c] for c in columns) for r in found]


def test_certificate_that_is_stored_stays_as_it_is(database: Database) -> None:
    with database.write(NOW) as tx:
        certificates.add(tx, [])
        first = certificate_row("a", subject="CN=first")
        certificates.add(tx, [certificate_row("b"), first, certificate_row("b")])
    with database.write(LATER) as tx:
        certificates.add(
            tx,
            [certificate_row("a", subject="CN=second"), certificate_row("c")],
        )
        found = {r["sha256"]: r for r in rows(tx.conn, StoredCertificate)}
    assert len(found) == 3
    assert found[first["sha256"]] == first | {"first_seen": AT}
    assert found[certificate_row("c")["sha256"]]["first_seen"] == AT + DAY


def test_issuers_are_the_certificates_of_cas_up_to_a_limit(database: Database) -> None:
    with database.write(NOW) as tx:
        assert certificates.issuers(tx.conn) == []
        for name in ("root", "middle"):
            add_leaf(tx, name, is_ca=1)
        add_leaf(tx, "leaf")
        assert sorted(certificates.issuers(tx.conn)) == [b"middle", b"root"]
        assert len(certificates.issuers(tx.conn, limit=1)) == 1


def test_span_goes_on_ends_or_is_hidden_as_its_address_is_seen(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        a, b = add_leaf(tx, "a"), add_leaf(tx, "b")
        scan_results.write_observations(tx, {})
        observe(tx, one, a, "192.0.2.1", "192.0.2.2")
        observe(tx, two, a, "192.0.2.1")
    with pair.write(LATER) as tx:
        seen = {"192.0.2.1": facts(tx.at, a), "192.0.2.3": facts(tx.at, b)}
        scan_results.write_observations(tx, {one: seen})
    assert spans(pair, one) == [
        ("192.0.2.1", a, AT, AT + DAY, 1, 1),
        ("192.0.2.2", a, AT, AT, 1, 0),
        ("192.0.2.3", b, AT + DAY, AT + DAY, 1, 1),
    ]
    assert spans(pair, two) == [("192.0.2.1", a, AT, AT, 1, 1)]
    with pair.write(LATER) as tx:
        later = {"192.0.2.1": facts(AT + 2 * DAY, b), "192.0.2.2": facts(AT + 2 * DAY, a)}
        scan_results.write_observations(tx, {one: later, two: {}})
    assert spans(pair, one) == [
        ("192.0.2.1", a, AT, AT + DAY, 0, 0),
        ("192.0.2.2", a, AT, AT + 2 * DAY, 1, 1),
        ("192.0.2.3", b, AT + DAY, AT + DAY, 1, 0),
        ("192.0.2.1", b, AT + 2 * DAY, AT + 2 * DAY, 1, 1),
    ]
    assert spans(pair, two) == [("192.0.2.1", a, AT, AT, 1, 0)]


def test_any_other_fact_at_the_address_begins_a_new_span(pair: Database) -> None:
    one, _ = two_endpoints(pair)
    with pair.write(NOW) as tx:
        leaf = add_leaf(tx, "a")
        changes: list[dict[str, Any]] = [
            {},
            {"tls_version": "TLSv1.2"},
            {"cipher": "y"},
            {"group_name": "y"},
            {"alpn": "h2"},
            {"ocsp": "good"},
            {"trusted": None},
            {"public": 0},
            {"chain": (leaf, leaf)},
        ]
        for change in changes:
            observe(tx, one, leaf, **change)
            observe(tx, one, leaf, **change)
    assert [s[4:] for s in spans(pair, one)] == [(0, 0)] * (len(changes) - 1) + [(1, 1)]


def test_endpoint_without_a_change_has_longer_spans_and_counted_failures(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        first = runs.start(tx, "", 2)
        leaf = add_leaf(tx, "a")
        observe(tx, one, leaf, "192.0.2.1", "192.0.2.2")
        observe(tx, one, leaf, "192.0.2.1")
        observe(tx, two, leaf, "192.0.2.1")
        failed = {
            "failing_since": AT,
            "failing_runs": 2,
            "error_layer": "tcp",
            "error_reason": "no",
        }
        add_status(tx, one, last_run_id=first, **failed)
        add_status(tx, two, last_run_id=first, **failed)
        scan_results.seen_again(tx, first, [])
    with pair.write(LATER) as tx:
        second = runs.start(tx, "", 2)
        at = AT + DAY
        scan_results.seen_again(tx, second, [(one, at, True, False), (two, at, False, True)])
        good, bad = rows(tx.conn, ProbeState)
    assert (good["last_attempt"], good["last_run_id"], good["last_good"]) == (at, second, at)
    healed = (
        good["failing_since"],
        good["failing_runs"],
        good["error_layer"],
        good["error_reason"],
    )
    assert healed == (None, 0, None, None)
    assert (bad["last_attempt"], bad["last_run_id"], bad["last_good"]) == (at, second, AT)
    assert (bad["failing_since"], bad["failing_runs"], bad["error_layer"]) == (AT, 3, "tcp")
    assert [s[3] for s in spans(pair, one)] == [at, AT], "a span that is hidden is not lengthened"
    assert [s[3] for s in spans(pair, two)] == [AT]
    with pair.write(LATER) as tx:
        scan_results.seen_again(tx, second, [(two, at + 5, False, False)])
        assert rows(tx.conn, ProbeState)[1]["failing_runs"] == 3, "a failure that is certain"


def test_failed_attempt_keeps_the_last_good_one_and_the_date_of_the_first_failure(
    pair: Database,
) -> None:
    one, two = two_endpoints(pair)
    good = {"leaf": None, "not_after": AT + 9, "issuer": "CN=CA", "fingerprint": "f", "memo": "m"}
    with pair.write(NOW) as tx:
        scan_results.write_endpoint_status(tx, [])
        leaf = add_leaf(tx, "a")
        mixed = [
            status_row(one, AT, **(good | {"leaf": leaf})),
            failure_row(two, AT, judged_at=None),
        ]
        scan_results.write_endpoint_status(tx, mixed)
        before, never = rows(tx.conn, ProbeState)
        assert (never["last_good"], never["judged_at"], never["failing_runs"]) == (None, None, 1)
        assert before["good"] == 0, "only the end of a complete run sets it"
        for i in (1, 2):
            scan_results.write_endpoint_status(
                tx, [failure_row(one, AT + i * DAY, judged_at=None, memo="")]
            )
        row = rows(tx.conn, ProbeState)[0]
    for column in ("last_good", "leaf", "not_after", "issuer", "judged_at"):
        assert row[column] == before[column]
    assert (row["failing_since"], row["failing_runs"]) == (AT + DAY, 2)
    assert (row["error_layer"], row["last_attempt"], row["memo"]) == ("tcp", AT + 2 * DAY, "")
    with pair.write(LATER) as tx:
        certain = failure_row(one, AT + 3 * DAY, failing_since=None, failing_runs=0)
        scan_results.write_endpoint_status(tx, [certain])
        row = rows(tx.conn, ProbeState)[0]
        assert (row["failing_since"], row["failing_runs"], row["last_good"]) == (None, 0, AT)
        assert row["judged_at"] == AT + 3 * DAY
        scan_results.write_endpoint_status(tx, [status_row(one, AT + 4 * DAY)])
        row = rows(tx.conn, ProbeState)[0]
    assert (row["last_good"], row["leaf"], row["error_layer"]) == (AT + 4 * DAY, None, None)


def test_cache_keys_change_only_at_the_given_endpoints(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        add_status(tx, one, judged_at=None)
        add_status(tx, two, judged_at=None)
    with pair.write(LATER) as tx:
        scan_results.update_cache_keys(tx, [])
        scan_results.update_cache_keys(
            tx, [CacheKeys(one, "f", "m", 5), CacheKeys(unknown_id(0), "x", "x", None)]
        )
        moved, kept = rows(tx.conn, ProbeState)
    columns = ("fingerprint", "memo", "recheck_at", "judged_at")
    assert [moved[c] for c in columns] == ["f", "m", 5, AT + DAY]
    assert [kept[c] for c in columns] == ["", "", None, None]


def test_finding_survives_its_columns(pair: Database) -> None:
    one, two = two_endpoints(pair)
    given = Finding(
        "expired",
        Severity.HIGH,
        ("192.0.2.1", "::1"),
        {"b": [1], "a": "é"},
        "client",
        "you-act",
    )
    bare = Finding("name", "low")
    with pair.write(NOW) as tx:
        first = add_finding(tx, one, **columns_of(given))
        second = add_finding(tx, two, **columns_of(bare))
        add_finding(tx, one, "closed", closed_at=AT)
        found = findings.open_findings(tx.conn, [one, two])
        assert found == {one: [(first, given)], two: [(second, bare)]}
        assert findings.open_findings(tx.conn, [two]) == {two: [(second, bare)]}
        assert findings.open_findings(tx.conn, []) == {}
        many = across_chunks([one, unknown_id(1), two], unknown_id)
        assert findings.open_findings(tx.conn, many) == found
    assert columns_of(given)["evidence"] == {"a": "é", "b": [1]}
    assert columns_of(bare)["addresses"] == ()


def test_several_hundred_endpoints_are_written_and_read_in_one_call(pair: Database) -> None:
    with pair.write(NOW) as tx:
        many_clients(tx, 1001)
        ids = list(tx.conn.scalars(select(Endpoint.id).order_by(Endpoint.id)))
        leaf = add_leaf(tx, "a")
        for _ in range(2):
            scan_results.write_observations(tx, {i: {"192.0.2.1": facts(AT, leaf)} for i in ids})
        scan_results.write_endpoint_status(tx, [status_row(i, AT) for i in ids])
        one = columns_of(Finding("expired", "high"))
        tx.conn.execute(
            insert(StoredFinding), [{"endpoint_id": i, "opened_at": AT, **one} for i in ids]
        )
        assert (count(tx.conn, ServedChain), count(tx.conn, ProbeState)) == (1003, 1003)
        assert set(findings.open_findings(tx.conn, ids)) == set(ids)
        scan_results.write_observations(tx, {i: {} for i in ids})
        assert {r["live"] for r in rows(tx.conn, ServedChain)} == {0}
