"""Counts and problems of a run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from notifiers.delivery import DeliveryCounts
    from notifiers.pipeline.run_outcome import RunOutcome


def summary(outcome: RunOutcome | None, counts: DeliveryCounts | None) -> dict[str, Any]:
    """Return the counts of a run by name."""
    result: dict[str, Any] = {}
    if outcome is not None:
        result |= {
            "queued": outcome.queued,
            "clients": outcome.clients,
            "held": outcome.held,
            "unconfirmed": outcome.unconfirmed,
            "decisions": outcome.decisions,
        }
    if counts is not None:
        result |= {
            "sent": counts.sent,
            "unknown": counts.unknown,
            "later": counts.later,
            "failed": counts.failed,
            "expired": counts.expired,
        }
    return result


def problems_of(outcome: RunOutcome | None, counts: DeliveryCounts | None) -> list[str]:
    """Return what was not done, one sentence per problem.

    A retry that is pending is not a problem.
    """
    problems = []
    if outcome is not None:
        # Faults and holds would stay unnoticed.
        if outcome.staffless:
            problems.append(
                "there are messages for staff, but no staff contact can be reached: add one with"
                " certmgr contact add NAME --role administrator --method email:ADDRESS"
            )
        # A hold is no failure of the program, but nothing was sent, which cron must report.
        if outcome.hold:
            problems.append(f"client messages are held: {outcome.hold}")
        if outcome.unconfirmed:
            problems.append(
                f"{outcome.unconfirmed} clients are due at once, and nothing was sent to them: to"
                f" send, run certmgr notify --clients {outcome.unconfirmed}"
            )
        # Staff released these announcements, and rely on them until they read that none went out.
        problems += outcome.unannounced
    if counts is not None:
        # A person has to decide, since another attempt might send a notice twice.
        if counts.unknown:
            problems.append(
                f"{counts.unknown} notice(s) may or may not have arrived: see certmgr notice list"
                " --state unknown"
            )
        if counts.failed:
            problems.append(
                f"{counts.failed} notice(s) were refused: see certmgr notice list --state failed"
                " --state dead"
            )
        if counts.expired:
            problems.append(
                f"{counts.expired} notice(s) were not sent in time, or have no recipient: see"
                " certmgr notice list --state dead"
            )
        problems += [
            f"the channel {name} was skipped: {why}" for name, why in counts.skipped.items()
        ]
    return problems
