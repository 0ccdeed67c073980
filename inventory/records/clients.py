"""Clients, contacts and servers."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import (
    ContactMethodKind,
    ContactMethodState,
    RecordState,
    Role,
    ServerKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRecord(Record):
    """A client."""

    id: int
    number: str
    name: str
    account_manager: str | None
    # The client whose contacts get the notices instead.
    reseller_id: int | None
    note: str | None
    # Who hosts, runs the DNS, buys and renews, unless a domain states something else.
    hosts: str | None
    dns: str | None
    buys: str | None
    renews: str | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClient(ClientRecord):
    """A client in a listing. ``domains``: how many it has; ``reseller``: its customer number."""

    reseller: str | None
    domains: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSummary(Record):
    """What a message states about a client."""

    id: int
    number: str
    name: str
    account_manager: str | None
    reseller_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRecord(Record):
    """A contact of a client, or of the provider's staff (``client_id`` None)."""

    id: int
    client_id: int | None
    name: str
    role: Role
    language: str | None
    time_zone: str | None
    # Who is notified if this contact does not answer or is away.
    fallback_id: int | None
    # Its public holidays are no working days.
    country: str | None
    # A first notice goes to the fallback until then.
    away_until: Timestamp | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedContact(ContactRecord):
    """A contact in a listing.

    Attributes:
        ways: Its contact methods as ``kind:value``, in order of preference (a key of JSON).
        bad: Addresses that bounce.
        away: The date until which it is away.
    """

    client: str | None
    fallback: str | None
    ways: tuple[str, ...]
    bad: tuple[str, ...]
    away: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMethodRecord(Record):
    """An address of a contact: e-mail, telephone, or a channel."""

    id: int
    kind: ContactMethodKind
    value: str
    state: ContactMethodState


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachableContact(ContactRecord):
    """An active contact with its contact methods in order of preference."""

    methods: tuple[ContactMethodRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord(Record):
    """A server or load balancer of the provider."""

    id: int
    name: str
    kind: ServerKind
    # The maintainer of the server.
    keeper: str | None
    addresses: tuple[str, ...]
    # Internal addresses behind a balancer, each of which must serve an installed certificate.
    backends: tuple[str, ...]
    note: str | None
    hosts: str | None
    dns: str | None
    buys: str | None
    renews: str | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedServer(ServerRecord):
    """A server in a listing. ``domains``: how many are on it."""

    domains: int
