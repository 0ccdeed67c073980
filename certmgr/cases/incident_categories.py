"""Who replaces each certificate of an incident, computed from rows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from certmgr.renewers.renewer import RenewalFacts, RenewalMethod, Renewer, parent_names
from certmgr.x509.names import name_covers
from inventory.names import as_ip, registered_domain
from inventory.records import SerialMatch, ServedName
from inventory.vocabulary import IncidentCategory, Parties

NO_OWNER = (
    "the inventory lacks it, and the nearest sites in the DNS are not only those of the client that"
    " serves it; add its domain to the client who has it (certmgr domain add), and inform that"
    " client"
)


@dataclass(frozen=True, slots=True)
class _Owners:
    """The clients of the names in the inventory.

    Attributes:
        by_name: Name -> its client.
        neighbours: Registered domain of a certificate's names -> the names below it in the
            inventory, and the client of each.
    """

    by_name: Mapping[str, int]
    neighbours: Mapping[str, Sequence[tuple[str, int]]]

    @classmethod
    def of(cls, facts: RenewalFacts, names: Iterable[str]) -> _Owners:
        """Return the owners of all names, and the neighbours of ``names``."""
        by_name = {name: client for client, own in facts.domains.items() for name in own}
        suffixes = tuple({f".{_registered(n)}" for n in names})
        neighbours: dict[str, list[tuple[str, int]]] = {}
        for name, client in by_name.items():
            if f".{name}".endswith(suffixes):
                neighbours.setdefault(registered_domain(name), []).append((name, client))
        return cls(by_name, neighbours)

    def recorded(self, name: str) -> int | None:
        """Return the client of the nearest domain that contains the name, or None."""
        return next((self.by_name[p] for p in parent_names(name) if p in self.by_name), None)


def _registered(name: str) -> str:
    return registered_domain(name.removeprefix("*."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedCertificate:
    """One affected certificate of one client.

    Attributes:
        serial: The serial number in lower-case hexadecimal, without leading zeros.
        sha256: The fingerprint; None if the certificate is not in the inventory.
        client: The number of the client; None if the certificate is not served.
        client_id: The row of the client.
        hosts: The hosts that serve it and the client's other names in it; empty if it is not
            served any more.
        by_hand: Those of ``hosts`` that no automation renews.
        category: Who replaces it.
        reason: Why it has this category, in words.
    """

    serial: str
    sha256: str | None = None
    client: str | None = None
    client_id: int | None = None
    hosts: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    category: IncidentCategory
    reason: str


def category_of(parties: Parties, renewers: Mapping[str, Renewer]) -> tuple[IncidentCategory, str]:
    """Return who replaces a served certificate of one client, and why.

    Args:
        parties: Who buys and renews for the domain of its hosts.
        renewers: Each of its names -> who renews that name.
    """
    by_hand = {n: r for n, r in renewers.items() if not r.replaces_on_revocation}
    # Automation replaces it at its next renewal, so that no case is needed.
    if renewers and not by_hand:
        return IncidentCategory.AUTOMATIC, "; ".join(
            dict.fromkeys(_automation(r) for r in renewers.values())
        )
    learned = any(r.method is RenewalMethod.LEARNED for r in by_hand.values())
    note = " (its automation was observed, and may not learn of a revocation)" if learned else ""
    first = next(iter(by_hand), "")
    others = f" and {len(by_hand) - 1} more" if len(by_hand) > 1 else ""
    # If no party is recorded for the renewal, the buyer renews.
    if "us" in (parties.renews or parties.buys, parties.buys):
        return (
            IncidentCategory.OURS,
            f"no automation renews {first}{others}, and we buy for it{note}",
        )
    return (
        IncidentCategory.CLIENT,
        f"no automation renews {first}{others}, and the client buys{note}",
    )


def _automation(renewer: Renewer) -> str:
    match renewer.method:
        case RenewalMethod.LINEAGE:
            trouble = f", although {renewer.trouble}" if renewer.trouble else ""
            return f"the lineage {renewer.reference} renews it{trouble}"
        case RenewalMethod.PANEL:
            return "the hosting panel renews it"
        case RenewalMethod.CDN:
            return "the CDN renews it"
        case _:
            return "the client's automation renews it"


def categorise(
    serials: Sequence[str],
    known: Mapping[str, Sequence[SerialMatch]],
    served: Sequence[ServedName],
    facts: RenewalFacts,
) -> list[AffectedCertificate]:
    """Categorise certificates by the party that replaces them.

    Args:
        serials: The serial numbers.
        known: Serial number -> certificates of the inventory.
        served: Rows of the served leaves.
        facts: Who renews which name.
    """
    result: list[AffectedCertificate] = []
    live: dict[str, list[ServedName]] = {}
    for row in served:
        live.setdefault(row.sha256, []).append(row)
    owners = _Owners.of(facts, {n for rows in live.values() for n in rows[0].names})
    for serial in serials:
        certificates = known.get(serial, ())
        # It stays on the list: a CA may name certificates of sites that were never scanned.
        if not certificates:
            result.append(
                AffectedCertificate(
                    serial=serial,
                    category=IncidentCategory.UNKNOWN,
                    reason="no certificate of the inventory has this serial number",
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
                        category=IncidentCategory.REPLACED,
                        reason="no server presents it any more",
                    )
                )
            result += _affected_by_client(serial, certificate.sha256, rows, facts, owners)
    return result


def _affected_by_client(
    serial: str,
    sha256: str,
    rows: Sequence[ServedName],
    facts: RenewalFacts,
    owners: _Owners,
) -> list[AffectedCertificate]:
    """Return one entry per client that serves the certificate, and one for undecided names."""
    by_client: dict[int, list[ServedName]] = {}
    for row in rows:
        by_client.setdefault(row.client_id, []).append(row)
    result = []
    for client_id, client_rows in by_client.items():
        hosts = list(dict.fromkeys(r.host for r in client_rows))
        # Who renews is asked for the hosts that serve it: a name of it that no server of the
        # inventory serves needs no replacement.
        renewers = {h: facts.renewer(client_id, h) for h in hosts}
        manual = [h for h in hosts if not renewers[h].replaces_on_revocation]
        # The party that acts for the first host without automation is asked for all of them.
        recorded = facts.domain(client_id, (manual or hosts)[0])
        category, reason = category_of(recorded.parties if recorded else Parties(), renewers)
        others = [r.host for r in rows if r.client_id != client_id]
        own = [
            n
            for n in client_rows[0].names
            if _belongs_to_client(n, hosts) and not _is_shared(n, client_id, hosts, others, owners)
        ]
        # The client's names in the certificate, and the hosts that none of them covers.
        names = [*own, *[h for h in hosts if not any(name_covers(n, h) for n in own)]]
        result.append(
            AffectedCertificate(
                serial=serial,
                sha256=sha256,
                client=client_rows[0].client,
                client_id=client_id,
                hosts=tuple(dict.fromkeys(names)),
                by_hand=tuple(
                    n
                    for n in dict.fromkeys(names)
                    if not facts.renewer(client_id, n).replaces_on_revocation
                ),
                category=category,
                reason=reason,
            )
        )
    given = {n for item in result for n in item.hosts}
    undecided = _undecided(rows, given, owners)
    if undecided:
        result.append(
            AffectedCertificate(
                serial=serial,
                sha256=sha256,
                hosts=undecided,
                category=IncidentCategory.UNKNOWN,
                reason=NO_OWNER,
            )
        )
    return result


def _undecided(
    rows: Sequence[ServedName], given: Collection[str], owners: _Owners
) -> tuple[str, ...]:
    """Return the names of a certificate that may be another client's, and have no owner."""
    if not rows:
        return ()
    served = [r.host for r in rows]
    return tuple(
        n
        for n in rows[0].names
        if n not in given
        # Each client replaces the wildcard of a platform for the own hosts.
        and not n.startswith("*.")
        and _belongs_to_client(n, served)
        and owners.recorded(n) is None
    )


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


def _is_shared(
    name: str,
    client_id: int,
    hosts: Sequence[str],
    others: Sequence[str],
    owners: _Owners,
) -> bool:
    """Return whether a name is another client's, and outside of this client's domains.

    The wildcard of a platform covers sites of many clients. None of them could get it validated,
    so that each replaces it for the own hosts. A name that the inventory does not have is that of
    the client with the nearest site, if several have sites below one registered domain, whether
    these serve the certificate or not. If several are equally near, or only another client is, it
    is not this client's: a client must not read the name of another one.
    """
    owner = owners.recorded(name)
    if owner is not None:
        return owner != client_id
    if any(name_covers(name, h) for h in others):
        return True
    # The wildcard that this client serves for an own host shows no name of another client.
    if any(name_covers(name, h) for h in hosts):
        return _nearness(name, others) >= _nearness(name, hosts)
    around = owners.neighbours.get(_registered(name), ())
    foreign = [n for n, client in around if client != client_id]
    own = [n for n, client in around if client == client_id]
    return _nearness(name, [*others, *foreign]) >= _nearness(name, [*hosts, *own])


def _nearness(name: str, hosts: Iterable[str]) -> int:
    """Return how many labels at its end a name has in common with the nearest host."""
    labels = name.split(".")[::-1]
    shared = 0
    for host in hosts:
        pairs = zip(labels, host.split(".")[::-1], strict=False)
        shared = max(shared, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return shared
