"""Purchases, and certificates."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.records.base import Record
from inventory.vocabulary import ProductKind, PurchaseState, Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseRecord(Record):
    """A purchase with its client's number."""

    id: int
    client_id: int
    vendor: str
    number: str | None
    validation: Validation
    kind: ProductKind
    years: int
    starts_at: int
    ends_at: int
    price: str | None
    fee: str | None
    currency: str | None
    warranty: str | None
    bought_by: str
    contact_id: int | None
    documents: tuple[str, ...]
    auto_renew: int
    dcv_at: int | None
    organisation_at: int | None
    successor_id: int | None
    reason: str | None
    note: str | None
    state: PurchaseState
    created_at: int
    retired_at: int | None
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasedLeaf(Record):
    """A certificate issued under a purchase."""

    order_id: int
    sha256: str
    serial: str
    not_before: int
    not_after: int
    names: tuple[str, ...]
    live_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPurchase(PurchaseRecord):
    """A purchase in a listing, with its names and what was issued under it."""

    client_name: str
    names: tuple[str, ...]
    issued: tuple[PurchasedLeaf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord(Record):
    """A certificate that was served or received."""

    sha256: str
    der: bytes
    serial: str
    subject: str
    issuer: str
    not_before: int | None
    not_after: int | None
    names: tuple[str, ...]
    key: str
    is_ca: int
    first_seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCertificate(Record):
    """A leaf that is served now, once per client."""

    sha256: str
    serial: str
    issuer: str
    not_before: int
    not_after: int
    names: tuple[str, ...]
    client_id: int
    client: str
