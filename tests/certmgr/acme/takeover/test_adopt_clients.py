"""Takeover from acme.sh, lego, dehydrated and win-acme.

lego and dehydrated are the programs of Debian, which got their certificates from pebble. Debian has
neither acme.sh nor win-acme: their files are written by hand
(tests/certmgr/deploy/clients/places.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.acme.takeover import adopt
from certmgr.acme.takeover.adopt import AdoptionRequest
from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule
from certmgr.x509.bundle import build_bundle
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import lineages
from tests.campaign import Campaign
from tests.certmgr.acme.client_deaths import CLIENTS_OF_CAMPAIGN, ClientPlace
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.certmgr.deploy.certbot_place import content
from tests.certmgr.deploy.clients import places
from tests.certmgr.deploy.forks import Forks, forks
from tests.servers.pebble import Pebble, pebble
from tests.servers.real import program


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A pebble that accepts each challenge, because both clients wait seconds for a validation."""
    with pebble(tmp_path_factory.mktemp("pebble"), authz_reuse=0, always_valid=True) as running:
        yield running


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    return sqlite_database


def run(ca: Pebble, *command: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "LEGO_CA_CERTIFICATES": str(ca.ca_file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def dehydrated(ca: Pebble, base: Path, *what: str) -> None:
    if not base.exists():
        base.mkdir(mode=0o700)
        (base / "tokens").mkdir()
        places.write(
            base / "config",
            f'CA="{ca.directory}"\nBASEDIR={base}\nCURL_OPTS="--cacert {ca.ca_file}"\n'
            f"WELLKNOWN={base}/tokens\nKEY_ALGO=prime256v1\n".encode(),
        )
        places.write(base / "domains.txt", b"# ours\nshop.test www.shop.test\n")
        dehydrated(ca, base, "--register", "--accept-terms")
    run(ca, program("dehydrated", "dehydrated"), "-f", str(base / "config"), *what)


@pytest.fixture
def real_lego(ca: Pebble, tmp_path: Path) -> None:
    run(
        ca,
        program("lego", "lego"),
        *("--server", ca.directory, "--path", str(tmp_path / "lego"), "--email", "ca@shop.test"),
        *("--accept-tos", "--http", "--http.port", f"127.0.0.1:{ca.http_port}"),
        *("--domains", "shop.test", "--domains", "www.shop.test", "--pem", "run"),
    )


@pytest.fixture
def real_dehydrated(ca: Pebble, tmp_path: Path) -> Callable[[], None]:
    base = tmp_path / "dehydrated"
    dehydrated(ca, base, "-c")
    return lambda: dehydrated(ca, base, "-c")


@pytest.mark.parametrize(
    ("client", "key", "chain"),
    [
        ("lego", "certificates/shop.test.key", "certificates/shop.test.crt"),
        ("dehydrated", "certs/shop.test/privkey.pem", "certs/shop.test/fullchain.pem"),
    ],
)
def test_certificate_of_a_real_client_is_taken_over_renewed_and_given_back(
    env: AcmeEnvironment,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    client: str,
    key: str,
    chain: str,
) -> None:
    run_client = request.getfixturevalue(f"real_{client}")
    env.unwatch("shop.test")
    base = tmp_path / client
    before = content(base)
    wanted = AdoptionRequest(base, root=tmp_path / "no-timers", client=client)
    planned = adopt.plan(env.context, wanted)
    assert not planned.unmanaged and not planned.installation.problems, planned
    assert [x.name for x in planned.chosen] == ["shop.test"]
    assert content(base) == before, "the proposal changed something"
    for _ in range(2):  # a second time changes nothing
        assert adopt.take_over(env.context, wanted, planned) == ["shop.test"]
    old = (base / chain).read_bytes()
    # The renewal signs in with the account and key of the client.
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert not summary.failed, summary
    with env.database.read() as conn:
        row = lineages.find(conn, "shop.test")
    assert row.account.startswith(f"{client}-")
    assert names(leaf(env, row.id)) == {"shop.test", "www.shop.test"}
    current = Lineage(env.context.base, "shop.test").read_current()
    assert current is not None and (base / chain).read_bytes() == current.files["fullchain.pem"]
    assert (base / chain).read_bytes() != old
    assert (base / key).read_bytes() == current.files["privkey.pem"]
    if client == "dehydrated":  # a manual run finds nothing to renew, and changes nothing
        run_client()
        assert (base / chain).read_bytes() == current.files["fullchain.pem"]
    undone = adopt.give_back(env.context, "shop.test")
    # The certificate of the client ends earlier, so the renewed one is its newest version now.
    assert undone is not None and undone.kept
    assert not (base / key).resolve().is_relative_to(env.context.base)
    assert (base / chain).read_bytes() == current.files["fullchain.pem"]
    assert (base / key).read_bytes() == current.files["privkey.pem"]
    assert (base / chain).is_symlink() == (client == "dehydrated")
    if client == "dehydrated":
        assert (base / "domains.txt").read_bytes() == before["domains.txt"]
        run_client()  # which reads what it was given back, and finds it fresh
        assert (base / chain).read_bytes() == current.files["fullchain.pem"]
    with env.database.read() as conn:
        assert lineages.listing(conn) == []


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> ClientPlace:
    made = ClientPlace(tmp_path / "machine", request.param)
    made.folder.mkdir()
    made.prepare()
    return made


every_client = pytest.mark.parametrize("place", CLIENTS_OF_CAMPAIGN, indirect=True)


@pytest.fixture(scope="module")
def deaths() -> Iterator[Forks]:
    with forks("tests.certmgr.acme.client_deaths") as running:
        yield running


@pytest.mark.campaign
@pytest.mark.parametrize("client", CLIENTS_OF_CAMPAIGN)
def test_takeover_and_undo_killed_at_any_step_are_completed_or_restored(
    deaths: Forks, campaign: Campaign, tmp_path: Path, client: str
) -> None:
    stride = campaign.size("of its steps one in ... is killed", 120, 1)
    kills = deaths.call("deaths", folder=str(tmp_path), stride=stride, client=client)
    assert kills >= 200 // stride
    campaign.report("kills", kills)


@every_client
def test_failure_in_the_middle_undoes_what_was_done(
    place: ClientPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the second lineage cannot be replaced after the first one was taken over."""
    before = content(place.base)
    real = place.module.take_over_files

    def failing(files: object, lineage: Lineage) -> None:
        if lineage.name == "two.test":
            raise CertmgrError("The files cannot be replaced", "the disk is full")
        real(files, lineage)

    monkeypatch.setattr(place.module, "take_over_files", failing)
    with pytest.raises(CertmgrError, match="disk is full"):
        place.take_over()
    place.require_restored(before)
    monkeypatch.undo()
    assert sorted(place.take_over()) == ["one.test", "two.test"]
    place.require_readable()


@every_client
def test_damaged_lineage_prevents_the_takeover_of_all(place: ClientPlace) -> None:
    key, _ = place.served("two.test")
    target = key.resolve()
    target.write_bytes(place.served("one.test")[0].read_bytes())
    before = content(place.base)
    context = place.context()
    wanted, planned = place.plan(context)
    wanted = replace(wanted, keep_timer=False)
    reasons = [r for _, r in planned.unmanaged] + [p.reason for p in planned.installation.problems]
    assert len(reasons) == 1 and [x.name for x in planned.chosen] == ["one.test"], reasons
    with pytest.raises(CertmgrError, match="would still renew"):
        adopt.take_over(context, wanted, planned)
    context.database.close()
    assert content(place.base) == before and place.active() == []


@every_client
def test_one_lineage_given_back_leaves_the_other(place: ClientPlace) -> None:
    before = content(place.base)
    place.take_over()
    context = place.context()
    adopt.give_back(context, "one.test")
    assert place.active() == ["two.test"]
    assert place.served("two.test")[0].resolve().is_relative_to(place.folder / "acme")
    assert not place.served("one.test")[0].resolve().is_relative_to(place.folder / "acme")
    adopt.give_back(context, "two.test")
    context.database.close()
    place.require_restored(before)


@pytest.mark.parametrize("place", ["acme.sh"], indirect=True)
def test_cron_line_of_acme_sh_is_named_and_may_keep_running(place: ClientPlace) -> None:
    """Only an administrator can remove it. With --keep-timer it finds nothing to renew."""
    context = place.context()
    wanted, planned = place.plan(context)
    with pytest.raises(CertmgrError, match="would still renew") as refused:
        adopt.take_over(context, replace(wanted, keep_timer=False), planned)
    assert "--keep-timer" in str(refused.value) and "crontabs/root" in str(refused.value)
    context.database.close()
    place.take_over()
    assert not list(place.base.glob("*/*.conf"))
    assert [p.name for p in sorted(place.base.glob("*/*.certmgr-took-over"))] == [
        "one.test.conf.certmgr-took-over",
        "two.test.conf.certmgr-took-over",
    ]


@pytest.mark.parametrize("place", ["lego"], indirect=True)
def test_timer_of_lego_that_cannot_be_attributed_prevents_a_partial_takeover(
    place: ClientPlace,
) -> None:
    """lego writes through links, so that its timer may go on only for other domains."""
    context = place.context()
    wanted, planned = place.plan(context)
    some = replace(wanted, names=("one.test",), keep_timer=True)
    part = replace(adopt.plan(context, some), schedules=planned.schedules)
    with pytest.raises(CertmgrError, match="would still renew"):
        adopt.take_over(context, some, part)
    separate = tuple(
        Schedule(f"timer {n}", ("/bin/true",), "", ("/bin/true",), f"lego -d {n} renew")
        for n in ("one.test", "two.test")
    )
    part = replace(part, schedules=separate)
    assert [s.source for s in adopt.disabled_schedules(some, part)] == ["timer one.test"]
    assert adopt.take_over(context, some, part) == ["one.test"]
    context.database.close()
    place.require_readable()


@pytest.mark.parametrize("place", ["acme.sh", "lego"], indirect=True)
def test_key_that_a_group_reads_needs_a_target_with_that_group(place: ClientPlace) -> None:
    key, _ = place.served("one.test")
    key.chmod(0o640)
    os.chown(key, -1, 33)
    context = place.context()
    wanted, planned = place.plan(context)
    assert [x.name for x in planned.chosen] == ["two.test"]
    assert 'group = "www-data"' in planned.unmanaged[0][1]
    target = TargetSettings(kind="reload", group="www-data", mode="0640")
    acme = replace(context.settings.acme, targets={"web": target})
    context = replace(context, settings=replace(context.settings, acme=acme))
    wanted = replace(wanted, targets=("web",))
    planned = replace(adopt.plan(context, wanted), schedules=planned.schedules)
    assert len(planned.chosen) == 2
    adopt.take_over(context, wanted, planned)
    context.database.close()
    assert key.stat().st_gid == 33 and key.stat().st_mode & 0o777 == 0o640


def test_export_of_win_acme_is_taken_over_without_a_change_to_it(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, issuer: Authority
) -> None:
    export = tmp_path / "export"
    account = ec.generate_private_key(ec.SECP256R1())
    places.win_acme_account(export, account, readable=False)
    places.win_acme_renewal(export, "one", ["shop.test"])
    places.win_acme_pem(export, "shop.test", issuer.issue("shop.test"))
    before = content(export)
    wanted = AdoptionRequest(export, root=tmp_path / "no", client="win-acme-export")
    planned = adopt.plan(env.context, wanted)
    assert "--account" in planned.unmanaged[0][1]
    wanted = replace(wanted, account="main")
    planned = adopt.plan(env.context, wanted)
    assert adopt.take_over(env.context, wanted, planned) == ["shop.test"]
    assert content(export) == before
    env.unwatch("shop.test")
    assert not RenewalRunner(env.context).run_named(["shop.test"]).failed
    adopt.give_back(env.context, "shop.test")
    with env.database.read() as conn:
        assert lineages.listing(conn) == []


@every_client
def test_served_files_hold_matching_keys_and_certificates(place: ClientPlace) -> None:
    place.take_over()
    for name in ("one.test", "two.test"):
        key, chain = place.served(name)
        assert build_bundle(key.read_bytes(), place.chain(chain)).leaf.names == (name,)
