"""Answers to challenges that stay published while a CA has not decided, and their removal.

This module performs I/O. A file per order is written before its answers are published, and removed
after they are. So the answers of an order that ends in another run, or whose process died, are
found again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.acme.context import IssuanceContext
from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.store import acme_orders

_log = logging.getLogger(__name__)

MAX_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class ProofJournal:
    """The published answers of the orders of one inventory."""

    context: IssuanceContext

    @property
    def _folder(self) -> Path:
        return self.context.base / "proofs"

    def _file(self, order_id: int) -> Path:
        return self._folder / f"{order_id}.json"

    def record(self, order_id: int, solver: str, proofs: Sequence[ChallengeProof]) -> None:
        """Record answers, durably, before they are published.

        Raises:
            CertmgrError: The file cannot be written.
        """
        path = self._file(order_id)
        temporary = path.with_suffix(".new")
        # Answers of an earlier run for other tokens stay listed until the order is final.
        solver_before, earlier = self._read(order_id)
        listed = dict.fromkeys([*(earlier if solver_before == solver else ()), *proofs])
        document = {
            "solver": solver,
            "proofs": [(p.name, p.token, p.key_authorization) for p in listed],
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise CertmgrError(
                f"The answers to the challenges cannot be recorded in {self._folder}",
                error.strerror or str(error),
                "Check [acme] directory and its permissions.",
            ) from None

    def _read(self, order_id: int) -> tuple[str, tuple[ChallengeProof, ...]]:
        """Return the solver and the answers of an order; empty without a readable file."""
        try:
            document = json.loads(read_regular(self._file(order_id), MAX_FILE))
            return document["solver"], tuple(ChallengeProof(*p) for p in document["proofs"])
        except (CertmgrError, ValueError, KeyError, TypeError):
            return "", ()

    def remove(self, order_id: int) -> None:
        """Remove the answers of an order whose authorizations are final."""
        path = self._file(order_id)
        if not path.exists():
            return
        solver, proofs = self._read(order_id)
        if proofs:
            _log.info("removing %d answer(s) of the order %d", len(proofs), order_id)
            # A solver that the configuration no longer has cannot remove anything.
            with suppress(CertmgrError):
                self.context.solvers.get(solver).clean(proofs)
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the answers of orders that have ended."""
        files = list(self._folder.glob("*.json"))
        if not files:
            return
        with self.context.read() as conn:
            open_orders = {o.id for o in acme_orders.unfinished(conn)}
        for path in files:
            if path.stem.isdigit() and int(path.stem) not in open_orders:
                self.remove(int(path.stem))
