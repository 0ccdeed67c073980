"""What the messages about a case state, by its state and kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

import pytest

from certmgr.cases.topic_facts import closing_values, text_values, wording_key
from certmgr.purchases.model import LeadTimes
from inventory.db.database import to_epoch
from inventory.records import CaseRecord
from inventory.vocabulary import CaseKind, CaseState
from notifiers.wording.cases import STEPS
from tests.records import record

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def case(**given: Any) -> CaseRecord:
    values = {"kind": CaseKind.RENEWAL, "said": [], "names": ("shop.example",)}
    return record(CaseRecord, **values | given)


@pytest.mark.parametrize("state", [CaseState.REQUESTED, CaseState.WAITING])
@pytest.mark.parametrize("own_csr", [0, 1])
def test_each_step_of_an_incident_that_asks_the_client_names_its_time(
    state: CaseState, own_csr: int
) -> None:
    """Also if the client makes the key: a case takes that over from the case before it."""
    row = case(kind=CaseKind.INCIDENT, own_csr=own_csr, ends_at=to_epoch(NOW + DAY))
    text = STEPS[wording_key(row, state, True, False)]
    assert "{until}" in text.what
    assert text_values(row, None, 60)["until"] == NOW + DAY
    assert ("your choice" in text.do) is False, "it is reissued where it was bought"
    # A key that may be known to others must not be used again.
    assert state is CaseState.WAITING or not own_csr or "new key" in text.do


def test_certificate_that_we_order_names_a_vendor_only_if_one_is_known() -> None:
    unknown, bought = case(bought_by="us"), case(bought_by="us", order_id=7)
    found = {
        row.order_id: STEPS[wording_key(row, CaseState.WAITING, False, False)].what
        for row in (unknown, bought)
    }
    named = {key: {f for _, f, _, _ in Formatter().parse(w) if f} for key, w in found.items()}
    assert named == {None: {"names"}, 7: {"names", "vendor"}}


@pytest.mark.parametrize(
    ("kind", "days", "expected"),
    [
        (CaseKind.RENEWAL, 19, "a certificate that is valid until {date}"),
        (CaseKind.RENEWAL, -2, "a certificate that ended on {date}"),
        (CaseKind.RENEWAL, None, "there was none"),
        # By then it must be replaced. When its certificate ends is another date.
        (CaseKind.INCIDENT, 1, "a certificate that had to be replaced"),
        (CaseKind.INCIDENT, -1, "a certificate that had to be replaced"),
    ],
)
def test_closed_case_states_what_was_served_before(
    kind: CaseKind, days: int | None, expected: str
) -> None:
    end = None if days is None else NOW + days * DAY
    row = case(kind=kind, ends_at=None if end is None else to_epoch(end))
    before = closing_values(row, [], None, NOW, LeadTimes())["before"]
    assert isinstance(before, tuple)
    assert before[0] == expected
    assert before[1:] == ((end,) if "{date}" in expected else ())
