"""The CA that certmgr would use for a name, as CAA records must permit it.

The check for ``caa-mismatch`` compares CAA records with it. This module performs I/O; it reads the
inventory once per run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certmgr.acme import cas
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.x509.names import name_covers
from inventory.errors import CertmgrError
from inventory.records import ListedAccount, VisitedEndpoint
from inventory.store import accounts, lineages

# The CA's names in CAA records, the URL of our account, and our challenge type (RFC 8657).
Identities = tuple[Sequence[str], str | None, str | None]


def identities_for(context: Context) -> Callable[[VisitedEndpoint], Identities | None]:
    """Return a function from a row of endpoint and domain to the CA identity for its host.

    The identity is that of the lineage that covers the host. Without a lineage it is that of the
    default account, if the provider renews or buys the domain's certificates. Otherwise it is None.
    """
    by_client: dict[int, list[tuple[Sequence[str], Identities]]] = {}
    with context.read() as conn:
        known = {a.id: a for a in accounts.listing(conn)}
        for row in lineages.listing(conn, states=("active",)):
            account = known.get(row.account_id)
            if (
                account is not None
                and (identity := _identity_of(context.settings, account, row.solver)) is not None
            ):
                by_client.setdefault(row.client_id, []).append(
                    ([n.name for n in row.names], identity)
                )
    account = next(
        (a for a in known.values() if a.name == context.settings.acme.default_account), None
    )
    default = (
        _identity_of(context.settings, account, context.settings.acme.default_solver)
        if account is not None
        else None
    )

    def identity_for(row: VisitedEndpoint) -> Identities | None:
        for names, identity in by_client.get(row.client_id, ()):
            # The account of the lineage counts, because a CAA record may permit one account only
            # (RFC 8657 3).
            if any(name_covers(n, row.host) for n in names):
                return identity
        # If the client gets the certificates, the provider's CA has no claim on their CAA records.
        return default if (row.parties.renews or row.parties.buys) == "us" else None

    return identity_for


def _identity_of(settings: Settings, account: ListedAccount, solver_name: str) -> Identities | None:
    try:
        ca = cas.find(settings.acme, account.ca, account.directory)
    except CertmgrError:
        return None
    solver = settings.acme.solvers.get(solver_name)
    return (
        (ca.caa, account.url, challenge_of(solver) if solver is not None else None)
        if ca.caa
        else None
    )
