"""Answers to challenges that stay published while a CA has not decided, and their removal.

This module performs I/O.

- A file per order is written before its answers are published, and removed after they are. So the
  answers of an order that ends in another run, or whose process died, are found again.
- An answer that cannot be removed, such as a record while its name server does not answer, gets a
  separate file (``left-...json``) before the file of its order is removed. Each renewal run tries
  again, and ``certmgr doctor`` and ``certmgr renew --due`` report it until it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certmgr.acme.challenges.build import Solvers
from certmgr.acme.challenges.interface import ChallengeProof, Leftover
from certmgr.acme.context import IssuanceContext
from certmgr.acme.protocol.session import base_directory
from certmgr.config.settings import Settings
from certmgr.deploy.disk import require_trusted
from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.store import acme_orders

_log = logging.getLogger(__name__)

# Two hundred answers have about 60 KB. More is not a file of this program.
MAX_FILE = 1_000_000
# A provider that is down must not delay the renewals behind it. The rest is tried by a later run.
RETRY_SECONDS = 60.0


def remember(settings: Settings, solver: str, left: Sequence[Leftover]) -> None:
    """Record answers that may still be published, durably. Answers to probes are recorded as well.

    A record that cannot be written is logged with all that an administrator needs.
    """
    if not left:
        return
    folder = _folder(settings)
    document = {
        "solver": solver,
        "proofs": _listed([x.proof for x in left]),
        "left": [(x.what, x.reason, x.remedy) for x in left],
    }
    try:
        _write(folder / f"left-{secrets.token_hex(8)}.json", document)
    except CertmgrError as error:
        for one in left:
            _log.error("%s is left (%s): %s. %s", one.what, one.reason, one.remedy, error)


def leftovers(settings: Settings) -> list[Leftover]:
    """Return the recorded answers that may still be published."""
    return [x for path in _left_files(settings) for x in _read_left(path)[1]]


@dataclass(frozen=True, slots=True)
class ProofJournal:
    """The published answers of the orders of one inventory."""

    context: IssuanceContext

    @property
    def _folder(self) -> Path:
        return _folder(self.context.settings)

    def _file(self, order_id: int) -> Path:
        return self._folder / f"{order_id}.json"

    def record(self, order_id: int, solver: str, proofs: Sequence[ChallengeProof]) -> None:
        """Record answers, durably, before they are published.

        Raises:
            CertmgrError: The file cannot be written.
        """
        # Answers of an earlier run for other tokens stay listed until the order is final.
        solver_before, earlier = self._read(order_id)
        listed = dict.fromkeys([*(earlier if solver_before == solver else ()), *proofs])
        _write(self._file(order_id), {"solver": solver, "proofs": _listed(listed)})

    def _read(self, order_id: int) -> tuple[str, tuple[ChallengeProof, ...]]:
        """Return the solver and the answers of an order; empty without a readable file."""
        document = _document(self._file(order_id))
        return document.solver, document.proofs

    def remove(self, order_id: int) -> None:
        """Remove the answers of an order whose authorizations are final."""
        path = self._file(order_id)
        if not path.exists():
            return
        solver, proofs = self._read(order_id)
        if proofs:
            _log.info("removing %d answer(s) of the order %d", len(proofs), order_id)
            left = _clean(self.context.solvers, solver, proofs)
            remember(self.context.settings, solver, left)
        # After the record of what is left: a death in between only repeats the removal.
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the answers of orders that have ended."""
        files = list(self._folder.glob("[0-9]*.json"))
        if not files:
            return
        with self.context.read() as conn:
            open_orders = {o.id for o in acme_orders.unfinished(conn)}
        for path in files:
            if path.stem.isascii() and path.stem.isdigit() and int(path.stem) not in open_orders:
                self.remove(int(path.stem))

    def retry(self) -> None:
        """Remove what earlier runs could not remove. One caller at a time, once per run."""
        end = time.monotonic() + RETRY_SECONDS
        for path in _left_files(self.context.settings):
            if time.monotonic() > end:
                break
            self._retry(path)

    def _retry(self, path: Path) -> None:
        document, before = _read_left(path)
        left = _clean(self.context.solvers, document.solver, document.proofs)
        # An unchanged result keeps its file. Otherwise the new file is durable before the old one
        # is removed; both list the same answers until then.
        if {x.proof for x in left} == {x.proof for x in before}:
            return
        remember(self.context.settings, document.solver, left)
        with suppress(OSError):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Document:
    solver: str = ""
    proofs: tuple[ChallengeProof, ...] = ()
    left: tuple[tuple[str, str, str], ...] = ()


def _clean(solvers: Solvers, solver: str, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
    """Remove answers, and return those that are left."""
    try:
        return solvers.get(solver).clean(proofs)
    # A solver that the configuration no longer has cannot remove anything.
    except CertmgrError as error:
        return [
            Leftover(
                p,
                f'the TXT record {p.location} with the value "{p.txt}"'
                if p.location
                else f"the answer {p.token} of {p.name}",
                f"{error.what}: {error.why}",
                "Configure the solver again, or delete the answer and then its file"
                " proofs/left-*.json in the directory of ACME.",
            )
            for p in proofs
        ]


def _folder(settings: Settings) -> Path:
    return base_directory(settings) / "proofs"


def _left_files(settings: Settings) -> Iterator[Path]:
    # The oldest first, so that a limit of time does not starve any.
    yield from sorted(_folder(settings).glob("left-*.json"), key=_age)


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _listed(proofs: Sequence[ChallengeProof] | dict[ChallengeProof, None]) -> list[tuple[str, ...]]:
    return [(p.name, p.token, p.key_authorization, p.location) for p in proofs]


def _read_left(path: Path) -> tuple[_Document, list[Leftover]]:
    document = _document(path)
    pairs = zip(document.proofs, document.left, strict=False)
    return document, [Leftover(proof, *texts) for proof, texts in pairs]


def _document(path: Path) -> _Document:
    """Read a file; empty if it is missing or damaged."""
    try:
        # The answers are removed by hooks and in web roots of clients.
        require_trusted(path.parent)
        read = json.loads(read_regular(path, MAX_FILE))
        return _Document(
            str(read["solver"]),
            tuple(_proof(*entry) for entry in read["proofs"]),
            tuple((str(a), str(b), str(c)) for a, b, c in read.get("left", ())),
        )
    # A damaged file must not stop the order; its answers stay, and the CA ignores them.
    except (CertmgrError, ValueError, KeyError, TypeError):
        return _Document()


def _proof(name: str, token: str, authorization: str, location: str = "") -> ChallengeProof:
    return ChallengeProof(name, token, authorization, location=location)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write a file, durably: its content, then its name.

    Raises:
        CertmgrError: It cannot be written.
    """
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        require_trusted(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(temporary, flags, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise CertmgrError(
            f"The answers to the challenges cannot be recorded in {path.parent}",
            error.strerror or str(error),
            "Check [acme] directory and its permissions.",
        ) from None
