"""What a run stores of a conversation."""

from __future__ import annotations

from tests.notifiers.street import Street, year


def test_reference_is_the_same_in_all_messages_about_a_site(street: Street) -> None:
    year(street, left=31)
    seen = set()
    for _ in range(40):
        outcome = street.day()
        street.sent()
        seen |= {m.reference for _, m in outcome.drafts}
    assert len(seen) == 1
