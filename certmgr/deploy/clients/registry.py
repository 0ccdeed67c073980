"""The clients from which a takeover is possible, in the order in which a directory is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from certmgr.deploy import certbot
from certmgr.deploy import takeover as certbot_takeover
from certmgr.deploy.client_model import ClientInstallation, ClientLineage
from certmgr.deploy.clients import acme_sh, dehydrated, lego, win_acme
from certmgr.deploy.clients.certbot_schedules import renewal_schedules
from certmgr.deploy.clients.source import (
    ClientSource,
    FileSource,
    hide_by_name,
    show_by_name,
)
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, UndoneTakeover
from certmgr.deploy.takeover_checks import objections
from inventory.clock import Clock
from inventory.errors import UsageError

# certbot first: its directory is recognised by a folder that no other client has.
CLIENTS = ("certbot", "acme.sh", "lego", "dehydrated", "win-acme-export")


class CertbotSource:
    """certbot, whose links in live/NAME are replaced (``certmgr/deploy/takeover.py``)."""

    name = "certbot"
    default_path: Path | None = Path("/etc/letsencrypt")
    # certbot renews only what has a configuration in its folder "renewal".
    hides = True
    # Its runs leave links alone that it did not make, so that hiding is needed for its timer only.
    always_hidden = False

    def recognises(self, path: Path) -> bool:
        return (path / "renewal").is_dir()

    def read(self, path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
        return certbot.read_installation(path, tuple(interrupted))

    def schedules(self, root: Path) -> list[Schedule]:
        return renewal_schedules(root)

    def kept_schedules(
        self, schedules: Sequence[Schedule], taken: Sequence[ClientLineage]
    ) -> tuple[Schedule, ...]:
        return tuple(schedules)

    def objections(self, lineage: ClientLineage, ours: Lineage, now: datetime) -> Iterator[str]:
        yield from objections(lineage, ours, now)

    def hide(self, configuration: Path, name: str) -> None:
        hide_by_name(configuration, name)

    def show(self, configuration: Path, name: str) -> None:
        show_by_name(configuration, name)

    def take_over(self, lineage: ClientLineage, ours: Lineage) -> None:
        certbot_takeover.take_over_links(lineage.live, ours)

    def is_taken_over(self, ours: Lineage) -> bool:
        return certbot_takeover.is_taken_over(ours)

    def give_back(self, ours: Lineage, clock: Clock) -> UndoneTakeover:
        return certbot_takeover.undo_takeover(ours)


def source_of(name: str, *, password: str = "") -> ClientSource:
    """Return a client by its name on the command line.

    Args:
        name: One of ``CLIENTS``.
        password: The password of the PFX files in an export of win-acme.

    Raises:
        UsageError: There is no such client.
    """
    match name:
        case "certbot":
            return CertbotSource()
        case "acme.sh":
            return FileSource(
                name="acme.sh",
                default_path=Path("~/.acme.sh"),
                program="acme.sh",
                reader=acme_sh.read,
                recogniser=acme_sh.recognises,
                hider=hide_by_name,
                shower=show_by_name,
            )
        # Without a configuration per certificate, nothing can be hidden from it.
        case "lego":
            return FileSource("lego", None, "lego", lego.read, lego.recognises)
        case "dehydrated":
            return FileSource(
                name="dehydrated",
                default_path=Path("/etc/dehydrated"),
                program="dehydrated",
                reader=dehydrated.read,
                recogniser=dehydrated.recognises,
                hider=dehydrated.hide,
                shower=dehydrated.show,
            )
        # On another machine: nothing of it is disabled or hidden from here.
        case "win-acme-export":
            return FileSource(
                "win-acme",
                None,
                "",
                partial(win_acme.read, password=password),
                win_acme.recognises,
            )
    raise UsageError(
        f"'{name[:60]}' is not a client that certmgr can take over from",
        "",
        f"Write one of {', '.join(CLIENTS)}.",
    )


def guess(path: Path) -> str:
    """Return the client whose directory a path is.

    Raises:
        UsageError: No client is recognised.
    """
    for name in CLIENTS:
        if path.is_dir() and source_of(name).recognises(path):
            return name
    raise UsageError(
        f"{path} is not the directory of a known client",
        "it was recognised as none of " + ", ".join(CLIENTS),
        "Name the client with --from and its directory with --path.",
    )
