"""What every order needs: the database, the configuration, the clock, solvers and the lines to CAs,
each made once. An edge.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from certmgr.acme.accounts import AccountSession, base_directory, key_store, open_session
from certmgr.acme.challenges.build import Solvers
from certmgr.config.settings import Settings
from certmgr.x509.key_store import KeyStore
from inventory.clock import Clock
from inventory.db import locks
from inventory.db.database import Database, Tx, to_epoch
from inventory.errors import Busy, CertmgrError
from inventory.store import accounts
from inventory.store.records import Row

FORGET = 10.0  # seconds


@dataclass
class IssuanceContext:
    """``clock`` and ``wait``: the time.

    ``draw``: numbers from 0 to 1. ``step``: told the name of each step that is about to be taken.
    """

    database: Database
    settings: Settings
    clock: Clock | None = None  # the database's, unless one is given
    wait: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    step: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.solvers = Solvers(self.settings, self.now)
        self._sessions: dict[int, tuple[AccountSession | CertmgrError, float]] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._opening: dict[int, threading.Lock] = {}

    def now(self) -> datetime:
        return (self.clock or self.database.clock)()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction at the office's time.

        Threads queue here and not at the database, whose waiting is by polling.
        """
        with self._writing, self.database.write(self.now()) as tx:
            yield tx

    @property
    def at(self) -> int:
        return to_epoch(self.now())

    @property
    def base(self) -> Path:
        return base_directory(self.settings)

    @property
    def keys(self) -> KeyStore:
        return key_store(self.settings)

    def session(self, account_id: int) -> AccountSession:
        """The line to the account's CA; asked for once.

        What it raised is raised again for some seconds, so that many orders do not all wait for a
        CA that is away.
        """
        with self._lock:
            opening = self._opening.setdefault(account_id, threading.Lock())
        with opening:
            found, since = self._sessions.get(account_id, (None, 0.0))
            if found is None or (
                isinstance(found, CertmgrError) and time.monotonic() - since > FORGET
            ):
                found = self._open(account_id)
                self._sessions[account_id] = found, time.monotonic()
        if isinstance(found, CertmgrError):
            raise found
        return found

    def _open(self, account_id: int) -> AccountSession | CertmgrError:
        with self.database.read() as conn:
            row = accounts.by_id(conn, account_id)
        try:
            return open_session(self.settings, row, self.now)
        except CertmgrError as error:
            return error

    def account(self, account_id: int) -> Row:
        with self.database.read() as conn:
            return accounts.by_id(conn, account_id)

    @contextmanager
    def alone(self, lineage: str) -> Iterator[None]:
        """One process and thread at a time works on a lineage on this machine.

        Raises :class:`Busy`. The lock dies with its process.
        """
        folder = self.base / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CertmgrError(
                f"{folder} cannot be made",
                error.strerror or str(error),
                "Check [acme] directory and who may write there.",
            ) from None
        held = locks.file_lock(folder / lineage, "order")
        try:
            held.__enter__()
        except OSError as error:
            raise CertmgrError(
                f"The lock of '{lineage}' cannot be made",
                error.strerror or str(error),
                "Check [acme] directory and who may write there.",
            ) from None
        except Busy:
            raise Busy(
                f"Another process works on '{lineage}'",
                "",
                "It is stepped aside for; try again when that has ended.",
            ) from None
        try:
            yield
        finally:
            held.__exit__(None, None, None)
