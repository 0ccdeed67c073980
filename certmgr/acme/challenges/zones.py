"""Who sets a TXT record: a name server by RFC 2136, a provider through dns-lexicon, or a program of
the administrator's. Edges.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update

from certmgr.config.acme import SolverSettings
from certmgr.config.settings import resolver_parts, secret
from certmgr.deploy.hooks import run
from certmgr.net.dns import DnsClient
from inventory.errors import CertmgrError, ConfigError
from inventory.names import registered_domain
from inventory.text import printable

TTL = 60


@dataclass(slots=True)
class Rfc2136:
    """Dynamic update, signed with TSIG (RFC 8945)."""

    settings: SolverSettings
    asker: Callable[[], DnsClient]

    def add(self, record: str, value: str) -> None:
        self._update(record, lambda update, name: update.add(name, TTL, "TXT", f'"{value}"'))

    def remove(self, record: str, value: str) -> None:
        self._update(record, lambda update, name: update.delete(name, "TXT", f'"{value}"'))

    def _update(self, record: str, change: Callable[[Any, Any], None]) -> None:
        own = self.settings
        host, port = resolver_parts(own.server)
        what = f"The name server {own.server} did not take the record {record}"
        try:
            key = dns.tsig.Key(own.tsig_name, secret(own.tsig_secret), own.tsig_algorithm)
        except (ValueError, NotImplementedError, dns.exception.DNSException):
            raise ConfigError(
                "The TSIG key of the solver cannot be read",
                "its secret is base64",
                "Correct tsig_name, tsig_secret or tsig_algorithm.",
            ) from None
        zone = own.zone or self._zone(record)
        try:
            update = dns.update.UpdateMessage(zone, keyring=key)
            change(update, dns.name.from_text(record))
            answer = dns.query.tcp(update, host, timeout=own.timeout, port=own.port or int(port))
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise CertmgrError(
                what,
                printable(str(error) or type(error).__name__, 200),
                "Check its address, the key and the clock of both machines.",
            ) from None
        if answer.rcode() != dns.rcode.NOERROR:
            raise CertmgrError(
                what,
                f"it answered {dns.rcode.to_text(answer.rcode())} for the zone {zone}",
                "Allow that key to update the zone (allow-update, update-policy).",
            )

    def _zone(self, record: str) -> str:
        found = self.asker().authoritative(record)
        if not found.zone:
            raise CertmgrError(
                f"Nobody can tell in which zone {record} lies",
                found.reason,
                "Give the solver its zone.",
            )
        return found.zone


@dataclass(slots=True)
class Lexicon:
    """A provider of dns-lexicon (the extra ``lexicon``)."""

    settings: SolverSettings

    def add(self, record: str, value: str) -> None:
        self._call(record, lambda operations: operations.create_record("TXT", record, value))

    def remove(self, record: str, value: str) -> None:
        self._call(record, lambda operations: operations.delete_record(None, "TXT", record, value))

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
        own = self.settings
        options: dict[str, Any] = {"ttl": TTL}
        for entry in own.credentials:
            name, equals, value = entry.partition("=")
            if not equals:
                raise ConfigError(
                    "credentials of the solver are not NAME=SECRET",
                    "",
                    "Write auth_token=env:NAME.",
                )
            options[name.strip().removeprefix("--").replace("-", "_")] = secret(value.strip())
        # "action" and "type" are what the command line of dns-lexicon would have been given.
        base = {
            "provider_name": own.provider,
            "action": "create",
            "type": "TXT",
            "domain": own.zone or registered_domain(record),
            own.provider: options,
            "ttl": TTL,
        }
        try:
            with Client(resolver().with_dict(base)) as operations:
                done = call(operations)
        # each provider raises what it likes; its text may hold what was sent, so only its kind is
        # shown
        except Exception as error:
            raise CertmgrError(
                f"The DNS provider {own.provider} did not take the record {record}",
                type(error).__name__,
                "Check the credentials of the solver.",
            ) from None
        if done is False:
            raise CertmgrError(
                f"The DNS provider {own.provider} did not take the record {record}", "it said no"
            )


_NAME = re.compile(r"[a-z0-9_*-]+(\.[a-z0-9_-]+)*")
_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,400}")


def call_hook(settings: SolverSettings, action: str, *arguments: str) -> None:
    """Runs the program of a hook: ``ACTION NAME VALUE``.

    Everything that comes from outside was checked to be a name or base64url.
    """

    assert action in ("add", "remove")
    name, *values = arguments
    if not _NAME.fullmatch(name) or not all(_VALUE.fullmatch(v) for v in values):
        raise CertmgrError(
            "The hook was not called",
            f"'{printable(name, 80)}' or its value is not what a challenge has",
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
            f"{outcome.sentence}: {outcome.last_words}",
            "Run it by hand with the same arguments.",
        )


@dataclass(slots=True)
class Hook:
    settings: SolverSettings

    def add(self, record: str, value: str) -> None:
        call_hook(self.settings, "add", record, value)

    def remove(self, record: str, value: str) -> None:
        call_hook(self.settings, "remove", record, value)
