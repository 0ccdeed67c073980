"""Deployment to targets of a real nginx: verification, failures and rollback."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.acme.deployment.deployment import deploy
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from certmgr.inspection import live_check
from certmgr.inspection.verification import Observation
from inventory.clock import system_clock
from inventory.store import domains
from tests.campaign import PATIENCE
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.acme.web import with_nginx
from tests.servers.pebble import Pebble


def test_failing_target_is_retried_and_stops_no_other_target(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    with_nginx(env, ca, tmp_path, opened)
    flag = tmp_path / "works"
    works = ("/usr/bin/test", "-e", str(flag))
    copy = str(tmp_path / "copy")
    broken = TargetSettings(kind="files", directory=copy, reload=works, settle=0.0)
    env.configure(targets={**env.settings.acme.targets, "broken": broken})
    lineage = env.lineage("1001", ["shop.test"], targets="broken nginx")
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert summary.failed and dict(summary.counts) == {"failed": 1}, summary
    row = env.row(lineage)
    assert row.deployed == row.sha256 and row.proven_at is not None, (
        "the target that works was blocked"
    )
    report = env.staff_news()
    assert any("target broken failed 1 time(s)" in line for line in report.lines)
    assert "target:shop.test:broken" in dict(report.alarms)
    assert not RenewalRunner(env.context).run_due().failed, "it waits for its time"
    env.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    flag.touch()
    assert dict(RenewalRunner(env.context).run_due().counts) == {"live": 1}
    assert env.staff_news().lines == ()


def test_retry_waits_for_the_reload_before_it_judges(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """The reload of the retry takes effect a second later: the certificate is live then."""
    web = with_nginx(env, ca, tmp_path, opened)
    flag = tmp_path / "works"
    script = f'test -e {flag} || exit 1; (sleep 1; exec "$@") > /dev/null 2>&1 &'
    slow = replace(
        web.target, reload=("/bin/sh", "-c", script, "sh", *web.target.reload), settle=0.0
    )
    # The reload fails at first, so that there is nothing to wait for.
    env.configure(verification_seconds=0.0, targets={"nginx": slow})
    env.lineage("1001", ["shop.test"], targets="nginx")
    assert RenewalRunner(env.context).run_named(["shop.test"]).failed
    env.configure(verification_seconds=PATIENCE, targets={"nginx": slow})
    env.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    flag.touch()
    summary = RenewalRunner(env.context).run_due()
    assert dict(summary.counts) == {"live": 1}, summary
    assert not summary.failed


def test_target_missing_from_the_configuration_is_reported(env: AcmeEnvironment) -> None:
    env.unwatch("shop.test")
    env.lineage("1001", ["shop.test"], targets="gone")
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert summary.failed and "no [acme.target.gone]" in summary.problems[0][2]


# Serves plain HTTP unless the live certificate is the first one, and ends when nginx does so.
HARMFUL = """
import base64, hashlib, pathlib, subprocess, sys, time

live, config, first, master = sys.argv[1:5]


def workers():
    return set(pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split())


pem = pathlib.Path(live, "cert.pem").read_text().split("-----")[2]
good = hashlib.sha256(base64.b64decode(pem)).hexdigest() == first
text = pathlib.Path(config + ".good").read_text()
pathlib.Path(config).write_text(text if good else text.replace(" ssl;", ";"))
before = workers()
code = subprocess.run(sys.argv[5:]).returncode
while code == 0 and before & workers():
    time.sleep(0.01)
sys.exit(code)
"""


def test_regression_rolls_back_to_the_version_before_once(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """After the reload, the endpoint that served our certificate does not answer any more."""
    web = with_nginx(env, ca, tmp_path, opened)
    lineage = env.lineage("1001", ["shop.test"], targets="nginx")
    assert dict(RenewalRunner(env.context).run_named(["shop.test"]).counts) == {"live": 1}
    first = env.row(lineage).sha256
    good = web.config.read_text()
    Path(f"{web.config}.good").write_text(good)
    harmful = tmp_path / "harmful.py"
    harmful.write_text(HARMFUL)
    live = env.context.base / "live" / "shop.test"
    assert first is not None
    own = (sys.executable, str(harmful), str(live), str(web.config), first, str(web.process.pid))
    target = replace(web.target, reload=(*own, *web.target.reload))
    env.configure(verification_seconds=0.0, targets={"nginx": target})
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert dict(summary.counts) == {"rolled-back": 1} and summary.failed, summary
    row = env.row(lineage)
    assert row.deployed == first and row.rolled_back == row.sha256 != first
    material = Lineage(env.context.base, "shop.test").read_current()
    assert material is not None and material.sha256 == first
    assert any(k.startswith("rolled-back:shop.test") for k, _ in env.staff_news().alarms)
    assert deploy(env.context, lineage).state == "staff", "it is not deployed again automatically"
    # An administrator repaired the server: deployed by hand, it is live.
    env.configure(verification_seconds=120.0, targets={"nginx": web.target})
    web.config.write_text(good)
    assert deploy(env.context, lineage, again=True).state == "live"


def test_failed_check_rolls_nothing_back(
    env: AcmeEnvironment,
    ca: Pebble,
    tmp_path: Path,
    opened: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_nginx(env, ca, tmp_path, opened)
    lineage = env.lineage("1001", ["shop.test"], targets="nginx")
    RenewalRunner(env.context).run_named(["shop.test"])
    env.configure(verification_seconds=0.0)

    def time_out(*_: object, **__: object) -> list[Observation]:
        return [
            Observation(
                "shop.test", 443, "127.0.0.1", "EC", None, "no answer in time", kind="timeout"
            )
        ]

    monkeypatch.setattr(live_check, "check_live", time_out)
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert dict(summary.counts) == {"untold": 1} and not summary.failed, summary
    row = env.row(lineage)
    assert row.deployed == row.sha256 and row.proven_at is None and row.rolled_back is None


def test_certificate_that_is_not_served_is_reported_as_unseen(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """The target succeeds without a reload of nginx, so the old certificate is served."""
    web = with_nginx(env, ca, tmp_path, opened)
    lineage = env.lineage("1001", ["shop.test"], targets="nginx")
    RenewalRunner(env.context).run_named(["shop.test"])
    lazy = replace(web.target, reload=("/bin/true",))
    env.configure(verification_seconds=0.0, targets={"nginx": lazy})
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    assert dict(summary.counts) == {"unseen": 1} and summary.failed, summary
    assert "another certificate at" in summary.problems[0][2]
    assert env.row(lineage).rolled_back is None, "the old certificate is no regression"


def test_site_behind_a_cdn_is_placed_and_any_other_unseen(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """The site shows another valid certificate, which is expected only behind a CDN."""
    web = with_nginx(env, ca, tmp_path, opened)
    env.lineage("1001", ["shop.test"], targets="nginx")
    lazy = replace(web.target, reload=("/bin/true",))
    env.configure(verification_seconds=0.0, targets={"nginx": lazy})
    assert dict(RenewalRunner(env.context).run_named(["shop.test"]).counts) == {"unseen": 1}
    with env.database.write() as tx:
        domains.edit(tx, "shop.test", {"hosts": "cdn"})
    summary = RenewalRunner(env.context).run_named(["shop.test"])
    row = env.row(1)
    assert (
        dict(summary.counts) == {"placed": 1}
        and "behind a CDN" in (row.proof or "")
        and row.proven_at is None
    ), summary
