"""Which certificates an incident affects, read from the inventory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from certmgr.cases.incident_categories import AffectedCertificate, categorise
from certmgr.cases.service import CaseService
from certmgr.renewers.load import load_facts
from inventory.records import ServedName
from inventory.store import certificates, incidents, servers
from inventory.vocabulary import IncidentCategory

# A CA may have to revoke very many certificates at once. The limits bound time and memory, and
# leave room for 200 bytes per line of a CSV file.
MAX_FILE = 20_000_000


def select_affected(
    service: CaseService,
    *,
    serials: Sequence[str] = (),
    issuer: str = "",
    server: str = "",
    leaves: Collection[str] | None = None,
) -> list[AffectedCertificate]:
    """Select the certificates that an incident affects and that must be replaced.

    Args:
        service: The service for cases.
        serials: Serial numbers; empty for all served certificates that match the other criteria.
        issuer: A part of the issuer's name.
        server: The name of a server.
        leaves: SHA-256 of served certificates; None for all.

    Raises:
        NotFound: The server does not exist.
    """
    with service.context.read() as conn:
        if server:
            servers.find(conn, server)
        served = incidents.served(conn, server_name=server or None)
        # Which server a certificate is on that no scan has seen is not known.
        if not server:
            served += _held(conn)
        # Learned automation only explains a category. A case opens nevertheless, because it may not
        # learn of a revocation.
        facts = load_facts(conn, service.now)
        if issuer:
            served = [r for r in served if issuer.casefold() in r.issuer.casefold()]
        if leaves is not None:
            served = [r for r in served if r.sha256 in leaves]
        selected = list(serials) if serials else list(dict.fromkeys(r.serial for r in served))
        known = certificates.by_serials(conn, selected)
    fingerprints = {r.sha256 for r in served}
    if not serials:
        # A serial number is unique per CA only (RFC 5280, 4.1.2.2), so that fingerprints decide.
        known = {s: [c for c in rows if c.sha256 in fingerprints] for s, rows in known.items()}
    return categorise(selected, known, served, facts)


def _held(conn: Connection) -> list[ServedName]:
    """Return the certificates of lineages that no scan has seen, one row per name."""
    return [
        ServedName(
            sha256=leaf.sha256,
            serial=leaf.serial,
            issuer=leaf.issuer,
            names=leaf.names,
            host=name,
            domain_id=0,
            client_id=leaf.client_id,
            client=leaf.client,
        )
        for leaf in incidents.held(conn)
        for name in leaf.names
    ]


def select_lost(service: CaseService, server: str) -> list[AffectedCertificate]:
    """Select what has to be installed again after a server lost its virtual hosts.

    The certificates are good: none is bought or revoked. For each host of the server it is the
    valid certificate that was served there last, or that the client's lineage holds.

    Args:
        service: The service for cases.
        server: The name of the server.

    Raises:
        NotFound: The server does not exist.
    """
    now = int(service.now.timestamp())
    with service.context.read() as conn:
        servers.find(conn, server)
        hosts = incidents.lost_hosts(conn, server, now)
        # Only a lineage has a certificate and a key that could be installed from here.
        facts = load_facts(conn, service.now, learned=False)
    grouped: dict[tuple[int, str | None], list[incidents.LostHost]] = {}
    for host in hosts:
        grouped.setdefault((host.client_id, host.sha256), []).append(host)
    result = []
    for (client_id, sha256), rows in grouped.items():
        names = tuple(r.host for r in rows)
        lineage = next((r for n in names if (r := facts.renewer(client_id, n)).ours), None)
        if lineage is not None:
            reason = f"the lineage {lineage.reference} holds a certificate: install it again"
        elif sha256 is not None:
            reason = "its certificate is still valid: install it again with its key"
        else:
            reason = "no valid certificate was ever seen here: find out what was installed"
        result.append(
            AffectedCertificate(
                serial=rows[0].serial or "",
                sha256=sha256,
                client=rows[0].client,
                client_id=client_id,
                hosts=names,
                category=IncidentCategory.REINSTALL,
                reason=reason,
            )
        )
    return result
