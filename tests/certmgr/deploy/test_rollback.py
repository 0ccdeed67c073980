"""When a deployment is rolled back: tables of observations before and after a switch, and
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
_other_ca = Authority("Another CA", Authority("Another Root", clock=frozen))


def _leaf(
    authority: Authority, *names: str, start: timedelta = -DAY, end: timedelta = 60 * DAY
) -> bytes:
    return authority.issue(*names, not_before=NOW + start, not_after=NOW + end).der


LEAVES = {
    "old": _leaf(_issuer, HOST),
    "new": _leaf(_issuer, HOST),
    "new-uncovering": _leaf(_issuer, "other.example.com"),
    "cdn": _leaf(_other_ca, "*.example.com"),
    "uncovering": _leaf(_other_ca, "default.example.net"),
    "expired": _leaf(_other_ca, HOST, start=-90 * DAY, end=-DAY),
    "future": _leaf(_other_ca, HOST, start=DAY),
    "rubbish": b"\x30\x03abc",
}
OLD, NEW = (parse(LEAVES[n]).sha256 for n in ("old", "new"))
GOOD_OLD = OldVersion(OLD, NOW + 30 * DAY)


def observation(
    what: str, address: str = "192.0.2.1", key_type: str = "EC", backend: str = ""
) -> Observation:
    """Return an observation. ``what``: a name of LEAVES, or a kind of failure."""
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


def decision(
    before: Sequence[str],
    after: Sequence[str],
    old: OldVersion | None = GOOD_OLD,
    rolled: bool = False,
    served_before: bool = False,
) -> RollbackDecision:
    observations = [observation(b) for b in before], [observation(a) for a in after]
    return decide(*observations, served_before, old, rolled, NOW, new_sha256=NEW)


@pytest.mark.parametrize("after", REGRESSIONS)
def test_regression_of_an_endpoint_that_served_the_old_version_is_rolled_back(after: str) -> None:
    found = decision(["old"], [after])
    assert found.action is RollbackAction.ROLL_BACK, found
    assert found.reason.startswith("shop.example.com:443 at 192.0.2.1: ")
    assert found.observations[0].state is SwitchState.REGRESSION


@pytest.mark.parametrize("after", NO_REGRESSIONS)
def test_result_that_is_not_a_regression_keeps_the_new_version(after: str) -> None:
    assert decision(["old"], [after]).action is RollbackAction.KEEP


@pytest.mark.parametrize("after", [*REGRESSIONS, *NO_REGRESSIONS])
@pytest.mark.parametrize("before", ["cdn", "timeout", "refused", "expired", "none"])
def test_endpoint_that_never_served_the_old_version_is_not_rolled_back(
    before: str, after: str
) -> None:
    """A broken pair with the new leaf is left to the staff: a rollback would not restore it."""
    expected = RollbackAction.STAFF if after == "mismatch" else RollbackAction.KEEP
    assert decision([before], [after]).action is expected


@pytest.mark.parametrize(
    "old, rolled, why",
    [
        (GOOD_OLD, True, "rolled back once already"),
        (None, False, "no previous version"),
        (replace(GOOD_OLD, not_after=NOW), False, "is expired"),
        (replace(GOOD_OLD, not_after=None), False, "is expired"),
        (replace(GOOD_OLD, revoked=True), False, "is revoked"),
        (replace(GOOD_OLD, compromised=True), False, "is compromised"),
        (replace(GOOD_OLD, revoked=None, compromised=True), False, "is compromised"),
    ],
)
def test_regression_without_a_usable_old_version_is_left_to_the_staff(
    old: OldVersion | None, rolled: bool, why: str
) -> None:
    found = decision(
        ["old"] if old is not None else [], ["refused"], old, rolled, served_before=True
    )
    assert found.action is RollbackAction.STAFF
    assert why in found.reason


@pytest.mark.parametrize("revoked", [None, False])
def test_old_version_whose_revocation_is_undetermined_is_restored(revoked: bool | None) -> None:
    assert (
        decision(["old"], ["refused"], replace(GOOD_OLD, revoked=revoked)).action
        is RollbackAction.ROLL_BACK
    )


@pytest.mark.parametrize(
    "before, after, served_before, state",
    [
        ("old", "new", False, SwitchState.LIVE),
        ("cdn", "new", False, SwitchState.LIVE),
        ("old", "old", False, SwitchState.NOT_YET),
        ("cdn", "cdn", False, SwitchState.CDN),
        ("cdn", "cdn", True, SwitchState.CDN),  # observations take precedence over the inventory
        ("old", "cdn", False, SwitchState.OTHER),
        ("old", "timeout", False, SwitchState.UNKNOWN),
        ("cdn", "refused", False, SwitchState.UNKNOWN),
        ("old", "refused", False, SwitchState.REGRESSION),
        ("", "refused", True, SwitchState.REGRESSION),
        ("", "refused", False, SwitchState.UNKNOWN),
        ("", "cdn", False, SwitchState.CDN),
        ("", "cdn", True, SwitchState.OTHER),
    ],
)
def test_state_of_an_endpoint_follows_from_the_observations_before_and_after(
    before: str, after: str, served_before: bool, state: SwitchState
) -> None:
    found = decision([before] if before else [], [after], served_before=served_before)
    assert [p.state for p in found.observations] == [state]
    assert bool(found.cdn) is (state is SwitchState.CDN)


def test_new_certificate_that_does_not_cover_the_name_is_a_regression() -> None:
    after = [observation("new-uncovering")]
    new = str(after[0].sha256)
    found = decide([observation("old")], after, False, GOOD_OLD, False, NOW, new_sha256=new)
    assert found.action is RollbackAction.ROLL_BACK
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
def test_key_types_of_one_endpoint_are_judged_together(
    rsa: str, ec: str, act: RollbackAction
) -> None:
    """After a change from RSA to EC, only a missing certificate of both types is a regression."""
    before = [observation("old", key_type="RSA"), observation("alert")]
    after = [observation(rsa, key_type="RSA"), observation(ec)]
    assert decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW).action is act


def test_regression_of_one_endpoint_of_several_is_enough_and_is_named() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    before = [observation("old", a) for a in addresses] + [
        observation("old", "10.0.0.1", backend="lb")
    ]
    after = [
        observation("new", addresses[0]),
        observation("timeout", addresses[1]),
        observation("refused", addresses[2]),
        observation("old", "10.0.0.1", backend="lb"),
    ]
    found = decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW)
    assert found.action is RollbackAction.ROLL_BACK
    assert found.reason == "shop.example.com:443 at 192.0.2.3: the connection is refused"


def test_without_any_probe_the_new_version_stays() -> None:
    assert decide([], [], True, GOOD_OLD, False, NOW, new_sha256=NEW).action is RollbackAction.KEEP


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
    """Probe a server with the old certificate, then the server that replaced it."""
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
    observations = after_switch(settings, folder, old, new, shown, after)
    good_old = OldVersion(parse(old.der).sha256, now + DAY)
    new_sha256 = parse(new.der).sha256
    found = decide(*observations, False, good_old, False, now, new_sha256=new_sha256)
    assert found.action is act, found
