"""Collection of the facts that preflight evaluates: DNS, the real path over each address, CAA and
delegation.

This module performs I/O. It places no order.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from certmgr.acme.challenges.build import Solvers, find
from certmgr.acme.challenges.dns01 import find_location, publication, record_location
from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.orders import proof_journal
from certmgr.acme.preflight.http_probe import CA_PORTS, ProbeResult, probe
from certmgr.acme.preflight.preflight import Advice, PreflightFacts, advise
from certmgr.checks import caa
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.addresses import networks, within
from certmgr.net.dns import DnsClient
from certmgr.x509.names import name_covers
from inventory.errors import CertmgrError
from inventory.names import as_ip
from inventory.store import domains, purchases, servers
from inventory.text import printable
from inventory.threads import thread_pool

# Each name costs several questions to name servers of clients, which limit their senders.
MAX_PARALLEL = 16
# More addresses than any usual name has; a hostile zone could list hundreds.
MAX_PROBED = 8


@dataclass(frozen=True, slots=True)
class NameFacts:
    """The inventory's facts about a name.

    Attributes:
        dns: Who operates its DNS (us, client, ...); None if unknown.
        server: The addresses of its server.
        validated: ov or ev if a purchase for the name requires that validation.
    """

    dns: str | None = None
    server: tuple[str, ...] = ()
    validated: str = ""


@dataclass
class FactCollector:
    """Collects facts about names.

    Attributes:
        settings: The configuration.
        solvers: The configured solvers.
        identities: The CA's names in CAA records.
        account: The URL of the account at the CA; None if there is none yet.
        ours: The addresses of the provider's servers.
        dns_client: The client for DNS questions.
    """

    settings: Settings
    solvers: Solvers
    identities: tuple[str, ...] = ()
    account: str | None = None
    ours: frozenset[str] = frozenset()
    dns_client: DnsClient = field(init=False)

    def __post_init__(self) -> None:
        self.dns_client = DnsClient.of(self.settings)
        self._provider = networks(self.settings.network.provider, "[network] provider")
        self._allowed = (*networks(self.settings.network.allow, "[network] allow"), *self._provider)

    def advise(self, items: Iterable[tuple[str, str, NameFacts]]) -> list[Advice]:
        """Return the advice for each (name, solver, facts of the inventory), in the same order."""
        return [advice for _, advice in self.examine(items)]

    def examine(
        self, items: Iterable[tuple[str, str, NameFacts]]
    ) -> list[tuple[PreflightFacts, Advice]]:
        """Return the facts about each name, and the advice, in the same order."""
        with thread_pool(MAX_PARALLEL) as pool:
            return list(pool.map(lambda item: self._examine(*item), items))

    def _examine(self, name: str, solver: str, known: NameFacts) -> tuple[PreflightFacts, Advice]:
        try:
            facts = self.facts(name, solver, known)
        except CertmgrError as error:  # a name that cannot be checked does not stop the others
            facts = PreflightFacts(name, "http-01", "servfail", reason=str(error))
        return facts, advise(facts)

    def facts(self, name: str, solver: str, known: NameFacts) -> PreflightFacts:
        """Collect the facts about a name."""
        solver_settings = find(self.settings, solver)
        challenge, bare = challenge_of(solver_settings), name.removeprefix("*.")
        answer = self.dns_client.addresses(bare)
        addresses = tuple(answer.records)
        provider_addresses = (
            tuple(a for a in addresses if a in self.ours or within(a, self._provider))
            if self.ours or self._provider
            else None
        )
        agree, disagreement = (
            self._agree(bare, addresses)
            if challenge != "dns-01" and as_ip(bare) is None
            else (None, "")
        )
        caa_set = caa.find(self.dns_client.ask, name)
        permission = self._caa(caa_set, name, challenge)
        probes: tuple[ProbeResult, ...] = ()
        delegated = wildcard_cname = ""
        if challenge == "http-01" and addresses and not name.startswith("*."):
            probes = self._probes(bare, addresses, solver, solver_settings)
        if challenge == "dns-01":
            found = find_location(self.dns_client, f"_acme-challenge.{bare}")
            delegated = "" if found.name == f"_acme-challenge.{bare}" else found.name
            wildcard_cname = found.wildcard_cname
        return PreflightFacts(
            name=name,
            challenge=challenge,
            dns=answer.status,
            addresses=addresses,
            ours=provider_addresses,
            server=known.server,
            probes=probes,
            caa=permission,
            caa_wanted=self._wanted_caa(caa_set, name),
            caa_failed=caa_set.status == "unknown",
            agree=agree,
            disagreement=disagreement,
            delegated=delegated,
            wildcard_cname=wildcard_cname,
            delegate_to=_delegation_target(bare, solver_settings),
            may_set=self._may_set(bare, solver_settings, known),
            validated=known.validated,
            reason=answer.reason,
        )

    def can_validate(self, name: str, solver: str) -> bool:
        """Return whether domain control validation of the name would succeed now.

        It is tried as an order would, without a CA. The result is False if it is undetermined.
        """
        solver_settings, bare = find(self.settings, solver), name.removeprefix("*.")
        challenge = challenge_of(solver_settings)
        if challenge == "dns-01":
            return self._can_set_txt(bare, solver)
        # Before an order the solver checks the record, so that no authorization fails in vain.
        if challenge == CHALLENGE:
            return True
        answer = self.dns_client.addresses(bare)
        # A tls-alpn-01 answer is not probed: it is enough that the name points to the provider.
        if challenge == "tls-alpn-01":
            return any(self._is_ours(a) for a in answer.records)
        probes = self._probes(bare, answer.records, solver, solver_settings)
        return bool(probes) and all(p.state == "ok" for p in probes)

    def _is_ours(self, address: str) -> bool:
        # If the provider's addresses are unknown, no address can be excluded.
        return (
            not (self.ours or self._provider)
            or address in self.ours
            or within(address, self._provider)
        )

    def _can_set_txt(self, name: str, solver: str) -> bool:
        """Set a random TXT record and return whether it is published."""
        active_solver = self.solvers.get(solver)
        # A random value: an answer of an earlier probe in a cache cannot be taken for this one.
        proof = ChallengeProof(name, "probe", secrets.token_urlsafe(32))
        try:
            active_solver.present([proof])
            location = record_location(self.dns_client, proof.record)
            return publication(self.dns_client, location, proof.txt).published
        except CertmgrError:
            return False
        finally:
            self._clean(solver, proof)

    def _clean(self, solver: str, proof: ChallengeProof) -> None:
        # The answer to a probe belongs to no order, so that nothing else would find it again.
        proof_journal.remember(self.settings, solver, self.solvers.get(solver).clean([proof]))

    def moved_away(self, names: Iterable[str], solver: str) -> dict[str, str]:
        """Return the names that no longer point to the provider, each with the reason.

        A name is returned only if the provider's networks or servers are known, the DNS answer is
        definite, and the real path does not lead to our answer.
        """
        solver_settings = find(self.settings, solver)
        challenge = challenge_of(solver_settings)
        # dns-01 does not depend on where the name points.
        if challenge in ("dns-01", CHALLENGE) or not (self.ours or self._provider):
            return {}
        moved = {}
        for name in names:
            answer = self.dns_client.addresses(name)
            if answer.status == "ok" and not any(self._is_ours(a) for a in answer.records):
                # A CDN or a load balancer has foreign addresses and may still pass requests on.
                if challenge == "http-01" and all(
                    p.state == "ok"
                    for p in self._probes(name, answer.records, solver, solver_settings)
                ):
                    continue
                moved[name] = (
                    f"it points to {', '.join(answer.records[:4])}, which is not one of our"
                    " addresses"
                )
            elif answer.status == "nxdomain":
                moved[name] = "it does not exist in the DNS"
        return moved

    def _probes(
        self, name: str, addresses: Sequence[str], solver: str, solver_settings: SolverSettings
    ) -> tuple[ProbeResult, ...]:
        """Request a random token from each address, presented by the solver as for a challenge."""
        active_solver = self.solvers.get(solver)
        token = f"certmgr-probe-{secrets.token_urlsafe(16)}"
        proof = ChallengeProof(name, token, f"{token}.{secrets.token_urlsafe(16)}")
        try:
            active_solver.present([proof])
        except CertmgrError as error:
            self._clean(solver, proof)
            return tuple(ProbeResult(a, "other", str(error)) for a in addresses[:1])
        try:
            return tuple(
                probe(
                    name,
                    a,
                    token,
                    proof.key_authorization,
                    port=solver_settings.http_port,
                    ports=(*CA_PORTS, solver_settings.http_port),
                    resolve=lambda host: self.dns_client.addresses(host).records,
                    allowed=self._allowed,
                    sources=self.settings.scan.sources,
                )
                for a in addresses[:MAX_PROBED]
            )
        finally:
            self._clean(solver, proof)

    def _agree(self, name: str, addresses: Sequence[str]) -> tuple[bool | None, str]:
        """Return whether all name servers of the zone that answer return the same addresses.

        A CA may use any of them. The second value describes the differences.
        """
        answer = self.dns_client.authoritative(name)
        answers: dict[tuple[str, ...], list[str]] = {}
        for server in answer.addresses:
            replies = [self.dns_client.ask_at(server, name, kind) for kind in ("A", "AAAA")]
            if all(a.determined for a in replies):
                answers.setdefault(tuple(sorted(r for a in replies for r in a.records)), []).append(
                    server
                )
        # Without an answer of any server nothing is known, and the preflight does not claim a
        # difference.
        if not answers:
            return None, ""
        if len(answers) == 1:
            return True, ""
        return False, "; ".join(
            f"{', '.join(name_servers[:3])}: {', '.join(records[:4]) or 'none'}"
            for records, name_servers in list(answers.items())[:4]
        )

    def _caa(self, caa_set: caa.CaaSet, name: str, challenge: str) -> caa.Permission:
        # Without the CA's name a CAA record can neither permit nor forbid it.
        if not self.identities and caa_set.status != "unknown":
            return caa.Permission(None, "the CA's name in CAA records is unknown")
        return caa.permits(
            caa_set,
            self.identities,
            wildcard=name.startswith("*."),
            account_uri=self.account,
            method=challenge,
        )

    def _wanted_caa(self, caa_set: caa.CaaSet, name: str) -> str:
        """Return the CAA record that would permit the CA."""
        if not self.identities or caa_set.status != "found":
            return ""
        # No further record helps while a critical one forbids the CA to issue.
        if caa.critical_unknown(caa_set) is not None:
            return ""
        return caa.addition(caa_set, self.identities[0], wildcard=name.startswith("*."))

    def _may_set(self, name: str, solver_settings: SolverSettings, known: NameFacts) -> bool | None:
        """Return whether the provider may set records of the zone; None if that is unknown."""
        # The administrator gave the solver a key for this zone, whatever the inventory states.
        zone = solver_settings.zone
        if zone and (name == zone or name.endswith(f".{zone}")):
            return True
        return None if known.dns is None else known.dns == "us"


def _delegation_target(name: str, solver_settings: SolverSettings) -> str:
    """Return the target of a CNAME that delegates the challenge to the solver's zone."""
    zone = solver_settings.zone
    return f"{name}.{zone}" if zone and not name.endswith(f".{zone}") else ""


def inventory_facts(
    conn: Any, names: Sequence[str], client_id: int | None = None
) -> dict[str, NameFacts]:
    """Return the inventory's facts about each name, by the domain above it.

    Args:
        conn: The database.
        names: The names.
        client_id: Only the domains of this client; None for all clients.
    """
    rows = {r.name: r for r in domains.listing(conn, client_id=client_id)}
    machines = {r.id: r.addresses for r in servers.listing(conn, retired=True)}
    validated = [
        (o.client_id, o.validation, n)
        for o in purchases.listing(conn, client_id=client_id, ended=False)
        if o.validation in ("ov", "ev")
        for n in o.names
    ]
    facts = {}
    for name in names:
        bare = name.removeprefix("*.")
        labels = bare.split(".") if as_ip(bare) is None else [bare]
        row = next(
            (rows[a] for a in (".".join(labels[i:]) for i in range(len(labels))) if a in rows), None
        )
        if row is None:
            facts[name] = NameFacts()
            continue
        kind = next(
            (v for owner, v, n in validated if owner == row.client_id and name_covers(n, bare)),
            "",
        )
        facts[name] = NameFacts(row.parties.dns, machines.get(row.server_id or 0, ()), kind)
    return facts


def own_addresses(conn: Any) -> frozenset[str]:
    """Return the addresses of the provider's servers."""
    return servers.all_addresses(conn)


def line(advice: Advice) -> str:
    """Return an advice as one line."""
    return printable(f"{advice.reason}{' -> ' + advice.record if advice.record else ''}", 600)
