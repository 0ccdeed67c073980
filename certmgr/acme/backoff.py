"""Waiting times after failures.

Pure. ``jitter`` is a random number from 0 to 1: it spreads the retries of many machines.
"""

from __future__ import annotations

HOUR = 3600.0
MAX_BACKOFF = 32 * HOUR
# Let's Encrypt's integration guide: after 1, 10, 100 minutes, then daily.
RETRIES = (60.0, 600.0, 6000.0, 86_400.0)


def back_off(failures: int, jitter: float, retry_after: float | None = None) -> float:
    """Return the waiting time after a rate limit, a paused account or a failure of the CA.

    The time is one hour, doubled per failure up to 32 hours, plus up to 10 % of jitter.

    Args:
        failures: The number of consecutive refusals, from 1.
        jitter: A random number from 0 to 1.
        retry_after: Seconds that the CA asked for. The result is never shorter.

    Returns:
        Seconds.
    """
    # The exponent is bounded as well: a counter of years must not overflow.
    wait = min(HOUR * 2 ** min(max(failures, 1) - 1, 10), MAX_BACKOFF)
    return float(max(wait, retry_after or 0.0) * (1.0 + 0.1 * jitter))


def retry(failures: int, jitter: float) -> float:
    """Return the waiting time in seconds after the given number of other failures, from 1."""
    return float(RETRIES[min(max(failures, 1), len(RETRIES)) - 1] * (1.0 + 0.1 * jitter))
