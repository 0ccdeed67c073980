"""The periodic run: it opens due cases, verifies waiting ones, and reopens closed ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certmgr.cases import agreement, installation, new_case
from certmgr.cases.opening import due_cases, run
from certmgr.cases.purchase_topics import purchase_topics
from certmgr.cases.states import CaseAction
from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.inspection.verification import Observation
from certmgr.operations.cron import run as cron
from certmgr.purchases.model import LeadTimes
from inventory.errors import CertmgrError
from inventory.store import (
    clients,
    contacts,
    domains,
    issuances,
    lineages,
    purchase_changes,
)
from inventory.vocabulary import Finding
from tests.certmgr.cases.place import (
    HOST,
    OTHER_HOST,
    CaseEnvironment,
    prober_showing,
    serve,
    sha256,
)
from tests.inventory.store.builders import add_account, add_leaf, add_lineage

DAY = timedelta(days=1)
LEADS, AHEAD = LeadTimes(7, 7, 7), timedelta(days=14)


def add_purchase(
    env: CaseEnvironment,
    client: str,
    number: str,
    *names: str,
    begun: int | None = 300,
    left: int = 60,
) -> None:
    """Add a purchase with its begin and end in days from now. ``begun`` None: without dates."""
    dates = {}
    if begun is not None:
        dates = {"starts_at": env.now - begun * DAY, "ends_at": env.now + left * DAY}
    with env.database.write(env.now) as tx:
        purchase_changes.add(tx, client, {"vendor": "V", "number": number, **dates}, names)


# -- cases that wait for their verification ------------------------------------------------------


def test_case_whose_window_is_over_is_verified_despite_an_error_of_another(
    env: CaseEnvironment, issuer: Authority
) -> None:
    first, _ = env.ready(issuer)
    second, leaf = env.ready(issuer, OTHER_HOST, client="1002")
    for reference in (first, second):
        agreement.agree_window(env.service, reference, "2026-11-26T10:00", text="agreed by mail")
    env.pass_(days=2)

    def probe(settings: Any, targets: Any, overrides: Any) -> list[Observation]:
        if targets[0].target.host == HOST:
            raise CertmgrError("The resolver does not answer")
        return prober_showing(leaf)(settings, targets, overrides)

    done = run(replace(env.service, prober=probe))
    assert done.closed == [second]
    assert len(done.problems) == 1
    assert first in done.problems[0]


def test_case_is_reopened_once_after_a_scan_saw_the_old_certificate(
    env: CaseEnvironment, issuer: Authority
) -> None:
    end = env.now + 10 * DAY
    old = issuer.issue(HOST, not_before=env.now - 80 * DAY, not_after=end)
    serve(env.database, HOST, old, env.now)
    reference, _ = env.closed(issuer)
    assert run(env.service).reopened == []
    env.pass_(days=3)
    evidence = {"serial": "1", "sha256": [sha256(old)], "issuer": "x"}
    finding = Finding("unexpected-certificate", "high", ("192.0.2.1",), evidence, "staff")
    serve(env.database, HOST, old, env.now, findings=[finding])
    assert run(env.service).reopened == [reference]
    row = env.row(reference)
    assert (row.state, row.closed_at) == ("reopened", None)
    assert run(env.service).reopened == [], "once"


# -- due cases -----------------------------------------------------------------------------------


def test_due_purchase_opens_one_case_and_none_if_a_panel_renews(env: CaseEnvironment) -> None:
    add_purchase(env, "1001", "1", HOST, left=40)
    add_purchase(env, "1002", "2", OTHER_HOST, begun=None)
    found = due_cases(env.database, env.now, LEADS, AHEAD)
    assert {(d.client, d.options.kind) for d in found} == {("1001", "new"), ("1002", "new")}
    with env.database.write(env.now) as tx:
        clients.edit(tx, "1002", {"renews": "panel"})
    found = due_cases(env.database, env.now, LEADS, AHEAD)
    assert [d.client for d in found] == ["1001"]
    assert len(run(env.service).opened) == 1
    assert run(env.service).opened == [], "it has an open case"


def test_renewal_keeps_contact_and_assignee_of_the_previous_case(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.staff("Carol", "email:carol@provider.example")
    with env.database.write(env.now) as tx:
        tom = {"name": "Tom", "role": "technical"}
        contacts.add(tx, "1001", tom, ("email:tom@client1001.example",))
    reference, _ = env.closed(issuer, contact="Tom", staff="Carol", life=20)
    first = env.row(reference)
    env.pass_(days=10)
    (again,) = run(env.service_seeing(None)).opened
    row = env.row(again)
    assert (row.contact_id, row.staff_id) == (first.contact_id, first.staff_id)
    assert None not in (row.contact_id, row.staff_id)
    other = env.row(new_case.open_case(env.service, "1002", [OTHER_HOST]).reference)
    assert other.contact_id is None, "another client's contact is never taken"


def test_ending_purchase_opens_a_renewal_until_it_is_renewed(
    env: CaseEnvironment, issuer: Authority
) -> None:
    add_purchase(env, "1001", "1", HOST, left=60)
    reference, _ = env.ready(issuer, order="1", life=60)
    installation.mark_installed(env.service, reference, "x")
    row = env.row(reference)
    with env.database.read() as conn:
        leaf = issuances.of_case(conn, row.id)[0].sha256
    installation.verify_case(env.service_seeing(leaf), reference)
    assert run(env.service).opened == []
    env.pass_(days=30)
    (second,) = run(env.service).opened
    assert env.row(second).kind == "renewal"
    with env.database.write(env.now) as tx:
        purchase_changes.renew(tx, "1", {"number": "1b"})
    env.service.end(second, CaseAction.CANCEL, "bought already")
    assert due_cases(env.database, env.now, LEADS, AHEAD) == []


def test_certificate_without_a_purchase_is_renewed_before_it_ends(
    env: CaseEnvironment, issuer: Authority
) -> None:
    first, _ = env.closed(issuer, life=90)
    assert run(env.service).opened == []
    env.pass_(days=90 - 21 - 13)
    (second,) = run(env.service).opened
    row = env.row(second)
    assert (row.kind, row.names) == ("renewal", (HOST,))
    assert row.reference != first


def test_lineage_of_the_client_opens_no_case_for_its_purchase(env: CaseEnvironment) -> None:
    add_purchase(env, "1001", "1", HOST, begun=None)
    add_purchase(env, "1002", "2", OTHER_HOST, begun=None)
    with env.database.write(env.now) as tx:
        account = add_account(tx)
        # The second lineage has not issued yet, so that it renews nothing.
        for number, name, issued in (("1001", HOST, True), ("1002", OTHER_HOST, False)):
            lineage = add_lineage(tx, f"of {number}", number, account, name)
            if issued:
                lineages.note(tx, lineage, sha256=add_leaf(tx, name, name))
    with env.database.read() as conn:
        topics = purchase_topics(conn, env.now, LEADS, 400 * DAY, {})
    assert {t.client for t in topics} <= {"1002"}
    assert [d.client for d in due_cases(env.database, env.now, LEADS, AHEAD)] == ["1002"]


def test_leaving_domain_and_retired_client_open_nothing(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.closed(issuer, life=90)
    add_purchase(env, "1002", "1", OTHER_HOST, begun=None)
    env.pass_(days=80)
    assert len(due_cases(env.database, env.now, LeadTimes(), AHEAD)) == 2
    with env.database.write(env.now) as tx:
        domains.edit(tx, HOST, {"state": "leaving"})
        clients.retire(tx, "1002")
    assert due_cases(env.database, env.now, LeadTimes(), AHEAD) == []


def test_cron_run_opens_what_is_due(env: CaseEnvironment) -> None:
    add_purchase(env, "1001", "1", HOST, begun=None)
    done = cron(Context(env.database, env.settings, env.database.clock), scan=False)
    assert "1 case(s) opened, 0 closed, 0 reopened" in done.messages
    assert not [p for p in done.problems if p.startswith("cases")]
