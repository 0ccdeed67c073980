"""The dependencies that all ACME operations share: database, configuration, clock, solvers and
sessions at CAs.

Each is created once per context. This module performs I/O.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from certmgr.acme.challenges.build import Solvers
from certmgr.acme.protocol.session import AccountSession, base_directory, key_store, open_session
from certmgr.config.context import Context
from certmgr.x509.key_store import KeyStore
from inventory.db import locks
from inventory.db.database import Tx, to_epoch
from inventory.errors import Busy, CertmgrError
from inventory.records import AccountRecord
from inventory.store import accounts

# Seconds for which a failure to open a session is remembered.
# Shorter than any retry interval, so that a CA that recovers is used by the next attempt.
FAILURE_CACHE_SECONDS = 10.0


@dataclass(frozen=True)
class IssuanceContext(Context):
    """The shared dependencies of issuance, renewal and deployment.

    Attributes:
        wait: Sleep for a number of seconds.
        random: Return a random number from 0 to 1.
        checkpoint: Called with the name of each step before it is taken, for fault injection.
    """

    wait: Callable[[float], None] = time.sleep
    random: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    checkpoint: Callable[[str], None] = lambda _: None
    _sessions: dict[int, tuple[AccountSession | CertmgrError, float]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )
    _write_lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )
    _session_locks: dict[int, threading.Lock] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, context: Context) -> Self:
        """Return the context of issuance over the same inventory, configuration and clock."""
        return cls(
            context.database,
            context.settings,
            context.clock,
            zone_workers=context.zone_workers,
        )

    @cached_property
    def solvers(self) -> Solvers:
        """The solvers for domain control validation, by their names in the configuration."""
        return Solvers(self.settings, self.now)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a write transaction at the current time of this context."""
        # Threads queue at this lock, because the database waits for its own lock by polling.
        with self._write_lock, super().write() as tx:
            yield tx

    @property
    def now_epoch(self) -> int:
        """The current time in epoch seconds."""
        return to_epoch(self.now())

    @property
    def base(self) -> Path:
        """The directory for keys, versions and locks."""
        return base_directory(self.settings)

    @property
    def keys(self) -> KeyStore:
        """The store for the keys of accounts and orders."""
        return key_store(self.settings)

    def session(self, account_id: int) -> AccountSession:
        """Return the session of an account at its CA, opened on first use.

        Raises:
            CertmgrError: The session cannot be opened. The same error is raised again for
                :data:`FAILURE_CACHE_SECONDS`.
        """
        with self._lock:
            session_lock = self._session_locks.setdefault(account_id, threading.Lock())
        with session_lock:
            session, since = self._sessions.get(account_id, (None, 0.0))
            # A failure is cached for a short time: without it, every waiting order would run into
            # the time limit of a CA that is unreachable.
            if session is None or (
                isinstance(session, CertmgrError)
                and time.monotonic() - since > FAILURE_CACHE_SECONDS
            ):
                session = self._open(account_id)
                self._sessions[account_id] = session, time.monotonic()
        if isinstance(session, CertmgrError):
            raise session
        return session

    def _open(self, account_id: int) -> AccountSession | CertmgrError:
        with self.read() as conn:
            row = accounts.by_id(conn, account_id)
        try:
            return open_session(self.settings, row, self.now)
        except CertmgrError as error:
            return error

    def account(self, account_id: int) -> AccountRecord:
        """Return the row of an account."""
        with self.read() as conn:
            return accounts.by_id(conn, account_id)

    @contextmanager
    def lineage_lock(self, lineage: str) -> Iterator[None]:
        """Hold the lock that admits one process and thread of this machine to a lineage.

        The operating system releases the lock if the process dies.

        Raises:
            Busy: Another process or thread holds the lock.
            CertmgrError: The lock file cannot be created.
        """
        folder = self.base / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CertmgrError(
                f"The directory {folder} cannot be created",
                error.strerror or str(error),
                "Check [acme] directory and its permissions.",
            ) from None
        # A lock of the operating system ends with its process. A file that only exists would have
        # to be removed by hand after a crash.
        lock = locks.file_lock(folder / lineage, "order")
        try:
            lock.__enter__()
        except OSError as error:
            raise CertmgrError(
                f"The lock of the lineage '{lineage}' cannot be created",
                error.strerror or str(error),
                "Check [acme] directory and its permissions.",
            ) from None
        except Busy:
            raise Busy(
                f"Another process works on the lineage '{lineage}'",
                "",
                "Try again when that process has ended.",
            ) from None
        try:
            yield
        finally:
            lock.__exit__(None, None, None)
