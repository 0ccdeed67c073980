"""When automation is expected to renew, its client is not asked before its usual day."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert

from inventory.models import Tag
from inventory.store import clients, lineages
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_account, add_lineage
from tests.inventory.store.scan_rows import add_leaf
from tests.notifiers.sites import DAY, START, SiteSimulation

LIFE = 90 * DAY
HOUR = DAY / 24


@pytest.fixture
def simulation(tmp_path: Path) -> SiteSimulation:
    return SiteSimulation(open_sqlite(tmp_path / "leads.db"))


def lead_of(simulation: SiteSimulation, host: str) -> float | None:
    """Return how many days before the end automation is expected to renew; None if people do."""
    site = simulation.sites[host]
    (topic,) = [t for t in simulation.gather(simulation.now, {}).topics if t.key == site.key]
    assert topic.schedule is not None
    lead = topic.schedule.renewal_lead
    return None if lead is None else lead / DAY


@pytest.mark.parametrize("renews", ["panel", "cdn"])
def test_panel_and_cdn_renew_by_themselves(simulation: SiteSimulation, renews: str) -> None:
    simulation.client("1", renews=renews)
    simulation.client("2")
    for number, host in (("1", "shop.example"), ("2", "other.example")):
        simulation.site(host, number).serve(START - 80 * DAY, LIFE)
    simulation.scan()
    assert lead_of(simulation, "shop.example") == 30
    assert lead_of(simulation, "other.example") is None, "another client renews by hand"


@pytest.mark.parametrize("tagged", ["domain", "client"])
def test_tag_of_a_domain_or_its_client_states_automation(
    simulation: SiteSimulation, tagged: str
) -> None:
    simulation.client("1")
    simulation.client("2")
    for number, host in (("1", "shop.example"), ("2", "other.example")):
        simulation.site(host, number).serve(START - 80 * DAY, LIFE)
    with simulation.database.write(simulation.now) as tx:
        row_id = simulation.sites["shop.example"].domain_id
        if tagged == "client":
            row_id = clients.find(tx.conn, "1").id
        tx.conn.execute(insert(Tag).values(kind=tagged, row_id=row_id, name="auto-renewed"))
    simulation.scan()
    assert lead_of(simulation, "shop.example") == 30
    assert lead_of(simulation, "other.example") is None


def test_client_with_a_lineage_needs_no_time_for_buying(simulation: SiteSimulation) -> None:
    simulation.client("1")
    simulation.client("2")
    for number, host in (("1", "shop.example"), ("2", "other.example")):
        simulation.site(host, number).serve(START - 80 * DAY, LIFE)
    with simulation.database.write(simulation.now) as tx:
        lineage = add_lineage(tx, "shop", "1", add_account(tx), "shop.example")
        lineages.note(tx, lineage, sha256=add_leaf(tx, "of the lineage", "shop.example"))
    simulation.scan()
    topics = {t.target.host: t for t in simulation.gather(simulation.now, {}).topics}
    bought = {h: t.schedule.lead_days for h, t in topics.items() if t.schedule is not None}
    assert bought == {"shop.example": 0, "other.example": 21}
    assert lead_of(simulation, "shop.example") is None, (
        "an unverified lineage is no reason to wait: staff and client hear of the end as usual"
    )


def test_certificate_of_six_days_is_renewed_by_some_automation(simulation: SiteSimulation) -> None:
    """No person renews it every few days, so that the digest does not name it each day."""
    simulation.client("1")
    simulation.site("192.0.2.10", "1").serve(START - 100 * HOUR, 160 * HOUR)
    simulation.scan()
    assert lead_of(simulation, "192.0.2.10") == pytest.approx(80 / 24)
