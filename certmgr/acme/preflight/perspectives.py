"""What a CA decides that validates from several network perspectives. Pure.

Since 2025, a CA repeats the validation of control and the CAA check from remote perspectives (BR
3.2.2.9). A site that one of the provider's zones reaches may therefore be refused. Each zone stands
for a perspective, and the first one for the primary perspective of the CA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from certmgr.acme.preflight.preflight import Advice, Category, PreflightFacts

# From this day on, a CA uses at least so many remote perspectives (BR 3.2.2.9).
_REMOTE = (
    (date(2025, 3, 15), 2),
    (date(2026, 3, 15), 3),
    (date(2026, 6, 15), 4),
    (date(2026, 12, 15), 5),
)
_MAX_NAMED = 4
_ANSWERED = ("ok", "nxdomain", "nodata")
_BOGUS = (
    "a resolver that validates DNSSEC answers so if signatures are wrong: compare the DS record at"
    " the registrar with the keys of the zone"
)


def required_remote(on: date) -> int:
    """Return the least number of remote perspectives that a CA uses on a day."""
    return max((count for since, count in _REMOTE if since <= on), default=0)


def allowed_failures(remote: int) -> int:
    """Return how many remote perspectives may disagree (BR 3.2.2.9, Quorum Requirements)."""
    if remote < 2:
        return 0
    return 1 if remote <= 5 else 2


@dataclass(frozen=True, slots=True)
class Perspective:
    """What one zone saw of a name.

    Attributes:
        zone: The zone.
        passes: Whether a CA would accept the name from there; None if it is undetermined.
        reason: Why not.
        record: The record to add or change; empty if none helps.
    """

    zone: str
    passes: bool | None
    reason: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a CA with several perspectives decides about a name.

    Attributes:
        passes: Whether it accepts the name; None if the zones do not determine it.
        failing: The perspectives that do not accept it.
        remote: The number of remote perspectives.
        required: The number that a CA uses at least.
    """

    passes: bool | None
    failing: tuple[Perspective, ...]
    remote: int
    required: int


def perspective_of(
    zone: str, facts: PreflightFacts, advice: Advice, first: PreflightFacts
) -> Perspective:
    """Return whether a CA would accept a name from a zone.

    Args:
        zone: The zone.
        facts: What the zone saw.
        advice: The advice from these facts.
        first: What the first zone saw, whose addresses are the right ones.
    """
    passes = _passes(facts, advice)
    if passes is not False:
        return Perspective(zone, passes, "" if passes else advice.reason)
    record, reason = advice.record, advice.reason
    if facts.dns == "servfail" and first.dns == "ok":
        reason = f"{reason}; {_BOGUS}"
    # The name servers of one place have an old or another record. A resolver that fails has none.
    elif not record and facts.dns in _ANSWERED and set(facts.addresses) != set(first.addresses):
        record = "; ".join(
            f"{facts.name}. IN {'AAAA' if ':' in a else 'A'} {a}"
            for a in first.addresses[:_MAX_NAMED]
        )
    return Perspective(zone, False, reason, record)


def _passes(facts: PreflightFacts, advice: Advice) -> bool | None:
    # A CA must not issue without a permission that it could read (RFC 8659 3).
    if facts.caa.allowed is False or facts.caa_failed:
        return False
    if facts.challenge != "http-01" or facts.name.startswith("*."):
        return True if advice.category is Category.AUTOMATE else None
    # A resolver that validates DNSSEC reports a bogus answer as SERVFAIL.
    if facts.dns not in ("ok", "fixed"):
        return False
    # Public CAs prefer IPv6, and use IPv4 only if it cannot be connected to.
    for probe in sorted(facts.probes, key=lambda p: ":" not in p.address):
        if probe.state != "failed":
            return probe.state == "ok"
    return False if facts.probes else None


def predict(perspectives: Sequence[Perspective], on: date) -> Prediction:
    """Return what a CA decides about a name that these perspectives saw.

    Args:
        perspectives: One per zone, the primary one first.
        on: The day of the order.
    """
    primary, *remote = perspectives
    required, failing = required_remote(on), [p for p in perspectives if p.passes is False]
    # Undetermined perspectives may turn out either way.
    decisions = {
        _decide(
            primary.passes is True or (lucky and primary.passes is None),
            sum(p.passes is False or (not lucky and p.passes is None) for p in remote),
            len(remote),
        )
        for lucky in (True, False)
    }
    passes = decisions.pop() if len(decisions) == 1 else None
    # A CA sees the name from more places than we do, and which of them fail is unknown.
    if len(remote) < required and failing:
        passes = None
    return Prediction(passes, tuple(failing), len(remote), required)


def _decide(primary: bool, failures: int, remote: int) -> bool:
    return primary and failures <= allowed_failures(remote)


def with_prediction(advice: Advice, prediction: Prediction) -> Advice:
    """Return the advice of the first zone, with what the other zones add to it."""
    failing = [p for p in prediction.failing if p.reason]
    if not failing:
        return advice
    text = "; ".join(f"not from {p.zone}: {p.reason}" for p in failing[:_MAX_NAMED])
    # What prevents it at the first zone prevents it everywhere, and comes first.
    if advice.category is not Category.AUTOMATE:
        return advice
    record = next((p.record for p in failing if p.record), "")
    limit = allowed_failures(max(prediction.remote, prediction.required))
    if prediction.passes:
        note = f"{text}; a CA accepts up to {limit} of its perspectives without it"
        return replace(advice, notes=(*advice.notes, note))
    if prediction.passes is None:
        reason = (
            f"a CA validates from at least {prediction.required} remote perspectives, and may"
            f" refuse it: {text}"
        )
        return replace(advice, category=Category.UNKNOWN, reason=reason, record=record)
    reason = f"a CA would refuse it, since more than {limit} of its perspectives fail: {text}"
    category = Category.RECORD if record else Category.NOT_NOW
    return replace(advice, category=category, reason=reason, record=record)
