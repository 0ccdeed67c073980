"""The actions on a case.

Each action is one transaction that writes the case, its event and all related rows, or nothing.

Order of durability: a key is on disk and synced before its CSR is recorded
(certmgr/x509/key_store.py). A certificate is stored before the case is marked as received. A
verification is complete before any result of it is written.

This module never sends a message. The notices to a client follow from the state of the case
(certmgr/cases/topics.py) in the next notification run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs

from certmgr.cases import window as windows
from certmgr.cases.states import ENDED, CaseAction, allowed_actions, due_date, next_state
from certmgr.config.settings import Settings, secret
from certmgr.inspection.live_check import (
    MAX_TARGETS,
    LiveCheckTarget,
    check_live,
    live_check_targets,
)
from certmgr.inspection.verification import Observation, Verification, verify
from certmgr.purchases.load import lead_times
from certmgr.x509 import key_store as keystore
from inventory.certificates import parse
from inventory.db.database import Database, Tx, from_epoch
from inventory.errors import Conflict, UsageError
from inventory.records import CaseRecord, IncidentRecord
from inventory.store import cases, clients, contacts, editing, purchases
from inventory.vocabulary import CaseState, VerificationState
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

MAX_NAMES = 5000  # per case: a wildcard may be served at many hosts
# A reopened case has to be installed and verified again.
RESET_ON_REOPEN = {"installed_at": None, "live_at": None}
Overrides = Mapping[tuple[str, int], tuple[str, ...]]
Prober = Callable[[Settings, Sequence[LiveCheckTarget], Overrides], list[Observation]]


@dataclass(slots=True)
class CaseService:
    """The actions on cases, with the database, the configuration and the time that they need.

    Attributes:
        database: The database of the inventory.
        settings: The configuration.
        now: The time of the action.
        prober: Probes servers and returns the observations.
        expected_version: The version of the case that the caller has read. If the case was changed
            since, every action raises :class:`Conflict`.
    """

    database: Database
    settings: Settings
    now: datetime
    prober: Prober = check_live
    expected_version: int | None = None

    @property
    def keys(self) -> keystore.KeyStore:
        """The store of the private keys."""
        return key_store(self.settings)

    # -- the common part of every action

    def read(self, reference: str) -> CaseRecord:
        """Return the row of a case.

        Raises:
            NotFound: There is no such case.
            Conflict: The case has another version than ``expected_version``.
        """
        with self.database.read() as conn:
            row = cases.find(conn, reference)
            if self.expected_version is not None and row.version != self.expected_version:
                raise cases.moved_meanwhile(conn, replace(row, version=self.expected_version))
            return row

    def transition(
        self, tx: Tx, row: CaseRecord, action: CaseAction, text: str = "", **values: Any
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
        values |= {"state": str(state), "since": tx.at, "step": 1}
        if state in ENDED:
            values["closed_at"] = tx.at
        # A reopened case is not closed any more.
        elif row.closed_at is not None:
            values["closed_at"] = None
        verify = timedelta(hours=self.settings.cases.verify_hours)
        due = due_date(
            state,
            ends_at=values.get("ends_at", row.ends_at),
            window_end=values.get("window_end", row.window_end),
            now=self.now,
            leads=lead_times(self.settings),
            verify=verify,
        )
        values["due_at"] = None if due is None else int(due.timestamp())
        return cases.change(tx, row, str(action), values, text)

    def not_allowed(self, tx: Tx, row: CaseRecord, action: CaseAction) -> Conflict:
        """Return the error for an action that the state of the case does not allow."""
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

    # -- opening

    def open(
        self,
        client: str,
        names: Sequence[str],
        options: Mapping[str, Any] | None = None,
        *,
        text: str = "",
    ) -> CaseRecord:
        """Open a case. See :meth:`open_in`."""
        with self.database.write(self.now) as tx:
            return self.open_in(tx, client, names, options or {}, text)

    def open_in(
        self, tx: Tx, client: str, names: Sequence[str], options: Mapping[str, Any], text: str
    ) -> CaseRecord:
        """Open a case in a transaction.

        Missing options are filled in from the purchase, the inventory, the served certificates, and
        the previous case of these names. The previous case supplies the contact, the assignee, and
        the party that generates the key.

        Args:
            tx: The transaction.
            client: The key of the client.
            names: The names of the case; empty for those of the purchase.
            options: order (the key of the purchase), kind, contact, staff, own_csr, bought_by,
                price, fee, currency, incident_id, ends_at.
            text: The text of the event.

        Raises:
            UsageError: The client is retired, there is no name, or an option is invalid.
            Conflict: Another case is open for one of the names.
            NotFound: The client, purchase or contact does not exist.
        """
        owner = clients.find(tx.conn, client)
        # The provider has no contract with a retired client any more.
        if owner.state == "retired":
            raise UsageError(
                f"The client {owner.number} is retired",
                "a retired client gets no new cases",
                "Open the case for the client that has the names now.",
            )
        purchase = (
            purchases.find(tx.conn, options["order"], owner.id) if options.get("order") else None
        )
        listed = list(names)
        if not listed and purchase is not None:
            listed = list(purchases.listing(tx.conn, ids=[purchase.id])[0].names)
        case_names, _ = purchases.names_of(tx.conn, owner.id, listed, MAX_NAMES)
        if not case_names:
            raise UsageError(
                "A case needs at least one name", "", "Name the domains, or give --purchase."
            )
        # The lock closes the gap between the check for open cases and the insert.
        cases.lock_client(tx, owner.id)
        # Two cases of one name would install two certificates over each other.
        if busy := cases.open_for(tx.conn, owner.id, case_names):
            raise Conflict(
                f"The case {busy[0].reference} is open for one of these names",
                "a name can have one installation at a time",
                f"See certmgr case show {busy[0].reference}.",
            )
        hosts = [n for n in case_names if not n.startswith("*.")] or [
            n.removeprefix("*.") for n in case_names
        ]
        leaves = cases.live_leaves(tx.conn, owner.id, hosts)
        # If scans found nothing, the last certificate of the purchase is the one to replace.
        if not leaves and purchase is not None:
            leaves = cases.last_issued(tx.conn, purchase.id)
        from_purchase = (
            {
                k: getattr(purchase, k)
                for k in ("price", "fee", "currency", "bought_by", "contact_id")
            }
            if purchase is not None
            else {}
        )
        values: dict[str, Any] = {
            "client_id": owner.id,
            "order_id": purchase.id if purchase is not None else None,
            "kind": options.get("kind") or ("renewal" if leaves else "new"),
            "state": "requested",
            "bought_by": "us" if owner.buys == "us" else "client",
            "replaces": " ".join(r.sha256 for r in leaves) or None,
            "ends_at": min((r.not_after for r in leaves), default=None),
        }
        values |= {k: v for k, v in from_purchase.items() if v is not None}
        values |= {
            k: options[k]
            for k in ("incident_id", "ends_at", "bought_by")
            if options.get(k) is not None
        }
        previous = cases.before(tx.conn, owner.id, case_names)
        values["own_csr"] = int(
            bool(options.get("own_csr") or (previous is not None and previous.own_csr))
        )
        values |= {k: purchases.amount(options[k], k) for k in ("price", "fee") if options.get(k)}
        if options.get("currency"):
            values["currency"] = purchases.currency(options["currency"])
        if options.get("contact"):
            values["contact_id"] = contacts.find(tx.conn, options["contact"], owner.id).id
        values.setdefault("contact_id", previous.contact_id if previous is not None else None)
        values["staff_id"] = self._staff(
            tx, options.get("staff"), previous.staff_id if previous is not None else None
        )
        due = due_date(
            CaseState.REQUESTED,
            ends_at=values["ends_at"],
            window_end=None,
            now=self.now,
            leads=lead_times(self.settings),
            verify=timedelta(0),
        )
        values["due_at"] = None if due is None else int(due.timestamp())
        return cases.open_(tx, values, case_names, text)

    def join_incident(
        self, tx: Tx, row: CaseRecord, incident: IncidentRecord, reason: str
    ) -> CaseRecord:
        """Add an open case to an incident.

        The case begins its step again, so that its client is notified of the new date.
        """
        values = {
            "incident_id": incident.id,
            "ends_at": incident.until,
            "kind": "incident",
            "since": tx.at,
            "step": 1,
        }
        due = due_date(
            row.state,
            ends_at=incident.until,
            window_end=row.window_end,
            now=self.now,
            leads=lead_times(self.settings),
            verify=timedelta(hours=self.settings.cases.verify_hours),
        )
        values["due_at"] = None if due is None else int(due.timestamp())
        text = f"added to {incident.reference}: {reason}"
        return cases.change(tx, row, "join", values, text)

    def _staff(self, tx: Tx, key: str | None, before: int | None = None) -> int | None:
        """Return the assignee of a case.

        This is the named contact, else the assignee of the previous case if still an
        administrator, else the administrator with the fewest open cases.

        Args:
            tx: The transaction.
            key: The key of the named contact.
            before: The assignee of the previous case.

        Returns:
            The id of the contact; None if there is no administrator.
        """
        if key:
            row = contacts.find(tx.conn, key)
            if row.client_id is not None:
                raise UsageError(
                    f"{row.name} is a contact of a client",
                    "a case is assigned to a contact of the provider",
                    "Name a contact without a client.",
                )
            return int(row.id)
        administrators = [
            c
            for c in contacts.listing(tx.conn)
            if c.client_id is None and c.role == "administrator"
        ]
        # A renewal stays with the administrator of the previous case.
        if before in [int(c.id) for c in administrators]:
            return before
        workload = cases.led(tx.conn)
        return min(
            (int(c.id) for c in administrators),
            key=lambda i: (workload.get(i, 0), i),
            default=None,
        )

    def assign(self, reference: str, staff: str) -> CaseRecord:
        """Assign a case to an administrator."""
        row = self.read(reference)
        with self.database.write(self.now) as tx:
            staff_id = self._staff(tx, staff)
            return cases.change(tx, row, "take", {"staff_id": staff_id}, f"assigned to {staff}")

    def note(self, reference: str, text: str) -> CaseRecord:
        """Add a note to the history of a case."""
        row = self.read(reference)
        note = editing.required(text, "note", editing.MAX_TEXT)
        with self.database.write(self.now) as tx:
            return cases.change(tx, row, "note", {}, note)

    # -- agreement and window

    def approve(
        self,
        reference: str,
        by: str,
        how: str,
        *,
        price: str | None = None,
        fee: str | None = None,
        currency: str | None = None,
    ) -> CaseRecord:
        """Record that the client approved the installation and its price.

        Args:
            reference: The reference of the case.
            by: The name of the person who approved.
            how: The contact method, such as telephone.
            price: The price of the certificate.
            fee: The fee of the installation.
            currency: The currency of both amounts.

        Raises:
            Conflict: The case has ended.
            UsageError: A value is invalid, or an amount has no currency.
        """
        row = self.read(reference)
        if CaseState(row.state) in ENDED:
            raise Conflict(
                f"The case {row.reference} is '{row.state}'",
                "a case that has ended needs no approval",
                f"Reopen it first: certmgr case reopen {row.reference} --reason TEXT.",
            )
        values: dict[str, Any] = {
            "approved_at": int(self.now.timestamp()),
            "approved_by": editing.required(by, "name", 200),
            "approved_how": editing.required(how, "way", 200),
        }
        values |= {
            k: purchases.amount(v, k) for k, v in (("price", price), ("fee", fee)) if v is not None
        }
        if currency:
            values["currency"] = purchases.currency(currency)
        # Clients read the amounts and billing uses them, so that the currency must be known.
        price_after, fee_after = values.get("price", row.price), values.get("fee", row.fee)
        currency_after = values.get("currency", row.currency)
        if (price_after or fee_after) and not currency_after:
            raise UsageError("An amount needs a currency", "", "Give --currency EUR, for example.")
        # With the approval the case waits for the provider instead of the client, so that the step
        # and its due date begin again although the state stays.
        if row.state == CaseState.CHECKED:
            values["step"] = 1
            values["since"] = int(self.now.timestamp())
            due = due_date(
                row.state,
                ends_at=row.ends_at,
                window_end=row.window_end,
                now=self.now,
                leads=lead_times(self.settings),
                verify=timedelta(0),
            )
            values["due_at"] = None if due is None else int(due.timestamp())
        amounts = ", ".join(
            f"{what} {amount} {currency_after}"
            for what, amount in (("price", price_after), ("fee", fee_after))
            if amount
        )
        with self.database.write(self.now) as tx:
            return cases.change(
                tx,
                row,
                "approve",
                values,
                f"{by} approved by {how}{': ' + amounts if amounts else ''}",
            )

    def agree_window(
        self,
        reference: str,
        start: str,
        *,
        minutes: int | None = None,
        zone: str | None = None,
        text: str = "",
    ) -> tuple[CaseRecord, windows.InstallationWindow]:
        """Agree on an installation window.

        Args:
            reference: The reference of the case.
            start: The begin in the client's time zone.
            minutes: The duration; None for the default of the configuration.
            zone: The time zone; None for that of the client.
            text: The reason. Without the client's approval a reason is required.

        Returns:
            The new row and the window.

        Raises:
            UsageError: The time is invalid, or neither an approval nor a reason is given.
            Conflict: The state does not allow a window, or a certificate is missing.
        """
        row = self.read(reference)
        if next_state(row.state, CaseAction.AGREE) is not None:
            self._must_have_certificate(row)
        time_zone = contacts.time_zone(zone) or self._zone(row)
        window = windows.build_window(
            start, minutes or self.settings.cases.window_minutes, time_zone, self.now
        )
        # A window is an appointment with the client. If it is set without the client's approval,
        # the reason is recorded.
        if row.approved_at is None and not text:
            raise UsageError(
                "The client has not approved the installation yet",
                "a window is agreed with the client",
                f"certmgr case approve {row.reference} --by NAME --how telephone; or give the"
                " reason with --reason TEXT.",
            )
        # RFC 5545: calendars replace an entry only if the new one has a higher SEQUENCE.
        sequence = row.window_sequence + 1 if row.window_start is not None else 0
        values = {
            "window_start": int(window.start.timestamp()),
            "window_end": int(window.end.timestamp()),
            "window_zone": time_zone,
            "window_sequence": sequence,
            "window_state": "agreed",
        }
        with self.database.write(self.now) as tx:
            event_text = f"{window.text}{'; ' + text if text else ''}"
            return self.transition(tx, row, CaseAction.AGREE, event_text, **values), window

    def _zone(self, row: CaseRecord) -> str:
        """Return the time zone of the client: that of the contact, of another one, or ours."""
        with self.database.read() as conn:
            known = contacts.listing(conn, client_id=row.client_id)
        own = next((c.time_zone for c in known if c.id == row.contact_id and c.time_zone), None)
        return (
            own
            or next((c.time_zone for c in known if c.time_zone), None)
            or self.settings.provider.time_zone
        )

    def cancel_window(self, reference: str, reason: str) -> CaseRecord:
        """Cancel the agreed window."""
        row = self.read(reference)
        with self.database.write(self.now) as tx:
            return self.transition(
                tx,
                row,
                CaseAction.CANCEL_WINDOW,
                editing.required(reason, "reason", 500),
                **_cancelled_window(row),
            )

    # -- installation and verification

    def mark_installed(self, reference: str, text: str = "") -> CaseRecord:
        """Record that the certificate was installed.

        Args:
            reference: The reference of the case.
            text: The reason; required if no window was agreed.

        Raises:
            UsageError: No window was agreed and no reason is given.
            Conflict: The state does not allow it, or a certificate is missing.
        """
        row = self.read(reference)
        # An installation without a window was not announced to the client.
        if row.state == CaseState.CHECKED and not text:
            raise UsageError(
                "No window was agreed",
                "",
                "Agree on one (certmgr case window), or give the reason with --reason TEXT.",
            )
        self._must_have_certificate(row)
        with self.database.write(self.now) as tx:
            return self.transition(
                tx, row, CaseAction.INSTALL, text or "installed", installed_at=tx.at
            )

    def _must_have_certificate(self, row: CaseRecord) -> dict[str, str]:
        """Return the expected certificates, or raise :class:`Conflict` if one is missing."""
        expected = self.expected_certificates(row)
        with self.database.read() as conn:
            issuances = cases.issuances(conn, [row.id]).get(row.id, [])
        if waiting := [i.key_type for i in issuances if i.sha256 is None]:
            raise Conflict(
                f"The certificate for {', '.join(waiting)} has not been received yet",
                "a case is installed and verified as a whole",
                f"certmgr case receive {row.reference} FILE; or drop it: certmgr case csr"
                f" {row.reference} --drop {waiting[0]}.",
            )
        if not expected:
            raise Conflict(
                f"The case {row.reference} has no certificate yet",
                "there is nothing to install or verify",
                f"certmgr case receive {row.reference} FILE",
            )
        return expected

    def expected_certificates(self, row: CaseRecord) -> dict[str, str]:
        """Return key type (EC, RSA) -> SHA-256 of the leaf that servers must present.

        If there are several of a type, the one that was received last counts.
        """
        with self.database.read() as conn:
            issuances = cases.issuances(conn, [row.id]).get(row.id, [])
        return {
            parse(i.der).key_type: i.sha256
            for i in issuances
            if i.der is not None and i.sha256 is not None
        }

    def verify(
        self, reference: str, overrides: Overrides | None = None
    ) -> tuple[CaseRecord, Verification]:
        """Probe all endpoints of a case, and record the result.

        If all of them present the certificate, the case is closed.

        Args:
            reference: The reference of the case.
            overrides: (host, port) -> addresses to probe instead of those of the resolvers. Such a
                check does not show what visitors reach, so that nothing is recorded.

        Returns:
            The row of the case and the verification.
        """
        row = self.read(reference)
        expected = self._must_have_certificate(row)
        with self.database.read() as conn:
            endpoints = cases.endpoints_of_clients(conn, [row.client_id])
        targets = live_check_targets(row.names, endpoints.get(row.client_id, []))
        observations = self.prober(self.settings, targets[:MAX_TARGETS], overrides or {})
        # Targets beyond the limit are not probed. One failed observation keeps the case open.
        observations += [
            Observation(
                host=t.target.host,
                port=t.target.port,
                address="its addresses",
                key_type="EC",
                sha256=None,
                error="too many targets for one verification",
            )
            for t in targets[MAX_TARGETS:][:1]
        ]
        verification = verify(expected, observations, (row.replaces or "").split())
        if overrides:
            return row, verification
        return self.record_verification(row, verification), verification

    def record_verification(self, row: CaseRecord, verification: Verification) -> CaseRecord:
        """Apply the result of a verification to the case, and return its row."""
        with self.database.write(self.now) as tx:
            state = CaseState(row.state)
            is_live = verification.state is VerificationState.LIVE
            if is_live and next_state(state, CaseAction.VERIFY) is not None:
                row = self.transition(
                    tx,
                    row,
                    CaseAction.VERIFY,
                    verification.sentence,
                    live_at=tx.at,
                    installed_at=row.installed_at or tx.at,
                    **self._cancel_future_window(row),
                )
                cases.seen_live(tx, row.id)
            # Some servers already present it, so that the installation has begun without a report.
            elif verification.state is VerificationState.PARTIAL and state in (
                CaseState.CHECKED,
                CaseState.WINDOW,
            ):
                row = self.transition(
                    tx,
                    row,
                    CaseAction.INSTALL,
                    f"it is {verification.sentence}",
                    installed_at=tx.at,
                )
            # The client was notified that the work is done, and now it is undone.
            elif verification.old and state in (CaseState.CLOSED, CaseState.LIVE):
                text = (
                    "the old certificate is served again (unexpected-certificate) at"
                    f" {'; '.join(verification.old[:8])}"
                )
                row = self.transition(
                    tx,
                    row,
                    CaseAction.REOPEN,
                    text,
                    reason=OLD_CERTIFICATE_SERVED,
                    **RESET_ON_REOPEN,
                    **self._reset_window(row),
                )
            elif self._is_new(tx, row, verification):
                row = cases.change(tx, row, "look", {}, verification.sentence)
            if row.state == CaseState.LIVE:
                row = self.transition(
                    tx, row, CaseAction.CLOSE, "closed: it was verified live everywhere"
                )
        return row

    @staticmethod
    def _is_new(tx: Tx, row: CaseRecord, verification: Verification) -> bool:
        """Return whether the result differs from the last one. An equal result is no event."""
        checks = [
            e for e in cases.events(tx.conn, row.id) if e.action in ("look", "see", "install")
        ]
        return not checks or checks[-1].text.removeprefix("it is ") != verification.sentence

    def _cancel_future_window(self, row: CaseRecord) -> dict[str, Any]:
        """Return the columns that cancel a window that has not begun when the case is live."""
        # A window that has begun took place, so that its calendar entry stays.
        if row.window_state == "agreed" and (row.window_start or 0) > self.now.timestamp():
            return {"window_state": "cancelled", "window_sequence": row.window_sequence + 1}
        return {}

    def _reset_window(self, row: CaseRecord) -> dict[str, Any]:
        """Return the window columns of a reopened case.

        A window that is not over is cancelled in the calendars. A past one is only removed.
        """
        if row.window_state == "agreed" and (row.window_end or 0) > self.now.timestamp():
            return {"window_state": "cancelled", "window_sequence": row.window_sequence + 1}
        return {"window_state": "none"}

    # -- ends

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
        with self.database.write(self.now) as tx:
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
        row = self.read(reference)
        client_reason = editing.required(reason, "reason", 500)
        reset = RESET_ON_REOPEN | self._reset_window(row)
        values: dict[str, Any] = {
            "reason": client_reason,
            **(reset if action is CaseAction.REOPEN else _cancelled_window(row)),
        }
        with self.database.write(self.now) as tx:
            if action is CaseAction.REOPEN and (
                busy := [
                    c for c in cases.open_for(tx.conn, row.client_id, row.names) if c.id != row.id
                ]
            ):
                raise Conflict(
                    f"The case {busy[0].reference} is open for one of these names",
                    "a name can have one installation at a time",
                    f"See certmgr case show {busy[0].reference}.",
                )
            return self.transition(tx, row, action, detail or client_reason, **values)


def _cancelled_window(row: CaseRecord) -> dict[str, Any]:
    """Return the columns that cancel an agreed window, so that calendars remove it too."""
    # After the installation the window took place, so that its calendar entry stays.
    if row.window_state != "agreed" or row.installed_at is not None:
        return {}
    return {"window_state": "cancelled", "window_sequence": row.window_sequence + 1}


def key_store(settings: Settings) -> keystore.KeyStore:
    """Return the key store that the configuration names, or that of the user."""
    folder = settings.cases.keys or str(Path(platformdirs.user_data_dir("certmgr")) / "keys")
    return keystore.KeyStore(
        Path(folder), lambda: secret(settings.cases.passphrase) if settings.cases.passphrase else ""
    )
