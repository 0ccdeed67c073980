"""The facts about who renews a name, read from the inventory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.renewers.load import load_facts, load_facts_of
from certmgr.renewers.renewer import RenewalMethod
from inventory.db.database import Database
from inventory.store import accounts, clients, domains, lineage_names, lineages, purchase_changes
from tests.inventory.store.builders import (
    AT,
    DAY,
    NOW,
    add_account,
    add_certificate,
    add_lineage,
    site,
    two_clients,
)
from tests.inventory.store.scan_rows import add_leaf, observe


@pytest.fixture
def inventory(database: Database) -> Database:
    """Two clients; the first has a lineage, a purchase and a hosting panel."""
    with database.write(NOW) as tx:
        two_clients(tx)
        account = add_account(tx)
        names = ("shop1001.example", "*.shop1001.example")
        lineage = add_lineage(tx, "shop", "1001", account, *names)
        lineages.note(tx, lineage, sha256=add_certificate(tx, "leaf", *names))
        add_lineage(tx, "new", "1002", account, "shop1002.example")
        domains.add(tx, "panel.example", {"client": "1001", "renews": "panel"})
        domains.add(tx, "bought.example", {"client": "1001", "buys": "us"})
        term = {"vendor": "Vendor", "number": "7", "years": 1, "starts": NOW - timedelta(days=30)}
        purchase_changes.add(tx, "1001", term, ["bought.example"])
    return database


def test_each_kind_of_renewal_is_read_for_its_client(inventory: Database) -> None:
    with inventory.read() as conn:
        one, two = (clients.find(conn, n).id for n in ("1001", "1002"))
        facts = load_facts(conn, NOW)
        assert facts.renewer(one, "www.shop1001.example").reference == "shop"
        assert facts.renewer(one, "panel.example").method is RenewalMethod.PANEL
        bought = facts.renewer(one, "bought.example")
        assert (bought.method, bought.reference) == (RenewalMethod.PURCHASE, "Vendor 7")
        assert facts.renewer(two, "shop1002.example").method is RenewalMethod.NONE, "never issued"
        assert facts.renewer(two, "www.shop1001.example").method is RenewalMethod.NONE


def test_facts_of_one_client_contain_nothing_of_another(inventory: Database) -> None:
    with inventory.read() as conn:
        one, two = (clients.find(conn, n).id for n in ("1001", "1002"))
        facts = load_facts(conn, NOW, two)
        assert set(facts.domains) == {two}
        assert not facts.lineages
        assert not facts.purchases
        assert facts.renewer(one, "shop1001.example").method is RenewalMethod.NONE


def test_a_name_in_quarantine_is_not_renewed_by_its_lineage(inventory: Database) -> None:
    with inventory.write(NOW) as tx:
        lineage = lineages.find(tx.conn, "shop")
        lineage_names.failed(tx, lineage.id, "*.shop1001.example", "no CNAME", quarantine=True)
    with inventory.read() as conn:
        facts = load_facts(conn, NOW)
        one = clients.find(conn, "1001").id
        assert facts.renewer(one, "shop1001.example").ours
        assert not facts.renewer(one, "www.shop1001.example").automatic


def test_replacements_long_before_the_end_are_learned_as_automation(inventory: Database) -> None:
    with inventory.write(NOW) as tx:
        endpoint = site(tx, "shop1002.example").endpoint_id
        for number in range(3):
            start = AT + number * 60 * DAY
            leaf = add_leaf(tx, f"{number}", not_before=start, not_after=start + 90 * DAY)
            observe(tx, endpoint, leaf, at=start)
    with inventory.read() as conn:
        two = clients.find(conn, "1002").id
        learned = load_facts(conn, NOW, two).renewer(two, "shop1002.example")
        assert (learned.method, learned.lead) == (RenewalMethod.LEARNED, timedelta(days=30))
        asked = load_facts(conn, NOW, two, learned=False)
        assert asked.renewer(two, "shop1002.example").method is RenewalMethod.NONE


def test_a_lineage_that_cannot_issue_states_what_blocks_it(inventory: Database) -> None:
    with inventory.read() as conn:
        one = clients.find(conn, "1001").id
        assert load_facts(conn, NOW).renewer(one, "shop1001.example").trouble == ""
    with inventory.write(NOW) as tx:
        lineage = lineages.find(tx.conn, "shop")
        lineage_names.failed(tx, lineage.id, "*.shop1001.example", "no CNAME", quarantine=True)
        found = load_facts(tx.conn, NOW).renewer(one, "shop1001.example")
        assert "waits for the approval" in found.trouble
        lineages.note(tx, lineage.id, shrink_ok=("*.shop1001.example",))
        assert load_facts(tx.conn, NOW).renewer(one, "shop1001.example").trouble == ""
        accounts.edit(tx, lineage.account_id, state="lost")
        found = load_facts(tx.conn, NOW).renewer(one, "shop1001.example")
    assert found.trouble == f"its account {lineage.account} is lost"
    assert found.ours, "staff repair the account"


def test_facts_of_a_few_clients_are_those_of_all(inventory: Database) -> None:
    with inventory.read() as conn:
        ids = {clients.find(conn, n).id for n in ("1001", "1002")}
        few, whole = load_facts_of(conn, NOW, ids), load_facts(conn, NOW, learned=False)
    assert few == whole
