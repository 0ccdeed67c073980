"""A page that Chromium opens has no critical finding, and an error page has one with its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.campaign import SOAK
from tests.certmgr.browser.agreement import (
    CRITICAL_ALTHOUGH_OPEN,
    DIFFERENT,
    GAPS,
    OPEN_ALTHOUGH_ERROR,
    Court,
    Result,
    compare,
    court,
)
from tests.certmgr.browser.catalogue import ORDINARY, SITUATIONS, batches, few, kind
from tests.certmgr.browser.situations import Situation
from tests.once import once_per_run

pytestmark = pytest.mark.real_clock(reason="Chromium spins under libfaketime")

Judge = Callable[[Situation], Result]
CHOSEN = SITUATIONS if SOAK else few({*GAPS, *DIFFERENT})


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """Chromium and certmgr, once per worker."""
    with court(CHOSEN, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="session")
def judge(both: Court, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """A function that judges a situation, together with the others of its batch.

    A batch is judged once per run: workers that share it would repeat all of it.
    """
    batch_of = {s.id: batch for batch in batches(CHOSEN) for s in batch}
    results: dict[str, Result] = {}

    def judge_one(situation: Situation) -> Result:
        if situation.id not in results:
            batch = batch_of[situation.id]
            name = "verdicts-" + batch[0].id.replace("/", "-")
            judged = once_per_run(
                tmp_path_factory, name, lambda: [(r.shown, r.found) for r in both.judge(batch)]
            )
            results.update({s.id: compare(s, *seen) for s, seen in zip(batch, judged, strict=True)})
        return results[situation.id]

    return judge_one


@pytest.mark.campaign
@pytest.mark.parametrize("situation", [pytest.param(s, id=s.id) for s in CHOSEN])
def test_critical_means_an_error_page_with_the_code_that_diagnose_names(
    situation: Situation, judge: Judge
) -> None:
    result = judge(situation)
    assert bool(result.disagreements) == (situation.id in GAPS), f"{result.shown}; {result.found}"


def test_each_kind_gap_and_difference_is_among_at_least_150_situations() -> None:
    assert len(CHOSEN) >= 150
    assert {kind(s) for s in CHOSEN} == {kind(s) for s in ORDINARY + CHOSEN}
    assert set(GAPS) | set(DIFFERENT) <= {s.id for s in CHOSEN}


def test_situations_have_unique_names() -> None:
    assert len({s.id for s in SITUATIONS}) == len(SITUATIONS)


def test_at_most_five_differences_are_intended() -> None:
    assert len(CRITICAL_ALTHOUGH_OPEN) + len(OPEN_ALTHOUGH_ERROR) + len(DIFFERENT) <= 5
    assert set(DIFFERENT) | set(GAPS) <= {s.id for s in SITUATIONS}
