"""dns-01 or http-01 by a program of the administrator.

This module performs I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from certmgr.acme.challenges.dns01 import Dns01
from certmgr.acme.challenges.interface import (
    DNS_01,
    HTTP_01,
    ChallengeProof,
    Leftover,
    Solver,
    SolverKind,
    SolverTools,
)
from certmgr.config.acme import SolverSettings
from certmgr.deploy.hooks import run
from inventory.errors import CertmgrError
from inventory.text import printable

# Lower-case A-labels only. A record such as "a;b" or "$(x)" never reaches a program.
_NAME = re.compile(r"[a-z0-9_*-]+(\.[a-z0-9_-]+)*")
_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,400}")


def call_hook(settings: SolverSettings, action: str, *arguments: str) -> None:
    """Run the program of a hook: ``ACTION NAME VALUE``.

    Args:
        settings: The settings of the solver.
        action: add or remove.
        arguments: The name of the record or host, and its values.

    Raises:
        CertmgrError: The program fails, or an argument is not a name or base64url.
    """

    assert action in ("add", "remove")
    # Names and values come from clients and CAs: they must be harmless even in a shell script.
    name, *values = arguments
    if not _NAME.fullmatch(name) or not all(_VALUE.fullmatch(v) for v in values):
        raise CertmgrError(
            "The hook was not called",
            f"'{printable(name, 80)}' or its value has characters that a challenge never has",
        )
    outcome = run(
        settings.command,
        arguments=(action, *arguments),
        user=settings.user,
        timeout=settings.timeout,
    )
    if not outcome.ok:
        raise CertmgrError(
            f"The hook {settings.command[0]} failed for {name}",
            f"{outcome.sentence}: {outcome.output_tail}",
            "Run it manually with the same arguments to find the cause.",
        )


@dataclass(slots=True)
class Hook:
    """A zone that a program of the administrator changes."""

    settings: SolverSettings

    def add(self, record: str, value: str) -> None:
        """Add a TXT record."""
        call_hook(self.settings, "add", record, value)

    def remove(self, record: str, value: str) -> None:
        """Remove a TXT record."""
        call_hook(self.settings, "remove", record, value)

    def removal(self, record: str, value: str) -> str:
        """Return the call of the program."""
        return f"Run: {' '.join((*self.settings.command, 'remove', record, value))}"


@dataclass(slots=True)
class HttpHook:
    """http-01 by a program of the administrator: ``add NAME TOKEN KEY_AUTHORIZATION``."""

    settings: SolverSettings
    challenge: str = "http-01"
    persistent: bool = True

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Call the program with ``add`` for each challenge."""
        for proof in proofs:
            call_hook(self.settings, "add", proof.name, proof.token, proof.key_authorization)

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Call the program with ``remove`` for each challenge."""
        left = []
        for proof in proofs:
            given = (proof.name, proof.token, proof.key_authorization)
            try:
                call_hook(self.settings, "remove", *given)
            except CertmgrError as error:
                what = f"the http-01 answer {proof.token} of {proof.name}"
                command = " ".join((*self.settings.command, "remove", *given))
                left.append(Leftover(proof, what, error.why or error.what, f"Run: {command}"))
        return left


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    if settings.challenge == HTTP_01:
        return HttpHook(settings)
    return Dns01(Hook(settings), tools.create_dns_client, settings.propagation)


# tls-alpn-01 needs a TLS server that answers itself, which a program called per challenge is not.
SOLVER = SolverKind(
    name="hook",
    challenges=(DNS_01, HTTP_01),
    make=_make,
    needs=("command",),
    summary=(
        "`command`: called with `add` or `remove`, the record's name, and its value (http-01: name,"
        " token, key authorization)"
    ),
)
