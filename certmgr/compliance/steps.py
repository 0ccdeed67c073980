"""The steps that lead to a deadline: the date by which each must be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.checks.actors import actor_of
from certmgr.compliance.milestones import Deadline
from inventory.dates import shifted
from inventory.vocabulary import Parties


@dataclass(frozen=True, slots=True)
class ComplianceStep:
    """One step towards compliance.

    Attributes:
        name: decide, buy, validate, install or configure.
        by: When it must be done at the latest.
        actor: client, provider or staff.
        late: Whether its date has passed.
    """

    name: str
    by: datetime
    actor: str
    late: bool


def backward_schedule(
    end: datetime,
    deadline: Deadline | None,
    now: datetime,
    parties: Parties | None,
    *,
    needs_certificate: bool,
    elsewhere: bool = False,
) -> tuple[ComplianceStep, ...]:
    """Return the steps that lead to compliance at ``end``, in their order.

    The party that buys certificates decides and buys. The party that renews them validates. The
    party that hosts the site installs and configures.

    Args:
        end: When the domain must comply.
        deadline: Gives the lead times; None: the default ones.
        now: The current time.
        parties: Who is responsible for what.
        needs_certificate: Whether a new certificate is needed. If not, one step is enough.
        elsewhere: Whether the name points to a foreign server.
    """
    leads = deadline or Deadline("", end, "")
    # The actor of a step is that of a finding which the same party would fix.
    host = actor_of(
        "redirect-missing", "medium", parties, elsewhere=elsewhere, ever_had_certificate=True
    )
    # A redirect or mixed content needs only a change of the server.
    if not needs_certificate:
        by = shifted(end, -timedelta(days=leads.installation_days))
        return (_step("configure", by, host, now),)
    buyer = actor_of(
        "https-missing", "high", parties, elsewhere=elsewhere, ever_had_certificate=False
    )
    holder = actor_of(
        "certificate-expired", "critical", parties, elsewhere=elsewhere, ever_had_certificate=True
    )
    # Each step must leave enough time for those after it.
    # The last day for the installation is the deadline itself; the days before it are for the
    # others.
    installed = end
    validated = shifted(installed, -timedelta(days=leads.installation_days))
    bought = shifted(validated, -timedelta(days=leads.validation_days))
    decided = shifted(bought, -timedelta(days=leads.purchase_days))
    dated_steps = (
        ("decide", decided, buyer),
        ("buy", bought, buyer),
        ("validate", validated, holder),
        ("install", installed, host),
    )
    return tuple(_step(name, by, actor, now) for name, by, actor in dated_steps)


def _step(name: str, by: datetime, actor: str, now: datetime) -> ComplianceStep:
    return ComplianceStep(name, by, str(actor), by < now)
