"""The inventory's lineages as input of a simulation, with their CAs.

This module performs I/O.
"""

from __future__ import annotations

from certmgr.acme import cas
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.renewal.simulate import SimulatedLineage
from certmgr.config.context import Context
from inventory.db.database import from_epoch
from inventory.store import accounts, lineages


def lineages_to_simulate(
    context: Context,
) -> tuple[list[SimulatedLineage], dict[str, CertificateAuthority]]:
    """Return the active lineages, and their CAs by directory URL."""
    with context.read() as conn:
        rows = lineages.listing(conn, states=("active",))
        known = {a.id: a for a in accounts.listing(conn, retired=True)}
    ca_by_account = {
        a.id: cas.find(context.settings.acme, a.ca, a.directory) for a in known.values()
    }
    items = [
        SimulatedLineage(
            name=r.name,
            names=tuple(n.name for n in r.names if n.state == "active"),
            account=r.account_id,
            ca=ca_by_account[r.account_id].directory,
            not_before=from_epoch(r.not_before),
            not_after=from_epoch(r.not_after),
            # A CA that once sent a window for this certificate exempts its renewal from the limits.
            ari=r.ari_start is not None,
        )
        for r in rows
    ]
    return items, {ca.directory: ca for ca in ca_by_account.values()}
