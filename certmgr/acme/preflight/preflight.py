"""Advice on what prevents an ACME certificate for a name, before an order is placed.

Pure. The advice does not block an order: behind NAT a check from here may fail although the CA
succeeds, and the reverse. Each name gets a category and the reason for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.preflight.http_probe import ProbeResult
from certmgr.checks.caa import Permission
from inventory.names import display


class Category(StrEnum):
    """What has to be done for a name."""

    AUTOMATE = "automate"  # it can be automated now
    RECORD = "record"  # it can be automated after the client has added this record
    BUY = "buy"  # ACME cannot provide the certificate
    ELSEWHERE = "elsewhere"  # it is hosted elsewhere
    UNKNOWN = "unknown"  # undetermined
    NOT_NOW = "not-now"  # it can be automated, but a CA would refuse it at this moment


@dataclass(frozen=True, slots=True)
class PreflightFacts:
    """The facts about a name.

    Attributes:
        name: The name.
        challenge: The challenge type of its solver.
        dns: The status of its addresses: ok, nxdomain, nodata, servfail, timeout or fixed.
        addresses: Its addresses.
        ours: Those of its addresses that are the provider's; None if the provider's networks and
            servers are unknown.
        server: The addresses of its server in the inventory.
        probes: The answers of its addresses.
        caa: Whether CAA records permit the CA.
        caa_wanted: The CAA record that would permit it.
        caa_failed: Whether the CAA records could not be queried.
        agree: Whether the name servers of its zone agree; None if undetermined.
        disagreement: The different answers in words.
        delegated: The target of a CNAME at ``_acme-challenge``.
        wildcard_cname: The target to which a wildcard CNAME leads ``_acme-challenge``.
        delegate_to: The target that such a CNAME should have.
        may_set: Whether the provider may set records of the zone; None if unknown.
        validated: ov or ev if the name's purchase requires that validation.
        reason: Why the DNS did not answer.
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
    caa_failed: bool = False
    agree: bool | None = None
    disagreement: str = ""
    delegated: str = ""
    wildcard_cname: str = ""
    delegate_to: str = ""
    may_set: bool | None = None
    validated: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice for a name.

    Attributes:
        name: The name.
        category: What has to be done.
        reason: The reason in words.
        record: The record to add or change, in zone file syntax; empty if none helps.
        notes: Observations that do not prevent a certificate.
    """

    name: str
    category: Category
    reason: str
    record: str = ""
    notes: tuple[str, ...] = ()


def advise(facts: PreflightFacts) -> Advice:
    """Return the advice for a name."""
    advice = _advise(facts)
    # A CA must not issue while it cannot query CAA records (RFC 8659 3, BR 3.2.2.8), whether they
    # exist or not. That ends with the fault of the name servers, so no record helps.
    if facts.caa_failed and advice.category is Category.AUTOMATE:
        return replace(
            advice,
            category=Category.NOT_NOW,
            reason=f"a CA would refuse it now: {facts.caa.reason}; otherwise {advice.reason}",
            notes=tuple(n for n in advice.notes if not n.startswith("CAA:")),
        )
    return advice


def _advise(facts: PreflightFacts) -> Advice:
    name, notes = facts.name, _notes(facts)
    # ACME CAs issue domain-validated certificates; an OV or EV certificate has to be bought.
    if facts.validated:
        return Advice(
            name,
            Category.BUY,
            f"its purchase is {facts.validated.upper()}: the CA validates the organisation, which"
            " domain validation by ACME does not",
            notes=notes,
        )
    # Without a permitting CAA record every CA must refuse, whatever else is in order (RFC 8659).
    if facts.caa.allowed is False:
        reason = f"CAA: {facts.caa.reason}"
        # Without a record to add, the one that forbids has to go.
        if not facts.caa_wanted and facts.caa.record:
            reason += f"; remove it: {facts.caa.record}"
        return Advice(name, Category.RECORD, reason, facts.caa_wanted, notes)
    # The record is compared with the account, which needs its CA.
    if facts.challenge == CHALLENGE:
        return Advice(
            name,
            Category.UNKNOWN,
            f"certmgr solver record {name} checks its record of {CHALLENGE}",
            notes=notes,
        )
    if name.startswith("*.") and facts.challenge != "dns-01":
        return Advice(
            name,
            Category.BUY,
            "a wildcard needs dns-01: configure a solver of a kind such as rfc2136 or hook"
            " ([acme.solver.NAME]) to automate it",
            notes=notes,
        )
    if facts.challenge == "dns-01":
        return _advise_dns01(facts, notes)
    return _advise_addresses(facts, notes)


def _advise_addresses(facts: PreflightFacts, notes: tuple[str, ...]) -> Advice:
    """Return the advice for a name to which the CA connects."""
    name, shown = facts.name, display(facts.name)
    # A name with a server in the inventory misses its record; without one it is hosted elsewhere.
    if facts.dns == "nxdomain":
        return Advice(
            name,
            Category.RECORD if facts.server else Category.ELSEWHERE,
            f"{shown} does not exist in the DNS",
            _address_records(facts),
            notes,
        )
    if facts.dns == "nodata":
        return Advice(
            name,
            Category.RECORD if facts.server else Category.ELSEWHERE,
            f"{shown} has neither A nor AAAA",
            _address_records(facts),
            notes,
        )
    if facts.dns not in ("ok", "fixed"):
        return Advice(name, Category.UNKNOWN, facts.reason or "the DNS did not answer", notes=notes)
    if facts.ours is not None and not facts.ours:
        return Advice(
            name,
            Category.ELSEWHERE,
            f"it points to {', '.join(facts.addresses[:4])}, which is not one of our addresses",
            notes=notes,
        )
    return _advise_http01(facts, notes)


def _advise_dns01(facts: PreflightFacts, notes: tuple[str, ...]) -> Advice:
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
            "the provider cannot change its zone",
            record,
            notes,
        )
    if facts.dns in ("servfail", "timeout"):
        return Advice(name, Category.UNKNOWN, facts.reason or "the DNS did not answer", notes=notes)
    return Advice(name, Category.AUTOMATE, "the provider can set records of its zone", notes=notes)


def _advise_http01(facts: PreflightFacts, notes: tuple[str, ...]) -> Advice:
    name = facts.name
    if not facts.probes:
        return Advice(
            name, Category.AUTOMATE, "it points here; its path was not probed", notes=notes
        )
    failed = [p for p in facts.probes if p.state != "ok"]
    if not failed:
        return Advice(
            name,
            Category.AUTOMATE,
            f"the answer was found at {', '.join(p.address for p in facts.probes)}",
            notes=notes,
        )
    answers = "; ".join(f"{p.address}: {p.message}" for p in failed[:4])
    foreign = [p for p in failed if facts.ours is not None and p.address not in facts.ours]
    # The CA chooses one address of the name, so a single foreign address can make it fail.
    if foreign and len(foreign) == len(failed) and len(failed) < len(facts.probes):
        kind = "AAAA" if ":" in foreign[0].address else "A"
        return Advice(
            name,
            Category.RECORD,
            f"one of its addresses is not ours, and a CA may use it: {answers}",
            f"remove: {name}. IN {kind} {foreign[0].address}",
            notes,
        )
    if all(p.state == "failed" for p in failed):
        return Advice(name, Category.UNKNOWN, f"no answer on port 80: {answers}", notes=notes)
    return Advice(name, Category.UNKNOWN, f"the answer was not found: {answers}", notes=notes)


def _address_records(facts: PreflightFacts) -> str:
    return "; ".join(
        f"{facts.name}. IN {'AAAA' if ':' in a else 'A'} {a}" for a in facts.server[:4]
    )


def _notes(facts: PreflightFacts) -> tuple[str, ...]:
    notes = []
    if facts.agree is False:
        notes.append(f"the name servers of its zone do not agree: {facts.disagreement}")
    if facts.wildcard_cname:
        notes.append(
            f"a wildcard CNAME leads _acme-challenge to {facts.wildcard_cname}: that is no"
            " delegation, and the TXT record at _acme-challenge itself replaces it"
        )
    if facts.caa.allowed is None and facts.caa.reason:
        notes.append(f"CAA: {facts.caa.reason}")
    return tuple(notes)
