"""Taking certbot's place: its schedule, and the links that servers are configured with.

Nothing of certbot's is deleted, its keys are only read, and it can be undone.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certmgr.deploy.certbot import read_material
from certmgr.deploy.disk import (
    Modes,
    folder,
    link_at,
    read_at,
    require_trusted,
    sweep,
    token,
    write_at,
    writing,
)
from certmgr.deploy.lineage import Lineage
from certmgr.x509.bundle import CertificateBundle, checked
from inventory.certificates import from_pem
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

LINKS = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem")
COMBINED = "combined.pem"
_RECORD = "certbot.json"


# -- its schedule

_TIMERS = ("certbot.timer", "snap.certbot.renew.timer", "certbot-renew.timer")
_CRON = (
    "etc/cron.d/certbot",
    "etc/crontab",
    "etc/cron.daily/certbot",
    "var/spool/cron/crontabs/root",
    "var/spool/cron/root",
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One thing that runs certbot by itself.

    ``disable``: argument list that ends it, None where a person has to: then ``todo`` says what to
    do.
    """

    where: str
    disable: tuple[str, ...] | None
    todo: str


def schedules(root: Path = Path("/")) -> list[Schedule]:
    """What runs ``certbot renew`` on this machine: enabled timers of systemd, and lines of cron.

    The caller ends them before it takes anything over.
    """
    found = [
        Schedule(
            f"systemd timer {t}",
            ("/usr/bin/systemctl", "disable", "--now", t),
            f"systemctl disable --now {t}",
        )
        for t in _TIMERS
        if any(_there(p / t) for p in (root / "etc/systemd/system").glob("*.wants"))
    ]
    systemd = (root / "run/systemd/system").is_dir()
    for name in _CRON:
        path = root / name
        with suppress(OSError):
            lines = [
                line
                for line in path.read_text(errors="replace").splitlines()
                if "certbot" in line and not line.lstrip().startswith("#")
            ]
            # The file of Debian does nothing where systemd runs: it says so itself.
            if any(not (systemd and "/run/systemd/system" in line) for line in lines):
                found.append(
                    Schedule(
                        f"cron: {path}",
                        None,
                        f"put a # before the line with certbot in {path}, or move the file away",
                    )
                )
    return found


def _there(path: Path) -> bool:
    """A link to /dev/null is a timer that is masked."""
    return path.is_symlink() and os.readlink(path) != "/dev/null"  # noqa: PTH115 - the text itself


def timers_enabled(root: Path = Path("/")) -> bool:
    return bool(schedules(root))


# -- its links


def take_over_links(live: Path, lineage: Lineage) -> None:
    """The four links of certbot's ``live/NAME`` lead through our current link from now on, and
    combined.pem stands beside them.

    Our current version must hold the very key and chain that they lead to now: so whichever of them
    a server reads in between, they belong together. What they were is written down first, durably;
    a switch is refused until all are done; one that died is completed by the next call. Raises
    :class:`CertmgrError`.
    """
    with lineage.lock():
        live = _real(live)
        ours = lineage.read_current()
        if ours is None:
            raise CertmgrError(
                f"'{lineage.name}' has no certificate in use yet",
                "",
                "Store certbot's and switch to it first.",
            )
        have = _links(live)
        texts = _our_links(live, lineage)
        if all(have.get(n) == texts[n] for n in (*LINKS, COMBINED)):
            lineage.release()
            return
        _require_same(read_material(live), ours, live)
        with writing(f"The links in {live} cannot be exchanged"):
            known = _record(lineage)
            if known is None or known[0] != live:
                _note(lineage, live, {n: have[n] for n in LINKS})
            lineage.hold(f"the links of certbot in {live} are being exchanged")
            sweep(live)
            sweep(lineage.archive)
            with folder(live) as handle:
                for name in (*LINKS, COMBINED):
                    if have.get(name) != texts[name]:
                        link_at(handle, name, texts[name])
        lineage.release()


def undo(lineage: Lineage) -> None:
    """certbot's links as they were.

    Ours is switched to the certificate that they lead to first, so that they belong together at
    every moment; then reload the servers.

    Raises :class:`CertmgrError` where nothing was taken over, or what they led to is gone.
    """
    with lineage.lock():
        record = _record(lineage)
        if record is None:
            raise UsageError(f"Nothing of certbot was taken over for '{lineage.name}'")
        live, texts = record
        theirs = _material_behind(_real(live), texts)
        ours = lineage.read_current()
        if ours is None or not _same(theirs, ours):
            lineage.switch(lineage.store(theirs.key_pem, theirs.chain_der))
        with writing(f"The links in {live} cannot be restored"):
            lineage.hold(f"the links of certbot in {live} are being restored (undo)")
            sweep(live)
            sweep(lineage.archive)
            with folder(live) as handle:
                for name, text in texts.items():
                    link_at(handle, name, text)
                with suppress(FileNotFoundError):
                    os.unlink(COMBINED, dir_fd=handle)
                os.fsync(handle)
        # before the record goes: a death in between leaves something to repeat, and nothing that is
        # held
        lineage.release()
        with writing(f"{lineage.archive} cannot be written to"), folder(lineage.archive) as handle:
            os.unlink(_RECORD, dir_fd=handle)
            os.fsync(handle)


def _real(live: Path) -> Path:
    """A folder of certbot's, and nothing else. Raises :class:`UsageError`."""
    if live.is_symlink() or not live.is_dir():
        raise UsageError(
            f"{live} is not a folder of certbot's", "", "Name live/NAME in its directory."
        )
    require_trusted(live)
    return live.resolve()


def _links(live: Path) -> dict[str, str]:
    """Each link -> its text.

    Raises :class:`UsageError` where one of the four is none: then somebody copied files there.
    """
    found = {}
    for name in (*LINKS, COMBINED):
        path = live / name
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            mode = 0
        if stat.S_ISLNK(mode):
            found[name] = os.readlink(path)  # noqa: PTH115 - the text itself
        elif mode or name in LINKS:
            raise UsageError(
                f"{path} is not a link",
                "certbot makes it as one",
                "Let certbot put it right first (certbot certificates names lineages).",
            )
    return found


def _our_links(live: Path, lineage: Lineage) -> dict[str, str]:
    """Relative inside one base, absolute to another one."""
    current = lineage.archive.resolve() / "current"
    inside = live.parent.parent == lineage.base.resolve()
    return {
        n: os.path.relpath(current / n, live) if inside else str(current / n)
        for n in (*LINKS, COMBINED)
    }


def _same(a: CertificateBundle, b: CertificateBundle) -> bool:
    """Both are checked, so the same leaf means the same public key."""
    return a.chain_der == b.chain_der and a.key_pem is not None and b.key_pem is not None


def _require_same(theirs: CertificateBundle, ours: CertificateBundle, live: Path) -> None:
    if not _same(theirs, ours):
        raise CertmgrError(
            f"{live} shows another certificate than ours",
            "the links would not belong together while they are exchanged",
            "certbot may have renewed since: end its schedule, store its certificate again, switch"
            " to it, and repeat.",
        )


def _material_behind(live: Path, texts: Mapping[str, str]) -> CertificateBundle:
    """What the links of certbot led to."""

    key = read_regular(live / texts["privkey.pem"], 1_000_000)
    return checked(
        key, [c.der for c in from_pem(read_regular(live / texts["fullchain.pem"], 1_000_000))]
    )


def _record(lineage: Lineage) -> tuple[Path, dict[str, str]] | None:
    try:
        with folder(lineage.archive) as handle:
            found = json.loads(read_at(handle, _RECORD))
    except FileNotFoundError:
        return None
    return Path(found["live"]), {n: found["links"][n] for n in LINKS}


def _note(lineage: Lineage, live: Path, links: Mapping[str, str]) -> None:
    data = json.dumps({"live": str(live), "links": dict(links)}).encode()
    with folder(lineage.archive) as handle:
        temporary = token("new")
        write_at(handle, temporary, data, Modes())
        os.rename(temporary, _RECORD, src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)


__all__: Sequence[str] = (
    "COMBINED",
    "LINKS",
    "Schedule",
    "schedules",
    "take_over_links",
    "timers_enabled",
    "undo",
)
