"""When the version before comes back: tables of what was seen before and after a switch, and
probes of real servers with a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.deploy.rollback import (
    OldVersion,
    RollbackAction,
    RollbackDecision,
    SwitchState,
    decide,
)
from certmgr.inspection.live_check import LiveCheckTarget, check_live
from certmgr.inspection.verification import Observation
from inventory.certificates import parse
from inventory.clock import Clock
from inventory.targets import Target
from tests.clock import frozen
from tests.servers.ports import free_port
from tests.servers.real import nginx, s_server, web, write_pair

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOST = "shop.example.com"
DAY = timedelta(days=1)
_issuer = Authority("Issuer", Authority("Root", clock=frozen))
_elsewhere = Authority("Another CA", Authority("Another Root", clock=frozen))


def _leaf(
    authority: Authority, *names: str, start: timedelta = -DAY, end: timedelta = 60 * DAY
) -> bytes:
    return authority.issue(*names, not_before=NOW + start, not_after=NOW + end).der


LEAVES = {
    "old": _leaf(_issuer, HOST),
    "new": _leaf(_issuer, HOST),
    "new-uncovering": _leaf(_issuer, "other.example.com"),
    "cdn": _leaf(_elsewhere, "*.example.com"),
    "uncovering": _leaf(_elsewhere, "default.example.net"),
    "expired": _leaf(_elsewhere, HOST, start=-90 * DAY, end=-DAY),
    "future": _leaf(_elsewhere, HOST, start=DAY),
    "rubbish": b"\x30\x03abc",
}
OLD, NEW = (parse(LEAVES[n]).sha256 for n in ("old", "new"))
GOOD_OLD = OldVersion(OLD, NOW + 30 * DAY)


def seen(
    what: str, address: str = "192.0.2.1", key_type: str = "EC", backend: str = ""
) -> Observation:
    """Return what was seen: a word of LEAVES, or a kind of failure."""
    if what in LEAVES:
        der = LEAVES[what]
        return Observation(HOST, 443, address, key_type, parse(der).sha256, "", backend, der=der)
    if what == "mismatch":
        der = LEAVES["new"]
        return Observation(HOST, 443, address, key_type, NEW, "", backend, kind="tls", der=der)
    error = "" if what in ("alert", "none") else what
    kind = "" if what == "none" else what
    return Observation(HOST, 443, address, key_type, None, error, backend, kind=kind)


REGRESSIONS = [
    "refused",
    "alert",
    "tls",
    "not-tls",
    "malformed",
    "none",
    "uncovering",
    "expired",
    "future",
    "rubbish",
    "mismatch",
]
NO_REGRESSIONS = [
    "new",
    "old",
    "cdn",
    "timeout",
    "dns",
    "unreachable",
    "no-route",
    "reset",
    "closed",
    "local",
    "too-large",
    "starttls",
]


def verdict(
    before: Sequence[str],
    after: Sequence[str],
    old: OldVersion | None = GOOD_OLD,
    rolled: bool = False,
    ours: bool = False,
) -> RollbackDecision:
    sights = [seen(b) for b in before], [seen(a) for a in after]
    return decide(*sights, ours, old, rolled, NOW, new_sha256=NEW)


@pytest.mark.parametrize("after", REGRESSIONS)
def test_regression_where_ours_was_served_brings_the_old_version_back(after: str) -> None:
    found = verdict(["old"], [after])
    assert found.act is RollbackAction.ROLL_BACK, found
    assert found.reason.startswith("shop.example.com:443 at 192.0.2.1: ")
    assert found.places[0].standing is SwitchState.HARMED


@pytest.mark.parametrize("after", NO_REGRESSIONS)
def test_result_that_is_not_a_regression_keeps_the_new_version(after: str) -> None:
    assert verdict(["old"], [after]).act is RollbackAction.KEEP


@pytest.mark.parametrize("after", [*REGRESSIONS, *NO_REGRESSIONS])
@pytest.mark.parametrize("before", ["cdn", "timeout", "refused", "expired", "none"])
def test_place_that_never_served_ours_brings_nothing_back(before: str, after: str) -> None:
    """A broken pair with the new leaf is for the staff: there is nothing to go back to there."""
    expected = RollbackAction.STAFF if after == "mismatch" else RollbackAction.KEEP
    assert verdict([before], [after]).act is expected


@pytest.mark.parametrize(
    "old, rolled, why",
    [
        (GOOD_OLD, True, "rolled back once already"),
        (None, False, "no version before"),
        (replace(GOOD_OLD, not_after=NOW), False, "is expired"),
        (replace(GOOD_OLD, not_after=None), False, "is expired"),
        (replace(GOOD_OLD, revoked=True), False, "is revoked"),
        (replace(GOOD_OLD, compromised=True), False, "is compromised"),
        (replace(GOOD_OLD, revoked=None, compromised=True), False, "is compromised"),
    ],
)
def test_regression_without_a_usable_old_version_is_for_the_staff(
    old: OldVersion | None, rolled: bool, why: str
) -> None:
    found = verdict(["old"] if old is not None else [], ["refused"], old, rolled, ours=True)
    assert found.act is RollbackAction.STAFF
    assert why in found.reason


@pytest.mark.parametrize("revoked", [None, False])
def test_old_version_whose_revocation_is_undetermined_comes_back(revoked: bool | None) -> None:
    assert (
        verdict(["old"], ["refused"], replace(GOOD_OLD, revoked=revoked)).act
        is RollbackAction.ROLL_BACK
    )


@pytest.mark.parametrize(
    "before, after, ours, standing",
    [
        ("old", "new", False, SwitchState.LIVE),
        ("cdn", "new", False, SwitchState.LIVE),
        ("old", "old", False, SwitchState.NOT_YET),
        ("cdn", "cdn", False, SwitchState.CDN),
        ("cdn", "cdn", True, SwitchState.CDN),  # what was seen counts more than the inventory
        ("old", "cdn", False, SwitchState.OTHER),
        ("old", "timeout", False, SwitchState.UNKNOWN),
        ("cdn", "refused", False, SwitchState.UNKNOWN),
        ("old", "refused", False, SwitchState.HARMED),
        ("", "refused", True, SwitchState.HARMED),
        ("", "refused", False, SwitchState.UNKNOWN),
        ("", "cdn", False, SwitchState.CDN),
        ("", "cdn", True, SwitchState.OTHER),
    ],
)
def test_state_of_a_place_follows_from_what_was_seen_before_and_after(
    before: str, after: str, ours: bool, standing: SwitchState
) -> None:
    found = verdict([before] if before else [], [after], ours=ours)
    assert [p.standing for p in found.places] == [standing]
    assert bool(found.cdn) is (standing is SwitchState.CDN)


def test_new_certificate_that_does_not_cover_the_name_is_a_regression() -> None:
    after = [seen("new-uncovering")]
    new = str(after[0].sha256)
    found = decide([seen("old")], after, False, GOOD_OLD, False, NOW, new_sha256=new)
    assert found.act is RollbackAction.ROLL_BACK
    assert "does not cover the name" in found.reason


@pytest.mark.parametrize(
    "rsa, ec, act",
    [
        ("alert", "new", RollbackAction.KEEP),
        ("alert", "alert", RollbackAction.ROLL_BACK),
        ("alert", "timeout", RollbackAction.KEEP),
        ("expired", "new", RollbackAction.KEEP),
        ("expired", "cdn", RollbackAction.KEEP),
    ],
)
def test_key_types_of_one_place_are_judged_together(rsa: str, ec: str, act: RollbackAction) -> None:
    """From RSA to EC: no RSA certificate any more is no regression; no certificate at all is."""
    before = [seen("old", key_type="RSA"), seen("alert")]
    after = [seen(rsa, key_type="RSA"), seen(ec)]
    assert decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW).act is act


def test_regression_at_one_place_of_several_is_enough_and_is_named() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    before = [seen("old", a) for a in addresses] + [seen("old", "10.0.0.1", backend="lb")]
    after = [
        seen("new", addresses[0]),
        seen("timeout", addresses[1]),
        seen("refused", addresses[2]),
        seen("old", "10.0.0.1", backend="lb"),
    ]
    found = decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW)
    assert found.act is RollbackAction.ROLL_BACK
    assert found.reason == "shop.example.com:443 at 192.0.2.3: the connection is refused"


def test_without_any_probe_the_new_version_stays() -> None:
    assert decide([], [], True, GOOD_OLD, False, NOW, new_sha256=NEW).act is RollbackAction.KEEP


# -- real servers --------------------------------------------------------------------------------


def probe(settings: Settings, port: int) -> list[Observation]:
    """Probe a server, as if it were at port 443."""
    found = check_live(settings, [LiveCheckTarget(Target(HOST, port), ("127.0.0.1",))])
    return [replace(s, port=443) for s in found]


def after_switch(
    settings: Settings,
    folder: Path,
    old: IssuedCertificate,
    new: IssuedCertificate,
    shown: IssuedCertificate,
    how: str,
) -> tuple[list[Observation], list[Observation]]:
    """Probe a server with the old certificate, then another one that took its place."""
    with nginx(folder, [(HOST, *write_pair(folder, old, "old"))]) as port:
        before = probe(settings, port)
    pair = write_pair(folder, new, "x")
    match how:
        case "refused":
            return before, probe(settings, free_port())
        case "alert":
            with s_server(*pair, "-cipher", "PSK", "-no_tls1_3") as port:
                return before, probe(settings, port)
        case "plain":
            (folder / "plain").mkdir()
            with web(folder / "plain", pair, "return 204;", "return 204;") as (port, _):
                return before, probe(settings, port)
        case _:
            with nginx(folder, [(HOST, *write_pair(folder, shown, "x"))]) as port:
                return before, probe(settings, port)


@pytest.mark.parametrize(
    "after, act",
    [
        ("new", RollbackAction.KEEP),
        ("old", RollbackAction.KEEP),
        ("refused", RollbackAction.ROLL_BACK),
        ("alert", RollbackAction.ROLL_BACK),
        ("plain", RollbackAction.ROLL_BACK),
        ("uncovering", RollbackAction.ROLL_BACK),
        ("expired", RollbackAction.ROLL_BACK),
    ],
)
def test_regression_of_a_real_server_is_recognised(
    settings: Settings,
    issuer: Authority,
    clock: Clock,
    tmp_path: Path,
    after: str,
    act: RollbackAction,
) -> None:
    now = clock()
    old, new = issuer.issue(HOST), issuer.issue(HOST)
    shown = {
        "old": old,
        "uncovering": issuer.issue("other.example.net"),
        "expired": issuer.issue(HOST, not_after=now - DAY),
    }.get(after, new)
    folder = tmp_path / "web"
    folder.mkdir()
    sights = after_switch(settings, folder, old, new, shown, after)
    good_old = OldVersion(parse(old.der).sha256, now + DAY)
    new_sha256 = parse(new.der).sha256
    found = decide(*sights, False, good_old, False, now, new_sha256=new_sha256)
    assert found.act is act, found
