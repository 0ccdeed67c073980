"""The service that all actions on cases share: it reads, moves, closes and ends them.

The other actions are in the modules of their subjects: ``new_case``, ``assignment``, ``agreement``,
``intake`` (keys, CSRs and vendor uploads) and ``installation``. Each action is one transaction that
writes the case, its event and all related rows, or nothing.

Order of durability: a key is on disk and synced before its CSR is recorded
(certmgr/x509/key_store.py). A certificate is stored before the case is marked as received. A
verification is complete before any result of it is written.

This module never sends a message. The notices to a client follow from the state of the case
(certmgr/cases/topics.py) in the next notification run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Unpack

import platformdirs

from certmgr.cases import window as windows
from certmgr.cases.states import ENDED, CaseAction, allowed_actions, due_date, next_state
from certmgr.config.context import Context
from certmgr.config.secret_values import secret
from certmgr.config.settings import Settings
from certmgr.inspection.live_check import check_live
from certmgr.inspection.zone_checks import Prober
from certmgr.purchases.load import lead_times
from certmgr.x509 import key_store as keystore
from inventory.db.database import Tx, from_epoch
from inventory.errors import Conflict
from inventory.records import CaseRecord
from inventory.store import (
    case_changes,
    cases,
    editing,
)
from inventory.store.case_changes import CaseColumns
from inventory.vocabulary import CaseState

_log = logging.getLogger(__name__)
# A reopened case has to be installed and verified again.
RESET_ON_REOPEN: CaseColumns = {"installed_at": None, "live_at": None}


@dataclass(slots=True)
class CaseService:
    """The actions on cases.

    Attributes:
        context: The inventory, the configuration and the clock. The service reads the clock once,
            so that the state, the event and the due date of an action have the same time.
        prober: Probes servers and returns the observations.
        wait: Waits for a number of seconds, while a server reloads.
        expected_version: The version of the case that the caller has read. If the case was changed
            since, every action raises :class:`Conflict`.
    """

    context: Context
    prober: Prober = check_live
    expected_version: int | None = None
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.context = self.context.frozen()

    @property
    def now(self) -> datetime:
        """The time of the action."""
        return self.context.now()

    @property
    def keys(self) -> keystore.KeyStore:
        """The store of the private keys."""
        return key_store(self.context.settings)

    def read(self, reference: str) -> CaseRecord:
        """Return the row of a case.

        Raises:
            NotFound: There is no such case.
            Conflict: The case has another version than ``expected_version``.
        """
        with self.context.read() as conn:
            row = cases.find(conn, reference)
            # The caller decided on an earlier version, in which the action may have made sense.
            if self.expected_version is not None and row.version != self.expected_version:
                raise case_changes.changed_meanwhile(
                    conn, replace(row, version=self.expected_version)
                )
            return row

    def transition(
        self,
        tx: Tx,
        row: CaseRecord,
        action: CaseAction,
        text: str = "",
        **values: Unpack[CaseColumns],
    ) -> CaseRecord:
        """Apply a transition to a case and record it as an event.

        Args:
            tx: The transaction.
            row: The row of the case, as it was read.
            action: The action.
            text: The text of the event.
            **values: Further columns of the case.

        Returns:
            The new row.

        Raises:
            Conflict: The state does not allow the action, or another administrator changed the
                case since ``row`` was read.
        """
        state = next_state(row.state, action)
        if state is None:
            raise self.not_allowed(tx, row, action)
        # Each transition begins a new step, even into the same state: notices and reminders begin
        # again with it.
        values |= {"state": str(state), "since": tx.at, "step": 1}
        if state in ENDED:
            values["closed_at"] = tx.at
        # A reopened case is not closed any more.
        elif row.closed_at is not None:
            values["closed_at"] = None
        values["due_at"] = self.due_at(
            state,
            ends_at=values.get("ends_at", row.ends_at),
            window_end=values.get("window_end", row.window_end),
        )
        _log.info("case %s: %s, now %s", row.reference, action, state)
        return case_changes.change(tx, row, str(action), values, text)

    def due_at(
        self, state: CaseState, *, ends_at: int | None, window_end: int | None = None
    ) -> int | None:
        """Return by when a case that enters a state now should leave it, in epoch seconds.

        Args:
            state: The state.
            ends_at: When the replaced certificate ends; None if none is replaced.
            window_end: When an agreed window ends.
        """
        due = due_date(
            state,
            ends_at=ends_at,
            window_end=window_end,
            now=self.now,
            leads=lead_times(self.context.settings),
            verify=timedelta(hours=self.context.settings.cases.verify_hours),
        )
        return None if due is None else int(due.timestamp())

    def not_allowed(self, tx: Tx, row: CaseRecord, action: CaseAction) -> Conflict:
        """Return the error for an action that the state of the case does not allow."""
        # A colleague has often taken the step already, so the error names the person and the time.
        events = cases.events(tx.conn, row.id)
        last = events[-1] if events else None
        since = from_epoch(row.since)
        actor = f", by {last.by}" if last is not None else ""
        possible = ", ".join(allowed_actions(row.state)) or "no action"
        return Conflict(
            f"The case {row.reference} is '{row.state}'",
            f"since {since:%Y-%m-%d %H:%M} UTC{actor}: '{action}' is not allowed in this state",
            f"Possible now: {possible}. See certmgr case show {row.reference}.",
        )

    def note(self, reference: str, text: str) -> CaseRecord:
        """Add a note to the history of a case."""
        row = self.read(reference)
        note = editing.required(text, "note", editing.MAX_TEXT)
        with self.context.write() as tx:
            return case_changes.change(tx, row, "note", {}, note)

    def close(self, reference: str) -> CaseRecord:
        """Close a case that was verified live.

        Raises:
            Conflict: The case is closed already, or was not verified live.
        """
        row = self.read(reference)
        if row.state == CaseState.CLOSED:
            raise Conflict(
                f"The case {row.reference} is closed already",
                "it was verified live everywhere",
                f"See certmgr case show {row.reference}.",
            )
        # Only a verification counts as done. Anything else ends with a reason (cancel).
        if row.state != CaseState.LIVE:
            raise Conflict(
                f"The case {row.reference} cannot be closed as done",
                f"it is '{row.state}', and was not verified live at every address",
                f"certmgr case verify {row.reference}; or certmgr case cancel {row.reference}"
                " --reason TEXT.",
            )
        with self.context.write() as tx:
            return self.transition(tx, row, CaseAction.CLOSE)

    def end(
        self, reference: str, action: CaseAction, reason: str, *, detail: str = ""
    ) -> CaseRecord:
        """Decline, cancel or reopen a case.

        Args:
            reference: The reference of the case.
            action: ``DECLINE``, ``CANCEL`` or ``REOPEN``.
            reason: The reason, which the client reads.
            detail: The text of the event instead of the reason. Only the staff reads it.

        Raises:
            Conflict: The state does not allow it, or another case is open for one of the names.
            UsageError: The reason is empty.
        """
        # Read before the transaction. The version in the update detects a change in between.
        row = self.read(reference)
        # The notice to the client states the reason.
        client_reason = editing.required(reason, "reason", 500)
        reset: CaseColumns = {**RESET_ON_REOPEN, **windows.reset(row, self.now)}
        values = reset if action is CaseAction.REOPEN else windows.cancelled(row)
        values["reason"] = client_reason
        with self.context.write() as tx:
            # The names may have got another case since this one ended.
            if action is CaseAction.REOPEN and (
                busy := [
                    c for c in cases.open_for(tx.conn, row.client_id, row.names) if c.id != row.id
                ]
            ):
                raise name_is_busy(busy[0])
            return self.transition(tx, row, action, detail or client_reason, **values)


def key_store(settings: Settings) -> keystore.KeyStore:
    """Return the key store that the configuration names, or that of the user."""
    folder = settings.cases.keys or str(Path(platformdirs.user_data_dir("certmgr")) / "keys")
    # The passphrase is read only when a key is: most actions need no key.
    return keystore.KeyStore(
        Path(folder), lambda: secret(settings.cases.passphrase) if settings.cases.passphrase else ""
    )


def name_is_busy(other: CaseRecord) -> Conflict:
    """Return the error for a name that has another open case."""
    return Conflict(
        f"The case {other.reference} is open for one of these names",
        "a name can have one installation at a time",
        f"See certmgr case show {other.reference}.",
    )
