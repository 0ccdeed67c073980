"""Whether the version before has to come back.

Pure.

Only harm that is seen counts, only where our certificate was served before, and never a look that
failed. It goes back once; then people decide. To what is expired, revoked or compromised it never
goes back: that would be a second harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certmgr.inspection.verification import Observation
from inventory.certificates import Certificate, parse
from inventory.names import as_ip, matches

# Kinds of failure (scan/evidence.py) that tell something of the server: it was reached, and what it
# did no browser takes.
_HARM = {
    "refused": "the connection is refused",
    "alert": "the handshake fails with an alert",
    "tls": "the handshake breaks",
    "not-tls": "it does not speak TLS",
    "malformed": "the certificate cannot be read",
    "": "no certificate is offered",
}
# Beside a certificate: what it is signed with is not its key. (An alert there asks for a client's
# certificate.)
_BROKEN = frozenset({"tls", "malformed"})


class SwitchState(StrEnum):
    """Of one place, after the switch."""

    LIVE = "live"
    NOT_YET = "not-live-yet"  # it shows the old one
    HARMED = "harmed"
    CDN = "cdn"  # it shows a good certificate of somebody else's, and never showed ours
    OTHER = "other"  # it showed ours, and shows a good one that is neither the old nor the new
    UNKNOWN = "unknown"


class RollbackAction(StrEnum):
    KEEP = "keep"
    ROLL_BACK = "roll-back"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class OldVersion:
    """What would come back.

    ``revoked`` None: could not be told, which does not stand against it. ``compromised``: known or
    suspected.
    """

    sha256: str
    not_after: datetime | None
    revoked: bool | None = None
    compromised: bool = False


@dataclass(frozen=True, slots=True)
class SwitchObservation:
    """``ours``: the old version was served there before."""

    where: str
    standing: SwitchState
    why: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class RollbackDecision:
    act: RollbackAction
    reason: str
    places: tuple[SwitchObservation, ...] = ()

    @property
    def cdn(self) -> tuple[str, ...]:
        """Places where ours is never seen: no proof is to be waited for there."""
        return tuple(p.where for p in self.places if p.standing is SwitchState.CDN)


def decide(
    before: Sequence[Observation],
    after: Sequence[Observation],
    ours_before: bool,
    old: OldVersion | None,
    rolled_back_already: bool,
    now: datetime,
    *,
    new_sha256: str,
) -> RollbackDecision:
    """``before``, ``after``: looks at the same places before the switch and now.

    ``ours_before``: whether the old version was proved live, for places that ``before`` does not
    have. ``old`` None: there is no version before: then harm is for people.
    """
    places = switch_states(
        before, after, ours_before, old.sha256 if old is not None else "", new_sha256, now
    )
    harmed = [p for p in places if p.standing is SwitchState.HARMED]
    if not harmed:
        return RollbackDecision(RollbackAction.KEEP, _calm(places), places)
    what = "; ".join(f"{p.where}: {p.why}" for p in harmed[:6])
    against = _against(old, rolled_back_already, now)
    if against is None and not any(p.ours for p in harmed):
        against = "The version before was not served there, so that it is no way back"
    if against is not None:
        return RollbackDecision(RollbackAction.STAFF, f"{what}. {against}", places)
    return RollbackDecision(RollbackAction.ROLL_BACK, what, places)


def _against(old: OldVersion | None, rolled_back_already: bool, now: datetime) -> str | None:
    """Why it does not go back."""
    if rolled_back_already:
        return "It was rolled back once already"
    if old is None:
        return "There is no version before"
    if old.compromised:
        return "The key of the version before is compromised"
    if old.revoked:
        return "The version before is revoked"
    if old.not_after is None or old.not_after <= now:
        return "The version before is expired"
    return None


def _calm(places: Sequence[SwitchObservation]) -> str:
    count = {s: sum(p.standing is s for p in places) for s in SwitchState}
    return ", ".join(f"{n} {s.value}" for s, n in count.items() if n) or "no place was looked at"


def switch_states(
    before: Sequence[Observation],
    after: Sequence[Observation],
    ours_before: bool,
    old: str,
    new: str,
    now: datetime,
) -> tuple[SwitchObservation, ...]:
    """Each place of ``after``, in its order."""
    had, groups = _grouped(before), _grouped(after)
    return tuple(
        _stand(
            group,
            any(s.sha256 == old for s in had[key]) if key in had else ours_before,
            old,
            new,
            now,
        )
        for key, group in groups.items()
    )


def _grouped(
    sights: Sequence[Observation],
) -> Mapping[tuple[str, int, str, str], list[Observation]]:
    found: dict[tuple[str, int, str, str], list[Observation]] = {}
    for sight in sights:
        found.setdefault((sight.host, sight.port, sight.address, sight.backend), []).append(sight)
    return found


def _stand(
    group: Sequence[Observation], ours: bool, old: str, new: str, now: datetime
) -> SwitchObservation:
    where, host = group[0].place, group[0].host
    shown = {s.sha256: s for s in group if s.sha256 is not None}
    if new in shown:
        wrong = _unfit(shown[new], host, now)
        return SwitchObservation(
            where, SwitchState.HARMED if wrong else SwitchState.LIVE, wrong, ours
        )
    if old and old in shown:
        return SwitchObservation(where, SwitchState.NOT_YET, ours=ours)
    faults = [_unfit(s, host, now) for s in shown.values()]
    if shown and not all(faults):
        return SwitchObservation(where, SwitchState.OTHER if ours else SwitchState.CDN, ours=ours)
    silent = [s for s in group if s.sha256 is None]
    if not shown and any(s.kind not in _HARM or (not s.kind and s.error) for s in silent):
        return SwitchObservation(
            where, SwitchState.UNKNOWN, next((s.error for s in silent if s.error), ""), ours
        )
    if not ours:
        return SwitchObservation(where, SwitchState.UNKNOWN, "it never showed ours")
    return SwitchObservation(
        where,
        SwitchState.HARMED,
        next(f for f in faults if f) if shown else _HARM[silent[0].kind],
        True,
    )


def _unfit(sight: Observation, host: str, now: datetime) -> str:
    """Why a browser would not take what was shown; empty where it would.

    What cannot be told does not count.
    """
    if sight.kind in _BROKEN:
        return f"{_HARM[sight.kind]}: the key does not belong to the certificate"
    if not sight.der:
        return ""
    leaf = parse(sight.der)
    if leaf.parsed is None or leaf.problems:
        return "the certificate cannot be read" if leaf.parsed is None else ""
    if leaf.not_after is not None and leaf.not_after <= now:
        return f"the certificate that it shows expired on {leaf.not_after:%Y-%m-%d}"
    if leaf.not_before is not None and leaf.not_before > now:
        return f"the certificate that it shows begins on {leaf.not_before:%Y-%m-%d}"
    if not _covers(leaf, host):
        return "the certificate that it shows does not cover the name"
    return ""


def _covers(leaf: Certificate, host: str) -> bool:
    address = as_ip(host)
    if address is not None:
        return str(address) in leaf.ip_names
    return any(matches(n, host) for n in leaf.dns_names)
