"""dns-01 at a name server that accepts dynamic updates signed with TSIG (RFC 2136, RFC 8945).

This module performs I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update

from certmgr.acme.challenges.dns01 import TTL, Dns01
from certmgr.acme.challenges.interface import DNS_01, Solver, SolverKind, SolverTools
from certmgr.config.acme import SolverSettings
from certmgr.config.secret_values import secret
from certmgr.config.settings import resolver_parts
from certmgr.net.dns import DnsClient
from certmgr.net.tsig_failures import tsig_failure
from inventory.errors import CertmgrError, ConfigError
from inventory.text import printable

_log = logging.getLogger(__name__)
# GSS-TSIG takes a Kerberos session instead of a secret.
ALGORITHMS = frozenset(dns.tsig.mac_sizes) - {dns.tsig.GSS_TSIG}


def tsig_key(settings: SolverSettings) -> dns.tsig.Key:
    """Return the TSIG key of a solver.

    Raises:
        ConfigError: It cannot be read, or its algorithm is unknown.
    """
    try:
        key = dns.tsig.Key(
            settings.tsig_name, secret(settings.tsig_secret), settings.tsig_algorithm
        )
    # ValueError: the secret is not base64. DNSException: a name is too long, for example.
    except (ValueError, dns.exception.DNSException):
        raise ConfigError(
            "The TSIG key of the solver cannot be read",
            "its secret must be base64",
            "Correct tsig_name, tsig_secret or tsig_algorithm.",
        ) from None
    # The library takes any algorithm, and fails when it signs.
    if key.algorithm not in ALGORITHMS:
        known = sorted(a.to_text(omit_final_dot=True).lower() for a in ALGORITHMS)
        raise ConfigError(
            "The TSIG key of the solver cannot be used",
            f"its algorithm is '{printable(settings.tsig_algorithm, 60)}', and certmgr knows"
            f" {', '.join(known)}",
            "Correct tsig_algorithm.",
        )
    return key


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


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    zone = Rfc2136(settings, tools.create_dns_client)
    return Dns01(zone, tools.create_dns_client, settings.propagation)


SOLVER = SolverKind(
    name="rfc2136",
    challenges=(DNS_01,),
    make=_make,
    needs=("server", "tsig_name", "tsig_secret"),
    summary="`server`, `tsig_name`, `tsig_secret`; `zone` if it is not found automatically",
)
