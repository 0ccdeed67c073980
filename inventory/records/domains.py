"""Domains and endpoints."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import HttpsPolicy, Parties, Purpose, RecordState


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRecord(Record):
    """A domain with its client's number and name."""

    id: int
    name: str
    client_id: int
    server_id: int | None
    purpose: Purpose
    # Visited in addition to the home page.
    paths: tuple[str, ...]
    # Whether HTTPS is required or optional. None: by the rule of the provider.
    policy: HttpsPolicy | None
    note: str | None
    hosts: str | None
    dns: str | None
    buys: str | None
    renews: str | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None
    client: str
    client_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDomain(DomainRecord):
    """A domain in a listing. ``server``: its name; ``parties``: who does what for it."""

    server: str | None
    tags: tuple[str, ...]
    # Resolved: stated for the domain, else for its server, else for its client.
    parties: Parties


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainOwner(Record):
    """The domain that a host belongs to. ``number``: of its client."""

    id: int
    name: str
    client_id: int
    server_id: int | None
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord(Record):
    """An endpoint."""

    id: int
    domain_id: int
    host: str
    port: int
    protocol: str
    # Fixed addresses, which are visited instead of those in the DNS. None: as the DNS answers.
    addresses: tuple[str, ...] | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEndpoint(EndpointRecord):
    """An endpoint in a listing, with the names of its domain and client."""

    domain: str
    client: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitedEndpoint(Record):
    """An endpoint that a scan visits, with what is known of it. Instants are epoch seconds."""

    id: int
    host: str
    port: int
    protocol: str
    addresses: tuple[str, ...] | None
    domain_id: int
    domain: str
    client_id: int
    server_id: int | None
    purpose: Purpose
    paths: tuple[str, ...]
    client: str
    parties: Parties
    # A hash of the last report: an equal one is not stored again.
    fingerprint: str | None
    # A key of the last evidence: equal evidence is not judged again before ``recheck_at``.
    memo: str | None
    recheck_at: Timestamp | None
    good: int | None
    # The begin of a series of failures, after which a time-out becomes a fault.
    failing_since: Timestamp | None
    failing_runs: int | None
    last_good: Timestamp | None
    last_attempt: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEndpoint(Record):
    """An endpoint of a client, with its server.

    ``backends``: inside addresses behind a balancer.
    """

    id: int
    host: str
    port: int
    protocol: str
    addresses: tuple[str, ...] | None
    domain_id: int
    client_id: int
    domain: str
    server: str | None
    backends: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOwnership(Record):
    """An endpoint with its domain, client, server, their states and the ``tags`` of all of them."""

    id: int
    host: str
    port: int
    protocol: str
    state: RecordState
    domain_id: int
    client_id: int
    server_id: int | None
    domain_state: RecordState
    last_run_id: int | None
    purpose: Purpose
    client: str
    client_state: RecordState
    server: str | None
    parties: Parties
    # Tags select other thresholds.
    tags: frozenset[str]
