"""A planned renewal as it stands in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certmgr.cli.output import instant, zone

if TYPE_CHECKING:
    from certmgr.renewers.plan import RenewalPlan


def plan_document(plan: RenewalPlan | None) -> dict[str, Any] | None:
    """Return a planned renewal as it stands in JSON; None if there is none."""
    if plan is None:
        return None
    return {
        "by": str(plan.by),
        "person": plan.person or None,
        "until": instant(plan.until),
        "reference": plan.reference or None,
        "begun": plan.begun,
        "text": plan.description(zone()),
    }
