"""What a run did, in numbers and in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from notifiers.delivery import DeliveryCounts
    from notifiers.pipeline.record import RunOutcome


def summary(outcome: RunOutcome | None, counts: DeliveryCounts | None) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if outcome is not None:
        made |= {
            "queued": outcome.queued,
            "clients": outcome.clients,
            "held": outcome.held,
            "unconfirmed": outcome.unconfirmed,
            "decisions": outcome.decisions,
        }
    if counts is not None:
        made |= {
            "sent": counts.sent,
            "unknown": counts.unknown,
            "later": counts.later,
            "failed": counts.failed,
            "expired": counts.expired,
        }
    return made


def problems_of(outcome: RunOutcome | None, counts: DeliveryCounts | None) -> list[str]:
    """What was not done. A retry that is pending is none."""
    said = []
    if outcome is not None:
        if outcome.staffless:
            said.append(
                "there is something for staff, and nobody of them can be written to: certmgr"
                " contact add NAME --role administrator --way email:ADDRESS"
            )
        if outcome.hold:
            said.append(f"client messages are held: {outcome.hold}")
        if outcome.unconfirmed:
            said.append(
                f"{outcome.unconfirmed} clients are due at once, and nothing was sent to them:"
                f" certmgr notify --clients {outcome.unconfirmed}"
            )
    if counts is not None:
        if counts.unknown:
            said.append(
                f"{counts.unknown} notice(s) may or may not have arrived: certmgr notice list"
                " --state unknown"
            )
        if counts.failed:
            said.append(
                f"{counts.failed} notice(s) were refused: certmgr notice list --state failed"
                " --state dead"
            )
        if counts.expired:
            said.append(
                f"{counts.expired} notice(s) were not sent in time, or have nobody to go to:"
                " certmgr notice list --state dead"
            )
        said += [
            f"the channel {name} was left alone: {why}" for name, why in counts.skipped.items()
        ]
    return said
