"""What the output of a command that is limited to one client may contain of findings.

A shared certificate names other clients. Administrators pass such a list on to the client, so that
it follows the same rule as a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from certmgr.inspection.status import EndpointStatus
from inventory.records import ListedFinding
from inventory.store import domains
from inventory.vocabulary import Finding
from notifiers.wording.scope import for_client, may_be_foreign, names_in


@dataclass(frozen=True, slots=True)
class ClientScope:
    """A client, and who owns the names in the evidence of its findings.

    Attributes:
        client_id: The client.
        names: Its names.
        owners: The owners of names in the evidence, by name.
    """

    client_id: int
    names: frozenset[str]
    owners: dict[str, int]

    @classmethod
    def read(cls, conn: Connection, client_id: int, findings: Iterable[Finding]) -> ClientScope:
        """Read the owners of the names in these findings."""
        return cls(
            client_id,
            domains.names_of_client(conn, client_id),
            domains.owners_of(conn, names_in(findings)),
        )

    def finding(self, finding: Finding, codes: Iterable[str]) -> Finding:
        """Return the finding with only the data that the client may see.

        Args:
            finding: The finding.
            codes: All codes that were found at its endpoint, also those of accepted findings.
        """
        return for_client(
            finding,
            self.names,
            codes=codes,
            owners=self.owners,
            client_id=self.client_id,
        )

    def status(self, status: EndpointStatus) -> EndpointStatus:
        """Return the status without what the certificate reveals about other clients."""
        codes = status.codes_found
        return replace(
            status,
            findings=[self.finding(f, codes) for f in status.findings],
            accepted=[(self.finding(f, codes), a) for f, a in status.accepted],
            # The issuer of a self-signed certificate is the other client's site.
            issuer=None if may_be_foreign(codes) else status.issuer,
        )


def scoped_findings(
    conn: Connection, client_id: int, rows: Sequence[ListedFinding]
) -> dict[int, Finding]:
    """Return the stored findings of one client by id, without data of others.

    Args:
        conn: The connection.
        client_id: The client.
        rows: All findings of the endpoints. If a filter by code left some out, a certificate of
            another client would not be recognised.
    """
    found = {r.id: Finding(r.code, r.severity, tuple(r.addresses), r.evidence) for r in rows}
    scope = ClientScope.read(conn, client_id, found.values())
    by_endpoint: dict[int, list[ListedFinding]] = {}
    for row in rows:
        by_endpoint.setdefault(row.endpoint_id, []).append(row)
    return {
        row.id: scope.finding(
            found[row.id],
            {r.code for r in by_endpoint[row.endpoint_id] if _were_open_together(r, row)},
        )
        for row in rows
    }


def _were_open_together(one: ListedFinding, other: ListedFinding) -> bool:
    # The certificate that a closed finding is about may have been replaced since.
    return (one.closed_at is None or one.closed_at >= other.opened_at) and (
        other.closed_at is None or other.closed_at >= one.opened_at
    )


def scoped(
    conn: Connection, client_id: int, statuses: Sequence[EndpointStatus]
) -> list[EndpointStatus]:
    """Return the statuses of one client without data of others."""
    found = [f for s in statuses for f in (*s.findings, *(x for x, _ in s.accepted))]
    scope = ClientScope.read(conn, client_id, found)
    return [scope.status(s) for s in statuses]
