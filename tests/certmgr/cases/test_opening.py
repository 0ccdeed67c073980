"""The run that opens cases when they are due, verifies what waits, and reopens what came back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certmgr.cases.opening import due_cases, run
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from certmgr.inspection.verification import Observation
from certmgr.operations.cron import run as cron
from certmgr.purchases.model import LeadTimes
from inventory.errors import CertmgrError
from inventory.store import cases, clients, contacts, domains, purchases
from inventory.vocabulary import Finding
from tests.certmgr.cases.place import HOST, OTHER_HOST, Place, serve, sha256, shows

DAY = timedelta(days=1)
LEADS, AHEAD = LeadTimes(7, 7, 7), timedelta(days=14)


def buy(
    place: Place, client: str, number: str, *names: str, begun: int | None = 300, left: int = 60
) -> None:
    """Add an order that began and ends by days from now. ``begun`` None: without dates."""
    dates = {}
    if begun is not None:
        dates = {"starts_at": place.now - begun * DAY, "ends_at": place.now + left * DAY}
    with place.database.write(place.now) as tx:
        purchases.add(tx, client, {"vendor": "V", "number": number, **dates}, names)


# -- what waits for its verification -------------------------------------------------------------


def test_case_whose_window_is_over_is_verified_despite_an_error_of_another(
    place: Place, issuer: Authority
) -> None:
    first, _ = place.ready(issuer)
    second, leaf = place.ready(issuer, OTHER_HOST, client="1002")
    for reference in (first, second):
        place.desk.agree(reference, "2026-11-26T10:00", text="agreed by mail")
    place.pass_(days=2)

    def probe(settings: Any, wanted: Any, overrides: Any) -> list[Observation]:
        if wanted[0].target.host == HOST:
            raise CertmgrError("The resolver is dead")
        return shows(leaf)(settings, wanted, overrides)

    done = run(replace(place.desk, eyes=probe))
    assert done.closed == [second]
    assert len(done.problems) == 1
    assert first in done.problems[0]


def test_case_is_reopened_once_after_a_scan_saw_the_old_certificate(
    place: Place, issuer: Authority
) -> None:
    end = place.now + 10 * DAY
    old = issuer.issue(HOST, not_before=place.now - 80 * DAY, not_after=end)
    serve(place.database, HOST, old, place.now)
    reference, _ = place.closed(issuer)
    assert run(place.desk).reopened == []
    place.pass_(days=3)
    evidence = {"serial": "1", "sha256": [sha256(old)], "issuer": "x"}
    finding = Finding("unexpected-certificate", "high", ("192.0.2.1",), evidence, "staff")
    serve(place.database, HOST, old, place.now, findings=[finding])
    assert run(place.desk).reopened == [reference]
    row = place.row(reference)
    assert (row["state"], row["closed_at"]) == ("reopened", None)
    assert run(place.desk).reopened == [], "once"


# -- what is due ---------------------------------------------------------------------------------


def test_order_that_is_due_opens_one_case_and_none_if_a_panel_renews(place: Place) -> None:
    buy(place, "1001", "1", HOST, left=40)
    buy(place, "1002", "2", OTHER_HOST, begun=None)
    found = due_cases(place.database, place.now, LEADS, AHEAD)
    assert {(d.client, d.given["kind"]) for d in found} == {("1001", "new"), ("1002", "new")}
    with place.database.write(place.now) as tx:
        clients.edit(tx, "1002", {"renews": "panel"})
    found = due_cases(place.database, place.now, LEADS, AHEAD)
    assert [d.client for d in found] == ["1001"]
    assert len(run(place.desk).opened) == 1
    assert run(place.desk).opened == [], "it has an open case"


def test_renewal_is_assigned_to_those_of_the_case_before(place: Place, issuer: Authority) -> None:
    place.staff("Carol", "email:carol@provider.example")
    with place.database.write(place.now) as tx:
        tom = {"name": "Tom", "role": "technical"}
        contacts.add(tx, "1001", tom, ("email:tom@client1001.example",))
    reference, _ = place.closed(issuer, contact="Tom", staff="Carol", life=20)
    first = place.row(reference)
    place.pass_(days=10)
    (again,) = run(place.desk_seeing(None)).opened
    row = place.row(again)
    assert (row["contact_id"], row["staff_id"]) == (first["contact_id"], first["staff_id"])
    assert None not in (row["contact_id"], row["staff_id"])
    other = place.row(place.desk.open("1002", [OTHER_HOST])["reference"])
    assert other["contact_id"] is None, "another client's contact is never taken"


def test_order_that_ends_opens_a_renewal_until_it_is_renewed(
    place: Place, issuer: Authority
) -> None:
    buy(place, "1001", "1", HOST, left=60)
    reference, _ = place.ready(issuer, order="1", life=60)
    place.desk.installed(reference, "x")
    row = place.row(reference)
    with place.database.read() as conn:
        leaf = cases.issuances(conn, [row["id"]])[row["id"]][0]["sha256"]
    place.desk_seeing(leaf).verify(reference)
    assert run(place.desk).opened == []
    place.pass_(days=30)
    (second,) = run(place.desk).opened
    assert place.row(second)["kind"] == "renewal"
    with place.database.write(place.now) as tx:
        purchases.renew(tx, "1", {"number": "1b"})
    place.desk.end(second, CaseAction.CANCEL, "bought already")
    assert due_cases(place.database, place.now, LEADS, AHEAD) == []


def test_certificate_without_an_order_is_followed_before_it_ends(
    place: Place, issuer: Authority
) -> None:
    first, _ = place.closed(issuer, life=90)
    assert run(place.desk).opened == []
    place.pass_(days=90 - 21 - 13)
    (second,) = run(place.desk).opened
    row = place.row(second)
    assert (row["kind"], row["names"]) == ("renewal", [HOST])
    assert row["reference"] != first


def test_leaving_domain_and_retired_client_open_nothing(place: Place, issuer: Authority) -> None:
    place.closed(issuer, life=90)
    buy(place, "1002", "1", OTHER_HOST, begun=None)
    place.pass_(days=80)
    assert len(due_cases(place.database, place.now, LeadTimes(), AHEAD)) == 2
    with place.database.write(place.now) as tx:
        domains.edit(tx, HOST, {"state": "leaving"})
        clients.retire(tx, "1002")
    assert due_cases(place.database, place.now, LeadTimes(), AHEAD) == []


def test_cron_run_opens_what_is_due(place: Place) -> None:
    buy(place, "1001", "1", HOST, begun=None)
    done = cron(place.database, place.settings, scan=False)
    assert "1 case(s) opened, 0 closed, 0 reopened" in done.said
    assert not [p for p in done.problems if p.startswith("cases")]
