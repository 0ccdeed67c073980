"""Preflight of given names, or of the whole inventory.

This module performs I/O. It places no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from certmgr.acme import cas
from certmgr.acme.challenges.build import Solvers, find
from certmgr.acme.challenges.interface import DNS_01, HTTP_01, TLS_ALPN_01
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.acme.preflight.perspectives import perspective_of, predict, with_prediction
from certmgr.acme.preflight.preflight import Advice, PreflightFacts
from certmgr.acme.preflight.preflight_facts import FactCollector, NameFacts, inventory_facts
from certmgr.acme.protocol.session import open_session
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.config.zones import in_zone
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip, certificate_name
from inventory.store import accounts, clients, domain_owners, domains, servers
from inventory.zone_names import DEFAULT_ZONE


@dataclass(frozen=True, slots=True)
class PreflightRequest:
    """The arguments of ``certmgr issue --preflight``. Empty values stand for the configured ones.

    Attributes:
        names: The names; empty for all names of the inventory or of the client.
        client: The number of a client.
        account: The account at the CA.
        solver: The solver for domain control validation.
    """

    names: tuple[str, ...] = ()
    client: str = ""
    account: str = ""
    solver: str = ""


def preflight(context: Context, request: PreflightRequest) -> list[tuple[Advice, str]]:
    """Return the advice for each name, with the number of its client.

    Wildcards and addresses get a solver that can validate them, if one is configured.
    """
    with context.read() as conn:
        client_id = clients.find(conn, request.client).id if request.client else None
        named = _names_with_client(conn, request, client_id)
        known = inventory_facts(conn, [n for n, _ in named], client_id)
        identities, account = caa_identities(conn, context.settings, request.account)
        ours = servers.all_addresses(conn)
    items = [
        (n, _choose_solver(context.settings, request.solver, n), known.get(n, NameFacts()))
        for n, _ in named
    ]
    # A CA validates from several places. Each zone of this machine is one more.
    found = {}
    for zone in (DEFAULT_ZONE, *context.settings.zones):
        settings = in_zone(context.settings, zone)
        solvers = Solvers(settings, context.database.clock)
        found[zone] = FactCollector(settings, solvers, identities, account, ours).examine(items)
    today = context.now().date()
    return [
        (_seen_from_all({zone: seen[i] for zone, seen in found.items()}, today), who)
        for i, (_, who) in enumerate(named)
    ]


def _seen_from_all(seen: dict[str, tuple[PreflightFacts, Advice]], on: date) -> Advice:
    """Return the advice of the default zone, with what the zones of this machine add. Pure."""
    first, advice = seen[DEFAULT_ZONE]
    if len(seen) == 1:
        return advice
    perspectives = [perspective_of(zone, f, a, first) for zone, (f, a) in seen.items()]
    return with_prediction(advice, predict(perspectives, on))


def _names_with_client(
    conn: Any, request: PreflightRequest, client_id: int | None
) -> list[tuple[str, str]]:
    if request.names:
        names = []
        for text in request.names:
            name = certificate_name(text)
            owner = domain_owners.owner_of(conn, name.removeprefix("*."))
            # The advice names records and addresses, which another client's staff must not see.
            if client_id is not None and owner is not None and owner.client_id != client_id:
                raise UsageError(f"{text[:100]} belongs to another client")
            names.append((name, owner.number if owner is not None else ""))
        return names
    # A domain for mail only has no website that would need a certificate.
    rows = domains.listing(conn, client_id=client_id)
    return [(r.name, r.client) for r in rows if r.state == "active" and r.purpose != "mail"]


def _choose_solver(settings: Settings, named: str, name: str) -> str:
    if named:
        find(settings, named)
        return named
    challenges = {n: challenge_of(s) for n, s in settings.acme.solvers.items()}
    dns_solver = next((n for n, c in challenges.items() if c == DNS_01), "")
    chosen = settings.acme.default_solver
    if name.startswith("*.") and dns_solver:
        chosen = dns_solver
    # An address has no dns-01 challenge (RFC 8738 7).
    elif as_ip(name) is not None:
        chosen = next((n for n, c in challenges.items() if c in (HTTP_01, TLS_ALPN_01)), chosen)
    if not chosen:
        raise UsageError(
            "There is no solver for domain control validation",
            "neither --solver nor [acme] default_solver names one",
            "Write [acme.solver.web] with its kind.",
        )
    return chosen


def caa_identities(
    conn: Any, settings: Settings, name: str = ""
) -> tuple[tuple[str, ...], str | None]:
    """Return the CA's names in CAA records, and the URL of the account.

    The account is the one named, else the default, else the only one. Without an account the names
    are those of Let's Encrypt.
    """
    rows = [r for r in accounts.listing(conn) if r.state == "active"]
    account_name = name or settings.acme.default_account
    row = accounts.find(conn, account_name) if account_name else rows[0] if len(rows) == 1 else None
    if row is None:
        return cas.known()["letsencrypt"].caa, None
    ca = cas.find(settings.acme, row.ca, row.directory)
    # A CA that is not in the table may publish its names in its directory.
    if ca.caa:
        return ca.caa, row.url
    try:
        return open_session(settings, row).caa, row.url
    except CertmgrError:
        return (), row.url
