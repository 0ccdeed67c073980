"""dns-01 at a provider that dns-lexicon supports (the extra ``lexicon``).

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from certmgr.acme.challenges.dns01 import TTL, Dns01
from certmgr.acme.challenges.interface import DNS_01, Solver, SolverKind, SolverTools
from certmgr.config.acme import SolverSettings
from certmgr.config.secret_values import secret
from inventory.errors import CertmgrError, ConfigError
from inventory.names import registered_domain


@dataclass(slots=True)
class Lexicon:
    """A zone at a provider of dns-lexicon."""

    settings: SolverSettings

    def add(self, record: str, value: str) -> None:
        """Add a TXT record."""
        self._call(record, lambda operations: operations.create_record("TXT", record, value))

    def remove(self, record: str, value: str) -> None:
        """Remove a TXT record."""
        self._call(record, lambda operations: operations.delete_record(None, "TXT", record, value))

    def removal(self, record: str, value: str) -> str:
        """Return where an administrator deletes the record."""
        return f"Delete it at the DNS provider {self.settings.provider}."

    def _call(self, record: str, call: Callable[[Any], Any]) -> None:
        try:
            from lexicon.client import Client
            from lexicon.config import ConfigResolver

            resolver: Any = ConfigResolver
        except ImportError:
            raise ConfigError(
                "dns-lexicon is not installed",
                "a solver of the kind lexicon needs it",
                "Install certmgr[lexicon].",
            ) from None
        settings = self.settings
        options: dict[str, Any] = {"ttl": TTL}
        for entry in settings.credentials:
            name, equals, value = entry.partition("=")
            if not equals:
                raise ConfigError(
                    "The credentials of the solver are invalid",
                    "each must be NAME=SECRET",
                    "Write for example auth_token=env:NAME.",
                )
            options[name.strip().removeprefix("--").replace("-", "_")] = secret(value.strip())
        # dns-lexicon requires "action" and "type", which its command line would set.
        base = {
            "provider_name": settings.provider,
            "action": "create",
            "type": "TXT",
            # Without a zone in the configuration, most providers keep a zone per registered domain.
            "domain": settings.zone or registered_domain(record),
            settings.provider: options,
            "ttl": TTL,
        }
        try:
            with Client(resolver().with_dict(base)) as operations:
                accepted = call(operations)
        # Providers raise exceptions of any type. Their text may contain the secrets that were sent,
        # so only the type is reported.
        except Exception as error:
            raise CertmgrError(
                f"The DNS provider {settings.provider} did not accept the record {record}",
                type(error).__name__,
                "Check the credentials of the solver.",
            ) from None
        # Some providers return False instead of raising an exception.
        if accepted is False:
            raise CertmgrError(
                f"The DNS provider {settings.provider} did not accept the record {record}",
                "it refused the request",
            )


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return Dns01(Lexicon(settings), tools.create_dns_client, settings.propagation)


SOLVER = SolverKind(
    name="lexicon",
    challenges=(DNS_01,),
    make=_make,
    needs=("provider",),
    summary="`provider` and `credentials` of dns-lexicon (install `certmgr[lexicon]`)",
)
