"""Which CA we would use for a name, as its CAA records must allow it: for the look that opens
``caa-mismatch``. An edge, read once a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from certmgr.acme import cas
from certmgr.acme.challenges.build import challenge_of
from certmgr.config.settings import Settings
from certmgr.x509.names import name_covers
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import accounts, domains, lineages

Identities = tuple[Sequence[str], str | None, str | None]


def identities_for(
    database: Database, settings: Settings
) -> Callable[[Mapping[str, Any]], Identities | None]:
    """A row of endpoint and domain -> (the CA's names in CAA records, our account, our method): of
    the lineage that covers the host, else of the default account where we renew the domain's
    certificates ourselves. None where no CA of ours is used.
    """
    by_client: dict[int, list[tuple[Sequence[str], Identities]]] = {}
    with database.read() as conn:
        known = {a["id"]: a for a in accounts.listing(conn)}
        for row in lineages.listing(conn, states=("active",)):
            account = known.get(row["account_id"])
            if account is not None and (found := _of(settings, account, row["solver"])) is not None:
                by_client.setdefault(row["client_id"], []).append(
                    ([n["name"] for n in row["names"]], found)
                )
    usual = next((a for a in known.values() if a["name"] == settings.acme.default_account), None)
    default = _of(settings, usual, settings.acme.default_solver) if usual is not None else None

    def look(row: Mapping[str, Any]) -> Identities | None:
        for names, found in by_client.get(row["client_id"], ()):
            if any(name_covers(n, row["host"]) for n in names):
                return found
        parties = domains.parties_of_row(row)
        return default if (parties.renews or parties.buys) == "us" else None

    return look


def _of(settings: Settings, account: Mapping[str, Any], solver: str) -> Identities | None:
    try:
        ca = cas.find(settings.acme, account["ca"], account["directory"])
    except CertmgrError:
        return None
    own = settings.acme.solvers.get(solver)
    return (
        (ca.caa, account["url"], challenge_of(own) if own is not None else None) if ca.caa else None
    )
