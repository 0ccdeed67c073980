"""What keeps a name from a certificate by ACME, before anybody orders one: advice, which forbids
nothing. Pure.

Behind NAT we may fail where the CA does not, and the other way round; so a name is sorted by what
was seen, with the reason, and an order may be placed all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from certmgr.acme.http_probe import ProbeResult
from certmgr.checks.caa import Permission
from inventory.names import display


class Category(StrEnum):
    AUTOMATE = "automate"  # now
    RECORD = "record"  # once the client has added exactly this record
    BUY = "buy"  # what it needs cannot be had by ACME
    ELSEWHERE = "elsewhere"  # no longer hosted here
    UNKNOWN = "unknown"  # could not be told


@dataclass(frozen=True, slots=True)
class PreflightFacts:
    """What was seen of a name.

    ``dns``: ok, nxdomain, nodata, servfail, timeout. ``ours``: of its addresses, those that are the
    provider's; None where the provider's networks and servers are not known. ``server``: addresses
    that the inventory says it should have. ``agree``: whether the zone's own servers answer the
    same; None: could not be told. ``delegated``: where a CNAME at ``_acme-challenge`` leads.
    ``may_set``: whether we may set records of the zone. ``validated``: ov or ev, where the name's
    order needs that.
    """

    name: str
    challenge: str
    dns: str
    addresses: tuple[str, ...] = ()
    ours: tuple[str, ...] | None = None
    server: tuple[str, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    caa: Permission = field(default_factory=lambda: Permission(True, "", ""))
    caa_wanted: str = ""
    agree: bool | None = None
    disagreement: str = ""
    delegated: str = ""
    delegate_to: str = ""
    may_set: bool | None = None
    validated: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """``record``: the line that is to be added or changed, as in a zone file; empty where none
    helps. ``notes``: what does not stand in the way yet.
    """

    name: str
    sort: Category
    reason: str
    record: str = ""
    notes: tuple[str, ...] = ()


def advise(facts: PreflightFacts) -> Advice:
    name, shown = facts.name, display(facts.name)
    notes = _notes(facts)
    if facts.validated:
        return Advice(
            name,
            Category.BUY,
            f"its order is {facts.validated.upper()}: a CA checks the organisation, which ACME with"
            " DV cannot",
            notes=notes,
        )
    if facts.caa.allowed is False:
        return Advice(name, Category.RECORD, f"CAA: {facts.caa.reason}", facts.caa_wanted, notes)
    if name.startswith("*.") and facts.challenge != "dns-01":
        return Advice(
            name,
            Category.BUY,
            "a wildcard needs dns-01: with a solver of that kind ([acme.solver.NAME] rfc2136,"
            " lexicon or hook) it could be automated",
            notes=notes,
        )
    if facts.dns == "nxdomain" and facts.challenge != "dns-01":
        return Advice(
            name,
            Category.RECORD if facts.server else Category.ELSEWHERE,
            f"{shown} does not exist in the DNS",
            _addresses(facts),
            notes,
        )
    if facts.challenge == "dns-01":
        return _by_dns(facts, notes)
    if facts.dns == "nodata":
        return Advice(
            name,
            Category.RECORD if facts.server else Category.ELSEWHERE,
            f"{shown} has neither A nor AAAA",
            _addresses(facts),
            notes,
        )
    if facts.dns not in ("ok", "fixed"):
        return Advice(name, Category.UNKNOWN, facts.reason or "the DNS did not answer", notes=notes)
    if facts.ours is not None and not facts.ours:
        return Advice(
            name,
            Category.ELSEWHERE,
            f"it points to {', '.join(facts.addresses[:4])}, which is none of ours",
            notes=notes,
        )
    return _by_http(facts, notes)


def _by_dns(facts: PreflightFacts, notes: tuple[str, ...]) -> Advice:
    name = facts.name
    if facts.delegated:
        return Advice(
            name,
            Category.AUTOMATE,
            f"_acme-challenge is delegated to {facts.delegated}",
            notes=notes,
        )
    if facts.may_set is False:
        record = (
            f"_acme-challenge.{name.removeprefix('*.')}. IN CNAME {facts.delegate_to}."
            if facts.delegate_to
            else ""
        )
        return Advice(
            name,
            Category.RECORD if record else Category.BUY,
            "its zone is not ours to change",
            record,
            notes,
        )
    if facts.dns in ("servfail", "timeout"):
        return Advice(name, Category.UNKNOWN, facts.reason or "the DNS did not answer", notes=notes)
    return Advice(name, Category.AUTOMATE, "we may set records of its zone", notes=notes)


def _by_http(facts: PreflightFacts, notes: tuple[str, ...]) -> Advice:
    name = facts.name
    if not facts.probes:
        return Advice(
            name, Category.AUTOMATE, "it points here; its path was not probed", notes=notes
        )
    bad = [p for p in facts.probes if p.state != "ok"]
    if not bad:
        return Advice(
            name,
            Category.AUTOMATE,
            f"the answer was found at {', '.join(p.address for p in facts.probes)}",
            notes=notes,
        )
    said = "; ".join(f"{p.address}: {p.said}" for p in bad[:4])
    foreign = [p for p in bad if facts.ours is not None and p.address not in facts.ours]
    if foreign and len(foreign) == len(bad) and len(bad) < len(facts.probes):
        kind = "AAAA" if ":" in foreign[0].address else "A"
        return Advice(
            name,
            Category.RECORD,
            f"one of its addresses is not ours, and a CA may ask there: {said}",
            f"remove: {name}. IN {kind} {foreign[0].address}",
            notes,
        )
    if all(p.state == "failed" for p in bad):
        return Advice(name, Category.UNKNOWN, f"nobody answered on port 80: {said}", notes=notes)
    return Advice(name, Category.UNKNOWN, f"the answer was not found: {said}", notes=notes)


def _addresses(facts: PreflightFacts) -> str:
    return "; ".join(
        f"{facts.name}. IN {'AAAA' if ':' in a else 'A'} {a}" for a in facts.server[:4]
    )


def _notes(facts: PreflightFacts) -> tuple[str, ...]:
    found = []
    if facts.agree is False:
        found.append(f"the servers of its zone do not agree: {facts.disagreement}")
    if facts.caa.allowed is None and facts.caa.reason:
        found.append(f"CAA: {facts.caa.reason}")
    return tuple(found)
