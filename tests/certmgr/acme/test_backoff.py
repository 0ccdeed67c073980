"""Waiting times after failures."""

from __future__ import annotations

import pytest

from certmgr.acme import backoff


def test_limit_backs_off_from_one_hour_to_thirty_two() -> None:
    hours = [backoff.back_off(n, 0.0) / 3600 for n in range(1, 9)]
    assert hours == [1, 2, 4, 8, 16, 32, 32, 32]
    assert backoff.back_off(1, 1.0) == pytest.approx(3600 * 1.1)
    assert backoff.back_off(1, 0.0, retry_after=50_000) == 50_000


def test_other_failures_are_retried_after_1_10_100_minutes_then_daily() -> None:
    assert [backoff.retry(n, 0.0) for n in range(1, 6)] == [60, 600, 6000, 86_400, 86_400]
