"""Version folders on another machine: files over SFTP, the switch of one link, programs over SSH.

The layout is that of a local target. :mod:`certmgr.deploy.ssh` opens the connection.
"""

from __future__ import annotations

import contextlib
import logging
import posixpath
import re
import secrets
import shlex
import stat
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from certmgr.deploy.disk import LEFTOVER_PREFIXES
from certmgr.deploy.hooks import MAX_OUTPUT, CommandResult, printable_output
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError
from inventory.text import printable

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile, Transport

_log = logging.getLogger(__name__)


# As many as on this machine: enough for a rollback after an unnoticed fault of some renewals.
KEPT_VERSIONS = 5
# A folder of certmgr has about ten. A hostile machine could list names without end.
MAX_NAMES = 10_000


_VERSION = re.compile(r"\d{6}-[0-9a-f]{12}")


def _folder_mode(group: str) -> int:
    return 0o750 if group else 0o700


class Remote:
    """A connection to another machine.

    :func:`connect` converts the errors of the operating system and of paramiko.
    """

    def __init__(self, transport: Transport, sftp: SFTPClient, where: str, timeout: float) -> None:
        """Use an open connection.

        Args:
            transport: The SSH transport.
            sftp: The SFTP session.
            where: The login and machine, for messages.
            timeout: Seconds for each operation and each command.
        """
        self._transport, self._sftp, self.where, self._timeout = transport, sftp, where, timeout

    def run(self, command: Sequence[str]) -> CommandResult:
        """Run a command. Each argument is quoted for the login shell of the other machine."""
        channel = self._transport.open_session(timeout=self._timeout)
        end = time.monotonic() + self._timeout
        with channel:
            # One stream in the order in which it was printed, as an administrator would see it.
            channel.set_combine_stderr(True)
            channel.exec_command(shlex.join(command))
            channel.shutdown_write()
            kept = bytearray()
            while (left := end - time.monotonic()) > 0:
                channel.settimeout(left)
                try:
                    data = channel.recv(32_768)
                except TimeoutError:
                    break
                if not data:
                    if not channel.status_event.wait(max(0.0, end - time.monotonic())):
                        break
                    code = channel.recv_exit_status()
                    return CommandResult(code == 0, code, output=printable_output(kept))
                # Output beyond the limit is dropped, but still read: a full window would block it.
                kept += data[: max(0, MAX_OUTPUT - len(kept))]
        # The channel is closed, which ends most programs. One that goes on cannot be killed from
        # here.
        return CommandResult(False, timed_out=True, output=printable_output(kept))

    def prepare(self, directory: str, name: str, group: str) -> None:
        """Create the missing folders, and remove what a broken connection left.

        Args:
            directory: The directory of the target.
            name: The name of the lineage.
            group: The group of the folders; empty for none.

        Raises:
            UsageError: The directory belongs to another lineage.
        """
        versions = posixpath.join(directory, "versions")
        for path in (directory, versions):
            if self._stat(path) is None:
                self._sftp.mkdir(path, 0o700)
                self._chown(f":{group}" if group else "", [path])
                self._sftp.chmod(path, _folder_mode(group))
        marker = posixpath.join(directory, "lineage")
        if self._stat(marker) is None:
            self._put(f"{marker}.{secrets.token_hex(6)}", name.encode(), 0o600, final=marker)
        # Two lineages in one directory would replace each other's certificates.
        elif (other := self._get(marker).decode(errors="replace").strip()) != name:
            raise UsageError(
                f"{directory} at {self.where} belongs to '{printable(other, 80)}'",
                "",
                "Write {name} in the directory of the target.",
            )
        for path in (directory, versions):
            for entry in self._names(path):
                if entry.startswith(LEFTOVER_PREFIXES):
                    with contextlib.suppress(OSError):
                        self._remove(posixpath.join(path, entry))

    def store(
        self,
        directory: str,
        version: str,
        bundle: CertificateBundle,
        owner: str,
        group: str,
        mode: int,
    ) -> None:
        """Write a version, unless it exists with the same content.

        Files are 0600 in a folder of 0700 until owner and mode are set. The folder gets its final
        name last.

        Args:
            directory: The directory of the target.
            version: The name of the version.
            bundle: The key and certificates.
            owner: The owner of the files; empty for the login.
            group: The group of files and folders; empty for none.
            mode: The mode of the files.

        Raises:
            UsageError: The version exists with other content, or the owner cannot be set.
        """
        versions = posixpath.join(directory, "versions")
        final = posixpath.join(versions, version)
        if self._stat(final) is not None:
            existing = {n: self._get(posixpath.join(final, n)) for n in self._names(final)}
            # An administrator's change is not overwritten, since its reason is unknown.
            if existing != bundle.files:
                raise UsageError(
                    f"{final} at {self.where} has other content than this version",
                    "it was changed by hand",
                    "Move it away on that machine.",
                )
            return
        # A hidden name with 0700: a server that includes the whole folder does not see half a
        # version.
        temporary = posixpath.join(versions, f"{LEFTOVER_PREFIXES[0]}{secrets.token_hex(6)}")
        self._sftp.mkdir(temporary, 0o700)
        paths = []
        for name, data in bundle.files.items():
            paths.append(posixpath.join(temporary, name))
            self._put(paths[-1], data, 0o600)
        if owner or group:
            self._chown(f"{owner}:{group}", paths)
            self._chown(f":{group}" if group else "", [temporary])
        for path in paths:
            self._sftp.chmod(path, mode)
        self._sftp.chmod(temporary, _folder_mode(group))
        # The version gets its name last: a broken connection leaves only a leftover.
        self._sftp.posix_rename(temporary, final)

    def _chown(self, who: str, paths: Sequence[str]) -> None:
        """Set owner and group by name. SFTP knows only the numbers of the other machine."""
        if who and not (result := self.run(["chown", "--", who, *paths])).ok:
            raise UsageError(
                f"{self.where}: owner and group could not be set",
                result.output_tail or result.sentence,
                "Correct owner and group of the target, or its login.",
            )

    def current(self, directory: str) -> str | None:
        """Return the name of the current version; None if there is none."""
        link = posixpath.join(directory, "current")
        found = self._stat(link)
        if found is None:
            return None
        text = self._sftp.readlink(link) if stat.S_ISLNK(found.st_mode or 0) else None
        name = posixpath.basename(text or "")
        if not _VERSION.fullmatch(name):
            raise UsageError(
                f"{link} at {self.where} is not a link to a version",
                "certmgr creates it as such a link, so another program has changed it",
                "Find out what changed it, and move it away.",
            )
        return name

    def attempt(self, directory: str, version: str, names: Sequence[str]) -> str | None:
        """Switch to a version until :meth:`commit` or :meth:`rollback` is called.

        Missing stable links are created first. The switch is one rename. Before it, a link records
        the version to roll back to, so that a call after a broken connection still returns it.

        Args:
            directory: The directory of the target.
            version: The name of the version.
            names: The names of the stable links.

        Returns:
            The version to roll back to; None if there was none.
        """
        existing, trial, before = (
            set(self._names(directory)),
            posixpath.join(directory, "trial"),
            self.current(directory),
        )
        if before == version:
            # The connection broke in an earlier attempt, before the test was over.
            if "trial" in existing:
                name = posixpath.basename(self._sftp.readlink(trial) or "")
                return name if _VERSION.fullmatch(name) else None
            return before
        for name in names:
            if name not in existing:
                self._link(f"current/{name}", posixpath.join(directory, name))
        # Durable before the switch: after a broken connection the next call still finds what to
        # return to.
        self._link(f"versions/{before}" if before else "none", trial)
        self._link(f"versions/{version}", posixpath.join(directory, "current"))
        _log.info("%s: %s is at %s", self.where, directory, version)
        return before

    def commit(self, directory: str) -> None:
        """Keep the version of the last :meth:`attempt`."""
        with contextlib.suppress(FileNotFoundError):
            self._sftp.remove(posixpath.join(directory, "trial"))

    def rollback(self, directory: str, version: str | None) -> None:
        """Undo :meth:`attempt`. ``version``: its result; None removes the current link."""
        if version is None:
            self._sftp.remove(posixpath.join(directory, "current"))
        else:
            self._link(f"versions/{version}", posixpath.join(directory, "current"))
        self.commit(directory)

    def prune(self, directory: str, protect: Sequence[str | None]) -> None:
        """Remove all but the newest versions and ``protect``. What cannot be removed stays."""
        versions = posixpath.join(directory, "versions")
        names = sorted(n for n in self._names(versions) if _VERSION.fullmatch(n))
        # The oldest first. What is in use, or may be returned to, is protected whatever its age.
        for name in names[:-KEPT_VERSIONS]:
            if name not in protect:
                temporary = posixpath.join(
                    versions, f"{LEFTOVER_PREFIXES[1]}{secrets.token_hex(6)}"
                )
                with contextlib.suppress(OSError):
                    self._sftp.posix_rename(posixpath.join(versions, name), temporary)
                    self._remove(temporary)

    def _stat(self, path: str) -> SFTPAttributes | None:
        try:
            return self._sftp.lstat(path)
        except FileNotFoundError:
            return None

    def _names(self, path: str) -> list[str]:
        """Return the names in a folder.

        Raises:
            CertmgrError: It has more than :data:`MAX_NAMES`, or its list has no end.
        """
        found = [a.filename for a in islice(self._sftp.listdir_iter(path), MAX_NAMES + 1)]
        if len(found) > MAX_NAMES:
            raise CertmgrError(
                f"{path} at {self.where} cannot be used",
                f"it has more than {MAX_NAMES} files",
                "Name a directory of the target that only certmgr writes to.",
            )
        return found

    def _get(self, path: str) -> bytes:
        with self._sftp.open(path, "rb") as file:
            return file.read(1_000_000)

    def _put(self, path: str, data: bytes, mode: int, *, final: str = "") -> None:
        # Exclusive: an existing file or link of this name is never written through.
        with self._sftp.open(path, "wx") as file:
            file.chmod(mode)  # before the first byte
            file.write(data)
            file.flush()
            self._sync(file)
        if final:
            self._sftp.posix_rename(path, final)

    def _sync(self, file: SFTPFile) -> None:
        """Sync a file with fsync@openssh.com. A server without this extension refuses it."""
        from paramiko.sftp import CMD_EXTENDED

        with contextlib.suppress(OSError):
            request = self._sftp._request  # type: ignore[attr-defined]
            request(CMD_EXTENDED, "fsync@openssh.com", file.handle)

    def _link(self, text: str, path: str) -> None:
        """Create or replace a link with one rename."""
        temporary = posixpath.join(
            posixpath.dirname(path), f"{LEFTOVER_PREFIXES[2]}{secrets.token_hex(6)}"
        )
        self._sftp.symlink(text, temporary)
        self._sftp.posix_rename(temporary, path)

    def _remove(self, path: str) -> None:
        """Remove a file, a link, or a folder of files."""
        attributes = self._stat(path)
        if attributes is not None and stat.S_ISDIR(attributes.st_mode or 0):
            for name in self._names(path):
                self._sftp.remove(posixpath.join(path, name))
            self._sftp.rmdir(path)
        else:
            self._sftp.remove(path)
