"""The same layout on another machine: version folders over SFTP, one link switched by one rename,
test and reload over SSH. The only user of paramiko.

A host whose key is not in the known_hosts file, or is another one there, is not spoken to: nothing
is sent, and nobody is asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import posixpath
import re
import secrets
import shlex
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from certmgr.config.acme import TargetSettings
from certmgr.deploy.disk import LEFTOVER
from certmgr.deploy.hooks import MAX_OUTPUT, CommandResult, printable_output
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError
from inventory.text import printable

if TYPE_CHECKING:
    from paramiko import PKey, SFTPAttributes, SFTPClient, SFTPFile, SSHClient, Transport

KEPT = 5
_VERSION = re.compile(r"\d{6}-[0-9a-f]{12}")


class SshError(UsageError):
    """The machine's key is unknown, or it refuses our login: a retry changes nothing."""


def _fingerprint(key: PKey) -> str:
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _require_private(path: Path) -> None:
    """Raises :class:`UsageError`."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"The key file {path} cannot be read",
            error.strerror or str(error),
            "Correct key_file of the target.",
        ) from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise UsageError(
            f"The key file {path} can be read by others",
            "",
            f"chmod 600 {path}; and consider it known to them.",
        )


@contextmanager
def connected(target: TargetSettings) -> Iterator[Remote]:
    """Raises :class:`SshError`, :class:`UsageError` for what an administrator has to correct,
    :class:`CertmgrError` for what may pass.
    """
    try:
        import paramiko
    except ImportError:
        raise UsageError(
            "SSH targets need paramiko",
            "it is not installed",
            "Install certmgr with the extra 'ssh'.",
        ) from None

    class Strict(paramiko.RejectPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> NoReturn:
            raise SshError(
                f"The host key of {hostname} is unknown: {_fingerprint(key)}",
                f"it is not in {target.known_hosts}",
                "Compare it with the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_*.pub there),"
                " then add it.",
            )

    _require_private(Path(target.key_file))
    where = f"{target.login}@{target.host}:{target.port}"
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(Strict)
        marked = _load_known(client, Path(target.known_hosts))
        try:
            client.connect(
                target.host,
                target.port,
                target.login,
                key_filename=target.key_file,
                allow_agent=False,
                look_for_keys=False,
                timeout=target.timeout,
                banner_timeout=target.timeout,
                auth_timeout=target.timeout,
                channel_timeout=target.timeout,
            )
            transport = client.get_transport()
            assert transport is not None
            _require_not_revoked(marked, transport.get_remote_server_key(), target.known_hosts)
            with client.open_sftp() as sftp:
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(target.timeout)
                yield Remote(transport, sftp, where, target.timeout)
        except paramiko.BadHostKeyException as error:
            raise SshError(
                f"The host key of {target.host} has CHANGED: it shows {_fingerprint(error.key)},"
                f" known is {_fingerprint(error.expected_key)}",
                "the machine was set up anew, or somebody stands between",
                f"Nothing was sent. Find out which; then replace its line in {target.known_hosts}.",
            ) from None
        except paramiko.PasswordRequiredException:
            raise SshError(
                f"The key file {target.key_file} is encrypted",
                "",
                "Use one without a passphrase, for this machine alone.",
            ) from None
        except paramiko.AuthenticationException:
            raise SshError(
                f"{where} does not accept our key",
                "",
                f"Put the public part of {target.key_file} into its authorized_keys.",
            ) from None
        except (paramiko.SSHException, EOFError) as error:
            raise CertmgrError(
                f"SSH to {where} failed", printable(str(error) or type(error).__name__, 200)
            ) from None
        except OSError as error:
            why = (
                "it did not answer in time"
                if isinstance(error, TimeoutError)
                else error.strerror or str(error) or type(error).__name__
            )
            raise CertmgrError(
                f"{where}: the connection or a file operation failed", printable(why, 200)
            ) from None


def _load_known(client: SSHClient, path: Path) -> list[str]:
    """Into the client; the lines with a marker (@revoked), which paramiko does not know, are
    returned. A line that is none is passed over. Raises :class:`UsageError`.
    """
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read",
            error.strerror or str(error),
            "Correct known_hosts of the target.",
        ) from None
    keys = client.get_host_keys()
    for line in lines:
        with contextlib.suppress(InvalidHostKey):
            entry = HostKeyEntry.from_line(line) if line and line[0] not in "#@" else None
            if entry is not None and entry.hostnames is not None and entry.key is not None:
                for host in entry.hostnames:
                    keys.add(host, entry.key.get_name(), entry.key)
    return [line for line in lines if line.startswith("@")]


def _require_not_revoked(marked: Sequence[str], key: PKey, known_hosts: str) -> None:
    for line in marked:
        if line.startswith("@revoked") and key.get_base64() in line.split():
            raise SshError(
                f"The host key {_fingerprint(key)} is revoked",
                f"{known_hosts} says so",
                "Find out why, and what this machine is.",
            )


def _folder(group: str) -> int:
    return 0o750 if group else 0o700


class Remote:
    """One connection.

    ``timeout``: seconds for each operation and each command. OSErrors and paramiko's errors are
    mapped by :func:`connected`.
    """

    def __init__(self, transport: Transport, sftp: SFTPClient, where: str, timeout: float) -> None:
        self._transport, self._sftp, self.where, self._timeout = transport, sftp, where, timeout

    def run(self, command: Sequence[str]) -> CommandResult:
        """Each argument is quoted for the login shell of the other side."""
        channel = self._transport.open_session(timeout=self._timeout)
        end = time.monotonic() + self._timeout
        with channel:
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
                kept += data[: max(0, MAX_OUTPUT - len(kept))]
        return CommandResult(False, timed_out=True, output=printable_output(kept))

    # -- version folders

    def prepare(self, directory: str, name: str, group: str) -> None:
        """Makes what is missing of directory and directory/versions; refuses those of another
        lineage. Sweeps what a broken connection left.
        """
        versions = posixpath.join(directory, "versions")
        for path in (directory, versions):
            if self._stat(path) is None:
                self._sftp.mkdir(path, 0o700)
                self._chown(f":{group}" if group else "", [path])
                self._sftp.chmod(path, _folder(group))
        marker = posixpath.join(directory, "lineage")
        if self._stat(marker) is None:
            self._put(f"{marker}.{secrets.token_hex(6)}", name.encode(), 0o600, final=marker)
        elif (other := self._get(marker).decode(errors="replace").strip()) != name:
            raise UsageError(
                f"{directory} at {self.where} belongs to '{printable(other, 80)}'",
                "",
                "Write {name} in the directory of the target.",
            )
        for path in (directory, versions):
            for entry in self._sftp.listdir(path):
                if entry.startswith(LEFTOVER):
                    with contextlib.suppress(OSError):
                        self._remove(posixpath.join(path, entry))

    def store(
        self,
        directory: str,
        version: str,
        material: CertificateBundle,
        owner: str,
        group: str,
        mode: int,
    ) -> None:
        """Files are 0600 in a folder of 0700 until owner and mode stand; the folder gets its name
        last. A version that is there has to hold the same.
        """
        versions = posixpath.join(directory, "versions")
        final = posixpath.join(versions, version)
        if self._stat(final) is not None:
            have = {n: self._get(posixpath.join(final, n)) for n in self._sftp.listdir(final)}
            if have != material.files:
                raise UsageError(
                    f"{final} at {self.where} holds something else",
                    "it was changed by hand",
                    "Move it away there.",
                )
            return
        temporary = posixpath.join(versions, f"{LEFTOVER[0]}{secrets.token_hex(6)}")
        self._sftp.mkdir(temporary, 0o700)
        paths = []
        for name, data in material.files.items():
            paths.append(posixpath.join(temporary, name))
            self._put(paths[-1], data, 0o600)
        if owner or group:
            self._chown(f"{owner}:{group}", paths)
            self._chown(f":{group}" if group else "", [temporary])
        for path in paths:
            self._sftp.chmod(path, mode)
        self._sftp.chmod(temporary, _folder(group))
        self._sftp.posix_rename(temporary, final)

    def _chown(self, who: str, paths: Sequence[str]) -> None:
        if who and not (done := self.run(["chown", "--", who, *paths])).ok:
            raise UsageError(
                f"{self.where}: owner and group could not be set",
                done.last_words or done.sentence,
                "Correct them, or the login.",
            )

    def current(self, directory: str) -> str | None:
        link = posixpath.join(directory, "current")
        found = self._stat(link)
        if found is None:
            return None
        text = self._sftp.readlink(link) if stat.S_ISLNK(found.st_mode or 0) else None
        name = posixpath.basename(text or "")
        if not _VERSION.fullmatch(name):
            raise UsageError(
                f"{link} at {self.where} is not a link to a version",
                "",
                "Look at what changed it, and move it away.",
            )
        return name

    def attempt(self, directory: str, version: str, names: Sequence[str]) -> str | None:
        """Missing stable links first, then one rename of one link.

        Returns what to go back to (None: nothing), also where the connection broke in between: a
        link says beforehand what that is, until :meth:`settle`.
        """
        have, trial, before = (
            set(self._sftp.listdir(directory)),
            posixpath.join(directory, "trial"),
            self.current(directory),
        )
        if before == version:
            if "trial" in have:
                name = posixpath.basename(self._sftp.readlink(trial) or "")
                return name if _VERSION.fullmatch(name) else None
            return before
        for name in names:
            if name not in have:
                self._link(f"current/{name}", posixpath.join(directory, name))
        self._link(f"versions/{before}" if before else "none", trial)
        self._link(f"versions/{version}", posixpath.join(directory, "current"))
        return before

    def settle(self, directory: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._sftp.remove(posixpath.join(directory, "trial"))

    def back(self, directory: str, version: str | None) -> None:
        if version is None:
            self._sftp.remove(posixpath.join(directory, "current"))
        else:
            self._link(f"versions/{version}", posixpath.join(directory, "current"))
        self.settle(directory)

    def prune(self, directory: str, spared: Sequence[str | None]) -> None:
        """Keeps the newest, and ``spared``. What cannot be removed stays."""
        versions = posixpath.join(directory, "versions")
        found = sorted(n for n in self._sftp.listdir(versions) if _VERSION.fullmatch(n))
        for name in found[:-KEPT]:
            if name not in spared:
                temporary = posixpath.join(versions, f"{LEFTOVER[1]}{secrets.token_hex(6)}")
                with contextlib.suppress(OSError):
                    self._sftp.posix_rename(posixpath.join(versions, name), temporary)
                    self._remove(temporary)

    # -- steps

    def _stat(self, path: str) -> SFTPAttributes | None:
        try:
            return self._sftp.lstat(path)
        except FileNotFoundError:
            return None

    def _get(self, path: str) -> bytes:
        with self._sftp.open(path, "rb") as file:
            return file.read(1_000_000)

    def _put(self, path: str, data: bytes, mode: int, *, final: str = "") -> None:
        with self._sftp.open(path, "wx") as file:
            file.chmod(mode)  # before the first byte
            file.write(data)
            file.flush()
            self._sync(file)
        if final:
            self._sftp.posix_rename(path, final)

    def _sync(self, file: SFTPFile) -> None:
        """fsync@openssh.com; a server without it says so."""
        from paramiko.sftp import CMD_EXTENDED

        with contextlib.suppress(OSError):
            request = self._sftp._request  # type: ignore[attr-defined]
            request(CMD_EXTENDED, "fsync@openssh.com", file.handle)

    def _link(self, text: str, path: str) -> None:
        temporary = posixpath.join(posixpath.dirname(path), f"{LEFTOVER[2]}{secrets.token_hex(6)}")
        self._sftp.symlink(text, temporary)
        self._sftp.posix_rename(temporary, path)

    def _remove(self, path: str) -> None:
        found = self._stat(path)
        if found is not None and stat.S_ISDIR(found.st_mode or 0):
            for name in self._sftp.listdir(path):
                self._sftp.remove(posixpath.join(path, name))
            self._sftp.rmdir(path)
        else:
            self._sftp.remove(path)
