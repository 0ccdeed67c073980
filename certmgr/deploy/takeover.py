"""Takes over from certbot the links that servers read.

No file of certbot is deleted, its keys are only read, and the takeover can be undone.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certmgr.deploy.certbot import read_bundle
from certmgr.deploy.certbot_archive import add_version
from certmgr.deploy.disk import (
    Modes,
    link_at,
    map_os_errors,
    open_folder,
    read_at,
    remove_leftovers,
    require_trusted,
    temporary_name,
    write_at,
)
from certmgr.deploy.lineage import Lineage
from certmgr.x509.bundle import CertificateBundle, build_bundle
from inventory.certificates import Certificate, from_pem
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

_log = logging.getLogger(__name__)

LINKS = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem")
COMBINED = "combined.pem"
_RECORD = "certbot.json"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A timer or cron job that runs certbot or another client.

    Attributes:
        source: The timer or the file, as text.
        disable: The command that disables it; None if an administrator has to do it.
        todo: What the administrator has to do.
        enable: The command that enables it again.
        command: The command line that it runs, if that was read. It is displayed and never run.
    """

    source: str
    disable: tuple[str, ...] | None
    todo: str
    enable: tuple[str, ...] | None = None
    command: str = ""


def take_over_links(live: Path, lineage: Lineage) -> None:
    """Redirect the four links of certbot's ``live/NAME`` to the current version of a lineage.

    combined.pem is added. The current version must have the same key and chain as certbot's links.
    So a server reads matching files at any time between two steps.

    The texts of the links are recorded first, durably. Switches are prevented until all links are
    replaced. If the process dies, the next call completes the takeover.

    Args:
        live: Certbot's live folder.
        lineage: The lineage of certmgr.

    Raises:
        CertmgrError: The current version differs, there is none, or a link cannot be replaced.
        UsageError: ``live`` is not a live folder of certbot.
    """
    with lineage.lock():
        live = _require_certbot_folder(live)
        current = lineage.read_current()
        if current is None:
            raise CertmgrError(
                f"'{lineage.name}' has no certificate in use yet",
                "",
                "Store certbot's certificate and switch to it first.",
            )
        existing = _links(live)
        texts = _certmgr_links(live, lineage)
        # An earlier call replaced all links and died before it released the hold.
        if all(existing.get(n) == texts[n] for n in (*LINKS, COMBINED)):
            lineage.release()
            return
        # Checked under the lock: certbot may have renewed between the plan and now.
        _require_same(read_bundle(live), current, live)
        with map_os_errors(f"The links in {live} cannot be replaced"):
            record = _read_record(lineage)
            # A repeated call must not record links that were replaced already.
            if record is None or record[0] != live:
                _write_record(lineage, live, {n: existing[n] for n in LINKS})
            _log.info("replacing the links in %s", live)
            # Durable before the first link changes.
            lineage.hold(f"the links of certbot in {live} are being replaced")
            remove_leftovers(live)
            remove_leftovers(lineage.archive)
            with open_folder(live) as handle:
                for name in (*LINKS, COMBINED):
                    if existing.get(name) != texts[name]:
                        link_at(handle, name, texts[name])
        lineage.release()


def is_taken_over(lineage: Lineage) -> bool:
    """Return whether links of certbot were replaced, or are about to be."""
    return (lineage.archive / _RECORD).exists()


@dataclass(frozen=True, slots=True)
class UndoneTakeover:
    """The result of an undo.

    Attributes:
        leaf: The certificate to which certbot's links lead now.
        kept: Whether it was issued since the takeover, and was added to certbot's archive.
    """

    leaf: Certificate
    kept: bool


def undo_takeover(lineage: Lineage) -> UndoneTakeover:
    """Restore certbot's links.

    Long after the takeover, certbot's own certificate has ended, or ends earlier than the one in
    use. Sites would fail with it, so the one in use is added to certbot's archive as its newest
    version, and the links lead to that.

    The lineage is switched to the certificate of certbot's links first, so that servers read
    matching files at any time. The caller reloads the servers afterwards.

    Order of durability: the version in certbot's archive; the record of the links, which leads to
    it; the hold; the links; the end of the hold; the end of the record.

    Raises:
        UsageError: Nothing was taken over.
        CertmgrError: The files of certbot do not exist any more, or a link cannot be restored.
    """
    with lineage.lock():
        record = _read_record(lineage)
        if record is None:
            raise UsageError(
                f"Nothing of certbot was taken over for '{lineage.name}'",
                "there is no record of a takeover",
                "Check the name of the lineage: certmgr lineage list.",
            )
        live, texts = record
        certbot_bundle = _bundle_behind(_require_certbot_folder(live), texts)
        current = lineage.read_current()
        kept = current is not None and _lasts_longer(current, certbot_bundle)
        if current is not None and kept:
            _require_key(current, certbot_bundle, live)
            _log.info("adding the current certificate of %s to certbot's archive", lineage.name)
            texts, certbot_bundle = add_version(live, texts, current), current
            with map_os_errors(f"{lineage.archive} cannot be written to"):
                _write_record(lineage, live, texts)
        # Before the first link changes: until then servers read our version, and then certbot's,
        # with the same content.
        if current is None or not _same(certbot_bundle, current):
            lineage.switch(lineage.store(certbot_bundle.key_pem, certbot_bundle.chain_der))
        with map_os_errors(f"The links in {live} cannot be restored"):
            lineage.hold(f"the links of certbot in {live} are being restored (undo)")
            remove_leftovers(live)
            remove_leftovers(lineage.archive)
            with open_folder(live) as handle:
                for name, text in texts.items():
                    link_at(handle, name, text)
                with suppress(FileNotFoundError):
                    os.unlink(COMBINED, dir_fd=handle)
                os.fsync(handle)
        # Released before the record is removed: after a crash in between, the call can be repeated,
        # and nothing is held without a record.
        lineage.release()
        with (
            map_os_errors(f"{lineage.archive} cannot be written to"),
            open_folder(lineage.archive) as handle,
        ):
            os.unlink(_RECORD, dir_fd=handle)
            os.fsync(handle)
        return UndoneTakeover(certbot_bundle.leaf, kept)


def _lasts_longer(current: CertificateBundle, certbot: CertificateBundle) -> bool:
    ends = current.leaf.not_after, certbot.leaf.not_after
    return ends[0] is not None and (ends[1] is None or ends[0] > ends[1])


def _require_key(current: CertificateBundle, certbot: CertificateBundle, live: Path) -> None:
    """Refuse to give back a lineage whose newer certificate certbot could not use."""
    if current.key_pem is None:
        raise CertmgrError(
            f"{live} is not given back to certbot",
            f"certbot's certificate ends on {certbot.leaf.not_after:%Y-%m-%d}, and the one in use"
            f" on {current.leaf.not_after:%Y-%m-%d}; its key is not on this machine",
            "Leave the lineage to certmgr, or renew it with a key of this machine first:"
            " certmgr lineage edit and certmgr renew.",
        )


def _require_certbot_folder(live: Path) -> Path:
    """Return the resolved path of a live folder of certbot. Raise :class:`UsageError` otherwise."""
    if live.is_symlink() or not live.is_dir():
        raise UsageError(
            f"{live} is not a live folder of certbot", "", "Give live/NAME in certbot's directory."
        )
    require_trusted(live)
    return live.resolve()


def _links(live: Path) -> dict[str, str]:
    """Return link -> its text.

    Raises:
        UsageError: One of the four is not a link, because files were copied there.
    """
    texts = {}
    for name in (*LINKS, COMBINED):
        path = live / name
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            mode = 0
        if stat.S_ISLNK(mode):
            texts[name] = os.readlink(path)  # noqa: PTH115 - the text itself
        elif mode or name in LINKS:
            raise UsageError(
                f"{path} is not a link",
                "certbot creates it as a link",
                "Repair it with certbot first (certbot certificates lists the lineages).",
            )
    return texts


def _certmgr_links(live: Path, lineage: Lineage) -> dict[str, str]:
    """Return link -> the text that leads to the current version of certmgr.

    The texts are relative if certmgr uses certbot's directory, and absolute otherwise.
    """
    # Through the link "current", so that a renewal switches all files of certbot's folder with one
    # rename.
    current = lineage.archive.resolve() / "current"
    same_base = live.parent.parent == lineage.base.resolve()
    return {
        n: os.path.relpath(current / n, live) if same_base else str(current / n)
        for n in (*LINKS, COMBINED)
    }


def _same(a: CertificateBundle, b: CertificateBundle) -> bool:
    """Return whether two bundles have the same chain and both have a key.

    Key and leaf of each bundle were checked, so that the same leaf means the same key.
    """
    return a.chain_der == b.chain_der and a.key_pem is not None and b.key_pem is not None


def _require_same(certbot: CertificateBundle, current: CertificateBundle, live: Path) -> None:
    """Raise :class:`CertmgrError` if certbot's bundle differs from the current version."""
    if not _same(certbot, current):
        raise CertmgrError(
            f"{live} has another certificate than certmgr",
            "the links would not match while they are replaced",
            "certbot may have renewed since: disable its schedule, store its certificate again,"
            " switch to it, and repeat.",
        )


def _bundle_behind(live: Path, texts: Mapping[str, str]) -> CertificateBundle:
    """Read the bundle that certbot's links led to."""
    # By the recorded texts, because the links themselves lead to certmgr's files now.
    key = read_regular(live / texts["privkey.pem"], 1_000_000)
    return build_bundle(
        key, [c.der for c in from_pem(read_regular(live / texts["fullchain.pem"], 1_000_000))]
    )


def _read_record(lineage: Lineage) -> tuple[Path, dict[str, str]] | None:
    """Return certbot's live folder and the original texts of its links; None without a takeover."""
    try:
        with open_folder(lineage.archive) as handle:
            record = json.loads(read_at(handle, _RECORD))
    except FileNotFoundError:
        return None
    return Path(record["live"]), {n: record["links"][n] for n in LINKS}


def _write_record(lineage: Lineage, live: Path, links: Mapping[str, str]) -> None:
    """Record the original texts of certbot's links, durably."""
    data = json.dumps({"live": str(live), "links": dict(links)}).encode()
    with open_folder(lineage.archive) as handle:
        temporary = temporary_name("new")
        write_at(handle, temporary, data, Modes())
        os.rename(temporary, _RECORD, src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)


__all__: Sequence[str] = (
    "COMBINED",
    "LINKS",
    "Schedule",
    "UndoneTakeover",
    "is_taken_over",
    "take_over_links",
    "undo_takeover",
)
