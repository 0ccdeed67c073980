"""A fleet that renews itself: ARI, quarantine, failing targets, harm, what staff hear. Real CAs, real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import inventory.tables_acme  # noqa: F401 - completes the metadata
from certmgr.cases import look as looking
from certmgr.cases.proof import Sight
from certmgr.config import Settings
from certmgr.config_acme import SolverSettings, TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.issuance import news
from certmgr.issuance.bring import bring
from certmgr.issuance.renewing import Fleet
from certmgr.issuance.revoking import revoke
from certmgr.survey import Options, Survey
from inventory.clock import system_clock
from inventory.database import Database
from inventory.errors import Busy
from inventory.store import domains, endpoints, erase, findings, jobs, lineages, servers
from inventory.tables import metadata
from inventory.targets import Target
from tests.certmgr.issuance.shop import Shop, shop
from tests.certmgr.issuance.web import Nginx, nginx
from tests.servers.acme2certifier import acme2certifier
from tests.servers.faulty import Rule, faulty, problem
from tests.servers.pebble import Pebble
from tests.servers.ports import free_port
from tests.servers.real import write_pair


def served(place: Shop, web: Nginx, host: str, *addresses: str) -> None:
    """The endpoint of a site is where nginx listens."""
    with place.database.write() as tx:
        endpoints.retire(tx, Target(host))
        endpoints.add(tx, Target(host, web.port), addresses=addresses or ("127.0.0.1",))


def with_nginx(place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack, name: str = "shop.test") -> Nginx:
    live, behind = place.office.base / "live" / name, free_port()
    web = opened.enter_context(nginx(tmp_path / "nginx", live, [name], http_port=ca.http_port, behind=behind))
    solver = SolverSettings(kind="standalone", address="127.0.0.1", port=behind, http_port=ca.http_port)
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, solvers={"web": solver}, places={"nginx": web.target})
    )
    served(place, web, name)
    return web


def staff_lines(place: Shop, now: datetime | None = None) -> news.RobotNews:
    with place.database.read() as conn:
        return news.gather(conn, now or system_clock())


# -- when ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_renewed_before_its_time_and_everything_after(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    assert dict(Fleet(place.office).due().counts) == {"placed": 1}
    first = place.row(lineage)["sha256"]
    assert Fleet(place.office).due().planned == 0
    place.given = {"clock": lambda: system_clock() + timedelta(days=61)}
    summary = Fleet(place.office).due()
    assert summary.planned == 1 and place.row(lineage)["sha256"] != first, summary
    with place.database.read() as conn:
        assert jobs.state(conn, "renew")["success_at"] is not None


def test_a_revoked_certificate_is_replaced_at_once(place: Shop, ca: Pebble) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    lineage = place.lineage("1001", ["shop.test"])
    Fleet(place.office).due()
    for by, reason in (("account", "superseded"), ("key", "keyCompromise")):
        before = place.row(lineage)["sha256"]
        done = revoke(place.office, "shop.test", reason, by=by)
        assert done.sha256 == before and not done.already
        assert ca.status(int(done.serial, 16))["Status"] == "Revoked"
        assert revoke(place.office, "shop.test", reason, by=by).already
        summary = Fleet(place.office).due()
        assert summary.planned == 1 and place.row(lineage)["sha256"] != before, summary
        assert place.orders(lineage)[0]["reason"] == "it is revoked"
    assert before in place.row(lineage)["compromised"]


def test_one_run_at_a_time(place: Shop) -> None:
    with jobs.alone(place.database, "renew"), pytest.raises(Busy):
        Fleet(place.office).due()


def test_two_who_order_the_same_step_aside(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    with place.office.alone("shop.test"):
        done = place.order(lineage)
    assert done.state == "busy" and place.orders(lineage) == []
    # The lease of another machine is respected, and ends.
    from inventory.store import acme_orders

    with place.database.write() as tx:
        order = acme_orders.intend(
            tx, {"lineage_id": lineage, "account_id": place.row(lineage)["account_id"], "reason": "x", "names": "shop.test"}
        )
        tx.conn.exec_driver_sql(f"UPDATE acme_order SET holder = 'elsewhere token' WHERE id = {order['id']}")
    assert place.order(lineage).state == "busy"
    place.given = {"clock": lambda: system_clock() + timedelta(minutes=20)}
    assert place.order(lineage).state == "issued"


# -- ARI -----------------------------------------------------------------------------------------------------------------


def test_ari_profiles_and_replaces(database: Database, settings: Settings, tmp_path: Path, opened: ExitStack) -> None:
    real = opened.enter_context(acme2certifier(tmp_path, retry_after=7200))
    proxy = opened.enter_context(faulty(tmp_path, real.directory, real.ca_file))
    place = shop(database, settings, tmp_path, proxy.directory, proxy.ca_file)
    place.client("1001", "shop.test")
    with database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    place.register()
    lineage = place.lineage("1001", ["shop.test"], profile="shortlived")
    summary = Fleet(place.office).due()
    assert dict(summary.counts) == {"placed": 1}, summary
    posts = [s.payload for s in proxy.to("/acme/neworder", "POST")]
    assert posts[0]["profile"] == "shortlived" and "replaces" not in posts[0]
    draws = iter([0.25, 0.75, 0.5])
    place.given = {"draw": lambda: next(draws, 0.5)}
    Fleet(place.office).due()
    row = place.row(lineage)
    assert row["ari_start"] and row["ari_start"] <= row["ari_at"] <= row["ari_end"]
    drawn = row["ari_start"] + (row["ari_end"] - row["ari_start"]) // 4
    assert abs(row["ari_at"] - drawn) <= 1
    assert 7000 < row["ari_next_at"] - system_clock().timestamp() < 7300, "as Retry-After said"
    asked = len(proxy.to("/acme/renewal-info"))
    Fleet(place.office).due()
    assert len(proxy.to("/acme/renewal-info")) == asked, "it was asked again before its time"
    place.given = {"clock": lambda: system_clock() + timedelta(hours=3)}
    Fleet(place.office).due()
    assert len(proxy.to("/acme/renewal-info")) == asked + 1
    assert place.row(lineage)["ari_at"] == row["ari_at"], "the same window was drawn anew"
    # At the instant that was drawn: renewed, and the CA is told what is replaced.
    place.given = {"clock": lambda: datetime.fromtimestamp(row["ari_at"] + 60, UTC)}
    proxy.rules.append(
        Rule(problem(409, "alreadyReplaced", "replaced"), "/acme/neworder", when=lambda s: "replaces" in (s.payload or {}))
    )
    summary = Fleet(place.office).due()
    assert place.row(lineage)["sha256"] != row["sha256"], summary
    posts = [s.payload for s in proxy.to("/acme/neworder", "POST")][1:]
    assert "replaces" in posts[0] and "replaces" not in posts[-1], "refused with it, ordered without it"
    revoke(place.office, "shop.test", "superseded", sha256=row["sha256"])
    assert len(real.revoked()) == 1


def test_a_profile_that_the_ca_does_not_offer_is_said_before_it_is_asked(
    database: Database, settings: Settings, tmp_path: Path, opened: ExitStack
) -> None:
    real = opened.enter_context(acme2certifier(tmp_path))
    place = shop(database, settings, tmp_path, real.directory, real.ca_file)
    place.client("1001", "shop.test")
    place.register()
    done = place.order(place.lineage("1001", ["shop.test"], profile="longlived"))
    assert done.state == "failed" and "has no profile 'longlived'" in done.said and "classic, shortlived" in done.said


# -- names that fail -----------------------------------------------------------------------------------------------------


def test_a_name_that_fails_is_quarantined_the_others_wait_for_approval_and_it_returns(place: Shop, ca: Pebble) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    lineage = place.lineage("1001", ["shop.test", "gone.shop.test"])
    ca.add_a("gone.shop.test", "127.0.0.77")
    try:
        for _ in range(2):
            done = place.order(lineage)
            assert done.state == "failed" and "gone.shop.test" in done.said, done
        with place.database.read() as conn:
            named = {n["name"]: n for n in lineages.names_of(conn, [lineage])[lineage]}
        assert named["gone.shop.test"]["state"] == "quarantined" and named["shop.test"]["state"] == "active"
        held = place.order(lineage)
        assert held.state == "held" and "certmgr lineage approve shop.test" in held.said
        said = staff_lines(place)
        assert any("gone.shop.test is in quarantine" in line for line in said.lines)
        assert any(key.startswith("quarantine:shop.test") for key, _ in said.alarms)
        with place.database.write() as tx:
            lineages.edit(tx, lineage, shrink_ok="gone.shop.test")
        assert place.order(lineage).state == "issued"
        with place.database.read() as conn:
            assert lineages.served_names(conn, [place.row(lineage)["sha256"]]) == {
                place.row(lineage)["sha256"]: frozenset({"shop.test"})
            }
        assert Fleet(place.office).due().returned == 0
    finally:
        ca.clear_a("gone.shop.test")
    place.given = {"clock": lambda: system_clock() + timedelta(days=1)}
    summary = Fleet(place.office).due()
    assert summary.returned == 1 and summary.planned == 1, summary
    with place.database.read() as conn:
        assert lineages.served_names(conn, [place.row(lineage)["sha256"]])[place.row(lineage)["sha256"]] == {
            "shop.test",
            "gone.shop.test",
        }


def test_a_name_that_points_elsewhere_costs_no_failed_authorization(place: Shop, ca: Pebble) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
        servers.add(tx, {"name": "web1", "kind": "web", "addresses": ["127.0.0.1"]})
    lineage = place.lineage("1001", ["shop.test", "left.shop.test"], shrink="auto")
    ca.add_a("left.shop.test", "127.0.0.88")
    before = ca.order_count()
    try:
        summary = Fleet(place.office).due()
    finally:
        ca.clear_a("left.shop.test")
    assert dict(summary.counts) == {"placed": 1}, summary
    assert ca.order_count() == before + 1
    assert place.orders(lineage)[0]["names"] == "shop.test"
    assert any("none of ours" in line for line in staff_lines(place).lines)


# -- targets -------------------------------------------------------------------------------------------------------------


def test_one_failing_target_stops_no_other_is_retried_and_said(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    with_nginx(place, ca, tmp_path, opened)
    flag = tmp_path / "works"
    broken = TargetSettings(
        kind="files",
        directory=str(tmp_path / "copy"),
        reload=(sys.executable, "-c", f"import os, sys; sys.exit(not os.path.exists({str(flag)!r}))"),
    )
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, places={**place.settings.acme.places, "broken": broken})
    )
    lineage = place.lineage("1001", ["shop.test"], targets="broken nginx")
    summary = Fleet(place.office).named(["shop.test"])
    assert summary.failed and dict(summary.counts) == {"failed": 1}, summary
    row = place.row(lineage)
    assert row["deployed"] == row["sha256"] and row["proven_at"] is not None, "the target that works was kept back"
    said = staff_lines(place)
    assert any("target broken failed 1 time(s)" in line for line in said.lines) and any(
        k == "target:shop.test:broken" for k, _ in said.alarms
    )
    assert not Fleet(place.office).due().failed, "it waits for its time"
    place.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    flag.touch()
    assert dict(Fleet(place.office).due().counts) == {"live": 1}
    assert staff_lines(place).lines == ()


def test_a_target_that_the_configuration_lost_is_said(place: Shop) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    place.lineage("1001", ["shop.test"], targets="gone")
    summary = Fleet(place.office).named(["shop.test"])
    assert summary.failed and "no [acme.target.gone]" in summary.troubles[0][2]


def test_a_disk_that_cannot_be_written_leaves_the_live_pair(place: Shop) -> None:
    """A file stands where a folder has to be made, as on a disk that is full or read-only nothing can be: tests/certmgr/deploy shows those two."""
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    lineage = place.lineage("1001", ["shop.test"])
    Fleet(place.office).named(["shop.test"])
    folder = Lineage(place.office.base, "shop.test")
    before = folder.read_current()
    assert before is not None
    archive, aside = folder.archive.parent, folder.archive.parent.with_name("aside")
    archive.rename(aside)
    archive.write_text("in the way")
    try:
        summary = Fleet(place.office).named(["shop.test"])
        assert summary.failed and len(summary.troubles) == 1, summary
        assert "cannot be" in summary.troubles[0][2], summary
        assert place.orders(lineage)[0]["ended_at"] is None, "the certificate that was issued is lost"
        count = len(place.orders(lineage))
    finally:
        archive.unlink()
        aside.rename(archive)
    assert folder.read_current() == before
    place.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    assert not Fleet(place.office).named(["shop.test"]).failed
    assert len(place.orders(lineage)) == count, "it was ordered again"
    after = folder.read_current()
    assert after is not None and after.sha256 == place.row(lineage)["sha256"] != before.sha256


# -- harm ----------------------------------------------------------------------------------------------------------------


def test_harm_that_is_seen_brings_the_version_before_back_once(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack
) -> None:
    """The reload stops the site: where ours was served, nothing answers any more."""
    web = with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    assert dict(Fleet(place.office).named(["shop.test"]).counts) == {"live": 1}
    first = place.row(lineage)["sha256"]
    good = web.config.read_text()
    harmful = tmp_path / "harmful.py"
    harmful.write_text(
        "import subprocess, sys, pathlib, os\nlive, config, first = sys.argv[1:4]\n"
        "import hashlib, base64\npem = pathlib.Path(live, 'cert.pem').read_text().split('-----')[2]\n"
        "sha = hashlib.sha256(base64.b64decode(pem)).hexdigest()\n"
        "text = pathlib.Path(config + '.good').read_text()\n"
        "pathlib.Path(config).write_text(text if sha == first else text.replace(' ssl;', ';'))\n"
        "sys.exit(subprocess.run(sys.argv[4:]).returncode)\n"
    )
    Path(f"{web.config}.good").write_text(good)
    reload = (
        sys.executable,
        str(harmful),
        str(place.office.base / "live" / "shop.test"),
        str(web.config),
        first,
        *web.target.reload,
    )
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, places={"nginx": replace(web.target, reload=reload)})
    )
    summary = Fleet(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"rolled-back": 1} and summary.failed, summary
    row = place.row(lineage)
    assert row["deployed"] == first and row["rolled_back"] == row["sha256"] != first
    material = Lineage(place.office.base, "shop.test").read_current()
    assert material is not None and material.sha256 == first
    assert any(k.startswith("rolled-back:shop.test") for k, _ in staff_lines(place).alarms)
    assert bring(place.office, lineage).state == "staff", "it is not tried a second time by itself"
    # Somebody mended the server: deployed by hand, it is live.
    place.settings = replace(place.settings, acme=replace(place.settings.acme, places={"nginx": web.target}))
    web.config.write_text(good)
    assert bring(place.office, lineage, again=True).state == "live"


def test_a_look_that_fails_takes_nothing_back(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    Fleet(place.office).named(["shop.test"])
    place.settings = replace(place.settings, acme=replace(place.settings.acme, proof_seconds=1.0))

    def blind(*_: object, **__: object) -> list[Sight]:
        return [Sight("shop.test", 443, "127.0.0.1", "EC", None, "no answer in time", kind="timeout")]

    monkeypatch.setattr(looking, "look", blind)
    summary = Fleet(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"untold": 1} and not summary.failed, summary
    row = place.row(lineage)
    assert row["deployed"] == row["sha256"] and row["proven_at"] is None and row["rolled_back"] is None


def test_what_is_not_live_everywhere_is_said(place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack) -> None:
    """Nobody reloads the server: exit codes are fine, and the old certificate is served."""
    web = with_nginx(place, ca, tmp_path, opened)
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    Fleet(place.office).named(["shop.test"])
    lazy = replace(web.target, reload=("/bin/true",))
    place.settings = replace(place.settings, acme=replace(place.settings.acme, proof_seconds=1.0, places={"nginx": lazy}))
    summary = Fleet(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"unseen": 1} and summary.failed, summary
    assert "another certificate at" in summary.troubles[0][2]
    assert place.row(lineage)["rolled_back"] is None, "the old one is no harm"


def test_a_site_behind_a_cdn_is_told_apart(place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack) -> None:
    """It shows another good certificate. Where the inventory knows of the CDN nothing is waited for there; elsewhere it is not live."""
    web = with_nginx(place, ca, tmp_path, opened)
    place.lineage("1001", ["shop.test"], targets="nginx")
    lazy = replace(web.target, reload=("/bin/true",))
    place.settings = replace(place.settings, acme=replace(place.settings.acme, proof_seconds=1.0, places={"nginx": lazy}))
    assert dict(Fleet(place.office).named(["shop.test"]).counts) == {"unseen": 1}
    with place.database.write() as tx:
        domains.edit(tx, "shop.test", {"hosts": "cdn"})
    summary = Fleet(place.office).named(["shop.test"])
    row = place.row(1)
    assert dict(summary.counts) == {"placed": 1} and "behind a CDN" in row["proof"] and row["proven_at"] is None, summary


# -- staff and clients ---------------------------------------------------------------------------------------------------


def test_an_endpoint_that_a_healthy_lineage_covers_is_left_to_it(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    Fleet(place.office).named(["shop.test"])
    with place.database.write() as tx:
        endpoints.add(tx, Target("shop.test", 8443))
    assert staff_lines(place).automated == {}, "it was not seen live yet"
    with place.database.write() as tx:
        lineages.note(tx, lineage, proven_at=tx.at)
    found = staff_lines(place)
    assert list(found.automated) and found.lines == ()
    near = system_clock() + timedelta(days=80)
    assert staff_lines(place, near).automated == {}
    with place.database.write() as tx:
        lineages.note(tx, lineage, failures=2, error=json.dumps({"sentence": "no"}))
    assert staff_lines(place).automated == {}
    alarms = dict(staff_lines(place, near).alarms)
    assert "could not be renewed" in alarms["near:shop.test"]


def test_a_scan_expects_what_was_proved_and_says_what_is_not_ours(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack, issuer: Authority
) -> None:
    web = with_nginx(place, ca, tmp_path, opened)
    place.lineage("1001", ["shop.test"], targets="nginx")
    assert dict(Fleet(place.office).named(["shop.test"]).counts) == {"live": 1}

    def codes() -> set[str]:
        Survey(place.database, place.settings, Options()).run()
        with place.database.read() as conn:
            return {f["code"] for f in findings.listing(conn)}

    assert "unexpected-certificate" not in codes()
    other, key = write_pair(tmp_path / "other", issuer.issue("shop.test"))
    live = place.office.base / "live" / "shop.test"
    web.config.write_text(
        web.config.read_text().replace(str(live / "fullchain.pem"), str(other)).replace(str(live / "privkey.pem"), str(key))
    )
    subprocess.run(web.target.reload, check=True, capture_output=True)
    for _ in range(50):
        if "unexpected-certificate" in codes():
            break
    assert "unexpected-certificate" in codes()


def test_erasing_a_client_erases_its_lineages_and_leaves_others(place: Shop) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    place.client("1002", "other.test")
    mine, theirs = place.lineage("1001", ["shop.test"]), place.lineage("1002", ["other.test"])
    assert place.order(mine).state == place.order(theirs).state == "issued"
    with place.database.write() as tx:
        gone = erase.erase(tx, "1001")
    assert gone["lineages"] == 1
    with place.database.read() as conn:
        assert [r["name"] for r in lineages.listing(conn)] == ["other.test"]
        for table in metadata.sorted_tables:
            for row in conn.execute(table.select()):
                assert "shop.test" not in " ".join(str(v) for v in row if isinstance(v, str)), (table.name, row)


def test_doctor_names_what_the_configuration_lost_and_keys_that_are_open(place: Shop) -> None:
    from certmgr.cases.keys import local_path
    from certmgr.issuance import health

    assert list(health.examine(place.database, place.settings, system_clock())) == []
    place.lineage("1001", ["shop.test"], targets="gone", solver="lost")
    local_path(place.office.account(1)["key_reference"]).chmod(0o644)
    found = [what for state, what, _ in health.examine(place.database, place.settings, system_clock()) if state == "fault"]
    assert any("can be read by others" in w for w in found)
    assert any("no [acme.solver.lost]" in w for w in found) and any("no [acme.target.gone]" in w for w in found)


def test_what_was_issued_and_not_written_to_disk_is_gone_on_with(place: Shop) -> None:
    """As after a death, or on a full disk, between the certificate and its version: the next run for cron puts it there, with the same order."""
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    lineage = place.lineage("1001", ["shop.test"])

    class Died(BaseException):
        pass

    def step(name: str) -> None:
        if name == "version":
            raise Died

    place.given = {"step": step}
    with pytest.raises(Died):
        place.order(lineage)
    place.given = {}
    row = place.row(lineage)
    assert row["sha256"] is not None and Lineage(place.office.base, "shop.test").versions() == []
    assert dict(Fleet(place.office).due().counts) == {"placed": 1}
    assert place.row(lineage)["deployed"] == row["sha256"] and len(place.orders(lineage)) == 1


def test_a_name_that_moved_to_another_client_is_ordered_no_more(place: Shop) -> None:
    place.client("1002")
    lineage = place.lineage("1001", ["shop.test"])
    with place.database.write() as tx:
        domains.edit(tx, "shop.test", {"client": "1002"})
    done = place.order(lineage)
    assert done.state == "held" and place.orders(lineage) == [], done
    assert any("belongs to another client now" in line for line in staff_lines(place).lines)


def test_a_compromised_key_is_not_used_again(place: Shop) -> None:
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
    place.lineage("1001", ["shop.test"], reuse_key=1)
    Fleet(place.office).due()
    folder = Lineage(place.office.base, "shop.test")
    first = folder.read_current()
    revoke(place.office, "shop.test", "keyCompromise")
    Fleet(place.office).due()
    second = folder.read_current()
    assert first is not None and second is not None and first.key_pem != second.key_pem
