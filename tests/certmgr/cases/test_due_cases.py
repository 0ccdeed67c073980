"""Which cases are due: for purchases, and for certificates that were installed without one."""

from __future__ import annotations

from datetime import timedelta

from certmgr.cases import installation, new_case
from certmgr.cases.due_cases import due_cases
from certmgr.cases.opening import run
from certmgr.cases.purchase_topics import purchase_topics
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from certmgr.purchases.model import LeadTimes
from inventory.store import clients, contacts, domains, issuances, lineages, purchase_changes
from tests.certmgr.cases.place import HOST, OTHER_HOST, CaseEnvironment, add_purchase
from tests.inventory.store.builders import add_account, add_lineage
from tests.inventory.store.scan_rows import add_leaf

DAY = timedelta(days=1)
LEADS = LeadTimes(7, 7, 7)


def test_due_purchase_opens_one_case_and_none_if_a_panel_renews(env: CaseEnvironment) -> None:
    add_purchase(env, "1001", "1", HOST, left=40)
    add_purchase(env, "1002", "2", OTHER_HOST, begun=None)
    found = due_cases(env.context)
    assert {(d.client, d.options.kind) for d in found} == {("1001", "new"), ("1002", "new")}
    with env.database.write(env.now) as tx:
        clients.edit(tx, "1002", {"renews": "panel"})
    found = due_cases(env.context)
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
    assert due_cases(env.context) == []


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
    assert [d.client for d in due_cases(env.context)] == ["1002"]


def test_leaving_domain_and_retired_client_open_nothing(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.closed(issuer, life=90)
    add_purchase(env, "1002", "1", OTHER_HOST, begun=None)
    env.pass_(days=80)
    assert len(due_cases(env.context)) == 2
    with env.database.write(env.now) as tx:
        domains.edit(tx, HOST, {"state": "leaving"})
        clients.retire(tx, "1002")
    assert due_cases(env.context) == []
