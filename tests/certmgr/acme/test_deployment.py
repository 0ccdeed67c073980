"""Certificates at their targets, in front of a real nginx: put in place, proved, rolled back."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.acme.deployment import deploy
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.config.acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from certmgr.inspection import live_check as looking
from certmgr.inspection.verification import Observation
from inventory.clock import system_clock
from inventory.store import domains
from tests.certmgr.acme.shop import Shop
from tests.certmgr.acme.web import with_nginx
from tests.servers.pebble import Pebble


def test_failing_target_is_retried_and_stops_no_other_target(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    with_nginx(place, ca, tmp_path, opened)
    flag = tmp_path / "works"
    works = ("/usr/bin/test", "-e", str(flag))
    copy = str(tmp_path / "copy")
    broken = TargetSettings(kind="files", directory=copy, reload=works, settle=0.0)
    place.configure(places={**place.settings.acme.places, "broken": broken})
    lineage = place.lineage("1001", ["shop.test"], targets="broken nginx")
    summary = RenewalRunner(place.office).named(["shop.test"])
    assert summary.failed and dict(summary.counts) == {"failed": 1}, summary
    row = place.row(lineage)
    assert row["deployed"] == row["sha256"] and row["proven_at"] is not None, (
        "the target that works was kept back"
    )
    told = place.staff_news()
    assert any("target broken failed 1 time(s)" in line for line in told.lines)
    assert "target:shop.test:broken" in dict(told.alarms)
    assert not RenewalRunner(place.office).due().failed, "it waits for its time"
    place.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    flag.touch()
    assert dict(RenewalRunner(place.office).due().counts) == {"live": 1}
    assert place.staff_news().lines == ()


def test_target_missing_from_the_configuration_is_reported(place: Shop) -> None:
    place.unwatch("shop.test")
    place.lineage("1001", ["shop.test"], targets="gone")
    summary = RenewalRunner(place.office).named(["shop.test"])
    assert summary.failed and "no [acme.target.gone]" in summary.troubles[0][2]


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
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """After the reload nothing answers any more where our certificate was served."""
    web = with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    assert dict(RenewalRunner(place.office).named(["shop.test"]).counts) == {"live": 1}
    first = place.row(lineage)["sha256"]
    good = web.config.read_text()
    Path(f"{web.config}.good").write_text(good)
    harmful = tmp_path / "harmful.py"
    harmful.write_text(HARMFUL)
    live = place.office.base / "live" / "shop.test"
    own = (sys.executable, str(harmful), str(live), str(web.config), first, str(web.process.pid))
    target = replace(web.target, reload=(*own, *web.target.reload))
    place.configure(proof_seconds=0.0, places={"nginx": target})
    summary = RenewalRunner(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"rolled-back": 1} and summary.failed, summary
    row = place.row(lineage)
    assert row["deployed"] == first and row["rolled_back"] == row["sha256"] != first
    material = Lineage(place.office.base, "shop.test").read_current()
    assert material is not None and material.sha256 == first
    assert any(k.startswith("rolled-back:shop.test") for k, _ in place.staff_news().alarms)
    assert deploy(place.office, lineage).state == "staff", "it is not deployed again automatically"
    # An administrator repaired the server: deployed by hand, it is live.
    place.configure(proof_seconds=120.0, places={"nginx": web.target})
    web.config.write_text(good)
    assert deploy(place.office, lineage, again=True).state == "live"


def test_failed_check_rolls_nothing_back(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    RenewalRunner(place.office).named(["shop.test"])
    place.configure(proof_seconds=0.0)

    def blind(*_: object, **__: object) -> list[Observation]:
        return [
            Observation(
                "shop.test", 443, "127.0.0.1", "EC", None, "no answer in time", kind="timeout"
            )
        ]

    monkeypatch.setattr(looking, "check_live", blind)
    summary = RenewalRunner(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"untold": 1} and not summary.failed, summary
    row = place.row(lineage)
    assert (
        row["deployed"] == row["sha256"] and row["proven_at"] is None and row["rolled_back"] is None
    )


def test_certificate_that_is_not_served_is_reported_as_unseen(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """The target reloads nothing: its exit codes are 0, and the old certificate is served."""
    web = with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    RenewalRunner(place.office).named(["shop.test"])
    lazy = replace(web.target, reload=("/bin/true",))
    place.configure(proof_seconds=0.0, places={"nginx": lazy})
    summary = RenewalRunner(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"unseen": 1} and summary.failed, summary
    assert "another certificate at" in summary.troubles[0][2]
    assert place.row(lineage)["rolled_back"] is None, "the old certificate is no regression"


def test_site_behind_a_cdn_is_placed_and_any_other_unseen(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """It shows another good certificate, which is expected only if the inventory names the CDN."""
    web = with_nginx(place, ca, tmp_path, opened)
    place.lineage("1001", ["shop.test"], targets="nginx")
    lazy = replace(web.target, reload=("/bin/true",))
    place.configure(proof_seconds=0.0, places={"nginx": lazy})
    assert dict(RenewalRunner(place.office).named(["shop.test"]).counts) == {"unseen": 1}
    with place.database.write() as tx:
        domains.edit(tx, "shop.test", {"hosts": "cdn"})
    summary = RenewalRunner(place.office).named(["shop.test"])
    row = place.row(1)
    assert (
        dict(summary.counts) == {"placed": 1}
        and "behind a CDN" in row["proof"]
        and row["proven_at"] is None
    ), summary
