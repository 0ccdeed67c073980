"""What notices are decided from: ending certificates, their endpoints, and the newest runs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from inventory.db.database import Database
from inventory.models import Endpoint, StoredCertificate, StoredFinding
from inventory.store import (
    audit_log,
    certificate_ends,
    certificates,
    clients,
    domains,
    editing,
    endpoints,
    findings,
    jobs,
    runs,
    servers,
)
from inventory.store.certificate_ends import EarlierLeaf
from inventory.targets import Target, parse
from tests.inventory.store.builders import (
    AT,
    DAY,
    NOW,
    add_finding,
    add_notice,
    add_site,
    audited,
    entry_count,
    many_clients,
    site,
)
from tests.inventory.store.chunked import across_chunks, unknown_hash, unknown_id
from tests.inventory.store.scan_rows import add_leaf, add_status, certificate_row, observe


def test_endpoint_ends_when_one_of_its_addresses_serves_what_ends(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        life = {"not_before": AT - 50 * DAY}
        soon = add_leaf(tx, "soon", not_after=AT + 10 * DAY, **life)
        late = add_leaf(tx, "late", not_after=AT + 11 * DAY, **life)
        young = add_leaf(tx, "young", not_before=AT - 9 * DAY, not_after=AT + 10 * DAY)
        undated = add_leaf(tx, "undated", not_before=None, not_after=AT)
        observe(tx, one.endpoint_id, late, "192.0.2.1")
        observe(tx, one.endpoint_id, soon, "192.0.2.1", "192.0.2.2")
        observe(tx, two.endpoint_id, late)
        labels = ("young", "undated", "silent", "half")
        places = {n: add_site(tx, "1001", f"{n}.example") for n in labels}
        observe(tx, places["young"].endpoint_id, young)
        observe(tx, places["undated"].endpoint_id, undated)
        observe(tx, places["silent"].endpoint_id, soon)
        observe(tx, places["silent"].endpoint_id, late, "192.0.2.9")
        half = add_leaf(tx, "half", not_before=AT - 10 * DAY, not_after=AT + 10 * DAY)
        observe(tx, places["half"].endpoint_id, half)
        until = AT + 10 * DAY
        ids = {n: places[n].endpoint_id for n in places}
        assert certificate_ends.ending(tx.conn, AT, until, scaled=False) == [
            one.endpoint_id,
            ids["young"],
            ids["half"],
        ]
        assert certificate_ends.ending(tx.conn, AT, until, scaled=True) == [
            one.endpoint_id,
            ids["half"],
        ]
        assert certificate_ends.ending(tx.conn, AT, until - 1, scaled=False) == []
        everywhere = certificate_ends.ending(tx.conn, AT, AT + 99 * DAY, scaled=False)
        assert everywhere == [
            one.endpoint_id,
            two.endpoint_id,
            ids["young"],
            ids["silent"],
            ids["half"],
        ]
        endpoints.retire(tx, Target("shop1001.example"))
        domains.retire(tx, "half.example")
        clients.retire(tx, "1002")
        assert certificate_ends.ending(tx.conn, AT, AT + 99 * DAY, scaled=False) == [
            ids["young"],
            ids["silent"],
        ]


def test_leaves_of_now_are_separate_from_their_history(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (
            site(tx, "shop1001.example").endpoint_id,
            site(tx, "shop1002.example").endpoint_id,
        )
        old, new = add_leaf(tx, "old"), add_leaf(tx, "new", serial="5")
        bad = add_leaf(tx, "bad", not_after=None)
        observe(tx, one, new, "192.0.2.2", at=AT)
        observe(tx, one, new, "192.0.2.2", "192.0.2.1", at=AT + 1)
        observe(tx, one, old, "192.0.2.2", at=AT + 2)
        observe(tx, one, new, "192.0.2.2", "192.0.2.3", at=AT + 3)
        observe(tx, two, old, at=AT + 9)
        observe(tx, two, bad, at=AT + 10)
        observe(tx, two, add_leaf(tx, "no start", not_before=None), "192.0.2.9", at=AT + 11)
        start, end = AT - 30 * DAY, AT + 60 * DAY
        found = certificate_ends.leaves(
            tx.conn, across_chunks([one, unknown_id(1), two], unknown_id)
        )
        assert found == {
            one: [
                certificate_ends.ServedLeaf("192.0.2.2", new, "5", "CN=Test Issuer", start, end),
                certificate_ends.ServedLeaf("192.0.2.3", new, "5", "CN=Test Issuer", start, end),
            ],
        }
        history = certificate_ends.replacements(
            tx.conn, across_chunks([two, unknown_id(1), one], unknown_id)
        )
        assert history == {
            one: [EarlierLeaf(new, AT, start, end), EarlierLeaf(old, AT + 2, start, end)],
            two: [EarlierLeaf(old, AT + 9, start, end)],
        }
        assert certificate_ends.leaves(tx.conn, []) == {}
        assert certificate_ends.replacements(tx.conn, []) == {}
        ends = certificates.ends_of(tx.conn, across_chunks([new, bad, old], unknown_hash))
        assert ends == {new: end, old: end}
        assert certificates.ends_of(tx.conn, []) == {}


def test_place_of_an_endpoint_has_parties_and_tags_also_when_it_is_retired(pair: Database) -> None:
    with pair.write(NOW) as tx:
        servers.add(tx, {"name": "web1", "renews": "us"}, ("rack",))
        clients.edit(tx, "1001", {"buys": "client"})
        domains.edit(tx, "shop1001.example", {"server": "web1", "dns": "cdn", "purpose": "mail"})
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        run_id = runs.start(tx, "", 1)
        add_status(tx, one.endpoint_id, last_run_id=run_id)
        tagged = (
            ("endpoint", one.endpoint_id),
            ("domain", one.domain_id),
            ("client", one.client_id),
        )
        for kind, row_id in tagged:
            editing.change_tags(tx, kind, row_id, add=[kind])
        editing.change_tags(tx, "domain", two.domain_id, add=["theirs"])
        clients.retire(tx, "1002")
        both = certificate_ends.places(
            tx.conn,
            across_chunks([one.endpoint_id, -1, two.endpoint_id], unknown_id),
        )
        assert certificate_ends.places(tx.conn, []) == {}
    mine, theirs = both[one.endpoint_id], both[two.endpoint_id]
    expected: dict[str, Any] = {
        "host": "shop1001.example",
        "port": 443,
        "protocol": "https",
        "state": "active",
        "domain_state": "active",
        "purpose": "mail",
        "client": "1001",
        "client_state": "active",
        "server": "web1",
        "last_run_id": run_id,
    }
    assert {k: getattr(mine, k) for k in expected} == expected
    assert (mine.parties.dns, mine.parties.renews, mine.parties.buys) == ("cdn", "us", "client")
    assert mine.tags == {"endpoint", "domain", "client"}, "without those of the server"
    assert (theirs.state, theirs.domain_state, theirs.client_state) == ("retired",) * 3
    assert (theirs.server, theirs.last_run_id, set(theirs.tags)) == (None, None, {"theirs"})


def test_findings_are_found_by_their_ids_also_when_they_are_closed(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one = site(tx, "shop1001.example").endpoint_id
        open_, closed = add_finding(tx, one, "a"), add_finding(tx, one, "b", closed_at=AT)
        found = findings.by_ids(tx.conn, across_chunks([open_, -1, closed], unknown_id))
        assert findings.by_ids(tx.conn, []) == {}
    assert {i: (r.code, r.closed_at) for i, r in found.items()} == {
        open_: ("a", None),
        closed: ("b", AT),
    }
    assert found[open_].evidence == {}


def test_last_run_is_the_newest_that_ended_and_the_last_complete_one_is_whole(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        assert runs.last_run(tx.conn) is None
        assert runs.last_complete(tx.conn) is None
        runs.finish(tx, runs.start(tx, "", 1), "complete", None, 1, 0)
    for hours, scope, state in ((1, "", "suspect"), (2, "client 1001", "complete")):
        with database.write(NOW.replace(hour=NOW.hour + hours)) as tx:
            ended = runs.start(tx, scope, 1)
            runs.finish(tx, ended, state, "why", 1, 0)
    with database.write(NOW.replace(hour=NOW.hour + 3)) as tx:
        runs.start(tx, "", 1)
        last = runs.last_run(tx.conn)
        assert last is not None
        assert last.as_dict() == {
            "id": ended,
            "state": "complete",
            "reason": "why",
            "finished_at": AT + 7200,
        }
        assert runs.last_complete(tx.conn) == AT


def test_newest_instant_is_the_latest_that_any_table_has(database: Database) -> None:
    with database.write(NOW) as tx:
        assert audit_log.newest_instant(tx.conn) is None
        jobs.failed(tx, "cases", "broke off")
        assert audit_log.newest_instant(tx.conn) is None, "a job that has no time"
    at = AT
    for step in range(1, 6):
        at = AT + step * 60
        with database.write(NOW.replace(minute=step)) as tx:
            if step == 1:
                jobs.started(tx, "scan")
            elif step == 2:
                jobs.succeeded(tx, "digest")  # only its success is recorded
            elif step == 3:
                add_notice(tx, None, None)
            elif step == 4:
                add_notice(tx, None, None, created_at=AT, sent_at=tx.at)
            else:
                runs.finish(tx, runs.start(tx, "", 1), "complete", None, 1, 0)
            assert audit_log.newest_instant(tx.conn) == at
    with database.write(NOW.replace(minute=30)) as tx:
        tx.audit("check", "database", None)
    with database.read() as conn:
        assert audit_log.newest_instant(conn) == AT + 1800


def test_clients_are_counted_while_they_have_a_domain(pair: Database) -> None:
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        clients.add(tx, {"number": "1003", "name": "Empty"})
        add_site(tx, "1001", "more.example")
        assert clients.count_with_domains(tx.conn) == 2
        domains.retire(tx, "more.example")
        assert clients.count_with_domains(tx.conn) == 2
        clients.retire(tx, "1001")
        assert clients.count_with_domains(tx.conn) == 1
        domains.retire(tx, "shop1002.example")
        assert clients.count_with_domains(tx.conn) == 0
    assert len(audited(pair, known)) > 0


def test_name_is_that_of_a_host_or_of_a_domain(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one = site(tx, "shop1001.example")
        mail = endpoints.add(tx, parse("mail.shop1001.example:993"))
        same = {(one.endpoint_id, one.domain_id), (mail, one.domain_id)}
        assert set(endpoints.named(tx.conn, "shop1001.example")) == same
        assert endpoints.named(tx.conn, "mail.shop1001.example") == [(mail, one.domain_id)]
        assert endpoints.named(tx.conn, "other.example") == []
        clients.retire(tx, "1001")
        assert set(endpoints.named(tx.conn, "shop1001.example")) == same


def test_several_hundred_endpoints_are_asked_for_in_one_call(pair: Database) -> None:
    with pair.write(NOW) as tx:
        many_clients(tx, 1001)
        ids = list(tx.conn.scalars(select(Endpoint.id)))
        columns = {
            "code": "a",
            "severity": "high",
            "actor": "client",
            "addresses": "",
            "evidence": "{}",
        }
        tx.conn.execute(
            insert(StoredFinding),
            [columns | {"endpoint_id": i, "opened_at": AT} for i in ids],
        )
        made = [certificate_row(f"leaf {i}") | {"first_seen": AT} for i in range(1001)]
        tx.conn.execute(insert(StoredCertificate), made)
        assert set(certificate_ends.places(tx.conn, ids)) == set(ids)
        found = list(tx.conn.scalars(select(StoredFinding.id)))
        assert set(findings.by_ids(tx.conn, found)) == set(found)
        assert len(certificates.ends_of(tx.conn, [r["sha256"] for r in made])) == 1001
        assert clients.count_with_domains(tx.conn) == 1003


@pytest.mark.parametrize("field", ["address", "sha256"])
def test_leaf_cannot_be_changed(field: str) -> None:
    leaf = certificate_ends.ServedLeaf("192.0.2.1", "a", "1", "CN=CA", 1, 2)
    with pytest.raises(AttributeError):
        setattr(leaf, field, "x")


def test_endpoint_that_served_three_leaves_was_replaced_twice(pair: Database) -> None:
    with pair.write(NOW) as tx:
        often, once = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        gone = add_site(tx, "1001", "gone.example")
        leaves = [add_leaf(tx, f"leaf {i}") for i in range(3)]
        for number, leaf in enumerate(leaves):
            observe(tx, often.endpoint_id, leaf, at=AT + number)
            observe(tx, gone.endpoint_id, leaf, at=AT + number)
        for number, leaf in enumerate([leaves[0], leaves[1], leaves[0]]):
            observe(tx, once.endpoint_id, leaf, at=AT + number)
        endpoints.retire(tx, Target("gone.example"))
        found = certificate_ends.replaced_endpoints(tx.conn)
        assert [(r.endpoint_id, r.host) for r in found] == [(often.endpoint_id, "shop1001.example")]
        client = found[0].client_id
        assert certificate_ends.replaced_endpoints(tx.conn, client) == found
        assert certificate_ends.replaced_endpoints(tx.conn, client + 1) == []
