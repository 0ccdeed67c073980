"""The decision whether a deployment is rolled back. All functions are pure.

Only an observed regression counts, only at an endpoint that served the old certificate before, and
never a probe that failed. A rollback happens once; afterwards an administrator decides. A version
that is expired, revoked or compromised never comes back, since that would be a second regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certmgr.inspection.verification import Observation
from inventory.certificates import Certificate, parse
from inventory.names import as_ip, matches

# Kinds of failure (scan/evidence.py) in which the server was reached and behaved in a way that no
# browser accepts. All other kinds may be faults of the network or of the prober.
_REGRESSION_REASONS = {
    "refused": "the connection is refused",
    "alert": "the handshake fails with an alert",
    "tls": "the handshake breaks",
    "not-tls": "it does not speak TLS",
    "malformed": "the certificate cannot be parsed",
    "": "no certificate is offered",
}
# With a certificate, these kinds mean that the signature was not made with its key. An alert is not
# included: the server may request a client certificate.
_KEY_MISMATCH_KINDS = frozenset({"tls", "malformed"})


class SwitchState(StrEnum):
    """The state of one endpoint after the switch."""

    LIVE = "live"
    NOT_YET = "not-live-yet"  # it presents the old certificate
    REGRESSION = "harmed"
    CDN = "cdn"  # it presents a valid certificate of another party, and never presented ours
    OTHER = "other"  # it presented ours before, and now a valid one that is neither old nor new
    UNKNOWN = "unknown"


class RollbackAction(StrEnum):
    """What follows from the observations."""

    KEEP = "keep"
    ROLL_BACK = "roll-back"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class OldVersion:
    """The version that a rollback would restore.

    Attributes:
        sha256: The fingerprint of its leaf.
        not_after: The end of its leaf.
        revoked: None if undetermined, which does not prevent a rollback.
        compromised: Whether its key is known or suspected to be compromised.
    """

    sha256: str
    not_after: datetime | None
    revoked: bool | None = None
    compromised: bool = False


@dataclass(frozen=True, slots=True)
class SwitchObservation:
    """The state of one endpoint.

    Attributes:
        location: The endpoint and address, as text.
        state: The state after the switch.
        reason: The cause of a regression or an unknown state.
        served_before: Whether the old version was served there before.
    """

    location: str
    state: SwitchState
    reason: str = ""
    served_before: bool = False


@dataclass(frozen=True, slots=True)
class RollbackDecision:
    """The decision about a rollback.

    Attributes:
        action: The action.
        reason: The reason, as text.
        observations: The states of all endpoints.
    """

    action: RollbackAction
    reason: str
    observations: tuple[SwitchObservation, ...] = ()

    @property
    def cdn(self) -> tuple[str, ...]:
        """Endpoints that never present our certificate, so that no verification is awaited."""
        return tuple(p.location for p in self.observations if p.state is SwitchState.CDN)


def decide(
    before: Sequence[Observation],
    after: Sequence[Observation],
    served_before: bool,
    old: OldVersion | None,
    rolled_back_already: bool,
    now: datetime,
    *,
    new_sha256: str,
) -> RollbackDecision:
    """Decide whether to keep the new version, to roll it back, or to notify the staff.

    Args:
        before: Observations of the endpoints before the switch.
        after: Observations of the same endpoints now.
        served_before: Whether the old version was verified live. It applies to endpoints that
            ``before`` does not contain.
        old: The old version; None if there is none. Then a regression is left to the staff.
        rolled_back_already: Whether this certificate was rolled back before.
        now: The current time.
        new_sha256: The fingerprint of the new leaf.
    """
    states = switch_states(
        before, after, served_before, old.sha256 if old is not None else "", new_sha256, now
    )
    regressions = [s for s in states if s.state is SwitchState.REGRESSION]
    # A certificate that is not seen yet is no regression: the server may still be reading.
    if not regressions:
        return RollbackDecision(RollbackAction.KEEP, _summary(states), states)
    # A lineage may have many endpoints, so that the message names only some of them.
    what = "; ".join(f"{s.location}: {s.reason}" for s in regressions[:6])
    obstacle = _obstacle(old, rolled_back_already, now)
    # Another certificate was served there, which the old version would not restore.
    if obstacle is None and not any(s.served_before for s in regressions):
        obstacle = "The previous version was not served there, so that a rollback would not help"
    if obstacle is not None:
        return RollbackDecision(RollbackAction.STAFF, f"{what}. {obstacle}", states)
    return RollbackDecision(RollbackAction.ROLL_BACK, what, states)


def _obstacle(old: OldVersion | None, rolled_back_already: bool, now: datetime) -> str | None:
    """Return why a rollback is not possible, or None if it is."""
    # Otherwise deployment and rollback of the same certificate would alternate.
    if rolled_back_already:
        return "It was rolled back once already"
    if old is None:
        return "There is no previous version"
    if old.compromised:
        return "The key of the previous version is compromised"
    # Only a known revocation: one that could not be checked is no reason to keep a fault.
    if old.revoked:
        return "The previous version is revoked"
    if old.not_after is None or old.not_after <= now:
        return "The previous version is expired"
    return None


def _summary(states: Sequence[SwitchObservation]) -> str:
    """Return the number of endpoints per state, as text."""
    counts = {state: sum(s.state is state for s in states) for state in SwitchState}
    return (
        ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
        or "no endpoint was probed"
    )


def switch_states(
    before: Sequence[Observation],
    after: Sequence[Observation],
    served_before: bool,
    old: str,
    new: str,
    now: datetime,
) -> tuple[SwitchObservation, ...]:
    """Return the state of each endpoint of ``after``, in its order.

    Args:
        before: Observations before the switch.
        after: Observations now.
        served_before: Whether the old version was served, for endpoints that ``before`` lacks.
        old: The fingerprint of the old leaf; empty if there is none.
        new: The fingerprint of the new leaf.
        now: The current time.
    """
    earlier, groups = _grouped(before), _grouped(after)
    return tuple(
        _switch_state(
            group,
            any(o.sha256 == old for o in earlier[key]) if key in earlier else served_before,
            old,
            new,
            now,
        )
        for key, group in groups.items()
    )


def _grouped(
    observations: Sequence[Observation],
) -> Mapping[tuple[str, int, str, str], list[Observation]]:
    """Group observations by endpoint, address and backend: there is one per key type."""
    groups: dict[tuple[str, int, str, str], list[Observation]] = {}
    for observation in observations:
        key = (observation.host, observation.port, observation.address, observation.backend)
        groups.setdefault(key, []).append(observation)
    return groups


def _switch_state(
    group: Sequence[Observation], served_before: bool, old: str, new: str, now: datetime
) -> SwitchObservation:
    """Return the state of one endpoint from its observations of all key types."""
    location, host = group[0].location, group[0].host
    presented = {o.sha256: o for o in group if o.sha256 is not None}
    if new in presented:
        fault = _certificate_fault(presented[new], host, now)
        return SwitchObservation(
            location, SwitchState.REGRESSION if fault else SwitchState.LIVE, fault, served_before
        )
    # The server may not have reloaded yet, which does no harm.
    if old and old in presented:
        return SwitchObservation(location, SwitchState.NOT_YET, served_before=served_before)
    faults = [_certificate_fault(o, host, now) for o in presented.values()]
    # A valid certificate of one key type is enough for visitors.
    if presented and not all(faults):
        state = SwitchState.OTHER if served_before else SwitchState.CDN
        return SwitchObservation(location, state, served_before=served_before)
    failed = [o for o in group if o.sha256 is None]
    # One undetermined probe could have found a valid certificate.
    if not presented and any(
        o.kind not in _REGRESSION_REASONS or (not o.kind and o.error) for o in failed
    ):
        return SwitchObservation(
            location,
            SwitchState.UNKNOWN,
            next((o.error for o in failed if o.error), ""),
            served_before,
        )
    # It was broken or served by another party before, so that the switch did not cause this.
    if not served_before:
        return SwitchObservation(location, SwitchState.UNKNOWN, "it never presented ours")
    return SwitchObservation(
        location,
        SwitchState.REGRESSION,
        next(f for f in faults if f) if presented else _REGRESSION_REASONS[failed[0].kind],
        True,
    )


def _certificate_fault(observation: Observation, host: str, now: datetime) -> str:
    """Return why a browser would reject the presented certificate; empty if it would not.

    An undetermined property is no fault.
    """
    if observation.kind in _KEY_MISMATCH_KINDS:
        return (
            f"{_REGRESSION_REASONS[observation.kind]}: the key does not belong to the certificate"
        )
    if not observation.der:
        return ""
    leaf = parse(observation.der)
    if leaf.parsed is None or leaf.problems:
        return "the certificate cannot be parsed" if leaf.parsed is None else ""
    if leaf.not_after is not None and leaf.not_after <= now:
        return f"the presented certificate expired on {leaf.not_after:%Y-%m-%d}"
    if leaf.not_before is not None and leaf.not_before > now:
        return f"the presented certificate is valid from {leaf.not_before:%Y-%m-%d}"
    if not _covers(leaf, host):
        return "the presented certificate does not cover the name"
    return ""


def _covers(leaf: Certificate, host: str) -> bool:
    """Return whether a leaf covers a host name or an IP address."""
    address = as_ip(host)
    if address is not None:
        return str(address) in leaf.ip_names
    return any(matches(n, host) for n in leaf.dns_names)
