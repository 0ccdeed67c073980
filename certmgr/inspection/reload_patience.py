"""Wait for a server that is reloading before its certificate is judged.

A server goes on with the old certificate, or refuses connections, for some time after a reload. A
check at that moment would report an installation that succeeded as missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from certmgr.inspection.verification import Verification
from inventory.vocabulary import VerificationState

# Seconds between two checks. Most servers show the new certificate shortly after their reload.
CHECK_INTERVALS = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0)


def _is_live(verification: Verification) -> bool:
    return verification.state is VerificationState.LIVE


def until_live(
    check: Callable[[], Verification],
    patience: float,
    wait: Callable[[float], None],
    settled: Callable[[Verification], bool] = _is_live,
) -> Verification:
    """Check repeatedly until the certificate is live everywhere or the time is over.

    Args:
        check: Probes all locations.
        patience: How long to wait in total, in seconds. 0: one check.
        wait: Waits for a number of seconds.
        settled: Whether a result stands, and no further check can change it.

    Returns:
        The last verification.
    """
    left, attempt = patience, 0
    while True:
        started = time.monotonic()
        verification = check()
        # The probes count against the limit, too: a slow network must not multiply it.
        left -= time.monotonic() - started
        if settled(verification) or left <= 0:
            return verification
        pause = min(CHECK_INTERVALS[min(attempt, len(CHECK_INTERVALS) - 1)], left)
        left, attempt = left - pause, attempt + 1
        wait(pause)
