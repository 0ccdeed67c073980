"""Findings: what is open now or was at a date, what a job settles, and acceptances with an end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from inventory.db.database import Database, Tx
from inventory.errors import NotFound, UsageError
from inventory.models import StoredAcceptance, StoredFinding
from inventory.store import acceptance_ends, clients, domains, endpoints, findings
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, FindingDecision
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_finding,
    audited,
    count,
    domain_id,
    endpoint_id,
    entry_count,
    many_clients,
    rows,
)

KNOWN = frozenset({"certificate-expired", "certificate-ends-soon", "name-mismatch"})
UNTIL = NOW + timedelta(days=30)


def accept(tx: Tx, code: str = "certificate-expired", until: datetime = UNTIL, **given: Any) -> int:
    return findings.accept(tx, code, KNOWN, until, given.pop("reason", "known"), **given)


def test_acceptance_keeps_its_scope_reason_and_end(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        one = clients.find(tx.conn, ONE).id
        where: dict[str, Any] = {
            "domain_id": domain_id(tx.conn, "shop1001.example"),
            "endpoint_id": endpoint_id(tx.conn, "shop1001.example"),
        }
        first = accept(tx, client_id=one, reason=" moves in May ", **where)
        second = accept(tx, "name-mismatch", client_id=one, kind=FindingDecision.ASSIGN, by="Bob")
    with pair.read() as conn:
        (accepted,) = findings.acceptances(conn)
        (taken,) = findings.acceptances(conn, kind=FindingDecision.ASSIGN)
    scope = (one, where["domain_id"], where["endpoint_id"])
    expected = Acceptance(first, "certificate-expired", *scope, UNTIL, "moves in May", "tester")
    assert accepted == expected
    assert (taken.id, taken.code, taken.by) == (second, "name-mismatch", "Bob")
    assert (taken.client_id, taken.domain_id, taken.endpoint_id) == (one, None, None)
    entries = audited(pair, before)
    assert [e[:3] for e in entries] == [("accept", "finding", first), ("take", "finding", second)]
    assert entries[0][3]["code"] == "certificate-expired"
    assert entries[0][3]["reason"] == "-", "words of a person stay out of the log"


def test_acceptance_that_is_refused_changes_nothing(pair: Database) -> None:
    before = entry_count(pair)
    second = timedelta(seconds=1)
    with pair.write(NOW) as tx:
        one = clients.find(tx.conn, ONE).id
        refused: list[tuple[dict[str, Any], str]] = [
            ({"code": "certificate-expird", "client_id": one}, "mean 'certificate-expired'"),
            ({"code": "zzz", "client_id": one}, "See certmgr explain"),
            ({}, "An acceptance needs a scope"),
            ({"kind": "take"}, "The assignment of a finding needs a scope"),
            ({"until": NOW, "client_id": one}, " UTC has passed"),
            ({"until": NOW - second, "client_id": one}, "has passed"),
            ({"reason": "  ", "client_id": one}, "reason is empty"),
            ({"reason": "x" * 501, "client_id": one}, "the limit is 500"),
            ({"by": "  ", "client_id": one}, "name is empty"),
        ]
        for given, message in refused:
            with pytest.raises(UsageError, match=message):
                accept(tx, **given)
        assert count(tx.conn, StoredAcceptance) == 0
        accept(tx, until=NOW + second, client_id=one, by="")
    assert len(audited(pair, before)) == 1


def test_each_scope_alone_is_enough(pair: Database) -> None:
    with pair.write(NOW) as tx:
        scopes: tuple[dict[str, Any], ...] = (
            {"client_id": clients.find(tx.conn, ONE).id},
            {"domain_id": domain_id(tx.conn, "shop1001.example")},
            {"endpoint_id": endpoint_id(tx.conn, "shop1001.example")},
        )
        ids = [accept(tx, **scope) for scope in scopes]
        found = findings.acceptances(tx.conn)
    assert [a.id for a in found] == ids
    assert [(a.client_id, a.domain_id, a.endpoint_id) for a in found] == [
        (scopes[0]["client_id"], None, None),
        (None, scopes[1]["domain_id"], None),
        (None, None, scopes[2]["endpoint_id"]),
    ]


def test_acceptance_is_in_force_from_its_making_to_its_end_or_withdrawal(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one = clients.find(tx.conn, ONE).id
        lasting = accept(tx, client_id=one)
        withdrawn = accept(tx, "name-mismatch", client_id=one)
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        acceptance_ends.withdraw(tx, withdrawn)
        for unknown in (withdrawn, withdrawn + 1):
            with pytest.raises(NotFound, match=f"assignment {unknown} in force"):
                acceptance_ends.withdraw(tx, unknown)
    assert audited(pair, before) == [("withdraw", "finding", withdrawn, {})]
    second = timedelta(seconds=1)
    with pair.read() as conn:

        def at(moment: datetime | None) -> list[int]:
            return [a.id for a in findings.acceptances(conn, moment)]

        assert at(NOW - second) == []
        assert at(NOW) == at(LATER - second) == [lasting, withdrawn]
        assert at(LATER) == at(UNTIL - second) == [lasting]
        assert at(UNTIL) == []
        assert at(None) == [lasting], "ended or not"


def test_exception_in_the_transaction_leaves_no_acceptance(pair: Database) -> None:
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        accept(tx, client_id=clients.find(tx.conn, ONE).id)
        raise RuntimeError
    with pair.read() as conn:
        assert findings.acceptances(conn) == []
    assert audited(pair, before) == []


def test_settled_findings_are_opened_changed_and_closed(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (endpoint_id(tx.conn, f"shop{n}.example") for n in (ONE, TWO))
        changed = add_finding(tx, one, "revoked", severity="low", evidence='{"a": 1}')
        closed = add_finding(tx, two, "revoked")
        untouched = add_finding(tx, two, "name-mismatch")
    before = entry_count(pair)
    both = ("192.0.2.1", "2001:db8::1")
    new = Finding("must-staple", "high", both, {"b": 2}, "client", "you-act")
    worse = Finding("revoked", "critical", ("192.0.2.9",), {"a": 2}, "provider", "we-act")
    with pair.write(LATER) as tx:
        findings.settle(tx, [(one, new)], [(changed, worse)], [closed])
    with pair.read() as conn:
        found = {r.code: r for r in findings.listing(conn) if r.host == "shop1001.example"}
        left = [r.id for r in findings.listing(conn) if r.host == "shop1002.example"]
        (ended,) = [r for r in rows(conn, StoredFinding) if r["id"] == closed]
    assert set(found) == {"must-staple", "revoked"}
    opened = found["must-staple"]
    assert (opened.opened_at, opened.opened_run, opened.closed_at) == (
        AT + DAY,
        None,
        None,
    )
    assert opened.addresses == ("192.0.2.1", "2001:db8::1")
    assert (opened.evidence, opened.actor, opened.outcome) == (
        {"b": 2},
        "client",
        "you-act",
    )
    update = found["revoked"]
    assert (update.id, update.opened_at, update.severity) == (changed, AT, "critical")
    assert (update.actor, update.outcome, update.evidence) == (
        "provider",
        "we-act",
        {"a": 2},
    )
    assert update.addresses == ("192.0.2.9",)
    assert left == [untouched]
    assert (ended["closed_at"], ended["closed_run"]) == (AT + DAY, None)
    assert audited(pair, before) == [
        ("close", "finding", closed, {}),
        ("open", "finding", None, {"endpoint": one, "code": "must-staple"}),
    ]


def test_settling_nothing_writes_nothing(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        findings.settle(tx, [], [], [])
        assert count(tx.conn, StoredFinding) == 0
    assert audited(pair, before) == []


def test_finding_is_open_once_per_endpoint_and_code(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (endpoint_id(tx.conn, f"shop{n}.example") for n in (ONE, TWO))
        revoked = Finding("revoked", "critical")
        findings.settle(tx, [(one, revoked), (two, revoked)], [], [])
    with pair.write(LATER) as tx:
        findings.settle(tx, [(one, Finding("revoked", "low"))], [], [])
        first, second = findings.listing(tx.conn)
        assert (first.opened_at, first.severity) == (AT, "critical"), "the first one stays"
        findings.settle(tx, [(one, Finding("revoked", "low"))], [], [first.id])
        found = {r.endpoint_id: (r.id, r.severity) for r in findings.listing(tx.conn)}
    assert found[two] == (second.id, "critical")
    assert found[one][0] > second.id, "closed and opened again in one step"
    assert found[one][1] == "low"


def test_several_hundred_findings_are_settled_at_once(database: Database) -> None:
    with database.write(NOW) as tx:
        many_clients(tx, 600)
        ids = list(endpoints.visited_ids(tx.conn, None, None))
        findings.settle(tx, [(i, Finding("revoked", "critical")) for i in ids], [], [])
        opened = {r.id: r.endpoint_id for r in findings.listing(tx.conn)}
        assert sorted(opened.values()) == sorted(ids)
        milder = [(i, Finding("revoked", "low", evidence={"n": i})) for i in opened]
        findings.settle(tx, [], milder, [])
        assert all(r.evidence == {"n": r.id} for r in findings.listing(tx.conn))
        findings.settle(tx, [], [], list(opened))
        assert findings.listing(tx.conn) == []
    assert len(audited(database)) == 1200


def test_exception_in_the_transaction_leaves_the_findings_as_they_were(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one = endpoint_id(tx.conn, "shop1001.example")
        row_id = add_finding(tx, one)
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(LATER) as tx:
        findings.settle(tx, [(one, Finding("revoked", "low"))], [], [row_id])
        raise RuntimeError
    with pair.read() as conn:
        assert [r.id for r in findings.listing(conn)] == [row_id]
    assert audited(pair, before) == []


def test_listing_is_restricted_to_a_client_a_domain_and_a_code(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert findings.listing(tx.conn) == []
        domains.add(tx, "a.example", {"client": ONE})
        for name in ("shop1001.example", "shop1002.example", "a.example"):
            given = {"evidence": '{"days": 3}', "addresses": "192.0.2.1 ::1"}
            add_finding(tx, endpoint_id(tx.conn, name), **given)
        add_finding(tx, endpoint_id(tx.conn, "a.example"), "name-mismatch", addresses="")
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        shop, other = (domain_id(tx.conn, n) for n in ("shop1001.example", "a.example"))

    with pair.read() as conn:

        def found(**given: Any) -> list[tuple[str, str]]:
            return [(r.host, r.code) for r in findings.listing(conn, **given)]

        expired = "certificate-expired"
        everything = [
            ("shop1001.example", expired),
            ("shop1002.example", expired),
            ("a.example", expired),
            ("a.example", "name-mismatch"),
        ]
        assert found() == everything
        assert found(client_id=one) == [everything[0], *everything[2:]]
        assert found(client_id=two) == [everything[1]]
        assert found(domain_id=shop) == [everything[0]]
        assert found(domain_id=other, code="name-mismatch") == [everything[3]]
        assert found(code=expired, client_id=one) == [everything[0], everything[2]]
        assert found(client_id=two, domain_id=shop) == [], "the domain is another client's"
        assert found(client_id=two + 99) == found(code="other") == []
        row = findings.listing(conn, domain_id=shop)[0]
        assert (row.addresses, row.evidence) == (("192.0.2.1", "::1"), {"days": 3})
        assert (row.domain, row.client, row.port) == ("shop1001.example", ONE, 443)
        assert (row.domain_id, row.client_id, row.server_id) == (shop, one, None)
        assert findings.listing(conn, code="name-mismatch")[0].addresses == ()


def test_listing_leaves_out_what_is_closed_or_retired(pair: Database) -> None:
    with pair.write(NOW) as tx:
        for name in ("a.example", "b.example", "c.example"):
            domains.add(tx, name, {"client": TWO})
            add_finding(tx, endpoint_id(tx.conn, name))
        add_finding(tx, endpoint_id(tx.conn, "shop1001.example"))
        shop = endpoint_id(tx.conn, "shop1002.example")
        add_finding(tx, shop, closed_at=AT)
        open_id = add_finding(tx, shop)
    with pair.write(LATER) as tx:
        endpoints.retire(tx, Target("a.example"))
        domains.retire(tx, "b.example")
        domains.edit(tx, "c.example", {"state": "leaving"})
        clients.retire(tx, ONE)
    with pair.read() as conn:
        left = findings.listing(conn)
        assert [r.host for r in left] == ["c.example", "shop1002.example"]
        assert left[1].id == open_id
        both = findings.listing(conn, closed=True)
        assert [(r.host, r.closed_at) for r in both] == [
            ("c.example", None),
            ("shop1002.example", AT),
            ("shop1002.example", None),
        ]


def test_listing_at_a_date_shows_what_was_open_then(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (endpoint_id(tx.conn, f"shop{n}.example") for n in (ONE, TWO))
        closed = add_finding(tx, one, closed_at=AT + DAY)
        retired = add_finding(tx, two)
        owner = clients.find(tx.conn, ONE).id
    with pair.write(LATER) as tx:
        late = add_finding(tx, one)
        endpoints.retire(tx, Target("shop1002.example"))
    second = timedelta(seconds=1)
    with pair.read() as conn:

        def at(moment: datetime, **given: Any) -> list[int]:
            return [r.id for r in findings.listing(conn, at=moment, **given)]

        assert at(NOW - second) == []
        assert at(NOW) == at(LATER - second) == [closed, retired]
        assert at(LATER) == [late]
        assert at(NOW, client_id=owner) == [closed]
        assert at(NOW, code="name-mismatch") == []
