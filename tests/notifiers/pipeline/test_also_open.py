"""A message lists what is still open from earlier ones."""

from __future__ import annotations

from tests.notifiers.pipeline.many_sites import held, release
from tests.notifiers.sites import DAY, START, SiteSimulation, fault, sent_items


def test_message_lists_earlier_open_sites_of_the_client(simulation: SiteSimulation) -> None:
    simulation.client("1")
    near, far = simulation.site("near.example", "1"), simulation.site("far.example", "1")
    far.serve(START - (398 - 20) * DAY, 398 * DAY)
    near.serve(START - (398 - 8) * DAY, 398 * DAY)
    simulation.baseline()
    cause = next(r.cause for r in held(simulation) if r.endpoint_id == far.id)
    release(simulation, cause, 10)
    simulation.notify()
    simulation.mark_sent()
    outcome = simulation.day()
    ((_, message),) = outcome.drafts
    assert sent_items(outcome) == [(near.key, "7", "owner")]
    assert "Still open from before" in message.text
    assert "far.example" in message.text


def test_message_omits_earlier_sites_that_were_fixed_since_the_scan(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    a, b = simulation.site("a.example", "1"), simulation.site("b.example", "1")
    simulation.baseline()
    a.serve(START - (398 - 9) * DAY, 398 * DAY)
    simulation.day(2)
    simulation.mark_sent()
    b.faults["not-tls"] = fault("not-tls", "critical")
    simulation.advance(1)
    simulation.scan()
    a.serve(simulation.now, 398 * DAY)
    ((_, message),) = simulation.notify().drafts
    assert "b.example" in message.text
    assert "a.example" not in message.text
