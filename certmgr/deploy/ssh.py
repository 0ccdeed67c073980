"""Version folders on another machine: files over SFTP, the switch of one link, programs over SSH.

The layout is that of a local target. Only this module uses paramiko.

A host whose key is not in the known_hosts file, or differs from it, gets no data. There is no
prompt that could accept its key.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from certmgr.config.acme import TargetSettings
from certmgr.deploy.remote import Remote
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular, require_regular
from inventory.text import printable

if TYPE_CHECKING:
    from paramiko import PKey, SSHClient, Transport

_log = logging.getLogger(__name__)
# Files of large providers have tens of thousands of lines of about 150 bytes.
_MAX_KNOWN_HOSTS = 16_000_000  # bytes
# A deployment has about thirty operations, of which a test and a reload take long.
SESSION_TIMEOUTS = 10  # a session may take so many times the time limit of an operation


class SshError(UsageError):
    """An SSH error that an administrator has to fix: a wrong host key, or a refused login."""


def _fingerprint(key: PKey) -> str:
    """Return the fingerprint of a key as OpenSSH displays it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _require_private(path: Path) -> None:
    """Require that only its owner can read a key file. OpenSSH refuses other keys, too."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"The key file {path} cannot be read",
            error.strerror or str(error),
            "Correct key_file of the target.",
        ) from None
    # A key that other users can read gives them access to the other machine.
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise UsageError(
            f"Other users can read the key file {path}",
            "they may have copied the key",
            f"chmod 600 {path}; and consider to replace the key.",
        )


@contextmanager
def connect(target: TargetSettings) -> Iterator[Remote]:
    """Connect to the machine of a target.

    Raises:
        SshError: The host key is unknown, changed or revoked, or the login is refused.
        UsageError: The configuration is wrong, or paramiko is not installed.
        CertmgrError: The connection failed. A retry may succeed.
    """
    try:
        import paramiko
    except ImportError:
        raise UsageError(
            "SSH targets need paramiko",
            "it is not installed",
            "Install certmgr with the extra 'ssh'.",
        ) from None

    # The first connection carries a private key already: to accept an unknown machine once would be
    # enough to lose it.
    class Strict(paramiko.RejectPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> NoReturn:
            raise SshError(
                f"The host key of {hostname} is unknown: {_fingerprint(key)}",
                f"it is not in {target.known_hosts}",
                "Compare it with the keys of that machine (ssh-keygen -lf"
                " /etc/ssh/ssh_host_*.pub), then add it.",
            )

    # paramiko opens the key itself, and would wait for the writer of a pipe.
    require_regular(Path(target.key_file))
    _require_private(Path(target.key_file))
    where = f"{target.login}@{target.host}:{target.port}"
    _log.info("connecting to %s", where)
    with paramiko.SSHClient() as client, _map_ssh_errors(target, where):
        client.set_missing_host_key_policy(Strict)
        marked_lines = _load_known(client, Path(target.known_hosts))
        # Neither an agent nor other keys: only the configured key decides about the access.
        client.connect(
            target.host,
            target.port,
            target.login,
            key_filename=target.key_file,
            allow_agent=False,
            look_for_keys=False,
            # Each phase has its limit, because a machine that hangs must not hold the lock of its
            # deployments.
            timeout=target.timeout,
            banner_timeout=target.timeout,
            auth_timeout=target.timeout,
            channel_timeout=target.timeout,
        )
        transport = client.get_transport()
        assert transport is not None
        _require_not_revoked(marked_lines, transport.get_remote_server_key(), target.known_hosts)
        with _limited(client, SESSION_TIMEOUTS * target.timeout, where):
            yield from _sessions(client, transport, target, where)


def _sessions(
    client: SSHClient, transport: Transport, target: TargetSettings, where: str
) -> Iterator[Remote]:
    """Yield one session for files on a connection, with a limit for each answer."""
    with client.open_sftp() as sftp:
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(target.timeout)
        yield Remote(transport, sftp, where, target.timeout)


@contextmanager
def _limited(client: SSHClient, seconds: float, where: str) -> Iterator[None]:
    """Close the connection after ``seconds``.

    The time limits of paramiko count from each read: a machine that sends one byte at a time would
    hold the lock of its deployments, and the renewals that wait for it.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        client.close()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        # A closed connection causes errors of many kinds.
        if over.is_set():
            raise CertmgrError(
                f"SSH to {where} failed", f"the session took more than {seconds:.0f} seconds"
            ) from None
        raise
    finally:
        timer.cancel()


@contextmanager
def _map_ssh_errors(target: TargetSettings, where: str) -> Iterator[None]:
    """Raise errors of paramiko and of the operating system with what an administrator can do."""
    import paramiko

    try:
        yield
    except paramiko.BadHostKeyException as error:
        raise SshError(
            f"The host key of {target.host} has CHANGED: it presents"
            f" {_fingerprint(error.key)}, known is {_fingerprint(error.expected_key)}",
            "the machine was reinstalled, or an attacker intercepts the connection",
            f"Nothing was sent. Find the cause, then replace its line in {target.known_hosts}.",
        ) from None
    # A passphrase would have to be stored next to the key, which would protect nothing.
    except paramiko.PasswordRequiredException:
        raise SshError(
            f"The key file {target.key_file} is encrypted",
            "certmgr has no passphrase for it",
            "Use a separate key without a passphrase for this machine.",
        ) from None
    except paramiko.AuthenticationException:
        raise SshError(
            f"{where} does not accept the key",
            "",
            f"Add the public part of {target.key_file} to its authorized_keys.",
        ) from None
    # Faults of the network or of the other machine: a later run may succeed without a change here.
    # paramiko raises the last three for packets that are no answers.
    except (
        paramiko.SSHException,
        EOFError,
        paramiko.SFTPError,
        struct.error,
        UnicodeError,
    ) as error:
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
    """Load a known_hosts file into a client. Invalid lines are skipped.

    Returns:
        The lines with a marker such as @revoked, which paramiko does not support.

    Raises:
        UsageError: The file cannot be read.
    """
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

    try:
        text = read_regular(path, _MAX_KNOWN_HOSTS).decode(errors="replace")
    except CertmgrError as error:
        raise UsageError(
            f"{path} cannot be read",
            error.why,
            "Correct known_hosts of the target.",
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    keys = client.get_host_keys()
    for line in lines:
        with contextlib.suppress(InvalidHostKey):
            # An invalid line must not hide the others: the file is often maintained by several
            # programs.
            entry = HostKeyEntry.from_line(line) if line and line[0] not in "#@" else None
            if entry is not None and entry.hostnames is not None and entry.key is not None:
                for host in entry.hostnames:
                    keys.add(host, entry.key.get_name(), entry.key)
    return [line for line in lines if line.startswith("@")]


def _require_not_revoked(marked_lines: Sequence[str], key: PKey, known_hosts: str) -> None:
    """Raise :class:`SshError` if a line marks the host key as revoked, for whatever host."""
    # OpenSSH checks revoked keys for every host, too: a key that was stolen is worth nothing
    # anywhere.
    for line in marked_lines:
        if line.startswith("@revoked") and key.get_base64() in line.split():
            raise SshError(
                f"The host key {_fingerprint(key)} is revoked",
                f"{known_hosts} marks it as revoked",
                "Find out why it is revoked, and which machine answers.",
            )
