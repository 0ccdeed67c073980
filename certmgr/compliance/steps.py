"""Backwards from a date: by when each step has to be done, and which are late. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.checks.actors import actor_of
from certmgr.compliance.milestones import Deadline
from inventory.vocabulary import Parties


@dataclass(frozen=True, slots=True)
class ComplianceStep:
    """``name``: decide, buy, validate, install or configure.

    ``by``: its last moment. ``actor``: client, provider or staff.
    """

    name: str
    by: datetime
    actor: str
    late: bool


def backwards(
    end: datetime,
    deadline: Deadline | None,
    now: datetime,
    parties: Parties | None,
    *,
    needs_certificate: bool,
    elsewhere: bool = False,
) -> tuple[ComplianceStep, ...]:
    """The steps that lead to compliance at ``end``, in their order.

    Lead times of the deadline, else the usual ones.

    Decide and buy are whoever buys certificates; validate is whoever holds them; install and
    configure are the host.
    """
    leads = deadline or Deadline("", end, "")
    host = actor_of(
        "redirect-missing", "medium", parties, elsewhere=elsewhere, ever_had_certificate=True
    )
    if not needs_certificate:
        by = end - timedelta(days=leads.installation_days)
        return (_step("configure", by, host, now),)
    buyer = actor_of(
        "https-missing", "high", parties, elsewhere=elsewhere, ever_had_certificate=False
    )
    holder = actor_of(
        "certificate-expired", "critical", parties, elsewhere=elsewhere, ever_had_certificate=True
    )
    installed = end
    validated = installed - timedelta(days=leads.installation_days)
    bought = validated - timedelta(days=leads.validation_days)
    decided = bought - timedelta(days=leads.purchase_days)
    named = (
        ("decide", decided, buyer),
        ("buy", bought, buyer),
        ("validate", validated, holder),
        ("install", installed, host),
    )
    return tuple(_step(name, by, actor, now) for name, by, actor in named)


def _step(name: str, by: datetime, actor: str, now: datetime) -> ComplianceStep:
    return ComplianceStep(name, by, str(actor), by < now)
