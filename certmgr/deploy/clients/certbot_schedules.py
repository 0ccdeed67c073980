"""The timers and cron lines that run certbot.

This module reads files and changes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from certmgr.deploy.clients.schedules import enabled_timers, schedules_of, timer_schedule
from certmgr.deploy.takeover import Schedule

# The names of the packages of Debian and Fedora, and of the snap. The service of the snap names
# another program (snap run), so that its timer is known by its name alone.
_TIMERS = ("certbot.timer", "snap.certbot.renew.timer", "certbot-renew.timer")
# certbot was called letsencrypt, and certbot-auto installed itself without a package.
_PROGRAMS = ("certbot", "certbot-auto", "letsencrypt", "letsencrypt-auto", "certbot.renew")


def renewal_schedules(root: Path = Path("/")) -> list[Schedule]:
    """Return the enabled systemd timers and the cron lines that run certbot.

    The caller disables them before it takes over any link.

    Args:
        root: The root of the file system.
    """
    # One timer or file may name several of the programs.
    return list({s.source: s for s in reversed(list(_all(root)))}.values())[::-1]


def has_schedules(root: Path = Path("/")) -> bool:
    """Return whether any timer or cron job runs certbot."""
    return bool(renewal_schedules(root))


def _all(root: Path) -> Iterator[Schedule]:
    enabled = enabled_timers(root)
    yield from (timer_schedule(name) for name in _TIMERS if name in enabled)
    systemd = (root / "run/systemd/system").is_dir()
    for program in _PROGRAMS:
        for schedule in schedules_of(program, root):
            # Debian's cron line tests for /run/systemd/system, and does nothing if systemd runs.
            if not (systemd and "/run/systemd/system" in schedule.command):
                yield schedule
