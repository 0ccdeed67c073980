"""The inventory's lineages as items of a simulation, with their CAs. An edge."""

from __future__ import annotations

from certmgr.acme import cas
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.simulate import SimulatedLineage
from certmgr.config.settings import Settings
from inventory.db.database import Database, from_epoch
from inventory.store import accounts, lineages


def fleet_of(
    database: Database, settings: Settings
) -> tuple[list[SimulatedLineage], dict[str, CertificateAuthority]]:
    """(items, CAs by the name that the items give)."""
    with database.read() as conn:
        rows = lineages.listing(conn, states=("active",))
        known = {a["id"]: a for a in accounts.listing(conn, retired=True)}
    found = {a["id"]: cas.find(settings.acme, a["ca"], a["directory"]) for a in known.values()}
    items = [
        SimulatedLineage(
            name=r["name"],
            names=tuple(n["name"] for n in r["names"] if n["state"] == "active"),
            account=r["account_id"],
            ca=found[r["account_id"]].directory,
            not_before=from_epoch(r["not_before"]),
            not_after=from_epoch(r["not_after"]),
            ari=r["ari_start"] is not None,
        )
        for r in rows
    ]
    return items, {ca.directory: ca for ca in found.values()}
