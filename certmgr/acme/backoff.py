"""How long something that failed is left alone.

Pure; ``draw`` is a number from 0 to 1, so that many machines do not come back together.
"""

from __future__ import annotations

HOUR = 3600.0
LONGEST = 32 * HOUR
# Let's Encrypt's integration guide: after 1, 10, 100 minutes, then daily.
RETRIES = (60.0, 600.0, 6000.0, 86_400.0)


def back_off(failures: int, draw: float, retry_after: float | None = None) -> float:
    """Seconds after the ``failures``-th refusal in a row (1, 2, ...) by a limit, a paused account
    or a CA in trouble: 1 h, doubled up to 32 h, and up to a tenth more. Never less than the CA
    asked for.
    """
    wait = min(HOUR * 2 ** min(max(failures, 1) - 1, 10), LONGEST)
    return float(max(wait, retry_after or 0.0) * (1.0 + 0.1 * draw))


def retry(failures: int, draw: float) -> float:
    """Seconds after the ``failures``-th failure of another kind."""
    return float(RETRIES[min(max(failures, 1), len(RETRIES)) - 1] * (1.0 + 0.1 * draw))
