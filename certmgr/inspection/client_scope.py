"""What the output of a command that is limited to one client may contain of findings.

A shared certificate names other clients. Administrators pass such a list on to the client, so that
it follows the same rule as a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from certmgr.inspection.status import EndpointStatus
from inventory.store import domains
from inventory.vocabulary import Finding
from notifiers.wording.scope import FOREIGN_CERTIFICATE, for_client, names_in


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

    def finding(self, finding: Finding, *, foreign_certificate: bool = False) -> Finding:
        """Return the finding with only the data that the client may see."""
        return for_client(
            finding,
            self.names,
            owners=self.owners,
            client_id=self.client_id,
            foreign_certificate=foreign_certificate,
        )

    def status(self, status: EndpointStatus) -> EndpointStatus:
        """Return the status without what the certificate reveals about other clients."""
        found = (*status.findings, *(f for f, _ in status.accepted))
        foreign = any(f.code in FOREIGN_CERTIFICATE for f in found)
        return replace(
            status,
            findings=[self.finding(f, foreign_certificate=foreign) for f in status.findings],
            accepted=[
                (self.finding(f, foreign_certificate=foreign), a) for f, a in status.accepted
            ],
            # The issuer of a self-signed certificate is the other client's site.
            issuer=None if foreign else status.issuer,
        )


def scoped(
    conn: Connection, client_id: int, statuses: Sequence[EndpointStatus]
) -> list[EndpointStatus]:
    """Return the statuses of one client without data of others."""
    found = [f for s in statuses for f in (*s.findings, *(x for x, _ in s.accepted))]
    scope = ClientScope.read(conn, client_id, found)
    return [scope.status(s) for s in statuses]
