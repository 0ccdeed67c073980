"""Lineages of certbot: taken over with their account and directory, and given back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certmgr.acme import adopt
from certmgr.acme.adopt import AdoptionRequest
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from inventory.errors import CertmgrError, UsageError
from inventory.store import accounts, lineages
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.certmgr.deploy.certbot_place import certbot_account, certbot_lineage
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
    adopt.give_back(env.context, "shop.test")
    assert {n: (live / f"{n}.pem").read_bytes() for n in before} == before
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
