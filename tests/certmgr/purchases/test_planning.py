"""The forecast of an inventory: what an ACME lineage renews causes no work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.purchases.forecast import Forecast
from certmgr.purchases.load import coverage_remarks
from certmgr.purchases.planning import load_forecast
from inventory.db.database import Database
from inventory.store import domains, lineages, purchase_changes
from tests.inventory.store.builders import AT, DAY, NOW, add_account, add_lineage, site, two_clients
from tests.inventory.store.scan_rows import add_leaf, observe

NAMES = ("shop1001.example", "www.shop1001.example")


@pytest.fixture
def inventory(database: Database) -> Database:
    """Client 1001 bought a certificate for two names; client 1002 serves one without a purchase."""
    with database.write(NOW) as tx:
        two_clients(tx)
        for number in ("1001", "1002"):
            domains.edit(tx, f"shop{number}.example", {"buys": "us"})
        term = {"vendor": "Vendor", "number": "7", "years": 1, "starts": NOW - timedelta(days=30)}
        purchase_changes.add(tx, "1001", term, list(NAMES))
        for number in ("1001", "1002"):
            host = f"shop{number}.example"
            leaf = add_leaf(tx, host, host, not_after=AT + 60 * DAY)
            observe(tx, site(tx, host).endpoint_id, leaf)
    return database


def renew_by_acme(database: Database, client: str, *names: str) -> None:
    with database.write(NOW) as tx:
        lineage = add_lineage(tx, names[0], client, add_account(tx, names[0]), *names)
        lineages.note(tx, lineage, sha256=add_leaf(tx, f"acme {names}", *names))


def forecast(database: Database, settings: Settings) -> Forecast:
    return load_forecast(Context(database, settings, lambda: NOW), NOW, NOW + timedelta(days=400))


def test_purchase_and_certificate_that_a_person_renews_are_in_the_forecast(
    inventory: Database, settings: Settings
) -> None:
    found = forecast(inventory, settings)
    assert set(found.clients) == {"1001", "1002"}
    assert found.clients["1001"].installations > 0
    assert found.clients["1001"].purchases > 0


def test_names_with_a_lineage_cause_no_installation_and_no_purchase(
    inventory: Database, settings: Settings
) -> None:
    renew_by_acme(inventory, "1001", *NAMES)
    renew_by_acme(inventory, "1002", "shop1002.example")
    found = forecast(inventory, settings)
    assert (found.total.installations, found.total.purchases, found.total.reissues) == (0, 0, 0)


def test_a_lineage_for_one_of_two_bought_names_leaves_the_purchase_in_the_forecast(
    inventory: Database, settings: Settings
) -> None:
    renew_by_acme(inventory, "1001", NAMES[0])
    found = forecast(inventory, settings)
    assert found.clients["1001"].installations > 0


def test_a_name_that_a_lineage_renews_is_not_reported_as_uncovered(inventory: Database) -> None:
    with inventory.read() as conn:
        kinds = [(r.kind, r.label) for r in coverage_remarks(conn, NOW)]
    assert ("uncovered", "shop1002.example") in kinds
    assert "orphan" in [k for k, _ in kinds]
    renew_by_acme(inventory, "1002", "shop1002.example")
    with inventory.read() as conn:
        after = coverage_remarks(conn, NOW)
    assert not [r for r in after if r.client == "1002" and r.kind in ("uncovered", "orphan")]
