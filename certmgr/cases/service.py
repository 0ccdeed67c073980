"""What is done in a case.

Each step is one transaction that writes the case, its event and what belongs to it, or nothing.

Order of durability: a key is on disk and synced before its CSR is recorded (keys.py); a certificate
is stored before the case says that it came; a look is over before anything of it is written. A
message is never sent from here: what a client has to hear follows from the state
(certmgr/cases/topics.py), in the next run of notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs

from certmgr.cases import window as windows
from certmgr.cases.states import ENDED, CaseAction, CaseState, after, allowed, due
from certmgr.config.settings import Settings, secret
from certmgr.inspection.live_check import MAX_PLACES, LiveCheckTarget, check_live, places
from certmgr.inspection.verification import Observation, Verification, VerificationState, verify
from certmgr.purchases.load import leads_of
from certmgr.x509 import key_store as keystore
from inventory.certificates import parse
from inventory.db.database import Database, Tx, from_epoch
from inventory.errors import Conflict, UsageError
from inventory.store import cases, clients, contacts, purchases, records
from inventory.store.records import Row
from notifiers.wording.cases import OLD_IS_BACK

MAX_NAMES = 5000  # of one case: a wildcard that is served at many hosts
# What a case that is taken up again does not know any more.
AGAIN = {"installed_at": None, "live_at": None}
Overrides = Mapping[tuple[str, int], tuple[str, ...]]
Eyes = Callable[[Settings, Sequence[LiveCheckTarget], Overrides], list[Observation]]


@dataclass(slots=True)
class CaseService:
    """Where cases are worked on: the database, the configuration, and the time.

    ``eyes``: how servers are looked at. ``seen``: the version that the caller knows; where the case
    was changed since, nothing is done.
    """

    database: Database
    settings: Settings
    now: datetime
    eyes: Eyes = check_live
    seen: int | None = None

    @property
    def keys(self) -> keystore.KeyStore:
        return key_store(self.settings)

    # -- the common part of every step

    def read(self, reference: str) -> Row:
        with self.database.read() as conn:
            row = cases.find(conn, reference)
            if self.seen is not None and row["version"] != self.seen:
                raise cases.moved_meanwhile(conn, {**row, "version": self.seen})
            return row

    def move(self, tx: Tx, row: Row, action: CaseAction, text: str = "", **values: Any) -> Row:
        """One transition.

        Raises :class:`Conflict` where the table does not allow it, or somebody was faster.
        """
        state = after(row["state"], action)
        if state is None:
            raise self.not_allowed(tx, row, action)
        values |= {"state": str(state), "since": tx.at, "step": 1}
        if state in ENDED:
            values["closed_at"] = tx.at
        elif row["closed_at"] is not None:
            values["closed_at"] = None
        verify = timedelta(hours=self.settings.cases.verify_hours)
        last = due({**row, **values}, self.now, leads_of(self.settings), verify)
        values["due_at"] = None if last is None else int(last.timestamp())
        return cases.change(tx, row, str(action), values, text)

    def not_allowed(self, tx: Tx, row: Row, action: CaseAction) -> Conflict:
        events = cases.events(tx.conn, row["id"])
        last = events[-1] if events else None
        since = from_epoch(row["since"])
        who = f", by {last['by']}" if last is not None else ""
        can = ", ".join(allowed(row["state"])) or "nothing any more"
        return Conflict(
            f"The case {row['reference']} is '{row['state']}'",
            f"since {since:%Y-%m-%d %H:%M} UTC{who}: '{action}' does not follow from that",
            f"Possible now: {can}. See certmgr case show {row['reference']}.",
        )

    # -- opening

    def open(
        self,
        client: str,
        names: Sequence[str],
        given: Mapping[str, Any] | None = None,
        *,
        text: str = "",
    ) -> Row:
        with self.database.write(self.now) as tx:
            return self.open_in(tx, client, names, given or {}, text)

    def open_in(
        self, tx: Tx, client: str, names: Sequence[str], given: Mapping[str, Any], text: str
    ) -> Row:
        """``given``: order (key), kind, contact, staff, own_csr, bought_by, price, fee, currency,
        incident_id, ends_at. What is not given is filled in from the order, the inventory, what is
        served, and the case before: who spoke for the client, who led it, who makes the key.
        """
        owner = clients.find(tx.conn, client)
        if owner["state"] == "retired":
            raise UsageError(f"The client {owner['number']} is retired")
        purchase = (
            purchases.find(tx.conn, given["order"], owner["id"]) if given.get("order") else None
        )
        listed = list(names)
        if not listed and purchase is not None:
            listed = purchases.listing(tx.conn, ids=[purchase["id"]])[0]["names"]
        found, _ = purchases.names_of(tx.conn, owner["id"], listed, MAX_NAMES)
        if not found:
            raise UsageError("A case is about at least one name", "", "Name them, or give --order.")
        cases.lock_client(tx, owner["id"])
        if busy := cases.open_for(tx.conn, owner["id"], found):
            raise Conflict(
                f"The case {busy[0]['reference']} is open for one of these names",
                "one installation of a name at a time",
                f"See certmgr case show {busy[0]['reference']}.",
            )
        hosts = [n for n in found if not n.startswith("*.")] or [
            n.removeprefix("*.") for n in found
        ]
        leaves = cases.live_leaves(tx.conn, owner["id"], hosts)
        if not leaves and purchase is not None:
            leaves = cases.last_issued(tx.conn, purchase["id"])
        from_order = (
            {k: purchase[k] for k in ("price", "fee", "currency", "bought_by", "contact_id")}
            if purchase is not None
            else {}
        )
        values: dict[str, Any] = {
            "client_id": owner["id"],
            "order_id": purchase["id"] if purchase is not None else None,
            "kind": given.get("kind") or ("renewal" if leaves else "new"),
            "state": "requested",
            "bought_by": "us" if owner["buys"] == "us" else "client",
            "replaces": " ".join(r["sha256"] for r in leaves) or None,
            "ends_at": min((r["not_after"] for r in leaves), default=None),
        }
        values |= {k: v for k, v in from_order.items() if v is not None}
        values |= {
            k: given[k] for k in ("incident_id", "ends_at", "bought_by") if given.get(k) is not None
        }
        last_time = cases.before(tx.conn, owner["id"], found) or {}
        values["own_csr"] = int(bool(given.get("own_csr") or last_time.get("own_csr")))
        values |= {k: purchases.amount(given[k], k) for k in ("price", "fee") if given.get(k)}
        if given.get("currency"):
            values["currency"] = purchases.currency(given["currency"])
        if given.get("contact"):
            values["contact_id"] = contacts.find(tx.conn, given["contact"], owner["id"])["id"]
        values.setdefault("contact_id", last_time.get("contact_id"))
        values["staff_id"] = self._staff(tx, given.get("staff"), last_time.get("staff_id"))
        last = due(values | {"window_end": None}, self.now, leads_of(self.settings), timedelta(0))
        values["due_at"] = None if last is None else int(last.timestamp())
        return cases.open_(tx, values, found, text)

    def join(self, tx: Tx, row: Row, incident: Row, reason: str) -> Row:
        """A case that is open already becomes one of an incident: its client hears of it anew, with
        the new date.
        """
        values = {
            "incident_id": incident["id"],
            "ends_at": incident["until"],
            "kind": "incident",
            "since": tx.at,
            "step": 1,
        }
        last = due(
            {**row, **values},
            self.now,
            leads_of(self.settings),
            timedelta(hours=self.settings.cases.verify_hours),
        )
        values["due_at"] = None if last is None else int(last.timestamp())
        return cases.change(tx, row, "join", values, f"it joins {incident['reference']}: {reason}")

    def _staff(self, tx: Tx, key: str | None, before: int | None = None) -> int | None:
        """The administrator whose case it is: the one named, else who led the one ``before``, else
        whoever leads the fewest.
        """
        if key:
            row = contacts.find(tx.conn, key)
            if row["client_id"] is not None:
                raise UsageError(
                    f"{row['name']} is a contact of a client",
                    "a case is led by somebody of the provider",
                    "Name a contact without a client.",
                )
            return int(row["id"])
        known = [
            c
            for c in contacts.listing(tx.conn)
            if c["client_id"] is None and c["role"] == "administrator"
        ]
        if before in [int(c["id"]) for c in known]:
            return before
        led = cases.led(tx.conn)
        return min((int(c["id"]) for c in known), key=lambda i: (led.get(i, 0), i), default=None)

    def take(self, reference: str, staff: str) -> Row:
        row = self.read(reference)
        with self.database.write(self.now) as tx:
            staff_id = self._staff(tx, staff)
            return cases.change(tx, row, "take", {"staff_id": staff_id}, f"taken by {staff}")

    def note(self, reference: str, text: str) -> Row:
        row = self.read(reference)
        words = records.required(text, "note", records.MAX_TEXT)
        with self.database.write(self.now) as tx:
            return cases.change(tx, row, "note", {}, words)

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
    ) -> Row:
        row = self.read(reference)
        if CaseState(row["state"]) in ENDED:
            raise Conflict(
                f"The case {row['reference']} is '{row['state']}'",
                "there is nothing left to approve",
            )
        values: dict[str, Any] = {
            "approved_at": int(self.now.timestamp()),
            "approved_by": records.required(by, "name", 200),
            "approved_how": records.required(how, "way", 200),
        }
        values |= {
            k: purchases.amount(v, k) for k, v in (("price", price), ("fee", fee)) if v is not None
        }
        if currency:
            values["currency"] = purchases.currency(currency)
        after_ = {**row, **values}
        if (after_["price"] or after_["fee"]) and not after_["currency"]:
            raise UsageError("An amount needs a currency", "", "Give --currency EUR, for example.")
        if row["state"] == CaseState.CHECKED:
            values["step"] = 1  # who is waited for changes
            values["since"] = int(self.now.timestamp())
            last = due(after_, self.now, leads_of(self.settings), timedelta(0))
            values["due_at"] = None if last is None else int(last.timestamp())
        amounts = ", ".join(
            f"{k} {after_[k]} {after_['currency']}" for k in ("price", "fee") if after_[k]
        )
        with self.database.write(self.now) as tx:
            return cases.change(
                tx,
                row,
                "approve",
                values,
                f"{by} agreed by {how}{': ' + amounts if amounts else ''}",
            )

    def agree(
        self,
        reference: str,
        start: str,
        *,
        minutes: int | None = None,
        zone: str | None = None,
        text: str = "",
    ) -> tuple[Row, windows.InstallationWindow]:
        """``start``: in the client's time zone.

        Agreed without the client's approval only where ``text`` says why.
        """
        row = self.read(reference)
        if after(row["state"], CaseAction.AGREE) is not None:
            self._must_have_certificate(row)
        place = contacts.time_zone(zone) or self._zone(row)
        chosen = windows.span(start, minutes or self.settings.cases.window_minutes, place, self.now)
        if row["approved_at"] is None and not text:
            raise UsageError(
                "Nobody of the client agreed yet",
                "a window is agreed with the client",
                f"certmgr case approve {row['reference']} --by NAME --how telephone; or say with"
                " --reason why not.",
            )
        sequence = row["window_sequence"] + 1 if row["window_start"] is not None else 0
        values = {
            "window_start": int(chosen.start.timestamp()),
            "window_end": int(chosen.end.timestamp()),
            "window_zone": place,
            "window_sequence": sequence,
            "window_state": "agreed",
        }
        with self.database.write(self.now) as tx:
            words = f"{chosen.text}{'; ' + text if text else ''}"
            return self.move(tx, row, CaseAction.AGREE, words, **values), chosen

    def _zone(self, row: Row) -> str:
        with self.database.read() as conn:
            known = contacts.listing(conn, client_id=row["client_id"])
        own = next(
            (c["time_zone"] for c in known if c["id"] == row["contact_id"] and c["time_zone"]), None
        )
        return (
            own
            or next((c["time_zone"] for c in known if c["time_zone"]), None)
            or self.settings.provider.time_zone
        )

    def lift(self, reference: str, reason: str) -> Row:
        row = self.read(reference)
        with self.database.write(self.now) as tx:
            return self.move(
                tx, row, CaseAction.LIFT, records.required(reason, "reason", 500), **_cancelled(row)
            )

    # -- installation and proof

    def installed(self, reference: str, text: str = "") -> Row:
        row = self.read(reference)
        if row["state"] == CaseState.CHECKED and not text:
            raise UsageError(
                "No window was agreed",
                "",
                "Agree on one (certmgr case window), or say with --reason why it was installed"
                " without.",
            )
        self._must_have_certificate(row)
        with self.database.write(self.now) as tx:
            return self.move(tx, row, CaseAction.INSTALL, text or "installed", installed_at=tx.at)

    def _must_have_certificate(self, row: Row) -> dict[str, str]:
        expected = self.expected(row)
        with self.database.read() as conn:
            known = cases.issuances(conn, [row["id"]]).get(row["id"], [])
        if waiting := [i["key_type"] for i in known if i["sha256"] is None]:
            raise Conflict(
                f"The certificate for {', '.join(waiting)} has not come yet",
                "a case is installed and proved as a whole",
                f"certmgr case receive {row['reference']} FILE; or do without: certmgr case csr"
                f" {row['reference']} --drop {waiting[0]}.",
            )
        if not expected:
            raise Conflict(
                f"The case {row['reference']} has no certificate yet",
                "there is nothing that could be seen",
                f"certmgr case receive {row['reference']} FILE",
            )
        return expected

    def expected(self, row: Row) -> dict[str, str]:
        """Key type (EC, RSA) -> SHA-256 of the leaf that must be seen; of several of a type the one
        that came last.
        """
        with self.database.read() as conn:
            known = cases.issuances(conn, [row["id"]]).get(row["id"], [])
        return {parse(bytes(i["der"])).key_type: i["sha256"] for i in known if i["der"] is not None}

    def verify(
        self, reference: str, overrides: Overrides | None = None
    ) -> tuple[Row, Verification]:
        """Looks at every place, and records what follows.

        Seen on all closes the case. With ``overrides`` it is a look at chosen addresses, which
        proves nothing of what the resolvers return, and nothing is recorded.
        """
        row = self.read(reference)
        expected = self._must_have_certificate(row)
        with self.database.read() as conn:
            endpoints = cases.places(conn, [row["client_id"]]).get(row["client_id"], [])
        wanted = places(row["names"], endpoints)
        sights = self.eyes(self.settings, wanted[:MAX_PLACES], overrides or {})
        sights += [
            Observation(
                host=w.target.host,
                port=w.target.port,
                address="its addresses",
                key_type="EC",
                sha256=None,
                error="too many places for one look",
            )
            for w in wanted[MAX_PLACES:][:1]
        ]
        proof = verify(expected, sights, (row["replaces"] or "").split())
        return row if overrides else self.conclude(row, proof), proof

    def conclude(self, row: Row, proof: Verification) -> Row:
        with self.database.write(self.now) as tx:
            state = CaseState(row["state"])
            if proof.state is VerificationState.LIVE and after(state, CaseAction.SEE) is not None:
                row = self.move(
                    tx,
                    row,
                    CaseAction.SEE,
                    proof.sentence,
                    live_at=tx.at,
                    installed_at=row["installed_at"] or tx.at,
                    **self._too_early(row),
                )
                cases.seen_live(tx, row["id"])
            elif proof.state is VerificationState.PARTIAL and state in (
                CaseState.CHECKED,
                CaseState.WINDOW,
            ):
                row = self.move(
                    tx, row, CaseAction.INSTALL, f"it is {proof.sentence}", installed_at=tx.at
                )
            elif proof.old and state in (CaseState.CLOSED, CaseState.LIVE):
                why = (
                    "the old certificate is back (unexpected-certificate) at"
                    f" {'; '.join(proof.old[:8])}"
                )
                row = self.move(
                    tx,
                    row,
                    CaseAction.REOPEN,
                    why,
                    reason=OLD_IS_BACK,
                    **AGAIN,
                    **self._window_again(row),
                )
            elif self._is_new(tx, row, proof):
                row = cases.change(tx, row, "look", {}, proof.sentence)
            if row["state"] == CaseState.LIVE:
                row = self.move(tx, row, CaseAction.CLOSE, "closed: it was seen live everywhere")
        return row

    @staticmethod
    def _is_new(tx: Tx, row: Row, proof: Verification) -> bool:
        """The same sight again is no event."""
        looks = [
            e for e in cases.events(tx.conn, row["id"]) if e["action"] in ("look", "see", "install")
        ]
        return not looks or looks[-1]["text"].removeprefix("it is ") != proof.sentence

    def _too_early(self, row: Row) -> dict[str, Any]:
        """What is live before its window begins needs no window any more."""
        if row["window_state"] == "agreed" and row["window_start"] > self.now.timestamp():
            return {"window_state": "cancelled", "window_sequence": row["window_sequence"] + 1}
        return {}

    def _window_again(self, row: Row) -> dict[str, Any]:
        """Of a case that is taken up again: a window that is not over is called off, an old one is
        forgotten.
        """
        if row["window_state"] == "agreed" and row["window_end"] > self.now.timestamp():
            return {"window_state": "cancelled", "window_sequence": row["window_sequence"] + 1}
        return {"window_state": "none"}

    # -- ends

    def close(self, reference: str) -> Row:
        row = self.read(reference)
        if row["state"] == CaseState.CLOSED:
            raise Conflict(
                f"The case {row['reference']} is closed already", "it was seen live everywhere"
            )
        if row["state"] != CaseState.LIVE:
            raise Conflict(
                f"The case {row['reference']} cannot be closed as done",
                f"it is '{row['state']}', and was not seen live on every address",
                f"certmgr case verify {row['reference']}; or certmgr case cancel {row['reference']}"
                " --reason TEXT.",
            )
        with self.database.write(self.now) as tx:
            return self.move(tx, row, CaseAction.CLOSE)

    def end(self, reference: str, action: CaseAction, reason: str, *, detail: str = "") -> Row:
        """Declined, cancelled, or reopened: each with its reason, which the client reads;
        ``detail`` stands in the story alone.
        """
        row = self.read(reference)
        words = records.required(reason, "reason", 500)
        again = AGAIN | self._window_again(row)
        values: dict[str, Any] = {
            "reason": words,
            **(again if action is CaseAction.REOPEN else _cancelled(row)),
        }
        with self.database.write(self.now) as tx:
            if action is CaseAction.REOPEN and (
                busy := [
                    c
                    for c in cases.open_for(tx.conn, row["client_id"], row["names"])
                    if c["id"] != row["id"]
                ]
            ):
                raise Conflict(
                    f"The case {busy[0]['reference']} is open for one of these names",
                    "one installation of a name at a time",
                )
            return self.move(tx, row, action, detail or words, **values)


def _cancelled(row: Row) -> dict[str, Any]:
    """A window that was agreed is called off in the calendars too."""
    if row["window_state"] != "agreed" or row["installed_at"] is not None:
        return {}
    return {"window_state": "cancelled", "window_sequence": row["window_sequence"] + 1}


def key_store(settings: Settings) -> keystore.KeyStore:
    folder = settings.cases.keys or str(Path(platformdirs.user_data_dir("certmgr")) / "keys")
    return keystore.KeyStore(
        Path(folder), lambda: secret(settings.cases.passphrase) if settings.cases.passphrase else ""
    )
