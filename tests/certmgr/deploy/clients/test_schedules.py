"""The timers and cron lines that run a client."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.deploy.clients.schedules import domains_of, schedules_of
from tests.certmgr.deploy.clients.places import cron_table, timer, write


@pytest.mark.parametrize(
    ("program", "line", "found"),
    [
        ("acme.sh", '7 0 * * * "/root/.acme.sh"/acme.sh --cron --home "/root/.acme.sh"', True),
        ("acme.sh", '#7 0 * * * "/root/.acme.sh"/acme.sh --cron', False),
        ("acme.sh", "7 0 * * * tar czf backup.tgz /root/.acme.sh/", False),
        ("lego", "@daily cd /srv && lego --domains shop.test renew", True),
        ("lego", "@daily /usr/local/bin/legoland", False),
        ("lego", "@daily run-lego", False),
        ("dehydrated", "5 4 * * * root /usr/bin/dehydrated -c -g", True),
        ("dehydrated", "5 4 * * * root test -x /usr/bin/dehydrated; exit 0", True),
    ],
)
def test_cron_line_runs_a_client(tmp_path: Path, program: str, line: str, found: bool) -> None:
    cron_table(tmp_path, f"MAILTO=root\n{line}")
    assert bool(schedules_of(program, tmp_path)) is found


def test_scripts_that_a_timer_or_a_cron_line_runs_are_read(tmp_path: Path) -> None:
    write(tmp_path / "usr/local/bin/renew", b"#!/bin/sh\n# lego\nexec /opt/lego renew\n", 0o755)
    write(tmp_path / "usr/local/bin/other", b"#!/bin/sh\n# lego\ntrue\n", 0o755)
    timer(tmp_path, "certificates", "-/usr/local/bin/renew --quiet")
    timer(tmp_path, "other", "/usr/local/bin/other")
    write(tmp_path / "etc/cron.daily/renewal", b"#!/bin/sh\n/opt/lego renew\n", 0o755)
    found = schedules_of("lego", tmp_path)
    assert [s.source for s in found] == [
        "systemd timer certificates.timer",
        f"cron: {tmp_path}/etc/cron.daily/renewal",
    ]
    assert found[0].disable == ("/usr/bin/systemctl", "disable", "--now", "certificates.timer")


def test_timer_with_another_unit_a_drop_in_or_an_instance(tmp_path: Path) -> None:
    link = timer(tmp_path, "nightly", "/bin/true")
    units = tmp_path / "etc/systemd/system"
    write(units / "nightly.timer", b"[Timer]\nOnCalendar=daily\nUnit=work.service\n")
    write(units / "work.service.d" / "run.conf", b"[Service]\nExecStart=\nExecStart=/opt/lego\n")
    write(tmp_path / "usr/lib/systemd/system/work.service", b"[Service]\nExecStart=/bin/true\n")
    write(units / "lego@.service", b"[Service]\nExecStart=/usr/bin/lego \\\n --domains %i renew\n")
    (link.parent / "lego@shop.test.timer").symlink_to("../lego@.timer")
    (link.parent / "masked.timer").symlink_to("/dev/null")
    instance, nightly = schedules_of("lego", tmp_path)
    assert nightly.source == "systemd timer nightly.timer"
    assert domains_of(instance) == ("shop.test",)
