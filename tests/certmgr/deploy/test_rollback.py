"""When the version before comes back: a table of what was seen before and after, and real looks at servers that do harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.cases.look import Place, look
from certmgr.cases.proof import Sight
from certmgr.config import Settings
from certmgr.demo.authority import Authority, Issued
from certmgr.deploy.rollback import Act, OldVersion, Standing, Verdict, decide
from inventory.certificates import parse
from inventory.targets import Target
from tests.clock import clock
from tests.servers.ports import free_port
from tests.servers.real import nginx, s_server, web, write_pair

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOST = "shop.example.com"
_issuer = Authority("Issuer", Authority("Root", clock=clock))
_elsewhere = Authority("Another CA", Authority("Another Root", clock=clock))
DAY = timedelta(days=1)


def _leaf(authority: Authority, *names: str, start: timedelta = -DAY, end: timedelta = 60 * DAY) -> bytes:
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


def seen(what: str, address: str = "192.0.2.1", key_type: str = "EC", backend: str = "") -> Sight:
    """A word of LEAVES, or a kind of failure."""
    if what in LEAVES:
        return Sight(HOST, 443, address, key_type, parse(LEAVES[what]).sha256, "", backend, der=LEAVES[what])
    if what == "mismatch":
        return Sight(HOST, 443, address, key_type, NEW, "", backend, kind="tls", der=LEAVES["new"])
    error = "" if what in ("alert", "none") else what
    return Sight(HOST, 443, address, key_type, None, error, backend, kind="" if what == "none" else what)


HARM = ["refused", "alert", "tls", "not-tls", "malformed", "none", "uncovering", "expired", "future", "rubbish", "mismatch"]
NO_HARM = ["new", "old", "cdn", "timeout", "dns", "unreachable", "no-route", "reset", "closed", "local", "too-large", "starttls"]


def verdict(
    before: Sequence[str], after: Sequence[str], old: OldVersion | None = GOOD_OLD, rolled: bool = False, ours: bool = False
) -> Verdict:
    return decide([seen(b) for b in before], [seen(a) for a in after], ours, old, rolled, NOW, new_sha256=NEW)


@pytest.mark.parametrize("after", HARM)
def test_harm_that_is_seen_where_ours_was_served_brings_the_old_one_back(after: str) -> None:
    found = verdict(["old"], [after])
    assert found.act is Act.ROLL_BACK, found
    assert found.reason.startswith("shop.example.com:443 at 192.0.2.1: ")
    assert found.places[0].standing is Standing.HARMED


@pytest.mark.parametrize("after", NO_HARM)
def test_what_is_not_harm_keeps_the_new_one(after: str) -> None:
    assert verdict(["old"], [after]).act is Act.KEEP


@pytest.mark.parametrize("after", [*HARM, *NO_HARM])
@pytest.mark.parametrize("before", ["cdn", "timeout", "refused", "expired", "none"])
def test_nothing_goes_back_for_a_place_that_never_served_ours(before: str, after: str) -> None:
    """A broken pair with the new leaf is for people: it is ours, and there is nothing that it could go back to there."""
    assert verdict([before], [after]).act is (Act.STAFF if after == "mismatch" else Act.KEEP)


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
def test_then_people_decide(old: OldVersion | None, rolled: bool, why: str) -> None:
    found = verdict(["old"] if old is not None else [], ["refused"], old, rolled, ours=True)
    assert found.act is Act.STAFF
    assert why in found.reason


@pytest.mark.parametrize("revoked", [None, False])
def test_a_revocation_that_could_not_be_told_does_not_stand_against_it(revoked: bool | None) -> None:
    assert verdict(["old"], ["refused"], replace(GOOD_OLD, revoked=revoked)).act is Act.ROLL_BACK


@pytest.mark.parametrize(
    "before, after, ours, standing",
    [
        ("old", "new", False, Standing.LIVE),
        ("cdn", "new", False, Standing.LIVE),
        ("old", "old", False, Standing.NOT_YET),
        ("cdn", "cdn", False, Standing.CDN),
        ("cdn", "cdn", True, Standing.CDN),  # what was seen counts more than what the inventory says
        ("old", "cdn", False, Standing.OTHER),
        ("old", "timeout", False, Standing.UNKNOWN),
        ("cdn", "refused", False, Standing.UNKNOWN),
        ("old", "refused", False, Standing.HARMED),
        ("", "refused", True, Standing.HARMED),
        ("", "refused", False, Standing.UNKNOWN),
        ("", "cdn", False, Standing.CDN),
        ("", "cdn", True, Standing.OTHER),
    ],
)  # fmt: skip
def test_each_place_has_its_standing(before: str, after: str, ours: bool, standing: Standing) -> None:
    found = verdict([before] if before else [], [after], ours=ours)
    assert [p.standing for p in found.places] == [standing]
    assert bool(found.cdn) is (standing is Standing.CDN)


def test_the_new_certificate_itself_can_be_the_harm() -> None:
    """It no longer covers the name: the look shows that before a client does."""
    after = [seen("new-uncovering")]
    found = decide([seen("old")], after, False, GOOD_OLD, False, NOW, new_sha256=str(after[0].sha256))
    assert found.act is Act.ROLL_BACK
    assert "does not cover the name" in found.reason


def test_key_types_of_one_place_are_looked_at_together() -> None:
    """From RSA to EC: that no RSA certificate is offered any more is no harm; that nothing is, would be."""
    before = [seen("old", key_type="RSA"), seen("alert")]
    for after, act in (
        ([seen("alert", key_type="RSA"), seen("new")], Act.KEEP),
        ([seen("alert", key_type="RSA"), seen("alert")], Act.ROLL_BACK),
        ([seen("alert", key_type="RSA"), seen("timeout")], Act.KEEP),
        ([seen("expired", key_type="RSA"), seen("new")], Act.KEEP),
        ([seen("expired", key_type="RSA"), seen("cdn")], Act.KEEP),
    ):
        assert decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW).act is act, after


def test_one_harmed_place_of_several_is_enough_and_is_named() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    before = [seen("old", a) for a in addresses] + [seen("old", "10.0.0.1", backend="lb")]
    after = [
        seen("new", addresses[0]),
        seen("timeout", addresses[1]),
        seen("refused", addresses[2]),
        seen("old", "10.0.0.1", backend="lb"),
    ]
    found = decide(before, after, False, GOOD_OLD, False, NOW, new_sha256=NEW)
    assert found.act is Act.ROLL_BACK
    assert found.reason == "shop.example.com:443 at 192.0.2.3: the connection is refused"


def test_no_look_at_all_keeps_it() -> None:
    assert decide([], [], True, GOOD_OLD, False, NOW, new_sha256=NEW).act is Act.KEEP


# -- real looks --------------------------------------------------------------------------------------------------------


def at(settings: Settings, port: int) -> list[Sight]:
    return look(settings, [Place(Target(HOST, port), ("127.0.0.1",))])


def after_a_switch(settings: Settings, folder: Path, issuer: Authority, harm: str) -> Verdict:
    """Something serves the old one; then, on the same port, something else does."""
    now = clock()
    old, new = issuer.issue(HOST), issuer.issue(HOST)
    shown: dict[str, Issued] = {
        "new": new, "old": old, "uncovering": issuer.issue("other.example.net"), "expired": issuer.issue(HOST, not_after=now - DAY),
    }  # fmt: skip

    def moved(sights: list[Sight]) -> list[Sight]:
        return [replace(s, port=443) for s in sights]

    folder.mkdir(exist_ok=True)
    with nginx(folder, [(HOST, *write_pair(folder, old, "old"))]) as port:
        before = moved(at(settings, port))
    if harm == "refused":
        after = moved(at(settings, free_port()))
    elif harm == "alert":
        with s_server(*write_pair(folder, new, "x"), "-cipher", "PSK", "-no_tls1_3") as port:
            after = moved(at(settings, port))
    elif harm == "plain":
        (folder / "plain").mkdir()
        with web(folder / "plain", write_pair(folder, new, "x"), "return 204;", "return 204;") as (port, _):
            after = moved(at(settings, port))
    else:
        with nginx(folder, [(HOST, *write_pair(folder, shown[harm], "x"))]) as port:
            after = moved(at(settings, port))
    return decide(
        before, after, False, OldVersion(parse(old.der).sha256, now + DAY), False, now, new_sha256=parse(new.der).sha256
    )


@pytest.mark.parametrize(
    "harm, act",
    [
        ("new", Act.KEEP),
        ("old", Act.KEEP),
        ("refused", Act.ROLL_BACK),
        ("alert", Act.ROLL_BACK),
        ("plain", Act.ROLL_BACK),
        ("uncovering", Act.ROLL_BACK),
        ("expired", Act.ROLL_BACK),
    ],
)
def test_real_looks_tell_harm_from_the_rest(settings: Settings, issuer: Authority, tmp_path: Path, harm: str, act: Act) -> None:
    found = after_a_switch(settings, tmp_path / "web", issuer, harm)
    assert found.act is act, found
