"""Stops and restarts the renewals of certbot: its timers, and its configuration per lineage.

This module performs I/O. Each function may be called again after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from certmgr.acme.takeover_journal import TakeoverRecord, sync_folder
from certmgr.deploy import hooks
from certmgr.deploy.certbot import DISABLED_SUFFIX
from certmgr.deploy.takeover import Schedule, renewal_schedules
from inventory.errors import CertmgrError
from inventory.text import printable


def end_schedules(active: Sequence[Schedule], root: Path) -> None:
    """Disable certbot's schedules.

    Two programs that renew the same names would undo each other's work.
    """
    for schedule in active:
        assert schedule.disable is not None
        outcome = hooks.run(schedule.disable)
        if not outcome.ok:
            raise CertmgrError(
                f"certbot's schedule {schedule.source} could not be disabled",
                f"{outcome.sentence}: {outcome.output_tail}",
                schedule.todo,
            )
    if left := renewal_schedules(root):
        raise CertmgrError(
            f"certbot's schedule {left[0].source} is still active",
            "nothing was taken over",
            left[0].todo,
        )


def enable(commands: Sequence[Sequence[str]]) -> None:
    """Enable certbot's timers again."""
    for command in commands:
        outcome = hooks.run(tuple(command))
        if not outcome.ok:
            raise CertmgrError(
                "certbot's timer could not be enabled again",
                f"{outcome.sentence}: {outcome.output_tail}",
                f"Run: {printable(' '.join(command), 200)}",
            )


def disable_renewal(record: TakeoverRecord, name: str) -> None:
    """Hide the renewal configuration of a lineage from certbot, which reads *.conf."""
    _rename(record.renewal, f"{name}.conf", f"{name}.conf{DISABLED_SUFFIX}")


def enable_renewal(record: TakeoverRecord, name: str) -> None:
    """Restore the renewal configuration of a lineage."""
    if not (record.renewal / f"{name}.conf").exists():
        _rename(record.renewal, f"{name}.conf{DISABLED_SUFFIX}", f"{name}.conf")


def _rename(folder: Path, old: str, new: str) -> None:
    try:
        with suppress(FileNotFoundError):
            (folder / old).rename(folder / new)
            sync_folder(folder)
    except OSError as error:
        raise CertmgrError(
            f"{folder / old} cannot be renamed",
            error.strerror or str(error),
            "Check the permissions of certbot's directory.",
        ) from None
