"""From a name to the facts that preflight judges: DNS, the real path over each address, CAA,
delegation. An edge; it orders nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from certmgr.acme.challenges.build import Solvers, challenge_of, find
from certmgr.acme.challenges.dns01 import place, shown
from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.acme.http_probe import ProbeResult, probe
from certmgr.acme.preflight import Advice, PreflightFacts, advise
from certmgr.checks import caa
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.addresses import networks, within
from certmgr.net.dns import DnsClient
from certmgr.x509.names import name_covers
from inventory.errors import CertmgrError
from inventory.names import as_ip, registered_domain
from inventory.store import domains, purchases, servers
from inventory.text import printable

AT_ONCE = 16
MAX_PROBED = 8


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What the inventory says of a name. ``dns``: who runs it (us, client, ...)."""

    dns: str | None = None
    server: tuple[str, ...] = ()
    validated: str = ""


@dataclass
class FactCollector:
    """``identities``: of the CA in CAA records.

    ``account``: its URL, None where there is none yet.
    """

    settings: Settings
    solvers: Solvers
    identities: tuple[str, ...] = ()
    account: str | None = None
    ours: frozenset[str] = frozenset()
    asker: DnsClient = field(init=False)

    def __post_init__(self) -> None:
        self.asker = DnsClient.of(self.settings)
        self._provider = networks(self.settings.network.provider, "[network] provider")
        self._allowed = (*networks(self.settings.network.allow, "[network] allow"), *self._provider)

    def advise(self, wanted: Iterable[tuple[str, str, NameFacts]]) -> list[Advice]:
        """``wanted``: (name, solver, what the inventory knows). In their order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda one: self._advise(*one), wanted))

    def _advise(self, name: str, solver: str, known: NameFacts) -> Advice:
        try:
            return advise(self.facts(name, solver, known))
        except CertmgrError as error:  # one name that cannot be looked at does not stop the others
            return advise(PreflightFacts(name, "http-01", "servfail", reason=str(error)))

    def facts(self, name: str, solver: str, known: NameFacts) -> PreflightFacts:
        own = find(self.settings, solver)
        challenge, bare = challenge_of(own), name.removeprefix("*.")
        answer = self.asker.addresses(bare)
        addresses = tuple(answer.records)
        mine = (
            tuple(a for a in addresses if a in self.ours or within(a, self._provider))
            if self.ours or self._provider
            else None
        )
        agree, disagreement = (
            self._agree(bare, addresses)
            if challenge != "dns-01" and as_ip(bare) is None
            else (None, "")
        )
        permission = self._caa(name, challenge)
        probes: tuple[ProbeResult, ...] = ()
        delegated = ""
        if challenge == "http-01" and addresses and not name.startswith("*."):
            probes = self._probes(bare, addresses, solver, own)
        if challenge == "dns-01":
            where = place(self.asker, f"_acme-challenge.{bare}")
            delegated = "" if where == f"_acme-challenge.{bare}" else where
        return PreflightFacts(
            name=name,
            challenge=challenge,
            dns=answer.status,
            addresses=addresses,
            ours=mine,
            server=known.server,
            probes=probes,
            caa=permission,
            caa_wanted=self._wanted_caa(name),
            agree=agree,
            disagreement=disagreement,
            delegated=delegated,
            delegate_to=_target(bare, own),
            may_set=self._may_set(bare, own, known),
            validated=known.validated,
            reason=answer.reason,
        )

    def recovered(self, name: str, solver: str) -> bool:
        """Whether control of the name can be shown now, tried the way an order would, without a CA.

        False also where nobody can tell.
        """
        own, bare = find(self.settings, solver), name.removeprefix("*.")
        challenge = challenge_of(own)
        if challenge == "dns-01":
            return self._settable(bare, solver)
        answer = self.asker.addresses(bare)
        if challenge == "tls-alpn-01":  # nothing but a CA asks there
            return any(self._is_ours(a) for a in answer.records)
        probes = self._probes(bare, answer.records, solver, own)
        return bool(probes) and all(p.state == "ok" for p in probes)

    def _is_ours(self, address: str) -> bool:
        return (
            not (self.ours or self._provider)
            or address in self.ours
            or within(address, self._provider)
        )

    def _settable(self, name: str, solver: str) -> bool:
        made = self.solvers.get(solver)
        proof = ChallengeProof(name, "probe", secrets.token_urlsafe(32))
        try:
            made.present([proof])
            return shown(self.asker, place(self.asker, proof.record), proof.txt)
        except CertmgrError:
            return False
        finally:
            made.clean([proof])

    def departed(self, names: Iterable[str], solver: str) -> dict[str, str]:
        """Name -> where it points, of those that no longer point here: only where the provider's
        networks or servers are known, the DNS says it for certain, and the real path does not lead
        to our answer either (a CDN's or a balancer's may).
        """
        own = find(self.settings, solver)
        challenge = challenge_of(own)
        if challenge == "dns-01" or not (self.ours or self._provider):
            return {}
        found = {}
        for name in names:
            answer = self.asker.addresses(name)
            if answer.status == "ok" and not any(self._is_ours(a) for a in answer.records):
                if challenge == "http-01" and all(
                    p.state == "ok" for p in self._probes(name, answer.records, solver, own)
                ):
                    continue
                found[name] = f"it points to {', '.join(answer.records[:4])}, which is none of ours"
            elif answer.status == "nxdomain":
                found[name] = "it does not exist in the DNS"
        return found

    def _probes(
        self, name: str, addresses: Sequence[str], solver: str, own: SolverSettings
    ) -> tuple[ProbeResult, ...]:
        """A token of our own, put up as the solver puts up a challenge's."""
        made = self.solvers.get(solver)
        token = f"certmgr-probe-{secrets.token_urlsafe(16)}"
        proof = ChallengeProof(name, token, f"{token}.{secrets.token_urlsafe(16)}")
        try:
            made.present([proof])
        except CertmgrError as error:
            made.clean([proof])
            return tuple(ProbeResult(a, "other", str(error)) for a in addresses[:1])
        try:
            return tuple(
                probe(
                    name,
                    a,
                    token,
                    proof.key_authorization,
                    port=own.http_port,
                    resolve=lambda host: self.asker.addresses(host).records,
                    allowed=self._allowed,
                )
                for a in addresses[:MAX_PROBED]
            )
        finally:
            made.clean([proof])

    def _agree(self, name: str, addresses: Sequence[str]) -> tuple[bool | None, str]:
        """Whether every server of the zone that answers says the same addresses as the resolver."""
        answer = self.asker.authoritative(name)
        said: dict[tuple[str, ...], list[str]] = {}
        for server in answer.addresses:
            found = [self.asker.ask_at(server, name, kind) for kind in ("A", "AAAA")]
            if all(a.told for a in found):
                said.setdefault(tuple(sorted(r for a in found for r in a.records)), []).append(
                    server
                )
        if not said:
            return None, ""
        if len(said) == 1:
            return True, ""
        return False, "; ".join(
            f"{', '.join(who[:3])}: {', '.join(records[:4]) or 'none'}"
            for records, who in list(said.items())[:4]
        )

    def _caa(self, name: str, challenge: str) -> caa.Permission:
        if not self.identities:
            return caa.Permission(
                None, "it is not known by which name the CA stands in CAA records"
            )
        found = caa.find(self.asker.ask, name)
        return caa.permits(
            found,
            self.identities,
            wildcard=name.startswith("*."),
            account_uri=self.account,
            method=challenge,
        )

    def _wanted_caa(self, name: str) -> str:
        tag = "issuewild" if name.startswith("*.") else "issue"
        return (
            f'{registered_domain(name.removeprefix("*."))}. IN CAA 0 {tag} "{self.identities[0]}"'
            if self.identities
            else ""
        )

    def _may_set(self, name: str, own: SolverSettings, known: NameFacts) -> bool | None:
        """Whether records of the zone are ours to set: None where nobody said who runs the DNS."""
        if own.zone and (name == own.zone or name.endswith(f".{own.zone}")):
            return True
        return None if known.dns is None else known.dns == "us"


def _target(name: str, own: SolverSettings) -> str:
    """Where a CNAME would lead that hands the challenge to us."""
    return f"{name}.{own.zone}" if own.zone and not name.endswith(f".{own.zone}") else ""


def known_of(conn: Any, names: Sequence[str], client_id: int | None = None) -> dict[str, NameFacts]:
    """What the inventory says of each name, by the domain that it lies under; only of this client's
    where one is given.
    """
    rows = {r["name"]: r for r in domains.listing(conn, client_id=client_id)}
    machines = {r["id"]: tuple(r["addresses"].split()) for r in servers.listing(conn, retired=True)}
    validated = [
        (o["client_id"], o["validation"], n)
        for o in purchases.listing(conn, client_id=client_id, ended=False)
        if o["validation"] in ("ov", "ev")
        for n in o["names"]
    ]
    found = {}
    for name in names:
        bare = name.removeprefix("*.")
        labels = bare.split(".") if as_ip(bare) is None else [bare]
        row = next(
            (rows[a] for a in (".".join(labels[i:]) for i in range(len(labels))) if a in rows), None
        )
        if row is None:
            found[name] = NameFacts()
            continue
        kind = next(
            (v for owner, v, n in validated if owner == row["client_id"] and name_covers(n, bare)),
            "",
        )
        found[name] = NameFacts(row["parties"].dns, machines.get(row["server_id"], ()), kind)
    return found


def own_addresses(conn: Any) -> frozenset[str]:
    return servers.all_addresses(conn)


def line(advice: Advice) -> str:
    """In one line."""
    return printable(f"{advice.reason}{' -> ' + advice.record if advice.record else ''}", 600)
