"""Implementations of :class:`Zone`: a name server by RFC 2136, a provider through dns-lexicon, or a
program of the administrator.

This module performs I/O.
"""

from __future__ import annotations

import logging
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
from certmgr.config.secret_values import secret
from certmgr.config.settings import resolver_parts
from certmgr.deploy.hooks import run
from certmgr.net.dns import DnsClient
from certmgr.net.tsig_failures import tsig_failure
from inventory.errors import CertmgrError, ConfigError
from inventory.names import registered_domain
from inventory.text import printable

_log = logging.getLogger(__name__)

# Short, because the record is removed soon, and resolvers must not keep it for the next order.
TTL = 60


def tsig_key(settings: SolverSettings) -> dns.tsig.Key:
    """Return the TSIG key of a solver.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return dns.tsig.Key(
            settings.tsig_name, secret(settings.tsig_secret), settings.tsig_algorithm
        )
    except (ValueError, NotImplementedError, dns.exception.DNSException):
        raise ConfigError(
            "The TSIG key of the solver cannot be read",
            "its secret must be base64",
            "Correct tsig_name, tsig_secret or tsig_algorithm.",
        ) from None


@dataclass(slots=True)
class Rfc2136:
    """A zone at a name server that accepts dynamic updates signed with TSIG (RFC 2136, RFC 8945).

    Attributes:
        settings: The settings of the solver.
        create_dns_client: Return a new DNS client, to find the zone of a record.
    """

    settings: SolverSettings
    create_dns_client: Callable[[], DnsClient]

    def add(self, record: str, value: str) -> None:
        """Add a TXT record."""
        self._update(record, lambda update, name: update.add(name, TTL, "TXT", f'"{value}"'))

    def remove(self, record: str, value: str) -> None:
        """Remove a TXT record."""
        self._update(record, lambda update, name: update.delete(name, "TXT", f'"{value}"'))

    def removal(self, record: str, value: str) -> str:
        """Return the commands of nsupdate."""
        host, port = resolver_parts(self.settings.server)
        return (
            f"Run nsupdate -k KEYFILE, and give it: server {host} {self.settings.port or port}"
            f' / update delete {record} TXT "{value}" / send'
        )

    def _update(self, record: str, change: Callable[[Any, Any], None]) -> None:
        settings = self.settings
        host, port = resolver_parts(settings.server)
        what = f"The name server {settings.server} did not accept the record {record}"
        key = tsig_key(settings)
        # A zone that the administrator names wins: an internal view of the DNS may show another
        # one.
        zone = settings.zone or self._zone(record)
        try:
            update = dns.update.UpdateMessage(zone, keyring=key)
            change(update, dns.name.from_text(record))
            answer = dns.query.tcp(
                update, host, timeout=settings.timeout, port=settings.port or int(port)
            )
        except (dns.exception.DNSException, OSError, EOFError) as error:
            _log.info("%s: %s: %s", what, type(error).__name__, printable(str(error), 300))
            reason, action = tsig_failure(error) or (_reason(error), "Check its address and port.")
            raise CertmgrError(what, reason, action) from None
        if answer.rcode() != dns.rcode.NOERROR:
            raise CertmgrError(
                what,
                f"it answered {dns.rcode.to_text(answer.rcode())} for the zone {zone}",
                "Allow the TSIG key to update the zone (allow-update, update-policy).",
            )

    def _zone(self, record: str) -> str:
        answer = self.create_dns_client().authoritative(record)
        if not answer.zone:
            raise CertmgrError(
                f"The zone of the record {record} cannot be determined",
                answer.reason,
                "Set zone in the solver's configuration.",
            )
        return answer.zone


def _reason(error: Exception) -> str:
    """Return in words why an update failed. The text of the library is for its developers."""
    match error:
        case dns.exception.Timeout():
            return "it did not answer in time"
        case dns.exception.DNSException():
            return "its answer cannot be read"
        case OSError() if error.strerror:
            return printable(error.strerror, 100)
        case _:
            return "it closed the connection"


@dataclass(slots=True)
class Lexicon:
    """A zone at a provider of dns-lexicon (the extra ``lexicon``)."""

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
