"""Lineages of certbot: taken over with their account and directory, and given back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.acme.takeover import adopt
from certmgr.acme.takeover.adopt import AdoptionRequest
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, take_over_links
from certmgr.x509.bundle import CertificateBundle
from inventory.clock import system_clock
from inventory.errors import CertmgrError, UsageError
from inventory.store import accounts, lineages
from tests.campaign import Campaign
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.certmgr.acme.takeover_deaths import Place
from tests.certmgr.deploy.certbot_place import certbot_account, certbot_lineage, content
from tests.certmgr.deploy.forks import Forks, forks
from tests.certmgr.deploy.rig import make_bundle, read_by_links
from tests.servers.pebble import Pebble


@pytest.fixture
def certbot(env: AcmeEnvironment, ca: Pebble, tmp_path: Path, issuer: Authority) -> Path:
    """A directory of certbot whose account has the key of the environment's account at pebble."""
    base = tmp_path / "letsencrypt"
    session = env.context.session(1)
    account = certbot_account(base, session.key.key._wrapped, server=ca.directory)
    folder = next((base / "accounts").rglob(account))
    (folder / "regr.json").write_text(json.dumps({"body": {}, "uri": session.url}))
    for name in ("shop.test", "stranger.test"):
        certbot_lineage(
            base,
            name,
            issuer.issue(name, days=20),
            account=account,
            more="authenticator = webroot\nkey_type = ecdsa\nrenew_hook = systemctl reload nginx\n",
        )
        conf = base / "renewal" / f"{name}.conf"
        conf.write_text(
            conf.read_text().replace("https://acme-v02.api.letsencrypt.org/directory", ca.directory)
        )
    env.unwatch("shop.test")
    with env.database.write() as tx:
        # Another URL, so that certbot's account is recorded as a new one.
        accounts.edit(tx, 1, url="https://elsewhere.test/account/1")
    return base


def test_lineage_of_certbot_is_taken_over_renewed_and_given_back(
    env: AcmeEnvironment, certbot: Path, tmp_path: Path
) -> None:
    wanted = AdoptionRequest(certbot, root=tmp_path / "no-timers")
    planned = adopt.plan(env.context, wanted)
    assert [x.name for x in planned.chosen] == ["shop.test"] and planned.unmanaged[0][
        0
    ] == "stranger.test"
    live = certbot / "live" / "shop.test"
    before = {
        n: (live / f"{n}.pem").read_bytes() for n in ("privkey", "cert", "chain", "fullchain")
    }
    for _ in range(2):  # a second time changes nothing
        assert adopt.take_over(env.context, wanted, planned) == ["shop.test"]
    assert {n: (live / f"{n}.pem").read_bytes() for n in before} == before
    with env.database.read() as conn:
        row = lineages.find(conn, "shop.test")
        assert row.account.startswith("certbot-") and row.deployed == row.sha256
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert not summary.failed, summary
    assert (live / "cert.pem").read_bytes() != before["cert"], (
        "certbot's directory shows what was renewed here"
    )
    material = Lineage(env.context.base, "shop.test").read_current()
    assert (
        material is not None
        and (live / "privkey.pem").read_bytes() == material.files["privkey.pem"]
    )
    assert names(leaf(env, row.id)) == {"shop.test"}
    undone = adopt.give_back(env.context, "shop.test")
    # certbot's own certificate ends earlier, so the renewed one is its newest version now.
    assert undone is not None and undone.kept
    archive = certbot / "archive" / "shop.test"
    assert (live / "privkey.pem").resolve() == archive / "privkey2.pem"
    assert (live / "fullchain.pem").read_bytes() == material.files["fullchain.pem"]
    assert {n: (archive / f"{n}1.pem").read_bytes() for n in before} == before
    with env.database.read() as conn:
        assert lineages.listing(conn) == []


def test_nothing_is_taken_over_while_certbot_would_renew(
    env: AcmeEnvironment, certbot: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "etc" / "cron.d").mkdir(parents=True)
    (root / "etc" / "cron.d" / "certbot").write_text("0 */12 * * * root certbot -q renew\n")
    wanted = AdoptionRequest(certbot, ("shop.test",), root=root)
    planned = adopt.plan(env.context, wanted)
    assert planned.schedules
    with pytest.raises(CertmgrError, match="would still renew"):
        adopt.take_over(env.context, wanted, planned)
    with env.database.read() as conn:
        assert lineages.listing(conn) == []


def test_unknown_lineage_and_folder_of_certbot_are_refused(
    env: AcmeEnvironment, certbot: Path
) -> None:
    with pytest.raises(UsageError, match="no lineage 'nope'"):
        adopt.plan(
            env.context,
            AdoptionRequest(certbot, ("nope",)),
        )
    with pytest.raises(UsageError):
        adopt.plan(env.context, AdoptionRequest(certbot / "nowhere"))


@pytest.fixture(scope="module")
def deaths() -> Iterator[Forks]:
    with forks("tests.certmgr.acme.takeover_deaths") as running:
        yield running


@pytest.mark.campaign
@pytest.mark.parametrize("keep_timer", [False, True])
def test_takeover_and_undo_killed_at_any_step_are_completed_or_restored(
    deaths: Forks, campaign: Campaign, tmp_path: Path, keep_timer: bool
) -> None:
    stride = campaign.size("of its steps one in ... is killed", 40, 1)
    kills = deaths.call("deaths", folder=str(tmp_path), stride=stride, keep_timer=keep_timer)
    assert kills >= 200 // stride
    campaign.report("kills", kills)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "machine")
    made.folder.mkdir()
    made.prepare()
    return made


def _copies(live: Path) -> None:
    for path in live.glob("*.pem"):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)


def _other_version(live: Path) -> None:
    (live / "chain.pem").unlink()
    (live / "chain.pem").symlink_to("../../archive/two.test/chain7.pem")
    (live.parents[1] / "archive/two.test/chain7.pem").write_bytes(b"")


def _foreign_key(live: Path) -> None:
    key = (live.parent / "one.test/privkey.pem").read_bytes()
    (live / "privkey.pem").resolve().write_bytes(key)


def _broken_configuration(live: Path) -> None:
    (live.parents[1] / "renewal/two.test.conf").write_text("[[[\n")


def _open_to_others(live: Path) -> None:
    live.chmod(0o777)


def _missing(live: Path) -> None:
    (live / "cert.pem").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_copies, "is a copy instead of a link"),
        (_other_version, "different versions"),
        (_foreign_key, "two.test"),
        (_broken_configuration, "not a section header"),
        (_open_to_others, "other users could replace"),
        (_missing, "cert.pem is missing"),
    ],
)
def test_lineage_that_cannot_be_taken_over_prevents_the_takeover_of_all(
    place: Place, damage: object, reason: str
) -> None:
    """One lineage is damaged: it is named, certbot's timer keeps running, nothing is changed."""
    assert callable(damage)
    damage(place.certbot / "live/two.test")
    before = content(place.certbot)
    context = place.context()
    wanted, planned = place.plan(context)
    found = [
        *(f"{n}: {why}" for n, why in planned.unmanaged),
        *(f"{p.path}: {p.reason}" for p in planned.installation.problems),
    ]
    assert len(found) == 1 and reason in found[0] and "two.test" in found[0], found
    with pytest.raises(CertmgrError, match="would still renew"):
        adopt.take_over(context, wanted, planned)
    context.database.close()
    place.require_restored(before)
    # As the user chooses, the timer keeps running for it, and does not see the other one.
    place.keep_timer = True
    assert place.take_over() == ["one.test"]
    assert place.timer.is_symlink() and place.active() == ["one.test"]
    assert [p.name for p in (place.certbot / "renewal").glob("*.conf")] == ["two.test.conf"]
    place.undo()
    place.require_restored(before)


def test_lineage_that_certbot_does_not_renew_is_left_alone_and_stops_no_other(
    place: Place,
) -> None:
    """A takeover would renew what an administrator let end."""
    configuration = place.certbot / "renewal/two.test.conf"
    configuration.write_text(configuration.read_text() + "autorenew = False\n")
    before = content(place.certbot)
    context = place.context()
    _, planned = place.plan(context)
    context.database.close()
    assert [x.name for x in planned.chosen] == ["one.test"] and not planned.rest
    assert ["autorenew" in p.reason for p in planned.installation.problems] == [True]
    assert place.take_over() == ["one.test"]
    assert not place.timer.is_symlink() and configuration.exists()
    place.undo()
    place.require_restored(before)


@pytest.mark.parametrize("by_issuer", [False, True], ids=["directory", "issuer"])
def test_lineage_of_a_test_ca_is_taken_over_only_with_a_real_account(
    env: AcmeEnvironment, certbot: Path, tmp_path: Path, ca: Pebble, by_issuer: bool
) -> None:
    """A staging certificate is renewed in time for years, and no browser trusts it."""
    if by_issuer:
        staging = Authority("(STAGING) Pseudo Plum E5", organisation="(STAGING) Let's Encrypt")
        account = next((certbot / "accounts").rglob("regr.json")).parent.name
        certbot_lineage(certbot, "shop.test", staging.issue("shop.test"), account=account)
    else:
        old = certbot / "accounts" / ca.directory.removeprefix("https://")
        new = certbot / "accounts/acme-staging-v02.api.letsencrypt.org/directory"
        new.parent.mkdir(parents=True)
        old.rename(new)
    wanted = AdoptionRequest(certbot, root=tmp_path, names=("shop.test",))
    ((name, why),) = adopt.plan(env.context, wanted).unmanaged
    assert name == "shop.test" and "of a CA for tests, which no browser trusts" in why
    assert not adopt.plan(env.context, replace(wanted, account="main")).unmanaged


def test_expired_lineage_stays_with_certbot(place: Place) -> None:
    context = place.context()
    later = replace(context, clock=lambda: system_clock() + timedelta(days=60))
    assert all("has expired" in why for _, why in place.plan(later)[1].unmanaged)
    assert len(place.plan(later)[1].unmanaged) == 2
    context.database.close()


def test_failure_in_the_middle_undoes_what_was_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The links of the second lineage cannot be replaced after the first one was taken over."""
    before = content(place.certbot)
    real = take_over_links

    def failing(live: Path, lineage: Lineage) -> None:
        if live.name == "two.test":
            raise CertmgrError("The links cannot be replaced", "the disk is full")
        real(live, lineage)

    monkeypatch.setattr("certmgr.deploy.takeover.take_over_links", failing)
    with pytest.raises(CertmgrError, match="disk is full"):
        place.take_over()
    place.require_restored(before)
    monkeypatch.undo()
    assert sorted(place.take_over()) == ["one.test", "two.test"]
    assert not place.timer.exists() and not place.timer.is_symlink()


def test_timer_that_cannot_be_disabled_changes_nothing(place: Place) -> None:
    before = content(place.certbot)
    context = place.context()
    wanted, planned = place.plan(context)
    stuck = Schedule("systemd timer certbot.timer", ("/bin/false",), "disable it", ("/bin/true",))
    with pytest.raises(CertmgrError, match="could not be disabled"):
        adopt.take_over(context, wanted, replace(planned, schedules=(stuck,)))
    context.database.close()
    place.require_restored(before)


def renewed(place: Place, days: float, name: str = "one.test") -> CertificateBundle:
    """Switch the lineage to a new certificate, as a renewal does."""
    lineage = Lineage(place.folder / "acme", name)
    bundle = make_bundle(Authority("Other").issue(name, days=days))
    lineage.switch(lineage.store(bundle.key_pem, bundle.chain_der))
    return bundle


def test_undo_long_after_the_takeover_keeps_the_newer_certificate_in_use(place: Place) -> None:
    """certbot's one would end earlier, or has ended: sites would fail with it."""
    before = content(place.certbot)
    place.take_over()
    newer = renewed(place, 80)
    place.undo()
    live, archive = (place.certbot / kind / "one.test" for kind in ("live", "archive"))
    assert read_by_links(live).sha256 == newer.sha256
    after = content(place.certbot)
    added = {p: d for p, d in after.items() if before.get(p) != d}
    kinds = ("privkey", "cert", "chain", "fullchain")
    assert set(added) == {
        *(f"archive/one.test/{k}2.pem" for k in kinds),
        *(f"live/one.test/{k}.pem" for k in kinds),
    }
    assert (archive / "privkey2.pem").stat().st_mode & 0o777 == 0o600
    # certbot's own parser finds the new version, and a takeover can begin again.
    context = place.context()
    chosen = place.plan(context)[1].chosen
    context.database.close()
    assert {x.name: x.bundle.sha256 for x in chosen}["one.test"] == newer.sha256
    place.take_over()
    place.undo()
    assert content(place.certbot) == after, "no further version is added"


def test_undo_restores_the_certificate_of_certbot_that_ends_later(place: Place) -> None:
    before = content(place.certbot)
    place.take_over()
    renewed(place, 10)
    place.undo()
    place.require_restored(before)


def test_undo_is_refused_if_the_key_of_the_newer_certificate_is_elsewhere(place: Place) -> None:
    place.take_over()
    lineage = Lineage(place.folder / "acme", "one.test")
    lineage.switch(lineage.store(None, make_bundle(Authority("Other").issue("one.test")).chain_der))
    served = content(place.certbot)
    with pytest.raises(CertmgrError, match="its key is not on this machine"):
        place.undo()
    assert content(place.certbot) == served and place.active() == ["one.test", "two.test"]


@pytest.mark.campaign
def test_undo_that_dies_at_any_step_keeps_the_newer_certificate(
    deaths: Forks, campaign: Campaign, tmp_path: Path
) -> None:
    stride = campaign.size("of its steps one in ... is killed", 40, 1)
    kills = deaths.call("late_undo", folder=str(tmp_path), stride=stride)
    assert kills >= 40 // stride


def test_one_lineage_given_back_is_renewed_by_certbot_again(place: Place) -> None:
    place.take_over()
    context = place.context()
    adopt.give_back(context, "one.test")
    context.database.close()
    assert place.active() == ["two.test"] and place.timer.is_symlink()
    assert [p.name for p in (place.certbot / "renewal").glob("*.conf")] == ["one.test.conf"]
