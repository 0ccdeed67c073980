"""Preflight of names that somebody typed, or of the whole inventory. An edge; it orders nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certmgr.acme import cas
from certmgr.acme.accounts import open_session
from certmgr.acme.challenges.build import Solvers, find
from certmgr.acme.preflight import Advice
from certmgr.acme.preflight_facts import FactCollector, NameFacts, known_of
from certmgr.config.settings import Settings
from inventory.db.database import Database
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip
from inventory.store import accounts, clients, domains, purchases, servers


@dataclass(frozen=True, slots=True)
class PreflightRequest:
    """``names`` empty: every name of the inventory, or of ``client``.

    The rest: empty for what the configuration says.
    """

    names: tuple[str, ...] = ()
    client: str = ""
    account: str = ""
    solver: str = ""


def preflight(
    database: Database, settings: Settings, question: PreflightRequest
) -> list[tuple[Advice, str]]:
    """(advice, number of the client) each.

    Wildcards and addresses get the solver that can show them, where the configuration has one.
    """
    with database.read() as conn:
        client_id = clients.find(conn, question.client)["id"] if question.client else None
        named = _names(conn, question, client_id)
        known = known_of(conn, [n for n, _ in named], client_id)
        identities, account = identities_of(conn, settings, question.account)
        ours = servers.all_addresses(conn)
    gatherer = FactCollector(settings, Solvers(settings, database.clock), identities, account, ours)
    wanted = [
        (n, _solver(settings, question.solver, n), known.get(n, NameFacts())) for n, _ in named
    ]
    return [(advice, who) for advice, (_, who) in zip(gatherer.advise(wanted), named, strict=True)]


def _names(conn: Any, question: PreflightRequest, client_id: int | None) -> list[tuple[str, str]]:
    if question.names:
        found = []
        for text in question.names:
            name = purchases.pattern(text)
            owner = purchases.owner_of(conn, name.removeprefix("*."))
            if client_id is not None and owner is not None and owner["client_id"] != client_id:
                raise UsageError(f"{text[:100]} belongs to another client")
            found.append((name, owner["number"] if owner is not None else ""))
        return found
    rows = domains.listing(conn, client_id=client_id)
    return [
        (r["name"], r["client"]) for r in rows if r["state"] == "active" and r["purpose"] != "mail"
    ]


def _solver(settings: Settings, named: str, name: str) -> str:
    if named:
        find(settings, named)
        return named
    kinds = {w: s.kind for w, s in settings.acme.solvers.items()}
    by_dns = next(
        (
            w
            for w, s in settings.acme.solvers.items()
            if s.kind in ("rfc2136", "lexicon") or (s.kind == "hook" and s.challenge == "dns-01")
        ),
        "",
    )
    chosen = settings.acme.default_solver
    if name.startswith("*.") and by_dns:
        chosen = by_dns
    elif as_ip(name) is not None:
        chosen = next(
            (w for w, k in kinds.items() if k in ("webroot", "alias", "standalone", "tls-alpn")),
            chosen,
        )
    if not chosen:
        raise UsageError(
            "How would control of the names be shown?",
            "neither --solver nor [acme] default_solver says it",
            "Write [acme.solver.web] with its kind.",
        )
    return chosen


def identities_of(
    conn: Any, settings: Settings, name: str = ""
) -> tuple[tuple[str, ...], str | None]:
    """(what stands for the CA in CAA records, the account's URL): of the account named, the default
    one, or the only one; Let's Encrypt's where there is none yet.
    """
    rows = [r for r in accounts.listing(conn) if r["state"] == "active"]
    wanted = name or settings.acme.default_account
    row = accounts.find(conn, wanted) if wanted else rows[0] if len(rows) == 1 else None
    if row is None:
        return cas.known()["letsencrypt"].caa, None
    ca = cas.find(settings.acme, row["ca"], row["directory"])
    if ca.caa:
        return ca.caa, row["url"]
    try:
        return open_session(settings, row).caa, row["url"]
    except CertmgrError:
        return (), row["url"]
