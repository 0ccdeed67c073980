"""The timers and cron lines that run certbot."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.deploy.clients.certbot_schedules import has_schedules, renewal_schedules
from certmgr.deploy.clients.schedules import timer_schedule
from tests.certmgr.deploy.clients.places import timer, write


def test_schedules_are_found_with_the_command_that_disables_them(tmp_path: Path) -> None:
    assert renewal_schedules(tmp_path) == []
    assert not has_schedules(tmp_path)
    wants = tmp_path / "etc/systemd/system/timers.target.wants"
    wants.mkdir(parents=True)
    (wants / "certbot.timer").symlink_to("/lib/systemd/system/certbot.timer")
    snap = "snap.certbot.renew.timer"
    (wants / snap).symlink_to(f"/etc/systemd/system/{snap}")
    (wants / "certbot-renew.timer").symlink_to("/dev/null")
    cron = tmp_path / "etc/cron.d/certbot"
    cron.parent.mkdir(parents=True)
    cron.write_text(
        "SHELL=/bin/sh\n# certbot renews\n0 */12 * * * root test -x /usr/bin/certbot "
        "-a \\! -d /run/systemd/system && certbot -q renew\n"
    )
    found = renewal_schedules(tmp_path)
    assert [s.disable for s in found] == [
        ("/usr/bin/systemctl", "disable", "--now", "certbot.timer"),
        ("/usr/bin/snap", "stop", "--disable", "certbot.renew"),
        None,
    ]
    assert str(cron) in found[2].todo
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert len(renewal_schedules(tmp_path)) == 2, "Debian's line does nothing if systemd runs"
    crontab = tmp_path / "etc/crontab"
    crontab.write_text("0 3 * * * root certbot renew\n")
    found = renewal_schedules(tmp_path)
    assert [s.source for s in found[2:]] == [f"cron: {crontab}"] and found[2].disable is None
    assert f"put a # before the line with certbot in {crontab}" in found[2].todo
    assert has_schedules(tmp_path)


def test_timer_of_a_snap_is_disabled_and_enabled_by_snap(tmp_path: Path) -> None:
    """systemctl alone disables it only until the next update of the snap."""
    wants = tmp_path / "etc/systemd/system/timers.target.wants"
    wants.mkdir(parents=True)
    (wants / "snap.certbot.renew.timer").symlink_to("/etc/systemd/system/snap.certbot.renew.timer")
    (schedule,) = renewal_schedules(tmp_path)
    assert schedule.disable == ("/usr/bin/snap", "stop", "--disable", "certbot.renew")
    assert schedule.enable == ("/usr/bin/snap", "start", "--enable", "certbot.renew")
    assert schedule.todo == "snap stop --disable certbot.renew"
    (wants / "snap.certbot.renew.timer").unlink()
    assert not has_schedules(tmp_path), "what snap itself removes"


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("snap.lego_two.renew.timer", "/usr/bin/snap"),
        ("snap.timer", "/usr/bin/systemctl"),
        ("snap.x.timer", "/usr/bin/systemctl"),
        ("snap.--help.x.y.timer", "/usr/bin/systemctl"),
        ("snapcertbot.renew.timer", "/usr/bin/systemctl"),
    ],
)
def test_timer_that_only_resembles_one_of_a_snap_is_disabled_by_systemd(
    name: str, program: str
) -> None:
    disable = timer_schedule(name).disable
    assert disable is not None
    assert disable[0] == program


@pytest.mark.parametrize("folder", ["etc/systemd/system", "run/systemd/system"])
def test_masked_timer_is_paused_although_it_is_enabled(tmp_path: Path, folder: str) -> None:
    timer(tmp_path, "certbot", "/usr/bin/certbot -q renew")
    assert [s.source for s in renewal_schedules(tmp_path)] == ["systemd timer certbot.timer"]
    mask = tmp_path / folder / "certbot.timer"
    mask.unlink(missing_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    mask.symlink_to("/dev/null")
    assert renewal_schedules(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("etc/cron.d/tls", "0 3 * * * root /snap/bin/certbot renew"),
        ("etc/cron.d/tls", "0 3 * * * root /opt/letsencrypt/letsencrypt-auto renew"),
        ("etc/cron.d/tls", "0 3 * * * root perl -e 'sleep int(rand(43200))' && certbot -q renew"),
        ("etc/anacrontab", "7 5 tls /usr/local/sbin/certbot-auto renew"),
        ("var/spool/cron/tabs/root", "@weekly certbot renew"),
        ("etc/cron.weekly/tls", "#!/bin/sh\ncertbot renew"),
    ],
)
def test_cron_line_in_any_place_is_found(tmp_path: Path, path: str, line: str) -> None:
    write(tmp_path / path, f"# every night\n{line}\n".encode(), 0o755)
    assert [s.source for s in renewal_schedules(tmp_path)] == [f"cron: {tmp_path / path}"]


def test_timer_of_an_administrator_is_found_once(tmp_path: Path) -> None:
    timer(tmp_path, "tls", "/usr/bin/certbot renew ; /usr/bin/letsencrypt renew")
    timer(tmp_path, "certbot", "/usr/bin/certbot renew")
    assert [s.source for s in renewal_schedules(tmp_path)] == [
        "systemd timer certbot.timer",
        "systemd timer tls.timer",
    ]
