"""Is the expected certificate served everywhere? Decisions about what was seen."""

from __future__ import annotations

from typing import Any

import pytest

from certmgr.inspection.verification import Observation, verify
from inventory.vocabulary import VerificationState

NEW, OLD, OTHER, RSA_NEW = "a" * 64, "b" * 64, "c" * 64, "d" * 64
SECOND = "192.0.2.2"


def observation(
    leaf: str | None, address: str = "192.0.2.1", key: str = "EC", **given: Any
) -> Observation:
    return Observation("shop.example.com", 443, address, key, leaf, **given)


def timeout(address: str, key: str = "EC") -> Observation:
    return observation(None, address, key, error="timed out")


NO_RSA = observation(None, key="RSA")
EC, BOTH = {"EC": NEW}, {"EC": NEW, "RSA": RSA_NEW}
CASES: list[tuple[str, dict[str, str], list[Observation], VerificationState, int, int, int]] = [
    ("it is served", EC, [observation(NEW), NO_RSA], VerificationState.LIVE, 1, 0, 0),
    ("nothing was probed", EC, [], VerificationState.UNKNOWN, 0, 0, 0),
    ("the old one", EC, [observation(OLD), NO_RSA], VerificationState.ABSENT, 0, 1, 0),
    (
        "one of two addresses",
        EC,
        [observation(NEW), NO_RSA, observation(OLD, SECOND), observation(None, SECOND, "RSA")],
        VerificationState.PARTIAL,
        1,
        1,
        0,
    ),
    (
        "the old RSA certificate in addition to the new one",
        EC,
        [observation(NEW), observation(OLD, key="RSA")],
        VerificationState.ABSENT,
        0,
        1,
        0,
    ),
    (
        "one address is silent",
        EC,
        [observation(NEW), NO_RSA, timeout(SECOND), timeout(SECOND, "RSA")],
        VerificationState.UNKNOWN,
        1,
        0,
        1,
    ),
    (
        "a missing location is certain, even if another is silent",
        EC,
        [observation(OLD), timeout(SECOND)],
        VerificationState.ABSENT,
        0,
        1,
        1,
    ),
    (
        "no certificate of that kind",
        EC,
        [observation(None), NO_RSA],
        VerificationState.ABSENT,
        0,
        1,
        0,
    ),
    (
        "a server that hangs up if it has no such certificate",
        EC,
        [observation(NEW), observation(None, key="RSA", error="reset", hung=True)],
        VerificationState.LIVE,
        1,
        0,
        0,
    ),
    (
        "a server that is silent then",
        EC,
        [observation(NEW), timeout("192.0.2.1", "RSA")],
        VerificationState.UNKNOWN,
        0,
        0,
        1,
    ),
    (
        "both kinds",
        BOTH,
        [observation(NEW), observation(RSA_NEW, key="RSA")],
        VerificationState.LIVE,
        1,
        0,
        0,
    ),
    ("one kind was forgotten", BOTH, [observation(NEW), NO_RSA], VerificationState.ABSENT, 0, 1, 0),
    (
        "a backend was forgotten",
        EC,
        [observation(NEW), NO_RSA, observation(OLD, "10.0.0.2", backend="lb1")],
        VerificationState.PARTIAL,
        1,
        1,
        0,
    ),
]


@pytest.mark.parametrize(
    ("expected", "observations", "state", "seen", "missing", "unknown"),
    [c[1:] for c in CASES],
    ids=[c[0] for c in CASES],
)
def test_verification_follows_from_what_each_location_served(
    expected: dict[str, str],
    observations: list[Observation],
    state: VerificationState,
    seen: int,
    missing: int,
    unknown: int,
) -> None:
    verification = verify(expected, observations, [OLD])
    counts = len(verification.seen), len(verification.missing), len(verification.unknown)
    assert (verification.state, *counts) == (state, seen, missing, unknown)
    assert verification.sentence


def test_old_certificate_is_distinguished_from_any_other() -> None:
    verification = verify(EC, [observation(OLD), observation(OTHER, SECOND)], [OLD])
    assert len(verification.missing) == 2
    assert verification.old == ("shop.example.com:443 at 192.0.2.1",)
