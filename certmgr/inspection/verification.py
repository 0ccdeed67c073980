"""Is the expected certificate served everywhere? Pure.

Live means: at every address of every name, and at every listed backend, for every key type that
answers, an expected certificate, and each expected key type at least once where the server was
asked for it. A look that failed is neither live nor missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from inventory.names import display


@dataclass(frozen=True, slots=True)
class Observation:
    """What one address (``backend``: of which server, empty for an address of the DNS) showed when
    it was asked for a certificate of ``key_type``.

    ``sha256`` None: none of that kind is offered, or the look failed, then with ``error``.
    ``kind``: how the handshake failed, a word of scan/evidence.py; ``dns`` where there was no
    address to ask. ``der``: the leaf that was shown, of whichever kind.
    """

    host: str
    port: int
    address: str
    key_type: str
    sha256: str | None
    error: str = ""
    backend: str = ""
    hung: bool = False  # the server hung up, as some do that have no certificate of that kind
    kind: str = ""
    der: bytes = field(default=b"", repr=False, compare=False)

    @property
    def place(self) -> str:
        where = f"backend {self.address} of {self.backend}" if self.backend else self.address
        return f"{display(self.host)}:{self.port} at {where}"


class VerificationState(StrEnum):
    LIVE = "live"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verification:
    """``missing``: places that show another certificate, or none of a kind that was installed;
    ``old``: those of them that show the one that was to be replaced; ``unknown``: places that did
    not answer.
    """

    state: VerificationState
    seen: tuple[str, ...]
    missing: tuple[str, ...]
    old: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def sentence(self) -> str:
        match self.state:
            case VerificationState.LIVE:
                return f"seen live at {len(self.seen)} place(s): {'; '.join(self.seen[:12])}"
            case VerificationState.PARTIAL:
                return f"seen at {len(self.seen)} place(s), not at: {'; '.join(self.missing[:12])}"
            case VerificationState.ABSENT:
                return f"seen nowhere; another certificate at: {'; '.join(self.missing[:12])}"
            case _ if not self.unknown:
                return (
                    "no place was looked at: no endpoint of the inventory is covered by its names"
                    " (certmgr endpoint add)"
                )
            case _:
                return f"it could not be told: {'; '.join(self.unknown[:12])}"


def verify(
    expected: Mapping[str, str], sights: Sequence[Observation], replaced: Sequence[str] = ()
) -> Verification:
    """``expected``: key type (EC, RSA) -> SHA-256 of the leaf.

    ``replaced``: those of the old ones.
    """
    hashes = set(expected.values())
    places: dict[tuple[str, int, str, str], list[Observation]] = {}
    for sight in sights:
        places.setdefault((sight.host, sight.port, sight.address, sight.backend), []).append(sight)
    seen: list[str] = []
    missing: list[str] = []
    old: list[str] = []
    unknown: list[str] = []
    for group in places.values():
        where = group[0].place
        wrong = [s for s in group if s.sha256 is not None and s.sha256 not in hashes]
        lacking = [k for k, h in expected.items() if not any(s.sha256 == h for s in group)]
        if wrong:
            missing.append(where)
            if any(s.sha256 in replaced for s in wrong):
                old.append(where)
        elif failed := [s for s in group if s.error and (s.key_type in lacking or not s.hung)]:
            unknown.append(f"{where}: {failed[0].error}")
        elif lacking:
            missing.append(f"{where}, no {', '.join(lacking)} certificate")
        else:
            seen.append(where)
    if missing:
        state = VerificationState.PARTIAL if seen else VerificationState.ABSENT
    else:
        state = VerificationState.UNKNOWN if unknown or not seen else VerificationState.LIVE
    return Verification(state, tuple(seen), tuple(missing), tuple(old), tuple(unknown))
