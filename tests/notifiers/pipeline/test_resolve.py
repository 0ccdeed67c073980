"""Who is notified that a topic is resolved, in an inventory over time."""

from __future__ import annotations

from inventory.store import contacts
from tests.notifiers.sites import DAY, SiteSimulation, add_expiring_site


def test_every_notified_contact_is_thanked_in_their_own_office_hours(
    simulation: SiteSimulation,
) -> None:
    """Owner and fallback are in time zones whose office hours never overlap."""
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        far = {"name": "Far", "role": "billing", "time_zone": "America/Los_Angeles"}
        contacts.add(tx, "1", far, ("email:far@client1.example",))
    add_expiring_site(simulation, left=31)
    for _ in range(60):
        simulation.advance(0, 5)
        simulation.scan()
        simulation.notify()
        simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    thanked = []
    for _ in range(20):
        simulation.advance(0, 5)
        simulation.scan()
        drafts = [d for d, _ in simulation.notify().drafts]
        thanked += [d.person.name for d in drafts for i in d.items if i.step == "resolved"]
        simulation.mark_sent()
    assert sorted(thanked) == ["Far", "Owner of 1"]
