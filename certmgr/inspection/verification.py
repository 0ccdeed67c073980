"""Whether the expected certificate is served at all locations. Pure.

An installation is live if each address of each name, and each listed backend, serves an expected
certificate for each key type that it offers. Each expected key type must be served at each
location. A failed probe counts neither as live nor as missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inventory.names import display
from inventory.vocabulary import VerificationState


@dataclass(frozen=True, slots=True)
class Observation:
    """What one address served when it was probed for a certificate of one key type.

    Attributes:
        host: The name that was sent as SNI.
        port: The TCP port.
        address: The IP address that was probed.
        key_type: The key type that was offered: EC or RSA.
        sha256: The leaf; None if no certificate of that type is served, or if the probe failed.
        error: The reason of a failed probe.
        backend: The server whose backend was probed; empty for an address from the DNS.
        hung: Whether the server closed the connection. Some servers without a certificate of that
            key type do so, instead of sending an alert.
        kind: How the handshake failed (a value of scan/evidence.py); ``dns`` if there was no
            address to probe.
        der: The leaf that was served, of any key type.
    """

    host: str
    port: int
    address: str
    key_type: str
    sha256: str | None
    error: str = ""
    backend: str = ""
    hung: bool = False
    kind: str = ""
    der: bytes = field(default=b"", repr=False, compare=False)

    @property
    def location(self) -> str:
        """The host, port and address as text."""
        where = f"backend {self.address} of {self.backend}" if self.backend else self.address
        return f"{display(self.host)}:{self.port} at {where}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification, with the locations as text.

    Attributes:
        state: The result.
        seen: Locations that serve the expected certificates.
        missing: Locations that serve another certificate, or lack one of an installed key type.
        old: Those of ``missing`` that serve the certificate that was to be replaced.
        unknown: Locations that did not answer, with the reason.
    """

    state: VerificationState
    seen: tuple[str, ...]
    missing: tuple[str, ...]
    old: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def probed(self) -> bool:
        """Whether there was a location to probe. Without one, nothing can be verified."""
        return bool(self.seen or self.missing or self.unknown)

    @property
    def sentence(self) -> str:
        """The result in words, with at most 12 locations."""
        match self.state:
            case VerificationState.LIVE:
                return f"verified live at {len(self.seen)} address(es): {'; '.join(self.seen[:12])}"
            case VerificationState.PARTIAL:
                return (
                    f"served at {len(self.seen)} address(es), but not at:"
                    f" {'; '.join(self.missing[:12])}"
                )
            case VerificationState.ABSENT:
                return (
                    "not served at any address; another certificate at:"
                    f" {'; '.join(self.missing[:12])}"
                )
            case _ if not self.unknown:
                return (
                    "nothing was probed: its names cover no endpoint of the inventory; add one"
                    " with certmgr endpoint add"
                )
            case _:
                return f"it could not be determined: {'; '.join(self.unknown[:12])}"


def verify(
    expected: Mapping[str, str], observations: Sequence[Observation], replaced: Sequence[str] = ()
) -> Verification:
    """Decide whether the expected certificates are served at each probed location.

    Args:
        expected: Key type (EC, RSA) -> SHA-256 of the leaf.
        observations: One observation per address and key type.
        replaced: SHA-256 of the leaves that are being replaced.
    """
    hashes = set(expected.values())
    by_location: dict[tuple[str, int, str, str], list[Observation]] = {}
    for observation in observations:
        by_location.setdefault(
            (observation.host, observation.port, observation.address, observation.backend), []
        ).append(observation)
    seen: list[str] = []
    missing: list[str] = []
    old: list[str] = []
    unknown: list[str] = []
    for group in by_location.values():
        location = group[0].location
        # A certificate of a key type that was not installed is wrong too: some clients get it.
        wrong = [s for s in group if s.sha256 is not None and s.sha256 not in hashes]
        lacking = [k for k, h in expected.items() if not any(s.sha256 == h for s in group)]
        if wrong:
            missing.append(location)
            if any(s.sha256 in replaced for s in wrong):
                old.append(location)
        # A server that hangs up has no certificate of that key type, unless one is expected there.
        elif failed := [s for s in group if s.error and (s.key_type in lacking or not s.hung)]:
            unknown.append(f"{location}: {failed[0].error}")
        elif lacking:
            missing.append(f"{location}, no {', '.join(lacking)} certificate")
        else:
            seen.append(location)
    # A missing location is certain, whatever the silent ones serve; so it decides first.
    if missing:
        state = VerificationState.PARTIAL if seen else VerificationState.ABSENT
    else:
        # Without any location nothing is proved, so that is not live either.
        state = VerificationState.UNKNOWN if unknown or not seen else VerificationState.LIVE
    return Verification(state, tuple(seen), tuple(missing), tuple(old), tuple(unknown))
