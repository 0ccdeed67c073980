"""Incidents: many certificates have to be replaced by one date.

Examples are a CA that must revoke within a day, a stolen key, and a broken machine. The affected
certificates are categorised by the party that replaces them, and all cases open at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.cases.service import CaseService
from certmgr.cases.states import ENDED
from certmgr.purchases.load import is_automation
from certmgr.x509.names import name_covers
from inventory.errors import UsageError
from inventory.names import as_ip, registered_domain
from inventory.records import IncidentItemRecord, IncidentRecord, SerialMatch, ServedName
from inventory.store import cases, certificates, domains, editing, incidents, purchases, servers
from inventory.text import printable
from inventory.vocabulary import CaseState, Parties

MAX_SERIALS = 100_000
MAX_FILE = 20_000_000
# Who replaces a certificate. The first two and the last one need no case.
CATEGORIES = ("replaced", "automatic", "ours", "client", "unknown")
_SERIAL = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class AffectedCertificate:
    """One affected certificate of one client.

    Attributes:
        serial: The serial number in lower-case hexadecimal, without leading zeros.
        sha256: The fingerprint; None if the certificate is not in the inventory.
        client: The number of the client; None if the certificate is not served.
        client_id: The row of the client.
        hosts: The hosts that serve it and the client's other names in it; empty if it is not
            served any more.
        category: One of ``CATEGORIES``.
    """

    serial: str
    sha256: str | None
    client: str | None
    client_id: int | None
    hosts: tuple[str, ...]
    category: str


def read_serials(text: str) -> tuple[list[str], list[str]]:
    """Parse a list of serial numbers, one per line.

    Colons, a 0x prefix, comments and further CSV columns are accepted.

    Returns:
        The serial numbers in lower-case hexadecimal without leading zeros, and the invalid lines.

    Raises:
        UsageError: The list is too long.
    """
    serials: dict[str, None] = {}
    invalid = []
    for number, line in enumerate(text.splitlines(), 1):
        cell = re.split(r"[,;\t ]", line.strip())[0].strip("\"'").lower()
        # Blank lines, comments and the header of a CSV file contain no serial number.
        if (
            not cell
            or cell.startswith("#")
            or (number == 1 and cell in ("serial", "serialnumber", "serial_number"))
        ):
            continue
        bare = cell.removeprefix("0x").replace(":", "").lstrip("0")
        if _SERIAL.fullmatch(bare):
            serials[bare] = None
        else:
            invalid.append(f"line {number}: '{printable(cell, 60)}'")
        if len(serials) > MAX_SERIALS:
            raise UsageError(
                "There are too many serial numbers",
                f"the limit is {MAX_SERIALS:,}",
                "Split the file.",
            )
    return list(serials), invalid


def category_for(parties: Parties, tags: Iterable[str]) -> str:
    """Return the category of a served certificate. The function is pure.

    Args:
        parties: Who buys and renews for the domain.
        tags: The tags of the domain.
    """
    # Automation replaces it at its next renewal, so that no case is needed.
    if is_automation(parties, tags):
        return "automatic"
    return "ours" if "us" in (parties.renews or parties.buys, parties.buys) else "client"


def categorise(
    serials: Sequence[str],
    known: Mapping[str, Sequence[SerialMatch]],
    served: Sequence[ServedName],
    domain_parties: Mapping[int, tuple[Parties, Sequence[str]]],
) -> list[AffectedCertificate]:
    """Categorise certificates by the party that replaces them. The function is pure.

    Args:
        serials: The serial numbers.
        known: Serial number -> certificates of the inventory.
        served: Rows of the served leaves.
        domain_parties: Domain id -> parties and tags.
    """
    result: list[AffectedCertificate] = []
    live: dict[str, list[ServedName]] = {}
    for row in served:
        live.setdefault(row.sha256, []).append(row)
    for serial in serials:
        certificates = known.get(serial, ())
        if not certificates:
            result.append(
                AffectedCertificate(
                    serial=serial,
                    sha256=None,
                    client=None,
                    client_id=None,
                    hosts=(),
                    category="unknown",
                )
            )
        for certificate in certificates:
            rows = live.get(certificate.sha256, [])
            # A certificate that no server presents any more was replaced already.
            if not rows:
                result.append(
                    AffectedCertificate(
                        serial=serial,
                        sha256=certificate.sha256,
                        client=None,
                        client_id=None,
                        hosts=(),
                        category="replaced",
                    )
                )
            result += _affected_by_client(serial, certificate.sha256, rows, domain_parties)
    return result


def _affected_by_client(
    serial: str,
    sha256: str,
    rows: Sequence[ServedName],
    domain_parties: Mapping[int, tuple[Parties, Sequence[str]]],
) -> list[AffectedCertificate]:
    """Return one entry per client that serves the certificate."""
    by_client: dict[int, list[ServedName]] = {}
    for row in rows:
        by_client.setdefault(row.client_id, []).append(row)
    result = []
    for client_id, client_rows in by_client.items():
        categories = {
            category_for(*domain_parties.get(r.domain_id, (Parties(), ()))) for r in client_rows
        }
        # The category that needs the most work applies: if automation and a client use the same
        # certificate, the client has to replace it.
        category = next(c for c in ("client", "ours", "automatic") if c in categories)
        hosts = list(dict.fromkeys(r.host for r in client_rows))
        own = list(
            dict.fromkeys(
                n
                for r in client_rows[:1]
                for n in incidents.names(r)
                if _belongs_to_client(n, hosts)
            )
        )
        # The client's names in the certificate, and the hosts that none of them covers.
        names = [*own, *[h for h in hosts if not any(name_covers(n, h) for n in own)]]
        result.append(
            AffectedCertificate(
                serial=serial,
                sha256=sha256,
                client=client_rows[0].client,
                client_id=client_id,
                hosts=tuple(names),
                category=category,
            )
        )
    return result


def _belongs_to_client(name: str, hosts: Sequence[str]) -> bool:
    """Return whether a name of a shared certificate belongs to a client with these hosts.

    It does if it covers one of the hosts, or is in the same registered domain as one of them.
    """
    if any(name_covers(name, h) for h in hosts):
        return True
    bare = name.removeprefix("*.")
    return as_ip(bare) is None and any(
        as_ip(h) is None and registered_domain(h) == registered_domain(bare) for h in hosts
    )


def select_affected(
    service: CaseService,
    *,
    serials: Sequence[str] = (),
    issuer: str = "",
    server: str = "",
    leaves: Collection[str] | None = None,
) -> list[AffectedCertificate]:
    """Select the certificates that an incident affects.

    Args:
        service: The service for cases.
        serials: Serial numbers; empty for all served certificates that match the other criteria.
        issuer: A part of the issuer's name.
        server: The name of a server.
        leaves: SHA-256 of served certificates; None for all.

    Raises:
        NotFound: The server does not exist.
    """
    with service.database.read() as conn:
        if server:
            servers.find(conn, server)
        served = incidents.served(conn, server_name=server or None)
        domain_parties = {r.id: (r.parties, r.tags) for r in domains.listing(conn)}
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
    return categorise(selected, known, served, domain_parties)


def open_incident(
    service: CaseService,
    items: Sequence[AffectedCertificate],
    kind: str,
    what: str,
    until: datetime,
    reason: str,
) -> tuple[IncidentRecord, Counter[str]]:
    """Open an incident with its items and cases in one transaction.

    A case opens for each certificate that the client or the provider replaces. Open cases of the
    same names become part of the incident.

    Args:
        service: The service for cases.
        items: The affected certificates.
        kind: How they were selected.
        what: The criterion of the selection.
        until: The time by which they must be replaced.
        reason: The reason, which only the staff reads.

    Returns:
        The row of the incident, and the number of items per category and of cases opened or joined.

    Raises:
        UsageError: The time has passed, there are no items, or the reason is empty.
    """
    if until <= service.now:
        raise UsageError(
            "The time by which they must be replaced has passed", "", "Give a later --until."
        )
    if not items:
        raise UsageError(
            "No certificate is affected",
            "no served certificate matches",
            "Check the serial numbers, the issuer or the server.",
        )
    reason = editing.required(reason, "reason", 500)
    counts: Counter[str] = Counter()
    with service.database.write(service.now) as tx:
        row = incidents.add(tx, kind, what, int(until.timestamp()), reason)
        rows = []
        for item in items:
            counts[item.category] += 1
            row_of = {
                "serial": item.serial,
                "sha256": item.sha256,
                "client_id": item.client_id,
                "sort": item.category,
            }
            # The other categories are replaced automatically, or there is nothing to replace.
            if (
                item.category not in ("ours", "client")
                or item.client is None
                or item.client_id is None
            ):
                rows.append(row_of | {"names": " ".join(item.hosts), "case_id": None})
                continue
            for case_id, names, joined in _open_or_join_cases(service, tx, row, item, reason):
                counts["joined" if joined else "opened"] += 1
                rows.append(row_of | {"names": " ".join(names), "case_id": case_id})
        incidents.add_items(tx, row.id, rows)
    return row, counts


def _open_or_join_cases(
    service: CaseService, tx: Any, row: IncidentRecord, item: AffectedCertificate, reason: str
) -> list[tuple[int, list[str], bool]]:
    """Add the open cases of an item to the incident, and open one case for the remaining names.

    Returns:
        For each case its id, the names of the item in it, and whether it was open before.
    """
    assert item.client is not None
    assert item.client_id is not None
    result: list[tuple[int, list[str], bool]] = []
    owners = {n: purchases.owner_of(tx.conn, n.removeprefix("*.")) for n in item.hosts}
    # A case contains only names of its client. Names that another client owns are left out.
    remaining = [
        n for n, owner in owners.items() if owner is None or owner.client_id == item.client_id
    ]
    for open_case in cases.open_for(tx.conn, item.client_id, item.hosts):
        joined = cases.find(tx.conn, open_case.reference)
        joined_names = [n for n in remaining if n in joined.names]
        remaining = [n for n in remaining if n not in joined_names]
        if joined_names:
            service.join_incident(tx, joined, row, reason)
            result.append((int(joined.id), joined_names, True))
    if remaining:
        options = {
            "kind": "incident",
            "incident_id": row.id,
            "ends_at": row.until,
            "bought_by": "us" if item.category == "ours" else "client",
        }
        text = f"{row.reference}: {reason}"
        opened = service.open_in(tx, item.client, remaining, options, text)
        result.append((int(opened.id), remaining, False))
    return result


def is_resolved(item: IncidentItemRecord) -> bool:
    """Return whether an item of an incident is resolved.

    An item with a case is resolved if the case was closed, which needs a verification. An item
    without a case is resolved if no server presents the certificate any more.
    """
    # A declined or cancelled case does not resolve its item: the certificate may still be in use.
    if item.state is not None:
        return bool(item.state == CaseState.CLOSED)
    return bool(item.sort != "unknown" and item.served == 0)


def item_state(item: IncidentItemRecord) -> str:
    """Return the state of an item as text.

    It is done, stopped (its case ended without a verification), the state of its case, or still
    served.
    """
    if is_resolved(item):
        return "done"
    if item.state is not None:
        return "stopped" if item.state in ENDED else str(item.state)
    return "not known" if item.sort == "unknown" else "still served"


def close_resolved(service: CaseService) -> list[str]:
    """Close the incidents whose items are all resolved, and return their references."""
    closed = []
    with service.database.read() as conn:
        open_incidents = [(r, incidents.items(conn, r.id)) for r in incidents.listing(conn)]
    for row, items in open_incidents:
        # Unknown serial numbers can never be resolved, so that they do not keep it open.
        if all(is_resolved(i) for i in items if i.sort != "unknown"):
            with service.database.write(service.now) as tx:
                incidents.close(tx, row.id)
            closed.append(row.reference)
    return closed
