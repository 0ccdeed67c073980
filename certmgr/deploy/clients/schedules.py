"""The timers and cron lines that run an ACME client, wherever an administrator put them.

This module reads files and changes none. Only acme.sh and certbot install a schedule themselves;
for the others it is a timer, a cron line or a script of the administrator.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from certmgr.deploy.takeover import Schedule
from inventory.text import printable

# A crontab or a script has some hundred lines. A larger file is not read, and nothing of it is run.
MAX_FILE = 200_000
MAX_SCHEDULES = 200
# In the order in which systemd searches them (systemd.unit(5)).
_UNITS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
# "systemctl mask" and "systemctl mask --runtime" put a link to /dev/null there.
_MASKS = ("etc/systemd/system", "run/systemd/system")
_CRON_TABLES = ("etc/crontab", "etc/anacrontab")
# The last two are those of SUSE and of other systems.
_CRON_FOLDERS = ("etc/cron.d", "var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron")
_CRON_SCRIPTS = ("etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly")
_SNAP = "/usr/bin/snap"
# snap.certbot.renew.timer runs the app certbot.renew; certbot_two is a second instance.
_SNAP_TIMER = re.compile(r"snap\.([a-z0-9-]{1,60}(?:_[a-z0-9]{1,10})?\.[A-Za-z0-9-]{1,60})\.timer")
_DOMAINS = re.compile(r"(?:--domains?|-d)[=\s]+[\"']?([^\s\"']+)")


def schedules_of(program: str, root: Path = Path("/")) -> list[Schedule]:
    """Return the enabled timers and the cron lines that run a program, directly or by a script.

    Args:
        program: The file name of the program, such as ``lego``.
        root: The root of the file system.
    """
    found = [*_timers(program, root), *_cron(program, root)]
    return found[:MAX_SCHEDULES]


def domains_of(schedule: Schedule) -> tuple[str, ...]:
    """Return the domains that a command line names, without ``*.``; empty if it names none."""
    return tuple(d.removeprefix("*.").lower() for d in _DOMAINS.findall(schedule.command))


def enabled_timers(root: Path) -> list[str]:
    """Return the names of the timers that systemd starts, sorted.

    A masked timer is paused: systemd does not start it, although it may still be enabled.
    """
    names = {
        link.name
        for folder in (root / "etc/systemd/system").glob("*.wants")
        for link in folder.glob("*.timer")
        if link.is_symlink() and not _is_null(link)
    }
    return sorted(n for n in names if not any(_is_null(root / u / n) for u in _MASKS))


def _is_null(path: Path) -> bool:
    return path.is_symlink() and os.readlink(path) == "/dev/null"  # noqa: PTH115 - the text itself


def timer_schedule(name: str, command: str = "") -> Schedule:
    """Return a timer as a schedule."""
    shown = printable(name, 100)
    if match := _SNAP_TIMER.fullmatch(name):
        # An update of a snap enables its timers again, unless snap itself disabled them.
        app = match[1]
        return Schedule(
            f"systemd timer {shown}",
            (_SNAP, "stop", "--disable", app),
            f"snap stop --disable {app}",
            (_SNAP, "start", "--enable", app),
            command=command,
        )
    return Schedule(
        f"systemd timer {shown}",
        ("/usr/bin/systemctl", "disable", "--now", name),
        f"systemctl disable --now {shown}",
        ("/usr/bin/systemctl", "enable", "--now", name),
        command=command,
    )


def _timers(program: str, root: Path) -> Iterator[Schedule]:
    for name in enabled_timers(root):
        command = _command_of(root, name)
        # The name of a timer proves nothing: an administrator may call it anything.
        if command and _runs(program, command, root):
            yield timer_schedule(name, command)


def _command_of(root: Path, timer: str) -> str:
    """Return the command lines of the service that a timer starts."""
    service = timer.removesuffix(".timer") + ".service"
    # Without "Unit=" a timer starts the service of the same name.
    for line in _unit(root, timer):
        if line.startswith("Unit="):
            service = line.removeprefix("Unit=").strip()
    instance = service.partition("@")[2].removesuffix(".service")
    lines = [
        line.partition("=")[2].lstrip("-+!:@ ")
        for line in _unit(root, service)
        if line.startswith(("ExecStart", "ExecStop"))
    ]
    return " ; ".join(x.replace("%i", instance).replace("%I", instance) for x in lines)


def _unit(root: Path, name: str) -> list[str]:
    """Return the lines of a unit and its drop-ins; a template for an instance of it."""
    # The name comes from a unit file and becomes part of a path.
    if Path(name).name != name:
        return []
    template = re.sub(r"@.*(?=\.\w+$)", "@", name)
    paths = [root / u / n for n in dict.fromkeys((name, template)) for u in _UNITS]
    main = next((p for p in paths if p.is_file()), None)
    drop_ins = [
        d
        for n in dict.fromkeys((name, template))
        for u in _UNITS
        for d in sorted((root / u / f"{n}.d").glob("*.conf"))
    ]
    text = "".join(_read(p) + "\n" for p in ([main] if main is not None else []) + drop_ins)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines()]


def _cron(program: str, root: Path) -> Iterator[Schedule]:
    tables = [root / t for t in _CRON_TABLES]
    for folder in _CRON_FOLDERS:
        if (root / folder).is_dir() and not os.access(root / folder, os.R_OK | os.X_OK):
            # What cannot be read is not known to be empty: it may run the client.
            yield Schedule(
                f"cron: {root / folder} (not readable for this user)",
                None,
                f"run the command as root, or check crontab -l for {program}",
            )
        tables += [p for p in _entries(root / folder) if p.is_file()]
    for path in tables:
        text = _read(path)
        lines = [x for x in text.splitlines() if x.strip() and not x.lstrip().startswith("#")]
        for line in lines:
            if _runs(program, line, root):
                yield Schedule(
                    f"cron: {path}",
                    None,
                    f"put a # before the line with {program} in {path}"
                    " (crontab -e edits the table of a user)",
                    command=printable(line.strip(), 500),
                )
    for folder in _CRON_SCRIPTS:
        for path in _entries(root / folder):
            if path.is_file() and _mentions(program, _read(path)):
                yield Schedule(
                    f"cron: {path}", None, f"move {path} away", command=printable(str(path), 300)
                )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:1000]
    except OSError:
        return []


def _runs(program: str, command: str, root: Path) -> bool:
    """Return whether a command line runs a program, itself or by a script that it names."""
    if _mentions(program, command):
        return True
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    # Administrators often call a script from cron, which then calls the client.
    scripts = [root / w.lstrip("/") for w in words if w.startswith("/")]
    return any(
        text.startswith("#!") and _mentions(program, text) for s in scripts for text in [_read(s)]
    )


def _mentions(program: str, text: str) -> bool:
    """Return whether a line that is not a comment has the program as a word or a file name."""
    word = re.compile(rf"(?:^|[/\s\"'=;&|(`]){re.escape(program)}(?=[\s\"';&|)`]|$)")
    return any(
        word.search(line) is not None
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
    )


def _read(path: Path) -> str:
    """Return the text of a regular file of bounded size; empty if it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE:
            return ""
        return path.read_text(errors="replace")
    except OSError:
        return ""
